//! [`InProcess`]: the state machine in the memory of the process that uses it, without a server.
//!
//! It is for programs whose threads are the only users of the objects, and the reference of the conformance tests.
//!
//! There is no background thread. A call that has to wait sleeps on its own bell until the caller that completes it
//! hands over the answer. Each sleeper also wakes at the next moment at which time changes anything, and passes the
//! time to the state machine. So leases and timeouts end while any call waits, and otherwise with the next call. A
//! caller that moves that moment forward rings all bells, since the sleepers only know the later one.

mod world;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use mp_sys::fork::Epoch;

use self::world::{Inner, World, random, sleep};
use crate::backend::{Backend, CallError, Caps, Change, Grants, OnLost, Validity, run};
use crate::proto::{Answer, Call, ManagerOp, ObjectId, Op, Payload, Raw, Reply, Step, Wait};
use crate::references::References;
use crate::state::{Caller, ClientId, Departure, Effects, Limits, State};

/// A client of a manager in this process.
///
/// This needs the feature `server`, which is enabled by default.
///
/// # Fork safety
/// A forked child would have a separate copy of the objects, so every call there returns [`CallError::Forked`].
///
/// # Crash
/// The objects are lost with the process.
///
/// # Source
/// In-memory backends, as test doubles of databases use them.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use std::sync::Arc;
///
/// use mp::manager::{InProcess, Manager};
///
/// let backend = InProcess::new()?;
/// let other = Manager::with(Arc::new(backend.another_client()?));
/// let manager = Manager::with(Arc::new(backend));
/// manager.named("answer").value(&42)?;
/// assert_eq!(other.named("answer").value(&0)?.get()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct InProcess {
    world: Arc<World>,
    client: ClientId,
    home: Epoch,
    references: References,
    grants: Grants,
}

/// There is only one connection, from the view of the table of references.
const CONNECTION: u64 = 1;

impl InProcess {
    /// Makes a manager without objects, and its first client.
    ///
    /// # Errors
    /// [`CallError::System`] if the system has no random numbers.
    pub fn new() -> Result<Self, CallError> {
        Self::with_limits(Limits::default())
    }

    /// Like [`new`](Self::new), for a manager with these limits.
    ///
    /// # Errors
    /// As for [`new`](Self::new); [`Fault::TooMany`](crate::proto::Fault::TooMany) if the limits allow no client.
    pub fn with_limits(limits: Limits) -> Result<Self, CallError> {
        let inner = Inner {
            state: State::new(limits),
            effects: Effects::default(),
            clients: HashMap::new(),
            sleepers: HashMap::new(),
            calls: 0,
        };
        let world = World { started: Instant::now(), epoch: random()?, inner: Mutex::new(inner) };
        Self::join(Arc::new(world))
    }

    /// Adds a client to the same manager. What a client holds ends with it.
    ///
    /// # Errors
    /// [`CallError::Forked`]; [`Fault::TooMany`](crate::proto::Fault::TooMany) if the limit of clients is reached.
    pub fn another_client(&self) -> Result<Self, CallError> {
        self.check_home()?;
        Self::join(Arc::clone(&self.world))
    }

    fn join(world: Arc<World>) -> Result<Self, CallError> {
        let mut inner = world.lock();
        let client = inner.state.connect()?;
        inner.clients.insert(client, 0);
        drop(inner);
        let (home, references) = (Epoch::current(), References::default());
        Ok(Self { world, client, home, references, grants: Grants::new() })
    }

    /// Ends this client as the death of its process would: what it holds passes on, and all its calls return
    /// [`CallError::ServerGone`], including those that wait.
    pub fn disconnect(&self) {
        if !self.home.is_current() {
            return;
        }
        let client = self.client;
        let mut inner = self.world.lock();
        if inner.clients.remove(&client).is_none() {
            return;
        }
        inner.wake(|sleeper| sleeper == client);
        let before = inner.state.next_deadline();
        // All answers that were handed out have been read.
        let now = self.world.now();
        inner.advance(now);
        let departure = Departure { client, now, unread: u64::MAX, doubtful: u64::MAX };
        // Nobody gets what this client held before this client knows that it is lost.
        let lost = self.grants.take_lost(CONNECTION);
        let Inner { state, effects, .. } = &mut *inner;
        state.disconnect(departure, effects);
        while state.tidy(effects) {}
        inner.hand_out((client, 0));
        inner.ring_if_earlier(before);
        drop(inner);
        run(lost);
    }

