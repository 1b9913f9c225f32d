//! The pending calls of the tasks of async runtimes, and the drivers that read for them.
//!
//! A task is never the reader: it may be dropped, or not be polled for a long time. If no thread reads, the *driver* of
//! a runtime does, which is a task of its own (see [`asynchronous`](super::super::asynchronous)). So a call of a task is
//! neither due nor parked, and takes no part in how threads hand on the inbox. A driver that finds the inbox taken is
//! blocked until the reader puts it back.
//!
//! # Why a dropped call loses nothing
//! The server takes back what it granted with an answer that the client has not read. For a task, an answer is read when
//! the task takes it, not when it arrives: until then, the connection reports no later answer as read either. So a
//! call that is dropped with its answer here is cancelled like one without.
//!
//! A task that is not polled for a long time would hold back the reports of all others, and the server would keep what
//! it delivered to them. So the answer is given back once [`UNTAKEN_ANSWERS_MAX`] later ones have arrived, and the call is sent
//! again when its task is polled. Only a wait for a notification cannot be sent again: its answer counts as read, and
//! if it is dropped nevertheless, the client notifies another waiter in its place.

use std::collections::BTreeMap;
use std::task::Waker;

use hashbrown::HashMap;
use tokio::runtime::Id;
use tokio::task::AbortHandle;

use super::{Arrived, Calls};
use crate::client::answer::Unreadable::{self, Malformed};
use crate::client::answer::{Undo, decode};
use crate::proto::{ConditionOp, Op, Reply};
use crate::wire::control::Control;
use mp_sys::fork::Epoch;

/// The most answers that may have arrived since one that its task has not taken.
pub(in crate::client) const UNTAKEN_ANSWERS_MAX: u64 = 1_024;

/// The calls of tasks.
#[derive(Debug, Default)]
pub(in crate::client) struct Tasks {
    pending: HashMap<u64, Pending>,
    /// The calls whose answers were not taken and have effects, by the numbers of the answers.
    untaken: BTreeMap<u64, u64>,
    /// The calls that wait until there is room in the outbox.
    room: BTreeMap<u64, Waker>,
    /// Tasks that have to be woken once the lock is released.
    woken: Vec<Waker>,
    drivers: Vec<Driver>,
    next_driver: u64,
}

/// A call that was sent.
#[derive(Debug)]
struct Pending {
    undo: Undo,
    thread: u64,
    waker: Option<Waker>,
    state: State,
}

#[derive(Debug)]
enum State {
    Waiting,
    /// With the number of the answer, if it does not count as read.
    Arrived(Arrived, Option<u64>),
    /// The answer was given back.
    Returned,
}

/// The task that reads on behalf of the tasks of one runtime.
#[derive(Debug)]
struct Driver {
    key: u64,
    runtime: Id,
    task: AbortHandle,
    made_in: Epoch,
    waker: Option<Waker>,
    /// Whether it waits for the inbox.
    is_blocked: bool,
    /// Whether it waits for the socket to have room.
    is_armed: bool,
}

impl Driver {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

/// What a task finds when it looks for its answer.
#[derive(Debug)]
pub(in crate::client) enum Found {
    Answer(Arrived),
    /// The call has to be sent again.
    Returned,
}

impl Tasks {
    /// Registers a call that is about to be written.
    pub(in crate::client) fn begin(&mut self, call: u64, thread: u64, undo: Undo) {
        self.room.remove(&call);
        let pending = Pending { undo, thread, waker: None, state: State::Waiting };
        self.pending.insert(call, pending);
    }

    /// Lets a call wait until the outbox is empty.
    pub(in crate::client) fn wait_for_room(&mut self, call: u64, waker: &Waker) {
        self.room.insert(call, waker.clone());
    }

    /// Removes a call that was not sent, or will never be answered.
    pub(in crate::client) fn forget(&mut self, call: u64) {
        self.room.remove(&call);
        self.pending.remove(&call);
    }

