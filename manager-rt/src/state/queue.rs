//! `Queue`: a first-in, first-out queue.
//!
//! An item leaves the queue with the answer that carries it. Until the client has read that answer, the item is noted
//! as a delivery. If the client certainly did not read it, the item returns to the front of the queue.

use crate::proto::{Fault, ObjectId, Payload, QueueOp, Raw, Reply};
use crate::state::charges::DELIVERY_BYTES;
use crate::state::context::{Context, Core, DONE, Outcome};
use crate::state::delivery::Delivery;
use crate::state::fifo::{Fifo, page_len};
use crate::state::undo::{QueueUndo, Undo};
use crate::state::waiters::{Waiter, WaiterId, Want};
use crate::state::work::VALUE;

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    fifo: Fifo<Payload>,
}

impl QueueUndo {
    /// Commits the change.
    pub(super) fn commit(self, queue: ObjectId, core: &mut Core) {
        match self {
            Self::Put(_) => {}
            Self::Took { client, call, items } => core.deliver(client, call, queue, items),
        }
    }
}

const fn undo_put(count: usize) -> Undo {
    Undo::Queue(QueueUndo::Put(count))
}

impl Queue {
    /// Makes an empty queue.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`].
    pub(super) fn new(capacity: u64) -> Result<Self, Fault> {
        Ok(Self { fifo: Fifo::new(capacity)? })
    }

    pub(super) const fn fifo(&self) -> &Fifo<Payload> {
        &self.fifo
    }

    pub(super) const fn fifo_mut(&mut self) -> &mut Fifo<Payload> {
        &mut self.fifo
    }

    pub(super) fn apply(&mut self, op: QueueOp<Raw<'_>>, context: &mut Context<'_>) -> Outcome {
        let fifo = &mut self.fifo;
        match op {
            QueueOp::Put(item) => fifo.put(item, context, undo_put),
            QueueOp::PutMany(items) => fifo.put_many(items, context, undo_put),
            QueueOp::Get => self.get(None, context),
            QueueOp::GetMany(0) => Outcome::Answer(Err(Fault::OutOfRange { least: 1, most: u64::MAX })),
            QueueOp::GetMany(max) => self.get(Some(max), context),
            QueueOp::Len => Outcome::Answer(Ok(Reply::Count(fifo.len()))),
            QueueOp::Capacity => Outcome::Answer(Ok(Reply::Count(fifo.capacity()))),
            QueueOp::Close => {
                fifo.close(context.core);
                context.touch();
                DONE.into()
            }
            QueueOp::IsClosed => Outcome::Answer(Ok(Reply::Bool(fifo.is_closed()))),
        }
    }

    fn get(&mut self, max: Option<u64>, context: &mut Context<'_>) -> Outcome {
        if !self.fifo.may_take(self.first_bytes()) {
            if self.fifo.is_closed() {
                return Outcome::Answer(Err(Fault::Closed));
            }
            return context.park(&mut self.fifo.getters, Want::Items(max), Fault::Empty);
        }
        let items = self.take(max, context.core.bulk_room(context.client));
        if let Err(fault) = context.core.check_items(context.client, &items) {
            let bytes = Delivery::bulk_of(&items);
            self.fifo.put_back(items.into_iter());
            return self.fifo.stall_newcomer(max, (bytes, fault), context);
        }
        let given = items.iter().map(|item| context.give(item)).collect();
        let (client, call) = (context.client, context.call);
        context.note(Undo::Queue(QueueUndo::Took { client, call, items }));
        context.touch();
        Outcome::Answer(reply(max, given).ok_or(Fault::Empty))
    }

    /// Returns what the first item takes of a client's share, in bytes.
    fn first_bytes(&self) -> usize {
        let first = self.fifo.items.get(0);
        first.map_or(0, |item| Delivery::bulk_with(item).saturating_add(DELIVERY_BYTES))
    }

    /// Takes one item, or as many as fit in one answer and in this many bytes of a client's share.
    fn take(&mut self, max: Option<u64>, room: usize) -> Vec<Payload> {
        let count = page_len(self.fifo.items.range(0, usize::MAX), max.unwrap_or(1), room);
        // The list may be kept until the client has confirmed the answer, so it has no spare places.
        let mut items = Vec::with_capacity(count);
        items.extend(std::iter::from_fn(|| self.fifo.items.pop_front()).take(count));
        items
    }

    pub(super) fn undo(&mut self, undo: QueueUndo, core: &mut Core) {
        match undo {
            QueueUndo::Put(count) => self.fifo.undo_put(count, core),
            QueueUndo::Took { items, .. } => self.fifo.put_back(items.into_iter()),
        }
    }

    /// Serves the lines. Returns `false` if the step does not allow all of that.
    pub(super) fn serve(&mut self, id: ObjectId, core: &mut Core) -> bool {
        while self.fifo.admit(core) || self.serve_getters(id, core) {}
        if self.fifo.is_closed() && self.fifo.len() == 0 {
            // No more items can come.
            self.fifo.answer_getters(core, &Err(Fault::Closed));
        }
        !(core.work.is_over() && self.fifo.has_to_serve(self.first_bytes(), core))
    }

    fn serve_getters(&mut self, id: ObjectId, core: &mut Core) -> bool {
        let mut has_served = false;
        while !self.fifo.items.is_empty()
            && !core.work.is_over()
            && let Some(first) = self.fifo.next_getter(self.first_bytes(), core)
            && let Some(&Waiter { client, want: Want::Items(max), .. }) = core.waiters.get(first)
        {
            let items = self.take(max, core.bulk_room(client));
            core.work.charge(items.len().saturating_mul(VALUE));
            let bytes = Delivery::bulk_of(&items);
            // Until it has confirmed what it took before, the next one in the line gets them.
            if core.check_bulk(client, bytes).is_err() {
                self.fifo.put_back(items.into_iter());
                self.fifo.stall(first, bytes, core);
                continue;
            }
            let Some(waiter) = self.fifo.take_getter(core) else {
                self.fifo.put_back(items.into_iter());
                break;
            };
            let given = items.iter().map(|item| core.give(waiter.client, item)).collect();
            core.deliver(waiter.client, waiter.call, id, items);
            core.answer(waiter.client, waiter.call, reply(max, given).ok_or(Fault::Empty));
            has_served = true;
        }
        has_served
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Payload> {
        self.fifo.items.range(0, usize::MAX)
    }

    pub(super) fn len(&self) -> u64 {
        self.fifo.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.fifo.waiting()
    }

    /// Returns what the container takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.fifo.bytes()
    }

    /// Puts items back that a client certainly did not read.
    pub(super) fn take_back(&mut self, items: Vec<Payload>) {
        self.fifo.put_back(items.into_iter());
    }

    /// Puts a caller back into its line, whose client has room again.
    pub(super) fn resume(&mut self, waiter: WaiterId) {
        self.fifo.resume(waiter);
    }

    pub(super) fn leave(&mut self, waiter: WaiterId) -> bool {
        self.fifo.leave(waiter)
    }

    pub(super) fn end(self, core: &mut Core) {
        self.fifo.end(core);
    }
}

/// Makes the answer with the requested items: one, or several.
fn reply(max: Option<u64>, mut given: Vec<Payload>) -> Option<Reply<Payload>> {
    match max {
        None => given.pop().map(Reply::Value),
        Some(_) => Some(Reply::Values { values: given, version: 0 }),
    }
}
