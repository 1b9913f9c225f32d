//! Leases: getting tasks instead of items, and finishing or returning them.

use std::time::Duration;

use mp_sys::child::is_only_thread;
use mp_sys::crash;
use mp_sys::dead;
use mp_sys::deadline::Deadline;
use mp_sys::futex::SLICE;
use mp_sys::identity::Stamp;
use mp_sys::quiet::Quiet;
use mp_sys::robust::Patience;

use crate::queue::consumer::Consumer;
use crate::queue::core::Core;
use crate::queue::doorbell;
use crate::queue::layout::FILLED_BELL;
use crate::queue::leases::{Cell, FAILED, FREE, Leases, RETURNED, is_stamp};
use crate::queue::refused::Refused;
use crate::queue::ring::FILLING;

/// The extra pause for each cell between two searches before a sleep. It limits these searches to a hundredth of one
/// worker's time.
const PAUSE_EACH: Duration = Duration::from_micros(1);

/// A task that was handed out: its cell, its bytes, and how often it was handed out so far.
#[derive(Debug)]
pub(in crate::queue) struct Leased {
    pub(in crate::queue) cell: Cell,
    pub(in crate::queue) bytes: Vec<u8>,
    pub(in crate::queue) deliveries: u32,
    /// The stamp of this process when it got the task.
    pub(in crate::queue) owner: u64,
}

impl Core {
    /// Takes the next task: a returned one, or otherwise the next one in the ring.
    pub(in crate::queue) fn lease(&self, patience: Patience) -> Result<Leased, Refused> {
        let leases = self.leases()?;
        let mut others = None;
        loop {
            // Cells allocate memory and give it back. Events about that are delivered after the lock is released.
            let quiet = Quiet::begin();
            let consumer = self.consume(patience)?;
            self.settle(&consumer, leases);
            if let Some(leased) = self.lease_returned(leases)? {
                return Ok(leased);
            }
            let cursor = consumer.cursor();
            if consumer.has_item(&cursor) {
                return self.lease_next(consumer, leases);
            }
            leases.give_surplus_back(&self.ring);
            drop(consumer);
            drop(quiet);
            others = self.wait_for_item(cursor.position, patience)?.or(others);
        }
    }

    pub(in crate::queue) fn leases(&self) -> Result<&Leases, Refused> {
        // Every joinable queue has leases.
        self.leases.as_ref().ok_or(Refused::TooManyTasks)
    }

    /// Repairs what the newest holder of the lock left. If it died while an item was in the ring and in a cell, the head
    /// decides.
    fn settle(&self, consumer: &Consumer<'_>, leases: &Leases) {
        let name = consumer.held.load_word(FILLING);
        if name == 0 {
            return;
        }
        if let Some(cell) = leases.named(name)
            && cell.number(&self.ring) == u64::from(self.ring.head().number)
        {
            let owner = cell.owner(&self.ring);
            cell.exchange_owner(&self.ring, owner, FREE);
            leases.say_free(&self.ring, &cell);
        }
        consumer.held.store_word(FILLING, 0);
        crash::point();
    }

    /// Hands a task out again. The caller holds the consumers' lock.
    fn lease_returned(&self, leases: &Leases) -> Result<Option<Leased>, Refused> {
        if !leases.may_have_returned(&self.ring) {
            return Ok(None);
        }
        // Reset before the search, so that a task that returns from now on sets it again.
        leases.forget_returned(&self.ring);
        let ring = &self.ring;
        let mut returned = leases.cells(ring).filter(|cell| cell.owner(ring) == RETURNED);
        let head = ring.head().number;
        // The oldest task goes first: the one with the number farthest from the head.
        let age = |cell: &Cell| head.wrapping_sub(u32::try_from(cell.number(ring)).unwrap_or(head));
        let Some(first) = returned.next() else {
            return Ok(None);
        };
        let (mut oldest, mut is_alone) = (first, true);
        for cell in returned {
            is_alone = false;
            if age(&cell) > age(&oldest) {
                oldest = cell;
            }
        }
        if !is_alone {
            leases.say_returned(ring);
        }
        let bytes = oldest.read(ring)?;
        oldest.deliver_again(ring);
        let owner = Stamp::current().to_bits();
        oldest.exchange_owner(ring, RETURNED, owner);
        Ok(Some(Leased { cell: oldest, bytes, deliveries: oldest.deliveries(ring), owner }))
    }

