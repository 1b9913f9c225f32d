//! The calls of a program to its keeper.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use rustix::io::Errno;

use super::definition::Definition;
use super::frame::{Answer, Ask, Nanos};
use super::keeper::{Keeper, Order, lock};
use super::line::{Broken, Line, Pace, now};
use super::{RabbitMq, refused};
use crate::backend::CallError;
use crate::proto::{Fault, ObjectId, Wait};

/// How often a call is tried at most, if the keeper is killed each time. One that is killed while it starts, or is ending, costs an attempt
/// as well.
const ATTEMPTS_MAX: usize = 6;
/// How long a keeper may take for a call beyond the wait and the connecting.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a process has of a client. A forked child has its own.
#[derive(Debug, Default)]
pub(super) struct Process {
    current: Mutex<Current>,
    /// The queues that this process has used.
    known: Mutex<HashMap<ObjectId, Arc<Definition>>>,
}

#[derive(Debug, Default)]
struct Current {
    keeper: Option<Arc<Keeper>>,
    /// The number of keepers so far.
    count: u32,
}

impl Process {
    /// Returns what a forked child begins with.
    fn inherited(parents: Option<&Self>) -> Self {
        // Another thread of the parent may have been changing it.
        let known = parents.and_then(|parents| parents.known.try_lock().ok().map(|known| known.clone()));
        Self { current: Mutex::default(), known: Mutex::new(known.unwrap_or_default()) }
    }

    pub(super) fn learn(&self, definition: Definition) {
        lock(&self.known).insert(definition.object(), Arc::new(definition));
    }

    pub(super) fn forget(&self, object: ObjectId) {
        lock(&self.known).remove(&object);
    }

    /// Returns the keeper, after starting one if there is none.
    fn keeper(&self, order: &Order) -> Result<Arc<Keeper>, CallError> {
        let mut current = lock(&self.current);
        if let Some(keeper) = current.keeper.as_ref().filter(|keeper| !keeper.has_ended()) {
            return Ok(Arc::clone(keeper));
        }
        current.count = current.count.wrapping_add(1);
        let keeper = Arc::new(Keeper::start(&Order { serial: current.count, ..order.clone() })?);
        current.keeper = Some(Arc::clone(&keeper));
        Ok(keeper)
    }

    /// Gives up a keeper that takes no more calls, even if it does not end.
    fn replace(&self, ending: &Arc<Keeper>) {
        lock(&self.current).keeper.take_if(|keeper| Arc::ptr_eq(keeper, ending));
    }

    /// Ends the keeper.
    #[cfg(feature = "conformance")]
    pub(super) fn dismiss(&self) {
        let last = lock(&self.current).keeper.take();
        if let Some(keeper) = last {
            keeper.dismiss();
        }
    }
}

/// An answer, and the socket over which it came.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) answer: Answer,
    pub(super) items: Vec<u8>,
    line: Line,
    keeper: Arc<Keeper>,
}

impl Heard {
    /// Waits for the next frame of the answer.
    ///
    /// # Errors
    /// [`CallError::ServerGone`].
    pub(super) async fn next(&mut self, pace: Pace) -> Result<(), CallError> {
        let next = self.line.hear(Deadline::after(PATIENCE), pace).await;
        let next = next.map_err(|_| CallError::ServerGone)?;
        (self.answer, self.items) = next;
        Ok(())
    }

    /// Says that the items were read.
    ///
    /// # Errors
    /// [`CallError::ServerGone`] if the keeper has ended: the items return to their queue.
    pub(super) async fn was_read(&mut self, pace: Pace) -> Result<(), CallError> {
        let told = self.line.tell(&Ask::Taken, &[], Deadline::after(PATIENCE), pace).await;
        told.map_err(|_| CallError::ServerGone)
    }

    /// Keeps the socket for the next call.
    pub(super) fn end(self) {
        self.keeper.give_back(self.line);
    }
}

impl RabbitMq {
    pub(super) fn process(&self) -> &Process {
        self.processes.get(Process::inherited)
    }

    fn check_open(&self) -> Result<(), CallError> {
        if self.is_closed.load(Ordering::Acquire) { Err(CallError::ServerGone) } else { Ok(()) }
    }

    /// Asks the keeper for something without items.
    ///
    /// # Errors
    /// [`CallError`], but no refusal.
    pub(super) async fn ask(&self, ask: &Ask, wait: Wait, pace: Pace) -> Result<Answer, CallError> {
        let heard = self.converse(|_| ask.clone(), &[], wait, pace).await?;
        let answer = heard.answer.clone();
        heard.end();
        Ok(answer)
    }

