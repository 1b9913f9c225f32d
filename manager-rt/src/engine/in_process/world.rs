//! What all clients of one manager in this process share: the state machine, the clock, and the sleeping callers.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::backend::CallError;
use crate::count::nanos_of;
use crate::proto::{Answer, Payload};
use crate::state::{Caller, ClientId, Effects, State};

/// The part that all clients share.
pub(super) struct World {
    pub(super) started: Instant,
    pub(super) epoch: u128,
    pub(super) inner: Mutex<Inner>,
}

pub(super) struct Inner {
    pub(super) state: State,
    pub(super) effects: Effects,
    /// The number of answers so far, by client. Each one counts as read when it is handed out.
    pub(super) clients: HashMap<ClientId, u64>,
    pub(super) sleepers: HashMap<(ClientId, u64), Sleeper>,
    pub(super) calls: u64,
}

/// A call that waits for its answer.
#[derive(Default)]
pub(super) struct Sleeper {
    pub(super) bell: Arc<Condvar>,
    pub(super) answer: Option<Result<Answer<Payload>, CallError>>,
}

/// Sleeps until the bell rings, or until time changes something.
pub(super) fn sleep<'a>(
    inner: MutexGuard<'a, Inner>,
    bell: &Condvar,
    time: Option<Duration>,
) -> MutexGuard<'a, Inner> {
    match time {
        None => bell.wait(inner).unwrap_or_else(PoisonError::into_inner),
        Some(time) => bell.wait_timeout(inner, time).unwrap_or_else(PoisonError::into_inner).0,
    }
}

/// Returns a number that no other manager has.
pub(super) fn random() -> Result<u128, CallError> {
    let mut bytes = [0; size_of::<u128>()];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    filled.map_err(|error| CallError::System(std::io::Error::from(error).into()))?;
    Ok(u128::from_ne_bytes(bytes))
}

impl World {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the nanoseconds since the manager was made.
    pub(super) fn now(&self) -> u64 {
        nanos_of(self.started.elapsed())
    }

    /// Returns how long it takes until time changes something.
    pub(super) fn until_next(&self, inner: &Inner) -> Option<Duration> {
        let next = inner.state.next_deadline()?;
        Some(Duration::from_nanos(next.saturating_sub(self.now())))
    }
}

impl Inner {
    /// Runs one step of the state machine for a client, and returns the number of the call.
    pub(super) fn step<R>(
        &mut self,
        world: &World,
        client: ClientId,
        ask: impl FnOnce(&mut State, Caller<'_>, &mut Effects) -> R,
    ) -> Result<u64, CallError> {
        if self.state.has_ended() || !self.clients.contains_key(&client) {
            return Err(CallError::ServerGone);
        }
        let before = self.state.next_deadline();
        let now = world.now();
        self.advance(now);
        self.calls = self.calls.wrapping_add(1);
        let call = self.calls;
        let caller = Caller { client, call, now, frame: &Bytes::new(), is_settled: true };
        ask(&mut self.state, caller, &mut self.effects);
        while self.state.tidy(&mut self.effects) {}
        if self.state.has_ended() {
            self.wake(|_| true);
        }
        self.ring_if_earlier(before);
        Ok(call)
    }

    /// Rings all bells if time now changes something earlier than `before`. The sleepers know only the later moment.
    pub(super) fn ring_if_earlier(&self, before: Option<u64>) {
        let after = self.state.next_deadline();
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.sleepers.values().for_each(|sleeper| sleeper.bell.notify_one());
        }
    }

    pub(super) fn advance(&mut self, now: u64) {
        while self.state.next_deadline().is_some_and(|next| next <= now) {
            self.state.advance(now, &mut self.effects);
            while self.state.tidy(&mut self.effects) {}
        }
    }

    /// Wakes sleepers whose calls will not be answered.
    pub(super) fn wake(&mut self, whose: impl Fn(ClientId) -> bool) {
        for ((client, _), sleeper) in &mut self.sleepers {
            if whose(*client) && sleeper.answer.is_none() {
                sleeper.answer = Some(Err(CallError::ServerGone));
                sleeper.bell.notify_one();
            }
        }
    }

    /// Hands out all answers: returns the one for `own`, and wakes the sleepers of the others.
    pub(super) fn hand_out(&mut self, own: (ClientId, u64)) -> Option<Answer<Payload>> {
        let mut given = None;
        while self.hand_out_some(own, &mut given) {}
        given
    }

    /// Hands out the answers that there are. Returns `true` if there are more: what has been read may let others go on.
    fn hand_out_some(&mut self, own: (ClientId, u64), given: &mut Option<Answer<Payload>>) -> bool {
        for answered in self.effects.answers.drain(..) {
            let key = (answered.client, answered.call);
            if let Some(answers) = self.clients.get_mut(&answered.client) {
                *answers = answers.wrapping_add(1);
                self.state.acknowledge(answered.client, *answers);
            }
            if key == own {
                *given = Some(answered.into_answer());
            } else if let Some(sleeper) = self.sleepers.get_mut(&key) {
                sleeper.answer = Some(Ok(answered.into_answer()));
                sleeper.bell.notify_one();
            }
        }
        while self.state.tidy(&mut self.effects) {}
        !self.effects.answers.is_empty()
    }
}
