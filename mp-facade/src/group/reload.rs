//! Replacing the workers of a kind, one after the other.

use std::sync::Arc;

use crate::group::core::Core;
use crate::group::error::{Failure, GroupError};
use crate::group::event::GroupEvent;
use crate::group::kind::Kind;

/// A reload that is under way.
#[derive(Debug, Default)]
pub(super) struct Reload {
    /// The index of the place that is reloaded now.
    at: usize,
    step: Step,
    /// Whether to begin again at the end, because another reload was asked for meanwhile.
    pub(super) again: bool,
}

#[derive(Debug, Default)]
enum Step {
    /// The replacement is to be started.
    #[default]
    Start,
    /// The replacement with this number is to become ready.
    Await(u64),
    /// The worker with this number, which was replaced, is to end.
    End(u64),
}

impl Reload {
    /// Whether it waits for the worker with this number to become ready.
    pub(super) fn awaits(&self, number: u64) -> bool {
        matches!(self.step, Step::Await(awaited) if awaited == number)
    }
}

impl Kind<'_> {
    /// Goes on with a reload as far as possible without waiting.
    pub(super) fn go_on_with_reload(&mut self, core: &mut Core) {
        while let Some(mut reload) = self.reload.take() {
            if reload.at >= self.seats.len() {
                if reload.again {
                    reload = Reload::default();
                    self.reload = Some(reload);
                    continue;
                }
                self.reloaded = Some(Ok(()));
                core.tell(GroupEvent::Reloaded { kind: Arc::clone(&self.name) });
                return;
            }
            let at = reload.at;
            let step = match reload.step {
                Step::Start => self.start_replacement(at, core),
                Step::Await(number) => self.hand_over(at, number, core),
                Step::End(number) if core.is_ending(number) => Ok(None),
                Step::End(_) => Ok(Some(Next::Place)),
            };
            match step {
                Err(failure) => {
                    self.reload_failed((at, reload.again), failure, core);
                    continue;
                }
                Ok(None) => {
                    self.reload = Some(reload);
                    return;
                }
                Ok(Some(Next::Step(step))) => reload.step = step,
                Ok(Some(Next::Place)) => {
                    reload.step = Step::Start;
                    reload.at = reload.at.saturating_add(1);
                }
            }
            self.reload = Some(reload);
        }
    }

    fn start_replacement(&mut self, at: usize, core: &mut Core) -> Result<Option<Next>, Failure> {
        let Some(seat) = self.seats.get(at).filter(|seat| !seat.is_done) else {
            return Ok(Some(Next::Place));
        };
        let place = seat.place.clone();
        let worker = self.start(&place, core).map_err(Failure::NotStarted)?;
        let number = worker.number;
        if let Some(seat) = self.seats.get_mut(at) {
            if seat.current.is_some() {
                seat.next = Some(worker);
            } else {
                seat.again = None;
                seat.current = Some(worker);
            }
        }
        Ok(Some(Next::Step(Step::Await(number))))
    }

    /// Lets the replacement take the place of the old worker once it is ready.
    fn hand_over(&mut self, at: usize, number: u64, core: &mut Core) -> Result<Option<Next>, Failure> {
        let Some(seat) = self.seats.get_mut(at) else { return Ok(Some(Next::Place)) };
        let Some(worker) = seat.workers().find(|worker| worker.number == number) else {
            // The number of workers was changed meanwhile, and this place is another one.
            return Ok(Some(Next::Place));
        };
        if !worker.is_ready() {
            return Ok(None);
        }
        let Some(next) = seat.next.take() else {
            // The old one has ended meanwhile.
            return Ok(Some(Next::Place));
        };
        let Some(old) = seat.current.replace(next) else { return Ok(Some(Next::Place)) };
        if old.age() >= self.keep.healthy_after {
            // Crashes before it do not count towards those of its replacement.
            seat.crashes.clear();
        }
        let number = old.number;
        core.ask_to_end(old, &self.keep);
        Ok(Some(Next::Step(Step::End(number))))
    }

    /// Ends a reload with an error. If another one was asked for meanwhile, that one begins.
    pub(super) fn reload_failed(&mut self, (at, again): (usize, bool), end: Failure, core: &mut Core) {
        self.reload = again.then(Reload::default);
        if let Some(seat) = self.seats.get(at) {
            let place = seat.place.clone();
            core.tell(GroupEvent::NotReloaded { place: place.clone(), end: end.clone() });
            self.reloaded = (!again).then_some(Err(GroupError::Reload { place, end }));
        }
    }
}

/// What follows a step.
enum Next {
    Step(Step),
    Place,
}
