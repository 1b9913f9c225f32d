//! Calls that wait in a task of a tokio runtime, over the same connection as the calls of threads.
//!
//! Each runtime in which such a call was polled has a *driver*: a task that reads the answers for all tasks while no
//! thread reads, and writes what the socket did not accept. It does not keep the connection, and ends with it or with
//! the runtime. So no call depends on another one being polled, and dropping one wakes nobody.
//!
//! Connecting again is rare and takes system calls that may wait, so it runs on the runtime's threads for blocking calls.

use std::future::poll_fn;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use mp_sys::asynchronous::{News, RuntimeError, Watched};
use mp_sys::deadline::Deadline;
use tokio::runtime::Handle;

use super::answer::Undo;
use super::connection::{Connection, Failure, Request, Turn};
use super::link::{Local, manager_call};
use super::patience::Patience;
use super::{Remote, fallback, may_be_sent};
use crate::backend::{CallError, Change, Pending};
use crate::proto::{Answer, Call, Fault, ManagerOp, ObjectId, Payload, Raw, Reply, Travels};
use crate::references::References;
use crate::wire::encode;
use crate::wire::frame::FrameKind;

impl Remote {
    /// Encodes a call, and returns the future that runs it.
    pub(super) fn begin(self: Arc<Self>, call: &Call<Raw<'_>>) -> Pending {
        // Its operation says what it does, also if an older one is sent in its place.
        let change = Change::of(call);
        let (older, turn) = fallback::call_for(call, self.target.version).unzip();
        match request_of(older.as_ref().unwrap_or(call), change) {
            Ok(request) => Box::pin(self.run(call.object, request, turn.unwrap_or(fallback::Turn::Nothing))),
            Err(fault) => Box::pin(std::future::ready(Err(fault.into()))),
        }
    }

    /// Sends an operation that releases something, over the connection that has it, and does not wait for an answer.
    pub(super) fn tell(&self, call: Call<Raw<'_>>) {
        let (local, change) = (self.local(), Change::of(&call));
        if !may_be_sent(&local.grants, change) {
            return;
        }
        // Without a connection, it is released already.
        let connection = local.present();
        if let Some(connection) = &connection {
            let older = fallback::call_for(&call, connection.agreed.version);
            let Call { object, thread, op, .. } = older.map_or(call, |(older, _)| older);
            connection.notice(thread, object, op);
        }
        let outcome = connection.as_ref().map(|_| &Reply::Done).ok_or(CallError::ServerGone);
        local.grants.note(change, outcome, connection.as_ref().map_or(0, |connection| connection.serial));
    }

    /// Runs a call over a connection, and over a second one if the first could not send it.
    async fn run(
        self: Arc<Self>,
        object: ObjectId,
        mut request: Request,
        turn: fallback::Turn,
    ) -> Result<Reply<Payload>, CallError> {
        let local = self.local();
        // What was lost cannot be released: see `call_and_note`.
        if !may_be_sent(&local.grants, request.change) {
            return Err(CallError::Fault(Fault::NotOwned));
        }
        let mut outcome = Err(CallError::ServerGone);
        for _ in 0..2 {
            let connection = match self.connected().await {
                Ok(connection) => connection,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            };
            self.ensure_driver(&connection)?;
            let answered = match regain(local, &connection, object).await {
                Ok(()) => converse(&connection, &mut request).await,
                Err(failure) => Err(failure),
            };
            if answered.is_err() {
                local.part_from(&connection);
            }
            match answered {
                Err(Failure::NotSent) => {}
                Err(failure) => {
                    outcome = Err(Patience::at_once().error(failure, connection.agreed));
                    break;
                }
                Ok(answer) => {
                    let answer = turn.answer(answer, local, &connection);
                    let noted = answer.as_ref().map_err(|fault| CallError::Fault(*fault));
                    local.grants.note(request.change, noted, connection.serial);
                    return Ok(answer?);
                }
            }
        }
        local.grants.note(request.change, outcome.as_ref().map_err(|error| *error), 0);
        outcome
    }

    /// Returns the connection, or makes a new one.
    async fn connected(self: &Arc<Self>) -> Result<Arc<Connection>, CallError> {
        if let Some(connection) = self.local().present() {
            return Ok(connection);
        }
        let remote = Arc::clone(self);
        let runtime = Handle::try_current().map_err(|_none| RuntimeError::NoRuntime)?;
        let connecting =
            runtime.spawn_blocking(move || remote.local().connection(&remote.target, Deadline::NEVER));
        // The runtime is ending, and this task with it.
        connecting.await.unwrap_or(Err(CallError::ServerGone))
    }

