//! One connection, shared by all threads of a process.
//!
//! A call is registered, written and waited for. If no other thread reads, a waiting thread reads for all: see
//! [`Calls`] for how that role passes on. Only one thread writes at a time; the others put their frames into the
//! outbox, which the writer empties before it leaves. No thread sleeps with the lock held. The reader sleeps for a
//! slice, and after that until something arrives, or until a thread leaves a rest that the socket did not accept: see
//! [`Alarm`].
//!
//! **Writing never waits for reading.** A server whose answers are not read may stop reading. So a writer that finds
//! the socket full also reads, or makes sure that another thread does.
//!
//! **Reading is adaptive** (see [`mp_sys::adaptive`]): each frame names the CPU on which its sender ran.

mod acknowledging;
mod handing_over;
mod pipeline;
mod reading;
#[cfg(feature = "tokio")]
mod tasks;
mod waiting;
mod writing;

#[cfg(feature = "tokio")]
pub(super) use self::tasks::{Request, Turn};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mp_sys::adaptive::Budget;
use mp_sys::deadline::Deadline;
use mp_sys::handshake::Agreed;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use self::acknowledging::taken_bytes;
pub(super) use self::pipeline::{CALLS_MAX, Run};
use self::reading::Received;
use super::alarm::Alarm;
use super::answer::{Undo, Unreadable};
use super::calls::{Calls, End};
use crate::proto::{Answer, Call, Fault, ObjectId, Op, Payload, Raw, Step, Travels};
use crate::transport::Channel;
use crate::wire::encode;
use crate::wire::frame::FrameKind;
use crate::wire::kept;
use crate::wire::pieces::Pieces;

/// The most bytes that may wait to be written when a notice is added. A server that has not read that much is of no
/// use.
const OUTBOX_BYTES_MAX: usize = 256 << 20;

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server is gone, and cannot have read the call, which was not completely written.
    NotSent,
    /// The time was over before the first byte could be written.
    NotBegun,
    /// The connection ended before the answer arrived.
    Unknown,
    /// The time was over before the answer arrived, and the call was given up.
    Late,
    /// The received bytes cannot be understood.
    Unreadable(Unreadable),
    /// The server does not know an operation that this version of the protocol introduced. Nothing was sent.
    NeedsVersion(u16),
    /// The call cannot be sent.
    Refused(Fault),
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        match end {
            End::Gone => Self::Unknown,
            End::Unreadable(error) => Self::Unreadable(error),
        }
    }
}

/// A call that is about to be sent.
#[derive(Debug, Clone, Copy)]
struct Begun {
    number: u64,
    thread: u64,
    undo: Undo,
}

/// A connection to a manager.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Channel,
    /// The connection's number in this process.
    pub(super) serial: u64,
    /// The version of the protocol that both sides use.
    pub(super) agreed: Agreed,
    calls: Mutex<Calls>,
    next_call: AtomicU64,
    /// The number of answers that were read. Only the reader stores it.
    read: AtomicU64,
    /// The first answer that has effects and that its task has not taken, or that belongs to a pipeline which has not ended:
    /// the server must not count it as read.
    untaken: AtomicU64,
    /// How many of them the server knows of, or will know of from a frame that will be written.
    announced: AtomicU64,
    /// The bytes of all items that came with answers.
    taken: AtomicU64,
    /// How many of those came with answers that the server knows to be read, or will know from a frame that will be written.
    told: AtomicU64,
    /// Whether the connection can still be written to.
    is_usable: AtomicBool,
    /// The CPU from which the newest frame came, plus one; 0 if unknown, or of another host.
    peer_cpu: AtomicU32,
    budget: Budget,
    alarm: Alarm,
}

impl Connection {
    pub(super) fn new(stream: Channel, agreed: Agreed, serial: u64) -> Self {
        Self {
            stream,
            serial,
            agreed,
            calls: Mutex::new(Calls::new()),
            next_call: AtomicU64::new(1),
            read: AtomicU64::new(0),
            untaken: AtomicU64::new(u64::MAX),
            announced: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            told: AtomicU64::new(0),
            is_usable: AtomicBool::new(true),
            peer_cpu: AtomicU32::new(0),
            budget: Budget::new(),
            alarm: Alarm::default(),
        }
    }

    /// Returns `true` if another call may succeed.
    pub(super) fn is_usable(&self) -> bool {
        self.is_usable.load(Ordering::Relaxed)
    }

    /// Asks the operating system whether the other side has closed the connection. Then no other call can succeed.
    /// Answers that have already arrived can still be read.
    pub(super) fn check(&self) {
        if self.is_usable() && self.stream.file().is_ok_and(has_hung_up) {
            self.is_usable.store(false, Ordering::Relaxed);
        }
    }

    /// Ends the connection as the death of this process would.
    pub(super) fn sever(&self) {
        if let Ok(file) = self.stream.file() {
            let ended = rustix::net::shutdown(file, rustix::net::Shutdown::Both);
            tracing::debug!(?ended, "severing a connection");
        }
    }

