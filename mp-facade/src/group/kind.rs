//! The workers of one kind.

use std::sync::Arc;

use mp_sys::deadline::Deadline;

use crate::exit::ExitError;
use crate::group::core::Core;
use crate::group::error::{Failure, GroupError};
use crate::group::event::{GroupEvent, Place};
use crate::group::health::KindHealth;
use crate::group::keep::{Keep, OnReturn};
use crate::group::reload::Reload;
use crate::group::slot::Slot;
use crate::group::worker::Worker;
use crate::restart::Crashes;
use crate::running::Running;
use crate::start::error::StartError;

/// Starts a worker for a place.
pub(super) type Start<'s> = dyn FnMut(&Slot) -> Result<Arc<Running>, StartError> + 's;

/// A place, and the processes that have it.
pub(super) struct Seat {
    pub(super) place: Place,
    pub(super) current: Option<Worker>,
    /// The process that will replace the current one once it is ready.
    pub(super) next: Option<Worker>,
    /// When the next worker is started, if there is none.
    pub(super) again: Option<Deadline>,
    pub(super) crashes: Crashes,
    /// Whether its worker has returned, and no other one follows.
    pub(super) is_done: bool,
}

impl Seat {
    fn new(place: Place, keep: &Keep) -> Self {
        let crashes = Crashes::up_to(keep.crashes);
        Self { place, current: None, next: None, again: None, crashes, is_done: false }
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.current.iter().chain(&self.next)
    }

    fn workers_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.current.iter_mut().chain(&mut self.next)
    }
}

pub(super) struct Kind<'s> {
    pub(super) name: Arc<str>,
    pub(super) keep: Keep,
    start: Box<Start<'s>>,
    pub(super) seats: Vec<Seat>,
    pub(super) reload: Option<Reload>,
    /// How the last reload ended, if it did.
    pub(super) reloaded: Option<Result<(), GroupError>>,
    restarts: u64,
    last_failure: Option<(Place, Failure)>,
}

