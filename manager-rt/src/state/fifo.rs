//! The common part of both kinds of queues: ordered items, a capacity, and the lines of waiting producers and
//! consumers.
//!
//! 1. **No caller overtakes another**: a newcomer waits if others wait, even if there were room or an item.
//! 2. **Many items are put as a whole**, so a caller that waits for much room delays those after it, but is not starved
//!    by them.
//! 3. **A consumer whose client has no room for the first item is passed over**, and has its old place in the line again once
//!    there is room for the item that is first then. Until then, it waits apart from the line.
//! 4. Items that come back may exceed the capacity. Then no item can be put until there is room again.

mod stalled;

use self::stalled::Stalled;
use crate::count::count_of;
use crate::limits::{CAPACITY_MAX, VALUES_AT_ONCE_MAX};
use crate::proto::{Answer, Fault, Payload, Raw};
use crate::state::charges::DELIVERY_BYTES;
use crate::state::context::{Context, Core, DONE, Outcome, check_range};
use crate::state::delivery::Delivery;
use crate::state::page::Page;
use crate::state::sequence::Sequence;
use crate::state::undo::Undo;
use crate::state::waiters::{Line, Waiter, WaiterId, Want};
use crate::state::work::{CALLER, VALUE};

/// Ordered items, and the callers that wait for room or for items.
#[derive(Debug)]
pub(super) struct Fifo<T> {
    pub(super) items: Sequence<T>,
    /// The capacity; 0 for no limit.
    capacity: u64,
    is_closed: bool,
    putters: Line,
    pub(super) getters: Line,
    /// Consumers whose clients had no room for the first item.
    stalled: Stalled,
}

