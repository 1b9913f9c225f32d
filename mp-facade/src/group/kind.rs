//! The workers of one kind.

use std::sync::Arc;

use crate::group::core::Core;
use crate::group::error::{Failure, GroupError};
use crate::group::event::{GroupEvent, Place};
use crate::group::health::KindHealth;
use crate::group::keep::Keep;
use crate::group::slot::Slot;
use crate::group::worker::Worker;
use crate::running::Running;
use crate::start::error::StartError;

/// Starts a worker for a place.
pub(super) type Start<'s> = dyn FnMut(&Slot) -> Result<Arc<Running>, StartError> + 's;

/// A place, and the processes that have it.
pub(super) struct Seat {
    pub(super) place: Place,
    pub(super) current: Option<Worker>,
}

pub(super) struct Kind<'s> {
    pub(super) name: Arc<str>,
    pub(super) keep: Keep,
    start: Box<Start<'s>>,
    pub(super) seats: Vec<Seat>,
    last_failure: Option<(Place, Failure)>,
}

impl<'s> Kind<'s> {
    pub(super) fn new(name: &str, keep: Keep, start: Box<Start<'s>>) -> Self {
        Self { name: name.into(), keep, start, seats: Vec::new(), last_failure: None }
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`GroupError::Start`] for the first one that could not be started.
    pub(super) fn begin(&mut self, core: &mut Core) -> Result<(), GroupError> {
        for index in 0..self.keep.workers {
            let place = Place::new(&self.name, index);
            let worker = self.start(&place, core);
            let worker = worker.map_err(|error| GroupError::Start { place: place.clone(), error })?;
            self.seats.push(Seat { place, current: Some(worker) });
        }
        Ok(())
    }

    /// Starts a worker for a place.
    pub(super) fn start(&mut self, place: &Place, core: &mut Core) -> Result<Worker, StartError> {
        let slot = Slot::new(place.clone(), self.keep.end_with_parent);
        let running = (self.start)(&slot)?;
        let number = core.next_number();
        let worker = Worker::new(place.clone(), number, running, core.set());
        let worker = worker.map_err(StartError::of_os)?;
        core.tell(GroupEvent::Started { place: place.clone(), pid: worker.pid() });
        Ok(worker)
    }

    /// Asks all workers to end.
    pub(super) fn end(&mut self, core: &mut Core) {
        for seat in self.seats.drain(..) {
            if let Some(worker) = seat.current {
                core.ask_to_end(worker, &self.keep);
            }
        }
    }

    /// Handles the end of a worker, if it is one of this kind.
    pub(super) fn note_end(&mut self, number: u64, core: &mut Core) {
        let is_it = |worker: &mut Worker| worker.number == number;
        let found = self.seats.iter_mut().find_map(|seat| Some((seat.current.take_if(is_it)?, seat)));
        let Some((worker, seat)) = found else { return };
        let Some(outcome) = worker.outcome() else {
            seat.current = Some(worker);
            return;
        };
        let place = seat.place.clone();
        if outcome.is_err() {
            self.last_failure = Some((place.clone(), Failure::Ended(outcome.clone())));
        }
        core.tell(GroupEvent::Exited { place, pid: worker.pid(), outcome });
        core.forget(worker);
    }

    pub(super) fn health(&self) -> KindHealth {
        KindHealth {
            kind: Arc::clone(&self.name),
            workers: self.seats.len(),
            pids: self.seats.iter().filter_map(|seat| seat.current.as_ref()).map(Worker::pid).collect(),
            last_failure: self.last_failure.clone(),
        }
    }
}
