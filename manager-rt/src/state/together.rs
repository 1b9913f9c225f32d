//! Light calls of one client on one object that arrive in one frame.
//!
//! Each of them is an operation of its own: it has its own answer, and takes effect although another one fails. What all of
//! them need is done once: finding the object and the client, serving lines, and handing out the answers. None of them waits,
//! changes another object, or lets a waiter go on. So nobody can see that nothing else happened between them.

use crate::limits::ANSWERS_TOGETHER_BYTES;
use crate::proto::{Answer, Fault, Op, Payload, Raw, Wait};
use crate::state::State;
use crate::state::context::{Context, Outcome, Target};
use crate::state::kinds::Body;
use crate::state::step::{Caller, Effects, Heard};
use crate::state::work::STEP_UNITS;
use crate::wire::together::Together;

/// After so much work, the other calls of a frame have to wait until other clients had their turns.
const UNITS_MAX: usize = STEP_UNITS / 2;

impl State {
    /// Runs several calls of a client, whose numbers follow that of the caller.
    pub(crate) fn apply_together(
        &mut self,
        caller: Caller<'_>,
        (together, count): (&mut Together<'_>, u16),
        effects: &mut Effects,
    ) -> Heard {
        self.begin(caller.now);
        let object = together.whose.object;
        if self.is_unfinished(caller.client) || self.is_held_up(object) {
            return Heard::Unsettled;
        }
        let target = Target { object, thread: together.whose.thread, wait: Wait::No };
        let (slot, room) = (self.core.registry.slot(object), self.decoded_bytes_max());
        self.look_ahead(slot, together, (count, room));
        let mut run_next = |state: &mut Self, call| {
            let op = together.next(room)?;
            state.run_light(Caller { call, ..caller }, (target, slot), op)
        };
        let first = run_next(self, caller.call);
        let (mut more, mut bytes) = (Vec::new(), bytes_of(&first));
        more.reserve_exact(usize::from(count).saturating_sub(1));
        let mut done = 1_u16;
        while done < count && bytes < ANSWERS_TOGETHER_BYTES && self.may_go_on() {
            let answer = run_next(self, caller.call.wrapping_add(u64::from(done)));
            bytes = bytes.saturating_add(bytes_of(&answer));
            more.push(answer);
            done = done.saturating_add(1);
        }
        self.core.answer_together((caller.client, caller.call), first, more);
        self.settle(effects);
        if done < count { Heard::Partly { done, left: together.rest_len() } } else { Heard::Done }
    }

    /// Looks at the places of a large dict that the calls will need. A processor waits for many of them at the same time, and
    /// for those of one call after the other.
    fn look_ahead(&self, slot: Option<usize>, together: &Together<'_>, (count, room): (u16, usize)) {
        let Some(Body::Dict(dict)) = slot.and_then(|slot| self.bodies.get(slot)) else { return };
        if !dict.is_large() {
            return;
        }
        let mut ahead = *together;
        for _ in 0..count {
            let Ok(Op::Dict(op)) = ahead.next(room) else { return };
            dict.look_ahead(&op);
        }
    }

    /// Refuses several calls, whose numbers follow that of the caller.
    pub(crate) fn refuse_together(
        &mut self,
        caller: Caller<'_>,
        (fault, count): (Fault, u16),
        effects: &mut Effects,
    ) {
        self.begin(caller.now);
        let more = vec![Err(fault); usize::from(count).saturating_sub(1)];
        self.core.answer_together((caller.client, caller.call), Err(fault), more);
        self.settle(effects);
    }

    /// Returns `true` if the next call may follow before anything else is done. An object that has lost its last reference has
    /// to end first, since a later call may want to store a proxy of it.
    fn may_go_on(&self) -> bool {
        let work = &self.core.work;
        work.done() < UNITS_MAX
            && !work.is_over()
            && (work.has_backlog || !self.core.registry.has_unreferenced())
    }

    /// Runs an operation on an object that is found already.
    fn run_light(
        &mut self,
        caller: Caller<'_>,
        (target, slot): (Target, Option<usize>),
        op: Op<Raw<'_>>,
    ) -> Answer<Payload> {
        if !op.is_light() {
            return Err(Fault::Malformed);
        }
        let slot = slot.ok_or(Fault::UnknownObject)?;
        self.core.memory.overdrawn = None;
        let body = self.bodies.get_mut(slot).ok_or(Fault::UnknownObject)?;
        let mut context = Context::new(&mut self.core, caller, target);
        let outcome = body.apply(op, &mut context);
        self.bodies.recharge(slot, &mut self.core.memory.containers);
        let answer = match (outcome, self.core.memory.overdrawn.take()) {
            (Outcome::Answer(Ok(_)), Some(full)) => Err(full.into()),
            (Outcome::Answer(answer), _) => answer,
            // No light operation waits.
            (Outcome::Parked, _) => Err(Fault::Malformed),
        };
        let answer = answer.and_then(|reply| self.core.admit(caller.client, reply));
        self.end_transaction(answer.is_ok());
        answer
    }
}

/// Returns the approximate length of the values in an answer, in bytes.
fn bytes_of(answer: &Answer<Payload>) -> usize {
    let mut bytes = 0_usize;
    if let Ok(reply) = answer {
        reply.each_value(&mut |value| bytes = bytes.saturating_add(value.raw().bytes.len()));
    }
    bytes
}