    /// Moves the next item of the ring into a cell.
    fn lease_next(&self, consumer: Consumer<'_>, leases: &Leases) -> Result<Leased, Refused> {
        let cursor = consumer.cursor();
        let record = consumer.record(&cursor)?;
        let mut bytes = Vec::new();
        record.append_to(&self.ring, &mut bytes)?;
        let cell = leases.free_cell(&self.ring, record.len)?;
        cell.fill(&self.ring, cursor.position.number, &bytes)?;
        consumer.held.store_word(FILLING, leases.name_of(&cell));
        crash::point();
        let owner = Stamp::current().to_bits();
        cell.exchange_owner(&self.ring, FREE, owner);
        let to = consumer.after(&cursor, &record);
        let left_segment = consumer.commit(&cursor, &to, crate::queue::layout::record_bytes(record.len));
        consumer.held.store_word(FILLING, 0);
        crash::point();
        leases.give_surplus_back(&self.ring);
        self.taken(consumer, &to, left_segment);
        Ok(Leased { cell, bytes, deliveries: 1, owner })
    }

    /// Marks the task as finished.
    pub(in crate::queue) fn finish(&self, leased: &Leased) {
        if leased.cell.exchange_owner(&self.ring, leased.owner, FREE)
            && let Ok(leases) = self.leases()
        {
            leases.say_free(&self.ring, &leased.cell);
            self.say_finished(leases);
        }
    }

    /// Returns the task to the queue, or puts it aside if it was handed out too often.
    pub(in crate::queue) fn give_back(&self, leased: &Leased) {
        if let Ok(leases) = self.leases() {
            self.return_task(leases, &leased.cell, leased.owner);
        }
    }

    /// Puts aside a task that cannot be decoded.
    pub(in crate::queue) fn fail(&self, leased: &Leased) {
        if leased.cell.exchange_owner(&self.ring, leased.owner, FAILED)
            && let Ok(leases) = self.leases()
        {
            self.say_finished(leases);
        }
    }

    fn return_task(&self, leases: &Leases, cell: &Cell, owner: u64) {
        let fails = cell.deliveries(&self.ring) >= leases.max_deliveries(&self.ring);
        if !cell.exchange_owner(&self.ring, owner, if fails { FAILED } else { RETURNED }) {
            return;
        }
        if fails {
            self.say_finished(leases);
        } else {
            leases.say_returned(&self.ring);
            crash::point();
            self.signal_returned();
            doorbell::ring(self.half_word(FILLED_BELL));
            self.wake_tasks();
        }
    }

    /// Makes the descriptor readable for a returned task. If the caller dies before, the process that finds it dead does
    /// this later.
    fn signal_returned(&self) {
        if let Ok(producer) = self.produce(Patience::None) {
            let news = self.signal(&producer);
            drop(producer);
            self.tell(news);
        }
    }

    fn say_finished(&self, leases: &Leases) {
        // While there are items in the ring, more tasks will be finished, and the last one rings the bell.
        if self.ring.len() == 0 {
            doorbell::ring_for_all(self.half_word(leases.finished_bell()));
            if self.is_closed() {
                // Consumers that wait for a task that may return can stop waiting.
                doorbell::ring_for_all(self.half_word(FILLED_BELL));
            }
            self.wake_tasks();
        }
    }

    /// Returns whether a returned task may wait to be handed out again.
    pub(super) fn may_have_returned(&self) -> bool {
        self.leases.as_ref().is_some_and(|leases| leases.may_have_returned(&self.ring))
    }

    /// Returns whether a task may return while the caller waits, since another process or thread has it. In this process
    /// that may be any thread, since a thread that gets a task can hand it to another. If this is the only thread, its own
    /// tasks cannot return, unless the caller is one of several tasks of a runtime.
    pub(super) fn others_have_tasks(&self, patience: Patience) -> bool {
        let Some(leases) = &self.leases else {
            return false;
        };
        let own = Stamp::current().to_bits();
        let mut owners = leases
            .cells(&self.ring)
            .map(|cell| cell.owner(&self.ring))
            .filter(|owner| !matches!(*owner, FREE | FAILED));
        match owners.next() {
            None => false,
            Some(owner) if owner != own => true,
            Some(_) => patience == Patience::TryOnce || owners.any(|owner| owner != own) || !is_only_thread(),
        }
    }

    /// Looks for tasks of dead processes and returns them to the queue. All processes together look at most once in half a
    /// slice.
    pub(in crate::queue) fn look_for_the_dead(&self, patience: Patience) {
        if let Some(leases) = &self.leases {
            self.look_at(leases, dead::PAUSE, patience);
        }
    }

