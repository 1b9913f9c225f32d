//! The calls of one connection that are under way, as its lock protects them; and who reads.
//!
//! There is no thread that reads. Of those who wait, one has the [`Inbox`]: it reads for all. The others are parked.
//!
//! # Why nobody waits beside an answer
//! Whoever waits for an answer is *due*, or *parked*. Due is who will take the lock again before it sleeps: it has just begun,
//! or it was woken and has not looked yet, or it has the inbox. Parked is whose thread stands in its [`Slot`]. A thread parks
//! only where it has seen, under the lock, that it has no answer, that the connection has not ended, and that somebody else
//! has the inbox.
//!
//! 1. *An answer wakes its owner.* Whoever enters an answer takes the thread out of the slot, under the lock, and unparks it.
//!    An unpark that comes before the park makes that return at once.
//! 2. *The inbox is handed on.* If it lies here and somebody waits, then somebody who waits is due. That holds at the
//!    beginning, since who begins to wait is due. It lies here again only by [`Calls::give_back`], which wakes a parked one, if
//!    there is one; without one, all who wait are due. And a due thread that takes the lock takes the inbox, if it does not
//!    leave. Each that leaves (with its answer, or because its time is over) calls [`Calls::hand_on`] under the same lock,
//!    so a wake-up that it was given is not lost with it.
//! 3. *The end is told to all*: [`Calls::end`] wakes everybody, and nobody parks after it.
//!
//! A writer that finds the socket full takes the inbox as well, if it lies here, and gives it back the same way.

use std::thread::{self, Thread};

use bytes::Bytes;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::answer::{Malformed, Undo, decode};
use super::encode;
use super::inbox::Inbox;
use crate::proto::frame::{Call, FrameKind, Head, Wait};
use crate::proto::{ManagerOp, ObjectId, Op, Raw};

/// Calls of one connection that nobody waits for any more and that the server has not answered either. A server that leaves
/// that many is of no use.
pub(super) const ABANDONED_MAX: usize = 16_384;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server closed it, or died.
    Gone,
    /// The server said what is no answer.
    Malformed,
}

/// The body of an answer for a thread that does not read itself.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) kind: FrameKind,
    pub(super) body: Bytes,
}

#[derive(Debug)]
enum Progress {
    Waiting,
    Arrived(Arrived),
    /// Nobody waits any more.
    Abandoned,
}

/// One call.
#[derive(Debug)]
struct Slot {
    progress: Progress,
    /// Who is parked until the answer comes.
    parked: Option<Thread>,
    undo: Undo,
    thread: u64,
}