impl<T: From<Payload> + Into<Payload> + Send + 'static> Fifo<T> {
    /// Makes an empty queue with this capacity.
    ///
    /// # Errors
    /// [`Fault::OutOfRange`].
    pub(super) fn new(capacity: u64) -> Result<Self, Fault> {
        check_range(capacity, 0, CAPACITY_MAX)?;
        let (putters, getters, stalled) = (Line::new(), Line::new(), Stalled::default());
        Ok(Self { items: Sequence::new(), capacity, is_closed: false, putters, getters, stalled })
    }

    /// Fills a new queue with the items of a snapshot.
    pub(super) fn restore(&mut self, items: Sequence<T>, is_closed: bool) {
        (self.items, self.is_closed) = (items, is_closed);
    }

    pub(super) fn len(&self) -> u64 {
        count_of(self.items.len())
    }

    /// Returns the number of callers that wait.
    pub(super) fn waiting(&self) -> usize {
        self.putters.len().saturating_add(self.getters.len()).saturating_add(self.stalled.len())
    }

    /// Returns what the container takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.items.bytes().saturating_add(self.stalled.bytes())
    }

    pub(super) const fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn fits(&self, count: usize) -> bool {
        self.capacity == 0 || self.len().saturating_add(count_of(count)) <= self.capacity
    }

    /// Adds an item, or lets the caller wait for room. `undo` makes the note that undoes adding this many.
    pub(super) fn put(
        &mut self,
        raw: Raw<'_>,
        context: &mut Context<'_>,
        undo: fn(usize) -> Undo,
    ) -> Outcome {
        if self.is_closed {
            return Outcome::Answer(Err(Fault::Closed));
        }
        let item = match context.keep(raw) {
            Ok(item) => item,
            Err(fault) => return Outcome::Answer(Err(fault)),
        };
        if !self.putters.is_empty() || !self.fits(1) {
            return context.park(&mut self.putters, Want::Room(vec![item]), Fault::Full);
        }
        self.items.push(item.into());
        context.note(undo(1));
        context.touch();
        DONE.into()
    }

    /// Adds all items, or lets the caller wait until there is room for all.
    pub(super) fn put_many(
        &mut self,
        raws: Vec<Raw<'_>>,
        context: &mut Context<'_>,
        undo: fn(usize) -> Undo,
    ) -> Outcome {
        if self.is_closed {
            return Outcome::Answer(Err(Fault::Closed));
        }
        if raws.len() > VALUES_AT_ONCE_MAX {
            return Outcome::Answer(Err(Fault::TooMany { limit: count_of(VALUES_AT_ONCE_MAX) }));
        }
        let most = if self.capacity == 0 { CAPACITY_MAX } else { self.capacity };
        let items = match check_range(count_of(raws.len()), 0, most).and_then(|()| context.keep_all(raws)) {
            Ok(items) => items,
            Err(fault) => return Outcome::Answer(Err(fault)),
        };
        if items.is_empty() {
            return DONE.into();
        }
        if !self.putters.is_empty() || !self.fits(items.len()) {
            return context.park(&mut self.putters, Want::Room(items), Fault::Full);
        }
        context.note(undo(items.len()));
        self.items.extend(items.into_iter().map(T::from));
        context.touch();
        DONE.into()
    }

    /// Undoes the adding of this many items.
    pub(super) fn undo_put(&mut self, count: usize, core: &mut Core) {
        let put = std::iter::from_fn(|| self.items.pop()).take(count);
        core.let_go_all(put.map(T::into).collect());
    }

    /// Returns `true` if a newcomer may take an item, the first of which takes this many bytes of a client's share.
    pub(super) fn may_take(&self, bytes: usize) -> bool {
        self.getters.is_empty() && !self.items.is_empty() && self.stalled.next_for(bytes).is_none()
    }

    /// Returns the consumer that is next. Those whose clients have room for the first item, which takes this many bytes, have
    /// their old places again.
    pub(super) fn next_getter(&mut self, bytes: usize, core: &mut Core) -> Option<WaiterId> {
        while !self.stalled.is_empty()
            && let Some((client, waiter)) = self.stalled.next_for(bytes)
        {
            if core.work.is_over() {
                return None;
            }
            core.work.charge(CALLER);
            core.unstall(waiter);
            if core.check_bulk(client, bytes).is_ok() {
                self.stalled.stands(waiter, client);
                self.getters.insert(waiter);
            } else {
                core.stall(waiter, bytes);
                self.stalled.needs_now(client, bytes);
            }
        }
        core.first_of(&mut self.getters)
    }

    /// Lets the first consumer wait apart from the line until its client has room for this many bytes.
    pub(super) fn stall(&mut self, waiter: WaiterId, bytes: usize, core: &mut Core) {
        self.stalled.has_left(waiter);
        if self.getters.remove(&waiter)
            && let Some(client) = core.waiters.get(waiter).map(|waits| waits.client)
        {
            core.work.charge(CALLER);
            self.stalled.insert(waiter, client, bytes);
            core.stall(waiter, bytes);
        }
    }

    /// Removes the first consumer from the line, which gets what it waits for.
    pub(super) fn take_getter(&mut self, core: &mut Core) -> Option<Waiter> {
        if let Some(first) = self.getters.first() {
            self.stalled.has_left(*first);
        }
        core.next_of(&mut self.getters)
    }

    /// Lets a new consumer wait until its client has room for this many bytes, or refuses with `fault` if it does not want
    /// to wait.
    pub(super) fn stall_newcomer(
        &mut self,
        max: Option<u64>,
        (bytes, fault): (usize, Fault),
        context: &mut Context<'_>,
    ) -> Outcome {
        match context.park_or(Want::Items(max), fault) {
            Ok(waiter) => {
                self.stalled.insert(waiter, context.client, bytes);
                context.core.stall(waiter, bytes);
                Outcome::Parked
            }
            Err((_, fault)) => Outcome::Answer(Err(fault)),
        }
    }

    /// Puts a consumer back into the line, at its old place.
    pub(super) fn resume(&mut self, waiter: WaiterId) {
        if self.stalled.remove(waiter) {
            self.getters.insert(waiter);
        }
    }

    /// Gives the same answer to all consumers.
    pub(super) fn answer_getters(&mut self, core: &mut Core, answer: &Answer<Payload>) {
        core.answer_all(&mut self.getters, answer);
        core.answer_all(&mut self.stalled.take(), answer);
    }

    /// Puts items in front of all others, in their order.
    pub(super) fn put_back(&mut self, items: impl DoubleEndedIterator<Item = T>) {
        items.rev().for_each(|item| self.items.push_front(item));
    }

    /// Adds the items of waiting producers as far as there is room and the step allows. Returns `true` if any producer
    /// was served.
    pub(super) fn admit(&mut self, core: &mut Core) -> bool {
        let mut has_served = false;
        core.pass_over_ended(&mut self.putters);
        while !core.work.is_over()
            && let Some(Want::Room(items)) =
                self.putters.first().and_then(|id| core.waiters.get(*id)).map(|waiter| &waiter.want)
            && self.fits(items.len())
            && let Some(waiter) = core.next_of(&mut self.putters)
        {
            if let Want::Room(items) = waiter.want {
                core.work.charge(items.len().saturating_mul(VALUE));
                self.items.extend(items.into_iter().map(T::from));
            }
            core.answer(waiter.client, waiter.call, DONE);
            core.pass_over_ended(&mut self.putters);
            has_served = true;
        }
        has_served
    }

    /// Returns `true` if a waiting caller could go on. The first item takes this many bytes of a client's share.
    pub(super) fn has_to_serve(&self, bytes: usize, core: &Core) -> bool {
        let first = self.putters.first().and_then(|id| core.waiters.get(*id));
        let has_room =
            matches!(first.map(|first| &first.want), Some(Want::Room(items)) if self.fits(items.len()));
        let has_getter = !self.getters.is_empty() || self.stalled.next_for(bytes).is_some();
        has_room || (self.len() > 0 && has_getter)
    }

    /// Closes the queue for producers, and answers those that wait for room.
    pub(super) fn close(&mut self, core: &mut Core) {
        self.is_closed = true;
        core.answer_all(&mut self.putters, &Err(Fault::Closed));
    }

    pub(super) fn leave(&mut self, waiter: WaiterId) -> bool {
        self.stalled.has_left(waiter);
        self.putters.remove(&waiter) || self.getters.remove(&waiter) || self.stalled.remove(waiter)
    }

    /// Ends the queue: answers all waiters, and releases the items.
    pub(super) fn end(mut self, core: &mut Core) {
        let gone = Err(Fault::UnknownObject);
        core.answer_all(&mut self.putters, &gone);
        self.answer_getters(core, &gone);
        let mut items = self.items;
        let bytes = items.bytes();
        core.retire(std::iter::from_fn(move || items.pop()).map(T::into), bytes);
    }
}

/// Returns how many of these values fit in one answer: as many as a page holds, at most `max`, and at least the first. The
/// others take no more than `room` bytes of the client's share together with it.
pub(super) fn page_len<'p>(values: impl Iterator<Item = &'p Payload>, max: u64, room: usize) -> usize {
    let (mut page, mut bytes) = (Page::new(max), 0_usize);
    let fits = |value: &&Payload| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(Delivery::bulk_with(value));
        (is_first || bytes.saturating_add(DELIVERY_BYTES) <= room) && page.admits([*value])
    };
    values.take_while(fits).count()
}
