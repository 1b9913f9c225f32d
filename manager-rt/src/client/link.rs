//! The state of a manager in one process: its connection, if there is one, and its references.
//!
//! A forked child has its own [`Local`], with its parent's references and without a connection. The first call makes a
//! connection, requests all references on it, and only then uses it. Until then, a [bequest](super::bequest) keeps them. The same happens when a connection breaks and the
//! same server is still there. A restarted server has another epoch. Its objects are different ones even if their ids
//! are the same, so no call from here ever reaches it.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::handoff::nonce;
use mp_sys::identity::thread_number;
use mp_sys::key::Key;
use mp_sys::stream::is_of_network;
use rustix::io::Errno;

use super::connect::{ConnectError, Opened, open};
use super::connection::{Connection, Failure};
use super::patience::Patience;
use crate::backend::{CallError, Grants, run};
use crate::limits::REFERENCES_AT_ONCE_MAX;
use crate::proto::{Answer, Call, Fault, ManagerOp, ObjectId, Op, Payload, Raw, Step, Wait};
use crate::references::{References, soon};
use crate::{Address, OsError};

/// How long reconnecting may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The number of a process's first connection.
pub(super) const FIRST_SERIAL: u64 = 1;

/// The manager to connect to.
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) key: Key,
    /// The life of the manager that the proxies belong to.
    pub(super) epoch: u128,
    /// The version of the protocol, on which this build always agrees with that server.
    #[cfg(feature = "tokio")]
    pub(super) version: u16,
}

/// The state of a manager in one process.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) references: References,
    /// What this process holds, by the numbers of its connections.
    pub(super) grants: Grants,
    /// The secret number that all connections of this process to the manager have in common.
    session: OnceLock<Option<u128>>,
    link: Mutex<Link>,
    /// Signals that the link is no longer [`State::Connecting`].
    has_settled: Condvar,
}

#[derive(Debug)]
struct Link {
    state: State,
    /// The number of the newest connection.
    serial: u64,
}

#[derive(Debug)]
enum State {
    Apart,
    /// Another thread is connecting.
    Connecting,
    Connected(Arc<Connection>),
    /// Another server has the address. This is final.
    Restarted,
}

impl Local {
    pub(super) fn connected(connection: Option<Arc<Connection>>) -> Self {
        let state = connection.map_or(State::Apart, State::Connected);
        Self::new(References::default(), Link { state, serial: FIRST_SERIAL })
    }

    /// Makes the state of a forked child.
    pub(super) fn inherited(parents: Option<&Self>) -> Self {
        let references =
            parents.map_or_else(References::default, |parents| References::inherited(&parents.references));
        Self::new(references, Link { state: State::Apart, serial: 0 })
    }