    /// Returns what has become of a call, and removes it. If nothing has, the task is woken later.
    pub(in crate::client) fn take(&mut self, call: u64, waker: &Waker) -> Option<Found> {
        let pending = self.pending.get_mut(&call)?;
        if matches!(pending.state, State::Waiting) {
            if !pending.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                pending.waker = Some(waker.clone());
            }
            return None;
        }
        match self.pending.remove(&call)?.state {
            State::Arrived(arrived, number) => {
                if let Some(number) = number {
                    self.untaken.remove(&number);
                }
                Some(Found::Answer(arrived))
            }
            State::Returned | State::Waiting => Some(Found::Returned),
        }
    }

    /// Returns `true` if no call was sent and not taken.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.untaken.is_empty()
    }

    pub(super) fn expects(&self, call: u64) -> bool {
        self.pending.contains_key(&call)
    }

    /// Returns the number of the first answer that the server must not count as read.
    pub(in crate::client) fn first_untaken(&self) -> u64 {
        self.untaken.first_key_value().map_or(u64::MAX, |(number, _)| *number)
    }

    /// Moves the wakers of tasks that have to be woken out of the lock.
    pub(in crate::client) fn take_woken(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.woken)
    }

    /// Wakes the calls that wait for room.
    pub(in crate::client) fn has_room(&mut self) {
        self.woken.extend(std::mem::take(&mut self.room).into_values());
    }

    /// Wakes all tasks: no more answers will arrive.
    pub(super) fn end(&mut self) {
        self.has_room();
        self.woken.extend(self.pending.values_mut().filter_map(|pending| pending.waker.take()));
        self.drivers.iter().for_each(Driver::wake);
    }

    /// Lets the drivers read that found the inbox taken.
    pub(super) fn may_read(&mut self) {
        for driver in self.drivers.iter_mut().filter(|driver| driver.is_blocked) {
            driver.is_blocked = false;
            driver.wake();
        }
    }

    /// Lets the drivers wait until the socket accepts what is in the outbox.
    pub(in crate::client) fn must_write(&self) {
        self.drivers.iter().filter(|driver| !driver.is_armed).for_each(Driver::wake);
    }

    /// Returns `true` if a runtime has a driver.
    pub(in crate::client) fn has_driver(&self, runtime: Id) -> bool {
        self.drivers.iter().any(|driver| driver.runtime == runtime && !driver.task.is_finished())
    }

    /// Returns the key of the next driver.
    pub(in crate::client) fn driver_key(&mut self) -> u64 {
        self.next_driver = self.next_driver.wrapping_add(1);
        self.next_driver
    }

    /// Adds the driver of a runtime, unless there is one. Numbers of runtimes that have ended are used again.
    pub(in crate::client) fn add_driver(&mut self, key: u64, runtime: Id, task: AbortHandle) {
        if self.has_driver(runtime) {
            task.abort();
            return;
        }
        self.drivers.retain(|driver| !driver.task.is_finished());
        let made_in = Epoch::current();
        let waker = None;
        self.drivers.push(Driver { key, runtime, task, made_in, waker, is_blocked: false, is_armed: false });
    }

    /// Returns `true` if a driver was added.
    pub(in crate::client) fn knows_driver(&self, key: u64) -> bool {
        self.drivers.iter().any(|driver| driver.key == key)
    }

    fn driver(&mut self, key: u64) -> Option<&mut Driver> {
        self.drivers.iter_mut().find(|driver| driver.key == key)
    }

    /// Records how to wake a driver.
    pub(in crate::client) fn drive(&mut self, key: u64, waker: &Waker) {
        if let Some(driver) = self.driver(key)
            && !driver.waker.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            driver.waker = Some(waker.clone());
        }
    }

    /// Records that a driver found the inbox taken.
    pub(in crate::client) fn block(&mut self, key: u64) {
        if let Some(driver) = self.driver(key) {
            driver.is_blocked = true;
        }
    }

    /// Lets all drivers read once the inbox is put back.
    pub(in crate::client) fn block_all(&mut self) {
        self.drivers.iter_mut().for_each(|driver| driver.is_blocked = true);
    }

    /// Records whether a driver waits for room in the socket. Returns `true` if that has changed.
    pub(in crate::client) fn arm(&mut self, key: u64, is_armed: bool) -> bool {
        self.driver(key).is_some_and(|driver| std::mem::replace(&mut driver.is_armed, is_armed) != is_armed)
    }
}

