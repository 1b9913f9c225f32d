//! The backend that talks to a server process, with one connection for all threads of a process and no background
//! thread.
//!
//! | part | role |
//! |---|---|
//! | [`connect`] | makes a stream from an address and a key |
//! | [`link`] | manages the connection of this process; a forked child, or a process whose connection broke, makes a new one |
//! | [`bequest`] | before a fork, keeps the references for the child |
//! | [`open`] | sends pipelines while they are recorded |
//! | [`connection`], [`calls`] | run many calls at a time over one stream; one of the waiting callers reads for all |
//! | [`inbox`], [`answer`] | decode answers |
//! | [`fallback`] | what older servers get instead of newer operations |
//!
//! # How long a call may take
//! See [`patience`]. A call without an answer in its time is given up: the server ends its wait, or takes back what it
//! was granted. References that come with a late answer are released once that is read.
//!
//! # What is known when the server ends
//! If a call's frame was not completely written, the call was not done, and is repeated once over a new connection. Any
//! other call without an answer may have been done, and is never repeated.

mod alarm;
mod answer;
#[cfg(feature = "tokio")]
mod asynchronous;
pub(crate) mod bequest;
mod calls;
mod connect;
mod connection;
mod fallback;
#[cfg(feature = "server")]
pub(crate) mod fuzz;
mod inbox;
mod link;
mod open;
mod patience;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Weak};

use mp_sys::deadline::Deadline;
use mp_sys::fork::Generations;
use mp_sys::key::Key;

use self::bequest::Bequeaths;
pub use self::connect::ConnectError;
use self::connect::Opened;
use self::connection::{Connection, Failure};
use self::fallback::Older;
use self::link::{Local, Target, manager_call};
use self::open::Open;
use self::patience::Patience;
use crate::Address;
#[cfg(feature = "tokio")]
use crate::backend::Pending;
use crate::backend::{Backend, CallError, Caps, Change, Grants, OnLost, OpenPipeline, Validity};
use crate::proto::version::NEWEST;
use crate::proto::{Answer, Call, Fault, ManagerOp, ObjectId, Payload, Raw, Reply, Step};

/// A manager in another process.
///
/// | property | |
/// |---|---|
/// | threads | any; a waiting call does not delay other calls |
/// | in a forked child | the first use makes a new connection, and requests all references of the child's proxies |
/// | drop | ends this process's connection, and the server releases everything that it held |
pub(crate) struct Remote {
    target: Target,
    locals: Generations<Local>,
    me: Weak<Self>,
}

impl Remote {
    /// Connects to the server at an address.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) fn connect(
        address: &Address,
        key: &Key,
        deadline: Deadline,
    ) -> Result<Arc<Self>, ConnectError> {
        let Opened { stream, epoch, agreed } = connect::open(address, key.as_bytes(), deadline)?;
        let locals = Generations::new();
        let connection = Arc::new(Connection::new(stream, agreed, link::FIRST_SERIAL));
        locals.get(|_| Local::connected(Some(Arc::clone(&connection)))).succeed(&connection);
        let target = Target {
            address: address.clone(),
            key: key.clone(),
            epoch,
            #[cfg(feature = "tokio")]
            version: agreed.version,
        };
        let remote = Arc::new_cyclic(|me| Self { target, locals, me: me.clone() });
        bequest::enlist(remote.me.clone());
        Ok(remote)
    }

    fn local(&self) -> &Local {
        self.locals.get(|parents| {
            bequest::enlist(self.me.clone());
            Local::inherited(parents)
        })
    }

    /// Runs `ask` over a connection, and over a second one if the first could not send it.
    fn ask<T>(
        &self,
        patience: Patience,
        ask: impl FnMut(&Arc<Connection>) -> Result<T, Failure>,
    ) -> Result<T, CallError> {
        self.local().ask(&self.target, patience, ask)
    }

    /// Runs a call that takes or releases a lock or permit, and records over which connection.
    fn call_and_note(&self, call: &mut Call<Raw<'_>>, change: Change) -> Result<Reply<Payload>, CallError> {
        let local = self.local();
        // What was lost cannot be released. Over another connection, it would not even be the same holder.
        if !may_be_sent(&local.grants, change) {
            return Err(CallError::Fault(Fault::NotOwned));
        }
        let patience = Patience::of(call);
        let answer = self.ask(patience, |connection| {
            // A lease is counted from the moment before the call is sent, also the second time.
            let change = Change::of(call);
            let answer = converse(local, connection, call, patience)?;
            let outcome = answer.as_ref().map_err(|fault| CallError::Fault(*fault));
            local.grants.note(change, outcome, connection.serial);
            Ok(answer)
        });
        if let Err(error) = &answer {
            local.grants.note(change, Err(*error), 0);
        }
        answer?.map_err(|fault| why_not(local, [call.object], fault))
    }

    /// Requests a reference on this connection.
    fn ask_for(&self, connection: &Connection, object: ObjectId, deadline: Deadline) -> Result<(), Failure> {
        let call = manager_call(ManagerOp::Attach(vec![object]));
        match connection.call(&call, deadline)? {
            Ok(_) => Ok(()),
            Err(fault) => Err(Failure::Refused(fault)),
        }
    }

    /// Adds the first proxy of an object: requests the reference on the present connection, unless that was already
    /// done.
    fn attach_first(&self, object: ObjectId) -> Result<(), CallError> {
        let patience = Patience::at_once();
        let local = self.local();
        let is_counted = std::cell::Cell::new(false);
        let asked_on = std::cell::Cell::new(0);
        let outcome = self.ask(patience, |connection| {
            asked_on.set(connection.serial);
            let is_new = if is_counted.replace(true) {
                local.references.claim(object, connection.serial)
            } else {
                local.references.add(object, connection.serial)
            };
            if is_new { self.ask_for(connection, object, patience.answer_by()) } else { Ok(()) }
        });
        if outcome.is_err() && is_counted.get() && local.references.remove(object).is_none() {
            // Another thread has a proxy meanwhile, whose calls request the reference again.
            local.references.lack([object], asked_on.get());
        }
        outcome
    }
}

