//! What tasks of an async runtime do with a connection: they never wait in the thread that polls them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::MutexGuard;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;
use rustix::event::epoll;
use tokio::runtime::Id;
use tokio::task::AbortHandle;

use super::acknowledging::taken_bytes;
use super::reading::{Look, Nobody};
use super::{Begun, Connection, Failure};
use crate::backend::Change;
use crate::client::answer::{Undo, Unreadable, decode};
use crate::client::calls::{Calls, End, Found, UNTAKEN_ANSWERS_MAX};
use crate::client::inbox::Inbox;
use crate::proto::{Answer, Payload};
use crate::wire::encode;

/// How many bytes may wait to be written when a task adds its frame.
const TASKS_OUTBOX_BYTES_MAX: usize = 256 << 10;
/// How often a driver reads in one turn.
const READS_AT_ONCE: usize = 16;

/// An encoded call of a task, which may be sent more than once.
#[derive(Debug)]
pub(in crate::client) struct Request {
    /// The frame, with any numbers.
    pub(in crate::client) frame: Vec<u8>,
    /// The version of the protocol that introduced its operation.
    pub(in crate::client) since: u16,
    pub(in crate::client) thread: u64,
    pub(in crate::client) undo: Undo,
    /// Counted from the moment before the call is sent, also the second time.
    pub(in crate::client) change: Change,
}

/// The outcome of a driver's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum Turn {
    /// Nothing is left to read now.
    Drained,
    /// There may be more.
    More,
    /// A thread is reading.
    Blocked,
    /// The connection has ended.
    Ended,
}

enum Sending {
    Sent,
    Full,
    NotSent,
}