impl Drop for Tasks {
    /// Ends the drivers, which wait for a socket that is about to be closed.
    fn drop(&mut self) {
        // In a forked child, the runtime is a copy that nobody runs.
        let own = self.drivers.iter().filter(|driver| driver.made_in.is_current());
        own.for_each(|driver| driver.task.abort());
    }
}

impl Undo {
    /// Returns `true` if the call can be sent again after its answer was given back.
    const fn can_be_repeated(self) -> bool {
        matches!(self, Self::Lock(_) | Self::Permit | Self::Task(_) | Self::Items)
    }
}

impl Calls {
    /// Enters the answer to a call of a task; `number` is the number of the answer.
    ///
    /// # Errors
    /// [`Malformed`] if the call has an answer already.
    pub(super) fn deliver_to_task(
        &mut self,
        call: u64,
        answer: Arrived,
        number: u64,
    ) -> Result<(), Unreadable> {
        let pending = self.tasks.pending.get_mut(&call).ok_or(Malformed)?;
        if !matches!(pending.state, State::Waiting) {
            return Err(Malformed);
        }
        let is_held = pending.undo.needs_server();
        pending.state = State::Arrived(answer, is_held.then_some(number));
        self.tasks.woken.extend(pending.waker.take());
        if is_held {
            self.tasks.untaken.insert(number, call);
        }
        Ok(())
    }

    /// Gives back the oldest answer that no task has taken. Returns `true` if that put a notice into the outbox.
    pub(in crate::client) fn return_oldest(&mut self) -> Result<bool, Unreadable> {
        let read = self.first_untaken();
        let Some((number, call)) = self.tasks.untaken.pop_first() else { return Ok(false) };
        let Some(pending) = self.tasks.pending.get_mut(&call) else { return Ok(false) };
        let State::Arrived(arrived, _) = std::mem::replace(&mut pending.state, State::Returned) else {
            return Ok(false);
        };
        let (undo, thread) = (pending.undo, pending.thread);
        if !undo.can_be_repeated() {
            pending.state = State::Arrived(arrived, None);
            return Ok(false);
        }
        let read = number.min(read);
        self.put((call, read), &Control::Cancel { call }.sent_by(thread));
        self.undo(&arrived, undo, thread, (call, read), call)?;
        Ok(true)
    }

    /// Gives up a call of a task. `numbers` are those of the notice that cancels it at the server.
    pub(in crate::client) fn abandon_task(&mut self, call: u64, numbers: (u64, u64)) {
        self.tasks.room.remove(&call);
        let Some(Pending { undo, thread, state, .. }) = self.tasks.pending.remove(&call) else { return };
        match state {
            State::Returned => {}
            State::Waiting if self.ended.is_some() => {}
            State::Waiting => {
                self.begin(call, thread, undo);
                self.abandon(call, numbers);
            }
            State::Arrived(arrived, number) => {
                if let Some(number) = number {
                    self.tasks.untaken.remove(&number);
                    self.put(numbers, &Control::Cancel { call }.sent_by(thread));
                } else {
                    self.pass_notification_on(&arrived, undo, thread, numbers);
                }
                // The reader has let in only answers that can be decoded.
                let _undone = self.undo(&arrived, undo, thread, numbers, call);
            }
        }
    }

    /// Notifies another waiter in place of a call that is given up although its answer counts as read.
    fn pass_notification_on(&mut self, arrived: &Arrived, undo: Undo, thread: u64, numbers: (u64, u64)) {
        if let Undo::LockAgain { condition, .. } = undo
            && let Ok(Ok(
                Reply::Granted { timed_out: false, .. } | Reply::GrantedLease { timed_out: false, .. },
            )) = decode(arrived.kind, &arrived.body, &arrived.body)
        {
            self.notice(numbers, thread, condition, Op::Condition(ConditionOp::Notify(1)));
        }
    }
}
