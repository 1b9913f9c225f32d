//! The pending calls of a connection, as its lock protects them, and how the role of the reader passes on.
//!
//! No thread is dedicated to reading. One of the waiting threads has the [`Inbox`] and reads for all; the others are
//! parked.
//!
//! # Why no thread sleeps although its answer has arrived
//! A thread that waits for an answer is either *due* or *parked*. A due thread will take the lock again before it
//! sleeps: it has just begun, or it was woken and has not looked yet, or it has the inbox. A parked thread is recorded
//! in its [`Slot`]. A thread parks only after it has seen, under the lock, that it has no answer, that the connection
//! has not ended, and that another thread has the inbox.
//!
//! 1. *An answer wakes its owner.* The thread that enters an answer takes the owner's thread out of the slot, under the
//!    lock, and unparks it when it has released the lock, before it does anything that waits. If the unpark comes before
//!    the park, the park returns at once.
//! 2. *The inbox is handed on.* If the inbox lies here and some thread waits, then at least one waiting thread is due.
//!    This holds at the beginning, since a thread that starts to wait is due. The inbox is put back only by
//!    [`Calls::give_back`], which wakes a parked thread if there is one, unless another one was woken and has not looked
//!    yet, and so is due. A due thread that takes the lock takes the inbox, unless it leaves. A thread that leaves (with
//!    its answer, or because its time is over) calls [`Calls::hand_on`] under the same lock, so a wake-up that it received
//!    is not lost.
//! 3. *The end reaches all threads.* [`Calls::end`] wakes every thread, and no thread parks after it.
//!
//! A batch of answers wakes many threads. Each of them may soon ask again and then read, so waking another one only to read
//! would cost a switch for nothing: that is why a thread that is due suffices.
//!
//! A writer that finds the socket full also takes the inbox, if it lies here, and puts it back in the same way.

mod outbox;
mod runs;
#[cfg(feature = "tokio")]
mod tasks;

use std::thread::{self, Thread};

use bytes::Bytes;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use serde::Serialize;

use self::runs::Run;
#[cfg(feature = "tokio")]
pub(super) use self::tasks::{Found, Tasks, UNTAKEN_ANSWERS_MAX};
use super::answer::Unreadable::{self, Malformed};
use super::answer::{Notice, Undo, decode};
use super::inbox::Inbox;
use crate::proto::{Call, ObjectId, Op, Payload, Raw, Reply, Wait};
use crate::wire::control::Control;
use crate::wire::encode;
use crate::wire::frame::{FrameKind, Head};

/// The most calls of one connection that were given up and not answered yet. A server that leaves that many unanswered
/// is of no use.
pub(super) const ABANDONED_MAX: usize = 16_384;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server closed it or died.
    Gone,
    /// The server sent something that cannot be understood.
    Unreadable(Unreadable),
}

/// The body of an answer for a thread that did not read it itself.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) kind: FrameKind,
    pub(super) body: Bytes,
}

#[derive(Debug)]
enum Progress {
    Waiting,
    Arrived(Arrived),
    /// The caller has given up.
    Abandoned,
}

/// One pending call.
#[derive(Debug)]
struct Slot {
    progress: Progress,
    /// The thread that is parked until the answer arrives.
    parked: Option<Thread>,
    /// Whether the thread was woken and has not looked yet.
    is_due: bool,
    undo: Undo,
    thread: u64,
}

/// The thread that reads next, if it has to be woken: after the lock is released, so that the thread does not wait for it.
#[derive(Debug)]
#[must_use = "a thread that is not woken never reads"]
pub(super) struct Next(Option<Thread>);

impl Next {
    pub(super) fn wake(self) {
        if let Some(thread) = self.0 {
            thread.unpark();
        }
    }
}