    /// Asks the keeper for something. `ask` makes the question, from how long it may wait.
    ///
    /// # Errors
    /// [`CallError`], but no refusal.
    pub(super) async fn converse(
        &self,
        ask: impl Fn(Nanos) -> Ask,
        items: &[u8],
        wait: Wait,
        pace: Pace,
    ) -> Result<Heard, CallError> {
        let end = end_of(wait);
        for _ in 0..ATTEMPTS_MAX {
            self.check_open()?;
            let keeper = match self.process().keeper(&self.order) {
                // It was killed before it had its order.
                Err(CallError::System(error)) if error == Errno::PIPE.into() => continue,
                keeper => keeper?,
            };
            let mut line = match keeper.line() {
                Err(error) if error == Errno::PIPE.into() => {
                    keeper.ends_soon(pace).await;
                    self.process().replace(&keeper);
                    continue;
                }
                line => line?,
            };
            let (ask, answer_by) = (ask(nanos_until(wait, end)), self.answer_by(end));
            match line.ask(&ask, items, answer_by, pace).await {
                Ok((answer, items)) => return Ok(Heard { answer, items, line, keeper }),
                Err(Broken::TooLong) => {
                    let limit = crate::count::count_of(super::ITEM_BYTES_MAX);
                    return Err(Fault::TooLarge { limit }.into());
                }
                #[cfg(feature = "tokio")]
                Err(Broken::Runtime(error)) => return Err(error.into()),
                Err(Broken::NoAnswer) if !may_repeat(&ask) => return Err(CallError::OutcomeUnknown),
                // The keeper makes no progress.
                Err(Broken::NoAnswer) if answer_by.has_passed() => return Err(CallError::ServerGone),
                // If it was killed, its sockets close before the system says that it has ended.
                Err(Broken::NotSent | Broken::NoAnswer) => keeper.ends_soon(pace).await,
            }
        }
        self.check_open()?;
        Err(CallError::ServerGone)
    }

    /// Ends a lease, and does not wait until that is done.
    ///
    /// # Errors
    /// [`CallError`].
    #[cfg(feature = "tokio")]
    pub(super) fn settle_later(&self, lease: u64, is_done: bool) -> Result<(), CallError> {
        let mut line = self.process().keeper(&self.order)?.line()?;
        let ask = Ask::Settle { lease, is_done };
        let told = line.tell(&ask, &[], Deadline::after(PATIENCE), Pace::Blocks);
        now(async { told.await.map_err(|_| CallError::ServerGone) })
    }

    fn answer_by(&self, end: Deadline) -> Deadline {
        if end.is_never() {
            return end;
        }
        Deadline::after(end.remaining().saturating_add(PATIENCE).saturating_add(self.order.connect_time))
    }

    /// Returns the definition of a queue.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) fn definition(&self, object: ObjectId) -> Result<Arc<Definition>, CallError> {
        now(self.definition_at(object, Pace::Blocks))
    }

    /// Does the same, and waits at this pace.
    ///
    /// # Errors
    /// [`CallError`].
    pub(super) async fn definition_at(
        &self,
        object: ObjectId,
        pace: Pace,
    ) -> Result<Arc<Definition>, CallError> {
        if let Some(known) = lock(&self.process().known).get(&object) {
            return Ok(Arc::clone(known));
        }
        match self.ask(&Ask::Find { id: object.0 }, Wait::No, pace).await? {
            Answer::Defined(definition, _) => {
                self.process().learn(definition.clone());
                Ok(Arc::new(definition))
            }
            answer => Err(refused(&answer)),
        }
    }
}

/// Returns when a wait that begins now ends.
fn end_of(wait: Wait) -> Deadline {
    match wait {
        Wait::No => Deadline::after(Duration::ZERO),
        Wait::For(nanos) => Deadline::after(Duration::from_nanos(nanos)),
        Wait::Forever => Deadline::NEVER,
    }
}

fn nanos_until(wait: Wait, end: Deadline) -> Nanos {
    match wait {
        Wait::No => 0,
        Wait::For(_) => u64::try_from(end.remaining().as_nanos()).unwrap_or(u64::MAX),
        Wait::Forever => u64::MAX,
    }
}

/// Returns `true` if something may be asked again after a keeper has ended in the middle of it: what it was given has returned.
const fn may_repeat(ask: &Ask) -> bool {
    match ask {
        Ask::Connect
        | Ask::Define(_)
        | Ask::Find { .. }
        | Ask::Get { .. }
        | Ask::Len { .. }
        | Ask::Failed { .. }
        | Ask::FailedHeads { .. }
        | Ask::Waiting => true,
        Ask::Remove { .. } | Ask::Put { .. } | Ask::Taken | Ask::Settle { .. } => false,
    }
}