impl<'s> Kind<'s> {
    pub(super) fn new(name: &str, keep: Keep, start: Box<Start<'s>>) -> Self {
        Self {
            name: name.into(),
            keep,
            start,
            seats: Vec::new(),
            reload: None,
            reloaded: None,
            restarts: 0,
            last_failure: None,
        }
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
            self.seats.push(Seat { current: Some(worker), ..Seat::new(place, &self.keep) });
        }
        Ok(())
    }

    /// Starts a worker for a place.
    pub(super) fn start(&mut self, place: &Place, core: &mut Core) -> Result<Worker, StartError> {
        let slot = Slot::new(place.clone(), self.keep.end_with_parent);
        let running = (self.start)(&slot)?;
        let number = core.next_number();
        let worker = Worker::new(place.clone(), number, running, slot.into_ready(), &self.keep, core.set());
        let worker = worker.map_err(StartError::of_os)?;
        core.tell(GroupEvent::Started { place: place.clone(), pid: worker.pid() });
        Ok(worker)
    }

    /// Changes the number of workers. New ones are started by [`start_due`](Self::start_due), and the last ones are asked to
    /// end.
    pub(super) fn resize(&mut self, workers: usize, core: &mut Core) {
        self.keep.workers = workers;
        for seat in self.seats.drain(workers.min(self.seats.len())..) {
            for worker in seat.current.into_iter().chain(seat.next) {
                core.ask_to_end(worker, &self.keep);
            }
        }
        for index in self.seats.len()..workers {
            let again = Some(Deadline::after(std::time::Duration::ZERO));
            let seat = Seat::new(Place::new(&self.name, index), &self.keep);
            self.seats.push(Seat { again, ..seat });
        }
    }

    /// Records that a worker is ready.
    pub(super) fn note_ready(&mut self, number: u64, core: &mut Core) {
        let mut workers = self.seats.iter_mut().flat_map(Seat::workers_mut);
        if let Some(worker) = workers.find(|worker| worker.number == number) {
            worker.note_ready(core.set());
            core.tell(GroupEvent::Ready { place: worker.place.clone(), pid: worker.pid() });
        }
    }

    /// Handles the end of a worker, if it is one of this kind.
    ///
    /// # Errors
    /// [`GroupError::Crashes`] if it was one crash too many.
    pub(super) fn note_end(&mut self, number: u64, core: &mut Core) -> Result<(), GroupError> {
        for at in 0..self.seats.len() {
            let Some(seat) = self.seats.get_mut(at) else { break };
            let is_it = |worker: &mut Worker| worker.number == number;
            let was_current = seat.current.as_mut().is_some_and(is_it);
            let place = if was_current { &mut seat.current } else { &mut seat.next };
            let Some(worker) = place.take_if(is_it) else { continue };
            let Some(outcome) = worker.outcome() else {
                *place = Some(worker);
                break;
            };
            let (is_ready, is_healthy) = (worker.is_ready(), worker.age() >= self.keep.healthy_after);
            let exited = |place| GroupEvent::Exited { place, pid: worker.pid(), outcome: outcome.clone() };
            core.tell(exited(seat.place.clone()));
            core.forget(worker);
            let end = Failure::Ended(outcome.clone());
            if outcome.is_err() {
                self.last_failure = Some((seat.place.clone(), end.clone()));
            }
            if let Some(reload) = self.reload.as_ref().filter(|reload| reload.awaits(number)) {
                self.reload_failed((at, reload.again), end, core);
            }
            if was_current {
                return self.replace(at, &outcome, is_ready, is_healthy, core);
            }
            break;
        }
        Ok(())
    }

    /// Gives workers that are late because they were stopped meanwhile more time to become ready.
    pub(super) fn excuse(&mut self) {
        self.seats.iter_mut().flat_map(Seat::workers_mut).for_each(Worker::excuse);
    }

    /// Decides what follows a worker that has ended by itself.
    fn replace(
        &mut self,
        at: usize,
        outcome: &Result<(), ExitError>,
        was_ready: bool,
        was_healthy: bool,
        core: &mut Core,
    ) -> Result<(), GroupError> {
        let Some(seat) = self.seats.get_mut(at) else { return Ok(()) };
        seat.current = seat.next.take();
        if seat.current.is_some() {
            // The replacement of the reload replaces it already.
            return Ok(());
        }
        if outcome.is_ok() && self.keep.on_return == OnReturn::Finish {
            seat.is_done = true;
            return Ok(());
        }
        let after = if was_healthy {
            seat.crashes.clear();
            std::time::Duration::ZERO
        } else if outcome.is_ok() && was_ready {
            // It has done its share. The next one must not follow so fast that nothing but starts is done.
            self.keep.pause_min
        } else {
            return self.pause(at, Failure::Ended(outcome.clone()), core);
        };
        seat.again = Some(Deadline::after(after));
        core.tell(GroupEvent::Restarting { place: seat.place.clone(), after });
        Ok(())
    }

    /// Counts a crash, and sets the time of the next start.
    fn pause(&mut self, at: usize, end: Failure, core: &mut Core) -> Result<(), GroupError> {
        let Some(seat) = self.seats.get_mut(at) else { return Ok(()) };
        let place = seat.place.clone();
        if !seat.crashes.note() {
            return Err(GroupError::Crashes { place, crashes: seat.crashes.in_row(), end });
        }
        let after = seat.crashes.pause(self.keep.pause_min, self.keep.pause_max);
        seat.again = Some(Deadline::after(after));
        core.tell(GroupEvent::Restarting { place, after });
        Ok(())
    }

    /// Starts the workers whose time has come.
    ///
    /// # Errors
    /// [`GroupError::Crashes`] if one could not be started too often.
    pub(super) fn start_due(&mut self, core: &mut Core) -> Result<(), GroupError> {
        for at in 0..self.seats.len() {
            let Some(seat) = self.seats.get_mut(at) else { break };
            if seat.again.take_if(|again| again.has_passed()).is_none() {
                continue;
            }
            let place = seat.place.clone();
            match self.start(&place, core) {
                Ok(worker) => self.seat(at, worker),
                Err(error) => {
                    core.tell(GroupEvent::NotStarted { place: place.clone(), error: error.clone() });
                    let failure = Failure::NotStarted(error);
                    self.last_failure = Some((place, failure.clone()));
                    self.pause(at, failure, core)?;
                }
            }
        }
        Ok(())
    }

    fn seat(&mut self, at: usize, worker: Worker) {
        if let Some(seat) = self.seats.get_mut(at) {
            seat.current = Some(worker);
            self.restarts = self.restarts.saturating_add(1);
        }
    }

    /// When there is something to do, if nothing happens before.
    pub(super) fn due(&self) -> Deadline {
        let of_seat = |seat: &Seat| {
            let again = seat.again.unwrap_or(Deadline::NEVER);
            seat.workers().map(Worker::due).fold(again, Deadline::min)
        };
        self.seats.iter().map(of_seat).min().unwrap_or(Deadline::NEVER)
    }

    pub(super) fn health(&self) -> KindHealth {
        KindHealth {
            kind: Arc::clone(&self.name),
            workers: self.seats.iter().filter(|seat| !seat.is_done).count(),
            pids: self.seats.iter().filter_map(|seat| seat.current.as_ref()).map(Worker::pid).collect(),
            restarts: self.restarts,
            last_failure: self.last_failure.clone(),
        }
    }
}