    /// Starts the driver of this runtime, unless it has one.
    ///
    /// # Errors
    /// [`CallError::Runtime`].
    fn ensure_driver(&self, connection: &Arc<Connection>) -> Result<(), CallError> {
        let runtime = Handle::try_current().map_err(|_none| RuntimeError::NoRuntime)?;
        if connection.has_driver(runtime.id()) {
            return Ok(());
        }
        let Some(driver) = Driver::new(connection)? else { return Ok(()) };
        let key = driver.key;
        let driver = runtime.spawn(driver.run(self.me.clone()));
        connection.add_driver(key, runtime.id(), driver.abort_handle());
        Ok(())
    }
}

/// Encodes a call.
///
/// # Errors
/// [`Fault::TooLarge`].
fn request_of(call: &Call<Raw<'_>>, change: Change) -> Result<Request, Fault> {
    let mut frame = Vec::new();
    encode::frame(&mut frame, FrameKind::Call, (0, 0), call)?;
    let undo = Undo::of(call.object, &call.op);
    Ok(Request { frame, since: call.since(), thread: call.thread, undo, change })
}

/// Requests the reference to an object again, if the connection was refused it before.
async fn regain(local: &Local, connection: &Connection, object: ObjectId) -> Result<(), Failure> {
    if !local.references.is_lacking() || !local.references.claim_lacking(object, connection.serial) {
        return Ok(());
    }
    let mut claim =
        Claim { references: &local.references, object, connection: connection.serial, is_open: true };
    let call = manager_call(ManagerOp::Attach(vec![object]));
    let mut request = request_of(&call, Change::of(&call)).map_err(Failure::Refused)?;
    let answer = converse(connection, &mut request).await;
    claim.is_open = false;
    local.has_asked_again(connection, object, answer)
}

/// A reference that a task requests again. If the task is dropped before it has the answer, that is undone, and the next call
/// of the object requests the reference.
struct Claim<'a> {
    references: &'a References,
    object: ObjectId,
    connection: u64,
    is_open: bool,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.references.lack([self.object], self.connection);
        }
    }
}

/// Runs one call over a connection, as often as its answer is given back.
async fn converse(connection: &Connection, request: &mut Request) -> Result<Answer<Payload>, Failure> {
    loop {
        let asked = connection.begin(request)?;
        if let Some(answer) = pin!(asked).await? {
            return Ok(answer);
        }
    }
}

/// Reads and writes for the calls of the tasks of one runtime.
pub(super) struct Driver {
    connection: Weak<Connection>,
    pub(super) key: u64,
    epoll: OwnedFd,
    news: News,
    _watched: Watched,
}

impl Driver {
    /// Makes one that waits in the caller's runtime. Returns `None` if the connection has ended: the call finds out.
    pub(super) fn new(connection: &Arc<Connection>) -> Result<Option<Self>, RuntimeError> {
        let Ok(epoll) = connection.watch() else { return Ok(None) };
        let watched = Watched::readable();
        let news = watched.register(epoll.as_fd())?;
        let (key, connection) = (connection.driver_key(), Arc::downgrade(connection));
        Ok(Some(Self { connection, key, epoll, news, _watched: watched }))
    }

    pub(super) async fn run(self, remote: Weak<Remote>) {
        poll_fn(|context| self.until_listed(context)).await;
        poll_fn(|context| self.drive(context)).await;
        let connection = self.connection.clone();
        drop(self);
        // Whoever holds a lock learns now that it is lost.
        if let Some((remote, connection)) = remote.upgrade().zip(connection.upgrade()) {
            remote.local().part_from(&connection);
        }
    }

    /// Waits until the connection knows the driver, which may run before its starter has said so. Nobody could wake it before.
    fn until_listed(&self, context: &Context<'_>) -> Poll<()> {
        match self.connection.upgrade() {
            Some(connection) if connection.is_usable() && !connection.knows_driver(self.key) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Reads and writes until nothing is left to do, and then waits. Ends with the connection.
    fn drive(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            // Before the socket is read, so that what arrives after that is noticed.
            let is_news = self.news.poll(context);
            let Some(connection) = self.connection.upgrade() else { return Poll::Ready(()) };
            match (connection.turn(self.key, &self.epoll, context.waker()), is_news) {
                (Turn::Ended, _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(()),
                // The reader wakes the driver.
                (Turn::Blocked | Turn::Drained, Poll::Pending) => return Poll::Pending,
                // However much arrives, the other tasks of the runtime have their turns.
                (Turn::More, Poll::Pending) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                (Turn::More, _) | (_, Poll::Ready(Ok(()))) => {}
            }
        }
    }
}