    fn new(references: References, link: Link) -> Self {
        Self {
            references,
            grants: Grants::new(),
            session: OnceLock::new(),
            link: Mutex::new(link),
            has_settled: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection, if there is one and no other thread uses the link until the deadline.
    pub(super) fn present_soon(&self, deadline: Deadline) -> Option<Arc<Connection>> {
        match &soon(&self.link, deadline)?.state {
            State::Connected(connection) if connection.is_usable() => Some(Arc::clone(connection)),
            _ => None,
        }
    }

    /// Returns the connection, if there is one.
    pub(super) fn present(&self) -> Option<Arc<Connection>> {
        match &self.lock().state {
            State::Connected(connection) if connection.is_usable() => Some(Arc::clone(connection)),
            _ => None,
        }
    }

    /// Returns the connection, or makes a new one.
    ///
    /// # Errors
    /// [`CallError::ServerGone`], [`CallError::Restarted`], [`CallError::Unauthorised`], [`CallError::Protocol`].
    #[inline]
    pub(super) fn connection(
        &self,
        target: &Target,
        deadline: Deadline,
    ) -> Result<Arc<Connection>, CallError> {
        match self.present() {
            Some(connection) => Ok(connection),
            None => self.connect_anew(target, deadline),
        }
    }

    /// Runs `ask` over a connection, and over a second one if the first could not send it.
    pub(super) fn ask<T>(
        &self,
        target: &Target,
        patience: Patience,
        mut ask: impl FnMut(&Arc<Connection>) -> Result<T, Failure>,
    ) -> Result<T, CallError> {
        for _ in 0..2 {
            let connection = self.connection(target, patience.connect_by())?;
            let outcome = ask(&connection);
            if outcome.is_err() {
                self.part_from(&connection);
            }
            match outcome {
                Err(Failure::NotSent) => {}
                other => return other.map_err(|failure| patience.error(failure, connection.agreed)),
            }
        }
        Err(CallError::ServerGone)
    }

    #[cold]
    fn connect_anew(&self, target: &Target, deadline: Deadline) -> Result<Arc<Connection>, CallError> {
        let mut link = self.lock();
        loop {
            match &link.state {
                State::Connected(connection) if connection.is_usable() => return Ok(Arc::clone(connection)),
                State::Restarted => return Err(CallError::Restarted),
                State::Connecting if deadline.has_passed() => return Err(CallError::ServerGone),
                State::Connecting => {
                    // For ever is longer than the other thread needs.
                    let patience = deadline.remaining().min(CONNECT_PATIENCE);
                    let waited = self.has_settled.wait_timeout(link, patience);
                    link = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                State::Apart | State::Connected(_) => break,
            }
        }
        // The broken connection is dropped once the lock is free, and ends with its last call.
        let broken = std::mem::replace(&mut link.state, State::Connecting);
        link.serial = link.serial.saturating_add(1);
        let serial = link.serial;
        drop(link);
        // What was held over it is lost from now on. Its holders hear of that once this thread may call the manager.
        let lost = match &broken {
            State::Connected(broken) => self.grants.take_lost(broken.serial),
            _ => Vec::new(),
        };
        drop(broken);
        let outcome = self.join(target, serial, deadline.min(Deadline::after(CONNECT_PATIENCE)));
        let outcome = outcome.inspect_err(|_| self.references.has_none(serial));
        let mut link = self.lock();
        link.state = match &outcome {
            Ok((connection, _)) => State::Connected(Arc::clone(connection)),
            Err(CallError::Restarted) => State::Restarted,
            Err(_) => State::Apart,
        };
        drop(link);
        self.has_settled.notify_all();
        run(lost);
        let (connection, objects) = outcome?;
        // Proxies that were dropped meanwhile had no connection on which to release their references.
        let gone = self.references.missing(&objects);
        self.give_back(Some(&connection), gone, false);
        Ok(connection)
    }

    /// Connects, and requests all references. Returns the objects of those that it has.
    fn join(
        &self,
        target: &Target,
        serial: u64,
        deadline: Deadline,
    ) -> Result<(Arc<Connection>, Vec<ObjectId>), CallError> {
        let Opened { stream, epoch, agreed } = open(&target.address, target.key.as_bytes(), deadline)?;
        if epoch != target.epoch {
            return Err(CallError::Restarted);
        }
        let connection = Connection::new(stream, agreed, serial);
        self.succeed(&connection);
        let mut objects = self.references.ask_for_all(serial);
        let mut joined = Joined::default();
        for some in objects.chunks(REFERENCES_AT_ONCE_MAX) {
            let outcome = joined.ask_for(&connection, some, deadline);
            outcome.map_err(|failure| Patience::at_once().error(failure, agreed))?;
        }
        objects.retain(|object| !joined.refused.contains(object));
        // Any other thread that uses the connection, or forks, finds what it lacks.
        self.references.lack(joined.refused, serial);
        self.references.has_own(joined.ended);
        Ok((Arc::new(connection), objects))
    }

    /// Requests those references to these objects again that a connection was refused before.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Refused`] if one is refused again. Then its object should not be used.
    #[inline]
    pub(super) fn regain(
        &self,
        connection: &Connection,
        objects: impl IntoIterator<Item = ObjectId>,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        if self.references.is_lacking() {
            for object in objects {
                if self.references.claim_lacking(object, connection.serial) {
                    let answer = connection.call(&manager_call(ManagerOp::Attach(vec![object])), deadline);
                    self.has_asked_again(connection, object, answer)?;
                }
            }
        }
        Ok(())
    }

    /// Records the answer to the request of a reference that was refused before.
    ///
    /// # Errors
    /// As for [`regain`](Self::regain).
    pub(super) fn has_asked_again(
        &self,
        connection: &Connection,
        object: ObjectId,
        answer: Result<Answer<Payload>, Failure>,
    ) -> Result<(), Failure> {
        let failure = match answer {
            // If it has ended, the call itself says so.
            Ok(Ok(_)) => {
                self.references.has_regained(object, connection.serial, false);
                return Ok(());
            }
            // The call itself says so.
            Ok(Err(Fault::UnknownObject)) => {
                self.references.has_regained(object, connection.serial, true);
                return Ok(());
            }
            Ok(Err(fault)) => Failure::Refused(fault),
            Err(failure) => failure,
        };
        self.references.lack([object], connection.serial);
        Err(failure)
    }

    /// Ends an earlier connection of this process to the same manager, if the server does not know yet that it is broken. Only
    /// between hosts can it know later than this side.
    pub(super) fn succeed(&self, connection: &Connection) {
        if !connection.is_remote() {
            return;
        }
        let random = || Some(u128::from_le_bytes(*nonce().ok()?.first_chunk()?));
        // Without random numbers, the server finds out by itself.
        if let Some(session) = *self.session.get_or_init(random) {
            let succeed = ManagerOp::Succeed { session, serial: connection.serial };
            connection.notice(thread_number(), ObjectId::MANAGER, Op::Manager(succeed));
        }
    }

    /// Finds out, without a call, whether the connection has ended.
    pub(super) fn look(&self) {
        let connection = match &self.lock().state {
            State::Connected(connection) => Arc::clone(connection),
            _ => return,
        };
        connection.check();
        self.part_from(&connection);
    }

    /// Forgets a connection that has ended, so that the socket is closed, and reports what was held over it as lost.
    pub(super) fn part_from(&self, connection: &Connection) {
        if connection.is_usable() {
            return;
        }
        let mut link = self.lock();
        let is_it = matches!(&link.state, State::Connected(present) if present.serial == connection.serial);
        let broken = is_it.then(|| std::mem::replace(&mut link.state, State::Apart));
        drop(link);
        drop(broken);
        self.grants.lose(connection.serial);
    }

    /// Releases one reference to each of these objects.
    pub(super) fn give_back(&self, connection: Option<&Connection>, objects: Vec<ObjectId>, lingers: bool) {
        if let Some(connection) = connection
            && !objects.is_empty()
        {
            let references = objects.into_iter().map(|object| (object, 1)).collect();
            let detach = ManagerOp::Detach { references, lingers };
            connection.notice(thread_number(), ObjectId::MANAGER, Op::Manager(detach));
        }
    }
}

/// Which references a new connection has requested and does not have.
#[derive(Default)]
struct Joined {
    /// The objects that had ended.
    ended: Vec<ObjectId>,
    /// Those whose references were refused for another reason.
    refused: HashSet<ObjectId>,
}

impl Joined {
    /// Requests references, and notes which it does not get. Objects that have ended have none: their proxies return an error
    /// when they are next used.
    fn ask_for(
        &mut self,
        connection: &Connection,
        objects: &[ObjectId],
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let together = connection.call(&manager_call(ManagerOp::Attach(objects.to_vec())), deadline)?;
        if together.is_ok() {
            return Ok(());
        }
        let attach = |object: &ObjectId| Op::Manager(ManagerOp::Attach(vec![*object]));
        let one = |object| Step { object: ObjectId::MANAGER, op: attach(object) };
        let steps: Vec<Step<Raw<'_>>> = objects.iter().map(one).collect();
        let answers = connection.pipeline(thread_number(), &steps, deadline)?;
        for (object, answer) in objects.iter().zip(answers) {
            match answer {
                Ok(_) => {}
                Err(Fault::UnknownObject) => self.ended.push(*object),
                Err(_) => drop(self.refused.insert(*object)),
            }
        }
        Ok(())
    }
}

/// Returns a call of the manager itself that does not wait.
pub(super) fn manager_call(op: ManagerOp<Raw<'_>>) -> Call<Raw<'_>> {
    Call { object: ObjectId::MANAGER, thread: thread_number(), wait: Wait::No, op: Op::Manager(op) }
}

impl From<ConnectError> for CallError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Unauthorised | ConnectError::OtherUser | ConnectError::KeyTooShort { .. } => {
                Self::Unauthorised
            }
            ConnectError::Protocol => Self::Protocol,
            ConnectError::NoCommonVersion { ours, theirs } => Self::NoCommonVersion { ours, theirs },
            ConnectError::Refused(Fault::Ending) => Self::ServerGone,
            ConnectError::Refused(fault) => Self::Fault(fault),
            ConnectError::System(error) if is_of_network(Errno::from_raw_os_error(error.raw_os_error())) => {
                Self::ServerGone
            }
            ConnectError::System(error) => Self::System(error),
            ConnectError::TooMany => Self::System(OsError::from(std::io::Error::from_raw_os_error(EMFILE))),
            // A server accepted this key before. Whoever answers now, if anybody does, is not that server.
            ConnectError::Rejected
            | ConnectError::NoVirtualHost
            | ConnectError::UnknownAuthority
            | ConnectError::OtherHost
            | ConnectError::BadCertificate
            | ConnectError::NoAuthorities
            | ConnectError::AuthoritiesUnread(_)
            | ConnectError::NotFound
            | ConnectError::UnknownHost
            | ConnectError::BadAddress
            | ConnectError::TimedOut
            | ConnectError::Closed => Self::ServerGone,
        }
    }
}

/// It is the same on every architecture of Linux.
const EMFILE: i32 = 24;