impl Backend for Remote {
    fn caps(&self) -> Caps {
        // Between hosts, nothing says that an answer was not read.
        Caps::of_state("server").unread_returns(self.target.address.path().is_some())
    }

    fn call(&self, mut call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        let change = Change::of(&call);
        if !change.is_nothing() {
            return self.call_and_note(&mut call, change);
        }
        let patience = Patience::of(&call);
        let local = self.local();
        let answer = self.ask(patience, |connection| converse(local, connection, &mut call, patience))?;
        answer.map_err(|fault| why_not(local, [call.object], fault))
    }

    #[cfg(feature = "tokio")]
    fn call_async(self: Arc<Self>, call: Call<Raw<'_>>) -> Pending {
        Self::begin(self, &call)
    }

    #[cfg(feature = "tokio")]
    fn post(&self, call: Call<Raw<'_>>) {
        self.tell(call);
    }

    fn pipeline(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Answer<Payload>>, CallError> {
        let patience = Patience::at_once();
        let local = self.local();
        self.ask(patience, |connection| {
            local.regain(connection, steps.iter().map(|step| step.object), patience.answer_by())?;
            let Some(Older { steps, turns }) = fallback::steps_for(&steps, connection.agreed.version) else {
                return connection.pipeline(thread, &steps, patience.answer_by());
            };
            let mut answers = connection.pipeline(thread, &steps, patience.answer_by())?;
            for (place, turn) in turns {
                if let Some(answer) = answers.get_mut(place) {
                    *answer = turn.answer(answer.clone(), local, connection);
                }
            }
            Ok(answers)
        })
    }

    fn open_pipeline(&self) -> Option<Box<dyn OpenPipeline + '_>> {
        let local = self.local();
        // For an older server, operations may have to be replaced: see `fallback`.
        let is_newest = local.present().is_some_and(|connection| connection.agreed.version == NEWEST);
        let is_open = is_newest && !local.references.is_lacking();
        is_open.then(|| Box::new(Open::new(local, &self.target)) as Box<dyn OpenPipeline + '_>)
    }

    fn transaction(&self, _thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Reply<Payload>>, CallError> {
        let patience = Patience::at_once();
        let local = self.local();
        let answer = self.ask(patience, |connection| {
            local.regain(connection, steps.iter().map(|step| step.object), patience.answer_by())?;
            let Some(Older { steps, turns }) = fallback::steps_for(&steps, connection.agreed.version) else {
                return connection.transaction(&steps, patience.answer_by());
            };
            let mut answer = connection.transaction(&steps, patience.answer_by())?;
            if let Ok(Reply::Transaction(replies)) = &mut answer {
                for (place, turn) in turns {
                    if let Some(reply) = replies.get_mut(place) {
                        *reply = turn.reply(reply.clone(), local, connection);
                    }
                }
            }
            Ok(answer)
        })?;
        match answer.map_err(|fault| why_not(local, steps.iter().map(|step| step.object), fault))? {
            Reply::Transaction(replies) if replies.len() == steps.len() => Ok(replies),
            _ => Err(CallError::Protocol),
        }
    }

    fn transit(&self, object: ObjectId) -> Result<(), CallError> {
        let patience = Patience::at_once();
        self.ask(patience, |connection| {
            let transit = || ManagerOp::Transit(vec![object]);
            if !connection.is_remote() {
                return connection.hand_over(transit(), patience.answer_by());
            }
            // What the kernel has may be lost with the process: it resets a connection with unread answers.
            match connection.call(&manager_call(transit()), patience.answer_by())? {
                Ok(_) => Ok(()),
                Err(fault) => Err(Failure::Refused(fault)),
            }
        })
    }

    fn attach(&self, object: ObjectId) -> Result<(), CallError> {
        if self.local().references.add_another(object) { Ok(()) } else { self.attach_first(object) }
    }

    fn adopt(&self, object: ObjectId) {
        let local = self.local();
        let connection = local.present();
        let serial = connection.as_ref().map_or(0, |connection| connection.serial);
        if !local.references.add(object, serial) {
            local.give_back(connection.as_deref(), vec![object], false);
        }
    }

    fn detach(&self, object: ObjectId) {
        let local = self.local();
        let Some(last) = local.references.remove(object) else { return };
        let connection = local.present().filter(|connection| connection.serial == last.connection);
        local.give_back(connection.as_deref(), vec![object], last.lingers);
    }

    fn validity(&self, object: ObjectId, token: u64) -> Validity {
        let local = self.local();
        if local.grants.validity(object, token) == Validity::Held {
            local.look();
        }
        local.grants.validity(object, token)
    }

    fn watch(&self, object: ObjectId, token: u64, lost: OnLost) {
        let local = self.local();
        local.look();
        local.grants.watch(object, token, lost);
    }

    fn epoch(&self) -> u128 {
        self.target.epoch
    }

    fn address(&self) -> Option<String> {
        Some(self.target.address.to_string())
    }
}

impl Bequeaths for Remote {
    fn before_fork(&self, deadline: Deadline) {
        if let Some(local) = self.locals.existing() {
            bequest::bequeath(local, &self.target, deadline);
        }
    }
}

impl Drop for Remote {
    /// Lets a forked child that has not used the manager close what it inherited.
    fn drop(&mut self) {
        self.locals.get(Local::inherited);
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key stays secret.
        write!(f, "Remote({:?})", self.target.address)
    }
}

/// Returns `false` if a call releases what was lost with its connection. If it releases what was lost in another way, runs
/// what the holder asked for.
fn may_be_sent(grants: &Grants, change: Change) -> bool {
    let Some((object, token)) = change.released() else { return true };
    // The manager may count the lease for longer, and the next holder should not wait for that.
    grants.validity(object, token) == Validity::Held || grants.may_be_released(object, token)
}

/// Returns the error of an operation that was refused. If one of its objects has ended, and this process inherited it, the
/// error says why.
#[cold]
fn why_not(local: &Local, objects: impl IntoIterator<Item = ObjectId>, fault: Fault) -> CallError {
    let find = |object| Some((object, local.references.disinherited(object)?));
    match fault {
        Fault::UnknownObject => match objects.into_iter().find_map(find) {
            Some((object, why)) => CallError::NotInherited { object, why },
            None => CallError::Fault(fault),
        },
        fault => CallError::Fault(fault),
    }
}

/// Runs one operation over a connection.
fn converse(
    local: &Local,
    connection: &Connection,
    call: &mut Call<Raw<'_>>,
    patience: Patience,
) -> Result<Answer<Payload>, Failure> {
    local.regain(connection, [call.object], patience.answer_by())?;
    call.wait = patience.wait();
    let deadline = patience.answer_by();
    if let Some((older, turn)) = fallback::call_for(call, connection.agreed.version) {
        return Ok(turn.answer(connection.call(&older, deadline)?, local, connection));
    }
    if patience.outlasts { connection.outlast(call, deadline) } else { connection.call(call, deadline) }
}