/// The state that the lock of a connection protects.
#[derive(Debug)]
pub(super) struct Calls {
    slots: HashMap<u64, Slot>,
    /// The calls of pipelines.
    runs: Vec<Run>,
    #[cfg(feature = "tokio")]
    pub(super) tasks: Tasks,
    /// The calls of parked threads. A run has the number of its first call.
    parked: Vec<u64>,
    /// The number of threads that were woken and have not looked yet.
    due: usize,
    /// Threads whose answers have arrived. They have to be unparked.
    woken: Vec<Thread>,
    /// The inbox, if no thread is reading.
    inbox: Option<Box<Inbox>>,
    abandoned: usize,
    ended: Option<End>,
    /// Whether a thread is writing.
    pub(super) is_writing: bool,
    /// The bytes to write before anything else.
    pub(super) outbox: Vec<u8>,
    /// How often a writer has taken what was in the outbox, and how many of these times all of it is written.
    taken_out: u64,
    written_out: u64,
    /// Whether the reader sleeps until something arrives or the bell rings.
    pub(super) is_asleep: bool,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self {
            slots: HashMap::new(),
            runs: Vec::new(),
            #[cfg(feature = "tokio")]
            tasks: Tasks::default(),
            parked: Vec::new(),
            due: 0,
            woken: Vec::new(),
            inbox: Some(Box::default()),
            abandoned: 0,
            ended: None,
            is_writing: false,
            outbox: Vec::new(),
            taken_out: 0,
            written_out: 0,
            is_asleep: false,
        }
    }

    pub(super) const fn ended(&self) -> Option<End> {
        self.ended
    }

    /// Returns `true` if nothing can be answered before the next call is sent, and all answers were taken.
    pub(super) fn is_idle(&self) -> bool {
        #[cfg(feature = "tokio")]
        if !self.tasks.is_idle() {
            return false;
        }
        self.slots.is_empty() && self.runs.is_empty()
    }

    /// Registers a call that is about to be written.
    pub(super) fn begin(&mut self, call: u64, thread: u64, undo: Undo) {
        self.slots
            .insert(call, Slot { progress: Progress::Waiting, parked: None, is_due: false, undo, thread });
    }

    /// Removes a call that is over, and returns its answer if it has arrived.
    pub(super) fn take_answer(&mut self, call: u64) -> Option<Arrived> {
        let Entry::Occupied(slot) = self.slots.entry(call) else { return None };
        if !matches!(slot.get().progress, Progress::Arrived(_)) {
            return None;
        }
        match slot.remove().progress {
            Progress::Arrived(arrived) => Some(arrived),
            _ => None,
        }
    }

    /// Removes a call that was answered by other means, or will never be answered.
    pub(super) fn forget(&mut self, call: u64) {
        self.slots.remove(&call);
    }

    /// Records that the calling thread is about to park until this call is answered.
    pub(super) fn park(&mut self, call: u64) {
        if let Some(slot) = self.slots.get_mut(&call) {
            slot.parked = Some(thread::current());
            self.parked.push(call);
        }
    }

    /// Records that the calling thread is awake again.
    pub(super) fn unparked(&mut self, call: u64) {
        let Some(slot) = self.slots.get_mut(&call) else { return };
        slot.parked = None;
        if std::mem::take(&mut slot.is_due) {
            self.due = self.due.saturating_sub(1);
        }
        self.parked.retain(|parked| *parked != call);
    }

    /// Gives the inbox to the caller if no other thread is reading.
    pub(super) const fn take_inbox(&mut self) -> Option<Box<Inbox>> {
        self.inbox.take()
    }

    /// Takes the inbox back from a caller that stops reading. Returns the next reader, as [`hand_on`](Self::hand_on) does.
    pub(super) fn give_back(&mut self, inbox: Box<Inbox>) -> Next {
        self.inbox = Some(inbox);
        #[cfg(feature = "tokio")]
        self.tasks.may_read();
        self.hand_on()
    }

    /// Returns a thread to wake, so that it reads, if no thread is reading and none is due.
    pub(super) fn hand_on(&mut self) -> Next {
        while self.inbox.is_some()
            && self.due == 0
            && let Some(call) = self.parked.pop()
        {
            // Otherwise the thread was already woken, for its answer.
            if let Some(thread) = self.wake(call) {
                return Next(Some(thread));
            }
        }
        Next(None)
    }

    /// Takes the thread that is parked for a call, and counts it as due.
    fn wake(&mut self, call: u64) -> Option<Thread> {
        let (parked, is_due) = match self.slots.get_mut(&call) {
            Some(slot) => (&mut slot.parked, &mut slot.is_due),
            None => self.runs.iter_mut().find(|run| run.is(call))?.sleeper(),
        };
        let thread = parked.take()?;
        *is_due = true;
        self.due = self.due.saturating_add(1);
        Some(thread)
    }

    /// Exchanges the list of threads that have to be unparked for an empty one. The caller unparks them when it has
    /// released the lock.
    pub(super) fn swap_woken(&mut self, empty: &mut Vec<Thread>) {
        std::mem::swap(&mut self.woken, empty);
    }

    /// Gives up a call. `numbers` are those of the notice that cancels it at the server.
    pub(super) fn abandon(&mut self, call: u64, numbers: (u64, u64)) {
        let Some(slot) = self.slots.get_mut(&call) else { return };
        slot.parked = None;
        if let Progress::Arrived(arrived) = std::mem::replace(&mut slot.progress, Progress::Abandoned) {
            // For a call of a pipeline that was already answered. The reader has let in only answers that can be
            // decoded.
            let (undo, thread) = (slot.undo, slot.thread);
            self.slots.remove(&call);
            let _undone = self.undo(&arrived, undo, thread, numbers, call);
            return;
        }
        self.abandoned = self.abandoned.saturating_add(1);
        if self.abandoned > ABANDONED_MAX {
            self.end(End::Gone);
        } else {
            self.control(numbers, 0, Control::Cancel { call });
        }
    }

    /// Undoes an answer whose caller gave up. Returns `true` if that put a notice into the outbox.
    fn undo(
        &mut self,
        arrived: &Arrived,
        undo: Undo,
        thread: u64,
        numbers: (u64, u64),
        call: u64,
    ) -> Result<bool, Unreadable> {
        let Ok(reply) = decode(arrived.kind, &arrived.body, &arrived.body)? else { return Ok(false) };
        Ok(self.undo_reply(&reply, undo, thread, numbers, call))
    }

    fn undo_reply(
        &mut self,
        reply: &Reply<Payload>,
        undo: Undo,
        thread: u64,
        numbers: (u64, u64),
        call: u64,
    ) -> bool {
        let notices = undo.notices(call, reply);
        let has_notices = !notices.is_empty();
        notices.into_iter().for_each(|notice| match notice {
            Notice::Op(object, op) => self.notice(numbers, thread, object, op),
            Notice::Control(control) => self.control(numbers, thread, control),
        });
        has_notices
    }

    /// Enters an answer; `read` is the number of earlier ones. Returns `true` if it has to be undone, by a notice that
    /// is now in the outbox.
    ///
    /// # Errors
    /// [`Malformed`] if there is no such call.
    pub(super) fn deliver(&mut self, head: Head, body: Bytes, read: u64) -> Result<bool, Unreadable> {
        let Entry::Occupied(mut slot) = self.slots.entry(head.call) else {
            #[cfg(feature = "tokio")]
            if self.tasks.expects(head.call) {
                return self
                    .deliver_to_task(head.call, Arrived { kind: head.kind, body }, read)
                    .map(|()| false);
            }
            return self.deliver_to_run(head.call, Arrived { kind: head.kind, body }, read).map(|()| false);
        };
        match slot.get().progress {
            Progress::Waiting => {
                slot.get_mut().progress = Progress::Arrived(Arrived { kind: head.kind, body });
                let woken = self.wake(head.call);
                self.woken.extend(woken);
                Ok(false)
            }
            // The call was answered twice.
            Progress::Arrived(_) => Err(Malformed),
            Progress::Abandoned => {
                let Slot { undo, thread, .. } = slot.remove();
                self.abandoned = self.abandoned.saturating_sub(1);
                let read = read.min(self.first_untaken());
                // The server must receive this before it counts the answer as read.
                self.undo(&Arrived { kind: head.kind, body }, undo, thread, (head.call, read), head.call)
            }
        }
    }

    /// Returns the number of the first answer that the server must not count as read.
    pub(super) fn first_untaken(&self) -> u64 {
        let of_runs = self.runs.iter().filter_map(Run::held_back).fold(u64::MAX, u64::min);
        #[cfg(feature = "tokio")]
        let of_runs = of_runs.min(self.tasks.first_untaken());
        of_runs
    }

    /// Puts a notice into the outbox.
    pub(super) fn notice(&mut self, numbers: (u64, u64), thread: u64, object: ObjectId, op: Op<Raw<'_>>) {
        self.put(numbers, &Call { object, thread, wait: Wait::No, op });
    }

    /// Puts a notice about the client's own calls into the outbox.
    pub(super) fn control(&mut self, numbers: (u64, u64), thread: u64, control: Control) {
        self.put(numbers, &control.sent_by(thread));
    }

    fn put(&mut self, numbers: (u64, u64), body: &impl Serialize) {
        if let Err(error) = encode::frame(&mut self.outbox, FrameKind::Notice, numbers, body) {
            // The notice lists the references of one value, and is shorter than the value.
            tracing::error!(%error, "a notice could not be encoded");
        }
    }

    /// Ends all calls: no more answers will arrive. Wakes every thread.
    pub(super) fn end(&mut self, end: End) {
        self.ended = self.ended.or(Some(end));
        self.parked.clear();
        self.outbox = Vec::new();
        self.slots.retain(|_, slot| {
            if let Some(thread) = slot.parked.take() {
                thread.unpark();
            }
            !matches!(slot.progress, Progress::Abandoned)
        });
        self.runs.iter_mut().for_each(Run::end);
        #[cfg(feature = "tokio")]
        self.tasks.end();
    }
}

#[cfg(test)]
mod tests;