    /// Runs an operation without an answer.
    fn notice(&self, op: ManagerOp<Raw<'_>>) {
        if !self.home.is_current() {
            return;
        }
        let call = call_of(op);
        let mut inner = self.world.lock();
        let told = inner
            .step(&self.world, self.client, |state, caller, effects| state.notice(caller, call, effects));
        if told.is_ok() {
            inner.hand_out((self.client, 0));
        }
    }

    fn check_home(&self) -> Result<(), CallError> {
        if self.home.is_current() { Ok(()) } else { Err(CallError::Forked) }
    }

    /// Runs a step of the state machine for this client, and waits for the answer.
    fn run<R>(
        &self,
        ask: impl FnOnce(&mut State, Caller<'_>, &mut Effects) -> R,
    ) -> Result<Answer<Payload>, CallError> {
        self.check_home()?;
        let mut inner = self.world.lock();
        let call = inner.step(&self.world, self.client, ask)?;
        let key = (self.client, call);
        if let Some(answer) = inner.hand_out(key) {
            return Ok(answer);
        }
        let bell = Arc::clone(&inner.sleepers.entry(key).or_default().bell);
        loop {
            if inner.sleepers.get(&key).is_none_or(|sleeper| sleeper.answer.is_some()) {
                let answer = inner.sleepers.remove(&key).and_then(|sleeper| sleeper.answer);
                return answer.unwrap_or(Err(CallError::ServerGone));
            }
            let time = self.world.until_next(&inner);
            inner = sleep(inner, &bell, time);
            inner.advance(self.world.now());
            // The call is among the sleepers, where the answer will be put.
            inner.hand_out((self.client, 0));
        }
    }
}

/// Returns the call of an operation of the manager itself.
const fn call_of(op: ManagerOp<Raw<'_>>) -> Call<Raw<'_>> {
    Call { object: ObjectId::MANAGER, thread: 0, wait: Wait::No, op: Op::Manager(op) }
}

impl Backend for InProcess {
    fn caps(&self) -> Caps {
        Caps::of_state("in-process")
    }

    fn call(&self, call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        let change = Change::of(&call);
        let outcome = self.run(|state, caller, effects| state.apply(caller, call, effects));
        let outcome = outcome.and_then(|answer| Ok(answer?));
        self.grants.note(change, outcome.as_ref().map_err(|error| *error), CONNECTION);
        outcome
    }

    fn pipeline(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Answer<Payload>>, CallError> {
        let ask = |Step { object, op }| {
            let call = Call { object, thread, wait: Wait::No, op };
            self.run(|state, caller, effects| state.apply(caller, call, effects))
        };
        steps.into_iter().map(ask).collect()
    }

    fn transaction(&self, _thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Reply<Payload>>, CallError> {
        match self.run(|state, caller, effects| state.transaction(caller, steps, effects))?? {
            Reply::Transaction(replies) => Ok(replies),
            _ => Err(CallError::Protocol),
        }
    }

    fn transit(&self, object: ObjectId) -> Result<(), CallError> {
        self.notice(ManagerOp::Transit(vec![object]));
        Ok(())
    }

    fn attach(&self, object: ObjectId) -> Result<(), CallError> {
        self.check_home()?;
        if !self.references.add(object, CONNECTION) {
            return Ok(());
        }
        self.call(call_of(ManagerOp::Attach(vec![object]))).map(drop).inspect_err(|_| {
            self.references.remove(object);
        })
    }

    fn adopt(&self, object: ObjectId) {
        if !self.references.add(object, CONNECTION) {
            // This process already had a reference.
            self.notice(ManagerOp::Detach { references: vec![(object, 1)], lingers: false });
        }
    }

    fn detach(&self, object: ObjectId) {
        if self.home.is_current() && self.references.remove(object).is_some() {
            self.notice(ManagerOp::Detach { references: vec![(object, 1)], lingers: false });
        }
    }

    fn validity(&self, object: ObjectId, token: u64) -> Validity {
        if !self.home.is_current() {
            return Validity::Lost;
        }
        if self.world.lock().state.has_ended() {
            self.grants.lose(CONNECTION);
        }
        self.grants.validity(object, token)
    }

    fn watch(&self, object: ObjectId, token: u64, lost: OnLost) {
        if self.home.is_current() {
            self.grants.watch(object, token, lost);
        } else {
            lost();
        }
    }

    fn epoch(&self) -> u128 {
        self.world.epoch
    }

    fn address(&self) -> Option<String> {
        None
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.home.is_current() { "InProcess(its own)" } else { "InProcess(its parent's)" })
    }
}