impl Connection {
    /// Releases the lock, and then wakes the tasks whose waits are over.
    pub(super) fn release(&self, mut calls: MutexGuard<'_, Calls>) {
        self.hold_back(&calls);
        let woken = calls.tasks.take_woken();
        drop(calls);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Lets the drivers read what the stream keeps, of which the socket knows nothing.
    pub(super) fn leave_more(&self, calls: &mut Calls) {
        if self.stream.has_more() {
            calls.tasks.block_all();
        }
    }

    /// Gives back answers that no task has taken for too long. Returns `true` if that put a notice into the outbox.
    pub(super) fn return_untaken(&self) -> Result<bool, Unreadable> {
        let is_late = || {
            let untaken = self.untaken.load(Ordering::Relaxed);
            self.read.load(Ordering::Relaxed).saturating_sub(untaken) > UNTAKEN_ANSWERS_MAX
        };
        let mut has_notices = false;
        while is_late() {
            let mut calls = self.lock();
            let untaken = calls.tasks.first_untaken();
            if self.read.load(Ordering::Relaxed).saturating_sub(untaken) <= UNTAKEN_ANSWERS_MAX {
                // A pipeline that has not ended holds back more.
                break;
            }
            has_notices |= calls.return_oldest()?;
            self.hold_back(&calls);
        }
        Ok(has_notices)
    }

    /// Lets the tasks go on that wait for room in the outbox, which is empty.
    pub(super) fn let_tasks_write(&self, mut calls: MutexGuard<'_, Calls>) {
        calls.tasks.has_room();
        self.release(calls);
    }

    /// Begins a call of a task.
    ///
    /// # Errors
    /// [`Failure::NeedsVersion`].
    pub(in crate::client) fn begin<'a>(&'a self, request: &'a mut Request) -> Result<Asked<'a>, Failure> {
        if request.since > self.agreed.version {
            return Err(Failure::NeedsVersion(request.since));
        }
        let number = self.next_call();
        Ok(Asked { connection: self, request, number, made_in: Epoch::current(), progress: Progress::Unsent })
    }

    /// Writes the frame of a call as far as the socket accepts it, and leaves the rest in the outbox.
    fn send_for_task(&self, request: &mut Request, number: u64, waker: &Waker) -> Sending {
        request.change = request.change.sent_now();
        let Request { frame, thread, undo, .. } = request;
        let mut calls = self.lock();
        // Under the lock: see `acknowledging`.
        let report = self.report();
        encode::renumber(frame, (number, report.read));
        if calls.ended().is_some() || !self.is_usable() {
            self.is_usable.store(false, Ordering::Relaxed);
            return Sending::NotSent;
        }
        if calls.outbox.len() > TASKS_OUTBOX_BYTES_MAX {
            calls.tasks.wait_for_room(number, waker);
            return Sending::Full;
        }
        let Begun { number, thread, undo } = Begun { number, thread: *thread, undo: *undo };
        calls.tasks.begin(number, thread, undo);
        if calls.is_writing || !calls.outbox.is_empty() {
            calls.outbox.extend_from_slice(frame);
            drop(calls);
            self.has_told(report);
            self.flush();
            return Sending::Sent;
        }
        calls.is_writing = true;
        drop(calls);
        let written = self.write((&**frame).into(), None, &mut Nobody);
        self.stop_writing(frame.get(written..).unwrap_or_default().into());
        if written < frame.len() && !self.is_usable() {
            // An incomplete frame was not understood.
            self.lock().tasks.forget(number);
            return Sending::NotSent;
        }
        self.has_told(report);
        Sending::Sent
    }

    /// Returns the answer to a call of a task, or `None` if the call has to be sent again.
    fn poll_answer(
        &self,
        (number, undo): (u64, Undo),
        context: &Context<'_>,
    ) -> Poll<Result<Option<Answer<Payload>>, Failure>> {
        let mut calls = self.lock();
        match calls.tasks.take(number, context.waker()) {
            Some(Found::Answer(arrived)) => {
                let is_last = calls.is_idle();
                self.release(calls);
                let answer = decode(arrived.kind, &arrived.body, &arrived.body);
                if let Ok(answer) = &answer {
                    // A task waits for nothing here: see `acknowledging`.
                    let now = Deadline::after(Duration::ZERO);
                    self.acknowledge(taken_bytes(undo, answer), number..=number, is_last, now);
                }
                Poll::Ready(answer.map(Some).map_err(|error| self.end_unreadable(error)))
            }
            Some(Found::Returned) => Poll::Ready(Ok(None)),
            None => match calls.ended() {
                None => Poll::Pending,
                Some(end) => {
                    calls.tasks.forget(number);
                    Poll::Ready(Err(end.into()))
                }
            },
        }
    }

    /// Gives up a call of a task: cancels it at the server, and undoes its answer.
    fn leave_task(&self, number: u64) {
        let mut calls = self.lock();
        calls.abandon_task(number, (self.next_call(), self.report().read));
        self.left(calls);
    }

    /// Reads and writes for all tasks, without waiting. `epoll` is what the driver with this key waits for.
    pub(in crate::client) fn turn(&self, key: u64, epoll: impl AsFd, waker: &Waker) -> Turn {
        let mut calls = self.lock();
        if calls.ended().is_some() {
            return Turn::Ended;
        }
        calls.tasks.drive(key, waker);
        let turn = if let Some(mut inbox) = calls.take_inbox() {
            drop(calls);
            let turn = self.read_at_once(&mut inbox);
            let mut calls = self.lock();
            let next = calls.give_back(inbox);
            match turn {
                Ok(_) => self.release(calls),
                Err(end) => self.end(calls, end),
            }
            next.wake();
            turn.unwrap_or(Turn::Ended)
        } else {
            calls.tasks.block(key);
            drop(calls);
            Turn::Blocked
        };
        self.flush();
        self.wait_for_room_if_needed(key, epoll);
        turn
    }

    /// Reads what is there, for a bounded time.
    fn read_at_once(&self, inbox: &mut Inbox) -> Result<Turn, End> {
        for _ in 0..READS_AT_ONCE {
            let look = match inbox.room_of_long() {
                Some((body, room)) => match self.look(self.stream.try_read_more(body, room)) {
                    // They are in their place already.
                    Look::Bytes(_) => Look::Bytes(0),
                    other => other,
                },
                None => self.look(self.stream.try_read(inbox.space())),
            };
            match look {
                Look::Bytes(count) => self.process(inbox, count, &mut Nobody).map_err(End::Unreadable)?,
                Look::Nothing => return Ok(Turn::Drained),
                Look::Ended => return Err(End::Gone),
            }
        }
        Ok(Turn::More)
    }

    /// Lets a driver also wait for room in the socket, while something in the outbox needs that.
    fn wait_for_room_if_needed(&self, key: u64, epoll: impl AsFd) {
        let mut calls = self.lock();
        let needs = !calls.outbox.is_empty() && !calls.is_writing;
        if calls.tasks.arm(key, needs)
            && let Ok(file) = self.stream.file()
        {
            // Under the lock, so that two changes do not overtake each other.
            let changed = epoll::modify(epoll, file, epoll::EventData::new_u64(key), interest(needs));
            if let Err(error) = changed {
                tracing::debug!(%error, "a driver does not wait for room");
            }
        }
    }

    /// Returns `true` if a runtime has a driver.
    pub(in crate::client) fn has_driver(&self, runtime: Id) -> bool {
        self.lock().tasks.has_driver(runtime)
    }

    /// Returns the key of the next driver.
    pub(in crate::client) fn driver_key(&self) -> u64 {
        self.lock().tasks.driver_key()
    }

    /// Returns `true` if a driver was added.
    pub(in crate::client) fn knows_driver(&self, key: u64) -> bool {
        self.lock().tasks.knows_driver(key)
    }

    /// Adds the driver of a runtime, and ends it at once if there is one already.
    pub(in crate::client) fn add_driver(&self, key: u64, runtime: Id, task: AbortHandle) {
        self.lock().tasks.add_driver(key, runtime, task);
    }

    /// Makes the descriptor that a driver waits for: it is readable while there is something to do for the driver. It is no
    /// copy of the socket, which a forked child would keep open.
    ///
    /// # Errors
    /// [`Failure::NotSent`] if the connection has ended, or no descriptor is free.
    pub(in crate::client) fn watch(&self) -> Result<OwnedFd, Failure> {
        let made = self.stream.file().ok().and_then(|file| {
            let epoll = mp_sys::descriptors::epoll().ok()?;
            epoll::add(&epoll, file, epoll::EventData::new_u64(0), interest(false)).ok()?;
            Some(epoll)
        });
        made.ok_or(Failure::NotSent)
    }
}

fn interest(needs_room: bool) -> epoll::EventFlags {
    let read = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
    if needs_room { read | epoll::EventFlags::OUT } else { read }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Unsent,
    Sent,
    Over,
}

/// A call of a task. Dropping it gives the call up.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is polled"]
pub(in crate::client) struct Asked<'a> {
    connection: &'a Connection,
    request: &'a mut Request,
    number: u64,
    made_in: Epoch,
    progress: Progress,
}

impl Future for Asked<'_> {
    type Output = Result<Option<Answer<Payload>>, Failure>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.progress == Progress::Unsent {
            match this.connection.send_for_task(this.request, this.number, context.waker()) {
                Sending::Sent => this.progress = Progress::Sent,
                Sending::Full => return Poll::Pending,
                Sending::NotSent => {
                    this.progress = Progress::Over;
                    return Poll::Ready(Err(Failure::NotSent));
                }
            }
        }
        let outcome = this.connection.poll_answer((this.number, this.request.undo), context);
        if outcome.is_ready() {
            this.progress = Progress::Over;
        }
        outcome
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        // A forked child has only a copy of the call.
        if self.progress != Progress::Over && self.made_in.is_current() {
            self.connection.leave_task(self.number);
        }
    }
}