/// What the lock of a connection protects.
#[derive(Debug)]
pub(super) struct Calls {
    slots: HashMap<u64, Slot>,
    /// The calls of parked threads.
    parked: Vec<u64>,
    /// What reads, if nobody does.
    inbox: Option<Box<Inbox>>,
    abandoned: usize,
    ended: Option<End>,
    /// Somebody is writing.
    pub(super) is_writing: bool,
    /// What is to be written before anything else.
    pub(super) outbox: Vec<u8>,
    /// Whoever reads sleeps until something arrives, or until it is rung for.
    pub(super) is_asleep: bool,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self {
            slots: HashMap::new(),
            parked: Vec::new(),
            inbox: Some(Box::default()),
            abandoned: 0,
            ended: None,
            is_writing: false,
            outbox: Vec::new(),
            is_asleep: false,
        }
    }

    pub(super) const fn ended(&self) -> Option<End> {
        self.ended
    }

    /// Enters a call that is about to be written.
    pub(super) fn begin(&mut self, call: u64, thread: u64, undo: Undo) {
        self.slots.insert(call, Slot { progress: Progress::Waiting, parked: None, undo, thread });
    }

    /// Takes a call out that is over, and its answer if that has come.
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

    /// Takes a call out whose answer went another way, or will never come.
    pub(super) fn forget(&mut self, call: u64) {
        self.slots.remove(&call);
    }

    /// The calling thread is about to park until the answer to this call.
    pub(super) fn park(&mut self, call: u64) {
        if let Some(slot) = self.slots.get_mut(&call) {
            slot.parked = Some(thread::current());
            self.parked.push(call);
        }
    }

    /// The calling thread is awake again.
    pub(super) fn unparked(&mut self, call: u64) {
        if let Some(slot) = self.slots.get_mut(&call) {
            slot.parked = None;
        }
        self.parked.retain(|parked| *parked != call);
    }

    /// Lets the caller read, if nobody does.
    pub(super) const fn take_inbox(&mut self) -> Option<Box<Inbox>> {
        self.inbox.take()
    }

    /// The caller does not read any more.
    pub(super) fn give_back(&mut self, inbox: Box<Inbox>) {
        self.inbox = Some(inbox);
        self.hand_on();
    }

    /// Wakes somebody who is to read, if nobody does.
    pub(super) fn hand_on(&mut self) {
        while self.inbox.is_some()
            && let Some(call) = self.parked.pop()
        {
            // Else it was woken before, for its answer.
            if let Some(thread) = self.slots.get_mut(&call).and_then(|slot| slot.parked.take()) {
                thread.unpark();
                return;
            }
        }
    }

    /// Nobody waits for the answer to this call any more; `numbers` are those of the notice that tells the server so.
    pub(super) fn abandon(&mut self, call: u64, numbers: (u64, u64)) {
        let Some(slot) = self.slots.get_mut(&call) else { return };
        slot.parked = None;
        if let Progress::Arrived(arrived) = std::mem::replace(&mut slot.progress, Progress::Abandoned) {
            // Several calls of one pipeline: this one was answered. The reader has let in only what can be decoded.
            let (undo, thread) = (slot.undo, slot.thread);
            self.slots.remove(&call);
            let _undone = self.undo(&arrived, undo, thread, numbers, call);
            return;
        }
        self.abandoned = self.abandoned.saturating_add(1);
        if self.abandoned > ABANDONED_MAX {
            self.end(End::Gone);
        } else {
            let thread = 0;
            self.notice(numbers, thread, ObjectId::MANAGER, Op::Manager(ManagerOp::Cancel { call }));
        }
    }

    /// Gives back what an answer brought that nobody waits for; `true` if that is in the outbox now.
    fn undo(
        &mut self,
        arrived: &Arrived,
        undo: Undo,
        thread: u64,
        numbers: (u64, u64),
        call: u64,
    ) -> Result<bool, Malformed> {
        let Ok(reply) = decode(arrived.kind, &arrived.body, &arrived.body)? else { return Ok(false) };
        let notices = undo.notices(call, &reply);
        let has_notices = !notices.is_empty();
        notices.into_iter().for_each(|(object, op)| self.notice(numbers, thread, object, op));
        Ok(has_notices)
    }

    /// An answer has come; `read` is the number of those before. `true` if it has to be undone, by what is in the outbox now.
    ///
    /// # Errors
    /// [`Malformed`]: nobody asked.
    pub(super) fn deliver(&mut self, head: Head, body: Bytes, read: u64) -> Result<bool, Malformed> {
        let Entry::Occupied(mut slot) = self.slots.entry(head.call) else { return Err(Malformed) };
        match slot.get().progress {
            Progress::Waiting => {
                let slot = slot.get_mut();
                slot.progress = Progress::Arrived(Arrived { kind: head.kind, body });
                if let Some(thread) = slot.parked.take() {
                    thread.unpark();
                }
                Ok(false)
            }
            // Twice.
            Progress::Arrived(_) => Err(Malformed),
            Progress::Abandoned => {
                let Slot { undo, thread, .. } = slot.remove();
                self.abandoned = self.abandoned.saturating_sub(1);
                // The server must not take the answer for one that was read before it has got this.
                self.undo(&Arrived { kind: head.kind, body }, undo, thread, (head.call, read), head.call)
            }
        }
    }

    /// Puts a notice into the outbox.
    pub(super) fn notice(&mut self, numbers: (u64, u64), thread: u64, object: ObjectId, op: Op<Raw<'_>>) {
        let call = Call { object, thread, wait: Wait::No, op };
        if let Err(error) = encode::frame(&mut self.outbox, FrameKind::Notice, numbers, &call) {
            // A list of references of one value, which is shorter than the value.
            tracing::error!(%error, "a notice could not be encoded");
        }
    }

    /// No answer comes any more: wakes everybody.
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_calls_at_the_limit_and_one_above() {
        let mut calls = Calls::new();
        for call in 0..=u64::try_from(ABANDONED_MAX).unwrap() {
            assert_eq!(calls.ended(), None, "{call} are borne");
            calls.begin(call, 1, Undo::Nothing);
            calls.abandon(call, (call, 0));
        }
        assert_eq!(calls.ended(), Some(End::Gone));
        assert!(calls.outbox.is_empty() && calls.slots.is_empty());
    }

    #[test]
    fn an_answer_frees_the_place_of_an_abandoned_call() {
        let mut calls = Calls::new();
        let done = Bytes::from_static(&[0]);
        for call in 0..=u64::try_from(ABANDONED_MAX).unwrap() {
            calls.begin(call, 1, Undo::Nothing);
            calls.abandon(call, (call, 0));
            let head = Head { body_len: 1, kind: FrameKind::Reply, cpu: 0, call, read: 0 };
            assert_eq!(calls.deliver(head, done.clone(), call), Ok(false));
            assert_eq!(calls.deliver(head, done.clone(), call), Err(Malformed), "twice");
        }
        assert_eq!(calls.ended(), None);
    }
}