    /// Runs one operation.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn call(&self, call: &Call<Raw<'_>>, deadline: Deadline) -> Result<Answer<Payload>, Failure> {
        let number = self.next_call();
        self.exchange(FrameKind::Call, number, call, deadline, (call.thread, Undo::of(call.object, &call.op)))
    }

    /// Runs several operations as one; `body` contains them.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn transaction(
        &self,
        steps: &Vec<Step<Raw<'_>>>,
        deadline: Deadline,
    ) -> Result<Answer<Payload>, Failure> {
        self.exchange(FrameKind::Transaction, self.next_call(), steps, deadline, (0, Undo::Items))
    }

    #[inline]
    fn exchange(
        &self,
        kind: FrameKind,
        number: u64,
        body: &(impl Serialize + Travels),
        deadline: Deadline,
        (thread, undo): (u64, Undo),
    ) -> Result<Answer<Payload>, Failure> {
        self.check_version(body.since())?;
        self.post(kind, number, (body, body.long()), deadline, (thread, undo))?;
        let Received { answer, is_last } = self.wait(number, deadline)?;
        self.acknowledge(taken_bytes(undo, &answer), number..=number, is_last, deadline);
        Ok(answer)
    }

    /// Sends one frame, whose answer has to be waited for. A `long` value in its body is not copied.
    #[inline]
    fn post(
        &self,
        kind: FrameKind,
        number: u64,
        (body, long): (&impl Serialize, &[u8]),
        deadline: Deadline,
        (thread, undo): (u64, Undo),
    ) -> Result<(), Failure> {
        let mut buffer = kept::buffer();
        let encoded = encode::frame_around(&mut buffer, kind, (number, 0), (body, long));
        let sent = encoded.map_err(Failure::Refused).and_then(|place| {
            let calls = self.lock();
            // Under the lock: see `acknowledging`.
            let report = self.report();
            encode::enter_read(&mut buffer, report.read);
            let frame = Pieces::around(&buffer, long, place);
            self.send(calls, frame, Begun { number, thread, undo }, deadline).map(|()| self.has_told(report))
        });
        kept::keep(buffer);
        sent
    }

    /// Checks that the server knows what is about to be sent, which this version of the protocol introduced.
    ///
    /// # Errors
    /// [`Failure::NeedsVersion`].
    #[inline]
    fn check_version(&self, since: u16) -> Result<(), Failure> {
        if since <= self.agreed.version { Ok(()) } else { Err(Failure::NeedsVersion(since)) }
    }

    /// Sends an operation without waiting for its answer. Never waits.
    pub(super) fn notice(&self, thread: u64, object: ObjectId, op: Op<Raw<'_>>) {
        if let Err(failure) = self.check_version(op.since()) {
            tracing::debug!(?failure, "a notice is not sent");
            return;
        }
        let report = self.report();
        let mut calls = self.lock();
        if calls.ended().is_some() {
            return;
        }
        if calls.outbox.len() > OUTBOX_BYTES_MAX {
            self.end(calls, End::Gone);
            return;
        }
        calls.notice((self.next_call(), report.read), thread, object, op);
        drop(calls);
        self.has_told(report);
        self.flush();
    }

    /// Returns `true` if the server is on another host.
    pub(super) fn is_remote(&self) -> bool {
        self.stream.is_remote()
    }

    /// Returns how many bytes wait to be written.
    #[cfg(test)]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.lock().outbox.len()
    }

    /// Returns how many answers the server knows to be read, or will know of from a frame that waits to be written.
    #[cfg(test)]
    pub(super) fn announced(&self) -> u64 {
        self.announced.load(Ordering::Relaxed)
    }

    /// Ends all calls, as a thread does that gives up one call too many, before it says so of the connection.
    #[cfg(test)]
    pub(super) fn end_calls(&self) {
        self.lock().end(End::Gone);
    }

    /// Returns `true` if the reader sleeps until something arrives.
    #[cfg(test)]
    pub(super) fn is_asleep(&self) -> bool {
        self.lock().is_asleep
    }

    fn next_call(&self) -> u64 {
        self.next_call.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the lock. There are no tasks to wake.
    #[cfg(not(feature = "tokio"))]
    fn release(&self, calls: MutexGuard<'_, Calls>) {
        self.hold_back(&calls);
        drop(calls);
    }

    /// Publishes which answers do not count as read.
    fn hold_back(&self, calls: &Calls) {
        self.untaken.store(calls.first_untaken(), Ordering::Release);
    }

    fn end(&self, mut calls: MutexGuard<'_, Calls>, end: End) {
        self.is_usable.store(false, Ordering::Relaxed);
        calls.end(end);
        self.release(calls);
        // A sleeping reader notices the end.
        self.sever();
    }
}

/// Returns `true` if the other side has closed the connection.
fn has_hung_up(file: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(file, PollFlags::RDHUP)];
    // If the question fails, for a signal or for want of memory, nothing is known.
    let answered = poll(&mut asked, Some(&Timespec::default()));
    answered.is_ok()
        && asked.iter().any(|asked| asked.revents().intersects(PollFlags::RDHUP | PollFlags::HUP))
}