    /// Does the same as [`look_for_the_dead`](Self::look_for_the_dead) before the first sleep of a caller. With many tasks
    /// it looks less often, since callers that wait only briefly come here too.
    pub(in crate::queue) fn look_before_sleep(&self, deadline: Deadline) {
        if let Some(leases) = &self.leases {
            let many = u32::try_from(leases.used(&self.ring)).unwrap_or(u32::MAX);
            let pause = dead::PAUSE.saturating_add(PAUSE_EACH.saturating_mul(many));
            self.look_at(leases, pause, Patience::Until(deadline));
        }
    }

    fn look_at(&self, leases: &Leases, pause: Duration, patience: Patience) {
        if !leases.last_look(&self.ring).is_some_and(|last| dead::is_turn_to_look(last, pause)) {
            return;
        }
        let quiet = Quiet::begin();
        let patience = match patience {
            // It takes longer than a slice only if the holder was stopped.
            Patience::Until(deadline) => Patience::Until(deadline.min(Deadline::after(SLICE))),
            other => other,
        };
        let Ok(consumer) = self.consume(patience) else {
            return;
        };
        self.settle(&consumer, leases);
        leases.give_surplus_back(&self.ring);
        let ring = &self.ring;
        let mut is_dead = dead::look();
        let (mut returned, mut left) = (false, Vec::new());
        for cell in leases.cells(ring) {
            let owner = cell.owner(ring);
            returned |= owner == RETURNED;
            if is_stamp(owner) && is_dead(owner) {
                left.push((cell, owner));
            }
        }
        drop(consumer);
        drop(quiet);
        if !left.is_empty() {
            tracing::debug!(count = left.len(), "tasks of dead processes are returned to the queue");
        }
        for (cell, owner) in &left {
            self.return_task(leases, cell, *owner);
        }
        if returned {
            // The process that returned the task may have died before it announced that.
            leases.say_returned(ring);
            self.signal_returned();
            doorbell::ring(self.half_word(FILLED_BELL));
            self.wake_tasks();
        }
    }

    /// Returns the number of tasks that are in the queue or handed out.
    pub(in crate::queue) fn unfinished(&self) -> Result<usize, Refused> {
        let leases = self.leases()?;
        let consumer = self.consume(Patience::Until(Deadline::NEVER))?;
        self.settle(&consumer, leases);
        // The cells are counted first. So if a worker puts a new task before it is done with its own, the count includes
        // both or only the new one.
        let cells = leases.cells(&self.ring).filter(|cell| self.is_unfinished(cell)).count();
        Ok(cells.saturating_add(usize::try_from(self.ring.len()).unwrap_or(usize::MAX)))
    }

    fn is_unfinished(&self, cell: &Cell) -> bool {
        !matches!(cell.owner(&self.ring), FREE | FAILED)
    }

    pub(super) fn all_is_finished(&self, leases: &Leases, patience: Patience) -> Result<bool, Refused> {
        if self.ring.len() > 0 {
            return Ok(false);
        }
        let consumer = self.consume(patience)?;
        self.settle(&consumer, leases);
        let has_cells = leases.cells(&self.ring).any(|cell| self.is_unfinished(&cell));
        Ok(!has_cells && self.ring.len() == 0)
    }

    /// Waits until all tasks are finished.
    pub(in crate::queue) fn join(&self, deadline: Deadline) -> Result<(), Refused> {
        let leases = self.leases()?;
        let bell = self.half_word(leases.finished_bell());
        loop {
            if self.all_is_finished(leases, Patience::Until(Deadline::NEVER))? {
                return Ok(());
            }
            if deadline.has_passed() {
                return Err(Refused::TimedOut);
            }
            self.look_before_sleep(deadline);
            let is_finished =
                || self.all_is_finished(leases, Patience::Until(Deadline::NEVER)).unwrap_or(true);
            if doorbell::sleep(bell, is_finished, deadline).is_over() {
                self.look_for_the_dead(Patience::Until(deadline));
            }
        }
    }

    /// Passes each failed task to `look`, and removes those for which it returns `true`.
    pub(in crate::queue) fn failed(&self, mut look: impl FnMut(Vec<u8>, u32) -> bool) -> Result<(), Refused> {
        let leases = self.leases()?;
        let consumer = self.consume(Patience::Until(Deadline::NEVER))?;
        for cell in leases.cells(&self.ring).filter(|cell| cell.owner(&self.ring) == FAILED) {
            if look(cell.read(&self.ring)?, cell.deliveries(&self.ring)) {
                cell.exchange_owner(&self.ring, FAILED, FREE);
                leases.say_free(&self.ring, &cell);
            }
        }
        drop(consumer);
        Ok(())
    }
}
