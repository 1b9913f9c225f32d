//! Calls that take something, give it back, or wait: they need a session.

use std::cell::Cell;

use mp_sys::deadline::boot_nanos;

use super::Redis;
use super::answer::{LEASE_OF_CALL, Outcome, outcome_of};
use super::command::Command;
use super::queue::{Named, TASK};
use super::session::{Level, Session, next_call};
use super::wait::{Ask, Waiting, deadline_of, surely};
use super::{barrier, condition, event, joinable_queue, lock, queue, semaphore};
use crate::backend::{CallError, Change};
use crate::proto::{
    Answer, BarrierOp, Call, ConditionOp, EventOp, Fault, JoinableQueueOp, Kind, LockOp, Op, Payload,
    QueueOp, Raw, Reply, SemaphoreOp, Wait,
};

/// How often a call begins again because its session was lost.
const ATTEMPTS_MAX: usize = 3;

impl Redis {
    /// Runs a call that needs a session, or returns `None` if it needs none.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of the operation.
    pub(super) fn call_of_session(&self, call: &Call<Raw<'_>>) -> Option<Result<Answer<Payload>, CallError>> {
        let object = call.object;
        Some(match call.op {
            Op::Lock(LockOp::Acquire { lease }) => self.acquire(call, lease),
            Op::Lock(LockOp::Release { token }) => self.release(call, token),
            Op::Semaphore(SemaphoreOp::Take) => self.take(call, |_, name, is_new, ask| {
                semaphore::take(&self.keys, object, name, is_new, ask.joins)
            }),
            Op::Semaphore(SemaphoreOp::Return { token }) => self.give_back(call, |session| {
                Some(semaphore::give_back(&self.keys, object, &session.call(token), true))
            }),
            Op::Semaphore(SemaphoreOp::Disown { token }) => self.give_back(call, |session| {
                Some(semaphore::give_back(&self.keys, object, &session.call(token), false))
            }),
            Op::Condition(ConditionOp::Wait { lock, token }) => self.take(call, |_, name, is_new, _| {
                condition::wait(&self.keys, (object, lock), (name, call.thread, token), is_new)
            }),
            Op::Event(EventOp::Wait) => {
                self.take(call, |_, name, is_new, ask| event::wait(&self.keys, object, name, is_new, ask))
            }
            Op::Queue(QueueOp::Get) => self.get(call, Kind::Queue, ""),
            Op::Queue(QueueOp::GetMany(max @ 1..)) => self.get(call, Kind::Queue, &max.to_string()),
            Op::Queue(QueueOp::Put(item)) if call.wait != Wait::No => self.put(call, Kind::Queue, &[item]),
            Op::Queue(QueueOp::PutMany(ref items)) if call.wait != Wait::No => {
                self.put(call, Kind::Queue, items)
            }
            Op::Barrier(ref op) => return self.call_of_party(call, op),
            Op::JoinableQueue(ref op) => return self.call_of_tasks(call, op),
            _ => return None,
        })
    }

    /// Runs a call of a queue of tasks that needs a session, or returns `None` if it needs none.
    fn call_of_tasks(
        &self,
        call: &Call<Raw<'_>>,
        op: &JoinableQueueOp<Raw<'_>>,
    ) -> Option<Result<Answer<Payload>, CallError>> {
        let (object, kind) = (call.object, Kind::JoinableQueue);
        Some(match op {
            JoinableQueueOp::Get => self.get(call, kind, TASK),
            JoinableQueueOp::Put(task) if call.wait != Wait::No => self.put(call, kind, &[*task]),
            JoinableQueueOp::PutMany(tasks) if call.wait != Wait::No => self.put(call, kind, tasks),
            JoinableQueueOp::Join => self.take(call, |_, name, is_new, ask| {
                joinable_queue::join(&self.keys, Named { object, kind, call: name, is_new, ask })
            }),
            JoinableQueueOp::Done { lease } => self.give_back(call, |session| {
                Some(joinable_queue::done(&self.keys, object, &session.call(*lease)))
            }),
            JoinableQueueOp::Requeue { lease } => self.give_back(call, |session| {
                Some(joinable_queue::requeue(&self.keys, object, &session.call(*lease)))
            }),
            _ => return None,
        })
    }

    /// Takes items of a queue.
    fn get(&self, call: &Call<Raw<'_>>, kind: Kind, max: &str) -> Result<Answer<Payload>, CallError> {
        let object = call.object;
        let answer = self.take(call, |_, name, is_new, ask| {
            queue::get(&self.keys, Named { object, kind, call: name, is_new, ask }, max)
        })?;
        Ok(match answer {
            Err(Fault::WouldBlock) => Err(Fault::Empty),
            answer => answer,
        })
    }

    /// Puts items into a queue. If there is room, that takes no session.
    fn put(&self, call: &Call<Raw<'_>>, kind: Kind, items: &[Raw<'_>]) -> Result<Answer<Payload>, CallError> {
        if let Some(command) = self.command(call.object, call.op.clone())? {
            let answer = self.link.run(&command)?;
            if answer != Err(Fault::Full) {
                return Ok(answer);
            }
        }
        let object = call.object;
        self.take(call, |_, name, is_new, ask| {
            queue::put_later(&self.keys, Named { object, kind, call: name, is_new, ask }, items)
        })
    }

    fn acquire(&self, call: &Call<Raw<'_>>, lease: u64) -> Result<Answer<Payload>, CallError> {
        self.take(call, |session, name, _, ask| {
            let acquire = lock::Acquire { call: name, thread: call.thread, lease, begun: session.begun };
            lock::acquire(&self.keys, call.object, acquire, ask.joins)
        })
    }

    /// Runs a call that takes something or waits. `ask` makes its command: from the session, the name of the call, whether the
    /// session has not used the object before, and how the call asks.
    pub(super) fn take(
        &self,
        call: &Call<Raw<'_>>,
        ask: impl Fn(&Session, &str, bool, Ask) -> Command,
    ) -> Result<Answer<Payload>, CallError> {
        let (change, asked) = (Change::of(call), boot_nanos());
        // It holds for all sessions in which the call waits.
        let deadline = deadline_of(call.wait);
        for _ in 0..ATTEMPTS_MAX {
            self.check_open()?;
            let session = self.sessions.get(&self.link, &self.keys, &self.terms)?;
            let (number, was_parked) = (next_call(), Cell::new(false));
            let name = session.call(number);
            let is_new = session.is_new(call.object);
            let ask = |how| ask(&session, &name, is_new, how);
            let stop = || condition::stop(&self.keys, call.object, &name);
            let waiting = Waiting {
                link: &self.link,
                keys: &self.keys,
                object: call.object,
                call: &name,
                ask: &ask,
                stop: matches!(call.op, Op::Condition(_)).then_some(&stop),
                stays: stays(&call.op),
                was_parked: &was_parked,
            };
            let outcome =
                waiting.run(call.wait, deadline).inspect_err(|error| self.unsure(&session, *error))?;
            let mut answer = match outcome {
                Outcome::Answer(answer) => answer,
                Outcome::SessionLost => {
                    self.sessions.lose(session.serial);
                    continue;
                }
                Outcome::Unknown => {
                    self.sessions.lose(session.serial);
                    return Err(CallError::OutcomeUnknown);
                }
                Outcome::Parked { .. } => return Err(CallError::Protocol),
            };
            answer.iter().for_each(|_| session.uses(call.object));
            // This process may have slept since the grant, longer than the session had left.
            if is_grant(&answer) && !self.sessions.is_current(&session, &self.link) {
                self.sessions.lose(session.serial);
                if matches!(call.op, Op::Condition(_)) {
                    return Ok(Err(Fault::NotOwned));
                }
                continue;
            }
            complete(&mut answer, number, asked);
            if let Ok(Reply::Granted { token, .. } | Reply::GrantedLease { token, .. }) = answer {
                match call.op {
                    Op::Lock(_) => {
                        let taken = (token, !was_parked.get());
                        if let Err(fault) = session.deepen(call.object, call.thread, taken) {
                            return Ok(Err(fault));
                        }
                    }
                    Op::Condition(ConditionOp::Wait { lock, token: old }) => {
                        session.exchange(lock, call.thread, old, token);
                    }
                    _ => {}
                }
            }
            self.note(change, &answer, &session);
            if let Some(read) =
                self.was_read(call, &name).filter(|_| matches!(answer, Ok(_) | Err(Fault::Broken)))
            {
                // Otherwise what was given would come back at the end of the session.
                self.link
                    .post(&read)
                    .map_err(|_| CallError::OutcomeUnknown)
                    .inspect_err(|error| self.unsure(&session, *error))?;
            }
            return Ok(answer);
        }
        self.check_open()?;
        Err(CallError::ServerGone)
    }

    /// Returns the command that forgets what a call was given, once this process has read its answer.
    fn was_read(&self, call: &Call<Raw<'_>>, name: &str) -> Option<redis::Cmd> {
        let is_put = match call.op {
            Op::Queue(QueueOp::Put(_) | QueueOp::PutMany(_))
            | Op::JoinableQueue(JoinableQueueOp::Put(_) | JoinableQueueOp::PutMany(_)) => true,
            Op::Queue(_) => false,
            Op::Barrier(_) => return Some(barrier::was_read(&self.keys, call.object, name)),
            _ => return None,
        };
        Some(queue::was_read(&self.keys, call.object, name, is_put))
    }

    /// Runs a call that gives something back. `ask` makes its command, unless nothing has to be done yet.
    pub(super) fn give_back(
        &self,
        call: &Call<Raw<'_>>,
        ask: impl FnOnce(&Session) -> Option<Command>,
    ) -> Result<Answer<Payload>, CallError> {
        self.give_back_by(call, |session| ask(session).map(|command| (None, command)))
    }

    /// Releases a lock. A plain command does it if nobody waits for the lock.
    fn release(&self, call: &Call<Raw<'_>>, token: u64) -> Result<Answer<Payload>, CallError> {
        let object = call.object;
        self.give_back_by(call, |session| {
            let is_plain = match session.ascend(object, call.thread, token) {
                Level::Held => return None,
                Level::Last { is_plain } => is_plain,
            };
            let plain = is_plain.then(|| lock::release_plainly(&self.keys, object, token));
            Some((plain, lock::release(&self.keys, object, &session.name, token)))
        })
    }

    /// Runs a call that gives something back. `ask` makes its command, and a plain one that is tried first.
    fn give_back_by(
        &self,
        call: &Call<Raw<'_>>,
        ask: impl FnOnce(&Session) -> Option<(Option<Vec<u8>>, Command)>,
    ) -> Result<Answer<Payload>, CallError> {
        let change = Change::of(call);
        // What an earlier session held is not held any more.
        let Some(session) = self.sessions.existing() else { return Ok(Err(Fault::NotOwned)) };
        let mut is_again = false;
        let answer = match ask(&session) {
            None => Ok(Reply::Done),
            Some((plain, command)) => {
                let attempt = || {
                    if let Some(plain) = &plain
                        && self.link.removes(plain)?
                    {
                        return Ok(Outcome::Answer(Ok(Reply::Done)));
                    }
                    self.link.script(&command).and_then(outcome_of)
                };
                let outcome = surely(|| {
                    let outcome = attempt();
                    is_again |= outcome == Err(CallError::OutcomeUnknown);
                    outcome
                });
                match outcome.inspect_err(|error| self.unsure(&session, *error))? {
                    Outcome::Answer(Err(Fault::NotOwned)) if is_again => self.given_back(call, &session)?,
                    Outcome::Answer(answer) => answer,
                    _ => return Err(CallError::Protocol),
                }
            }
        };
        self.note(change, &answer, &session);
        Ok(answer)
    }

    /// Returns the answer to a call that gives something back, and finds nothing after an attempt without an answer. In a session
    /// that lives, the first attempt has done it.
    fn given_back(&self, call: &Call<Raw<'_>>, session: &Session) -> Result<Answer<Payload>, CallError> {
        // A barrier may have been broken meanwhile.
        if matches!(call.op, Op::Barrier(_)) || !self.sessions.is_current(session, &self.link) {
            self.sessions.lose(session.serial);
            return Err(CallError::OutcomeUnknown);
        }
        Ok(Ok(Reply::Done))
    }

    /// Notes what the answer to a call of a session changes in what this process holds.
    fn note(&self, change: Change, answer: &Answer<Payload>, session: &Session) {
        let noted = answer.as_ref().map_err(|fault| CallError::Fault(*fault));
        self.sessions.grants().note(change, noted, session.serial);
    }

    /// Gives up a session after a call of it that may have changed something without this process's knowledge: otherwise
    /// something could stay held that nobody knows of.
    pub(super) fn unsure(&self, session: &Session, error: CallError) {
        // A fault changed nothing, and what was not sent neither.
        if !matches!(error, CallError::Fault(_) | CallError::ServerGone) {
            self.sessions.lose(session.serial);
        }
    }
}

/// Completes the answer to the call with this number, which was made at this moment.
fn complete(answer: &mut Answer<Payload>, call: u64, asked: u64) {
    match answer {
        // The clock of Redis may have been set meanwhile.
        Ok(Reply::GrantedLease { waited, .. }) => {
            *waited = (*waited).min(boot_nanos().saturating_sub(asked));
        }
        Ok(Reply::Leased { lease, .. }) if *lease == LEASE_OF_CALL => *lease = call,
        _ => {}
    }
}

/// Returns `true` if what a call does stays done when its session ends.
const fn stays(op: &Op<Raw<'_>>) -> bool {
    use JoinableQueueOp::{Put as PutTask, PutMany as PutTasks};
    use QueueOp::{Put, PutMany};
    matches!(
        op,
        Op::Queue(Put(_) | PutMany(_))
            | Op::JoinableQueue(PutTask(_) | PutTasks(_))
            | Op::Barrier(BarrierOp::Wait { .. })
    )
}

/// Returns `true` if an answer means that the session has something.
const fn is_grant(answer: &Answer<Payload>) -> bool {
    use Reply::{Granted, GrantedLease, Leased, Value, Values};
    matches!(answer, Ok(Granted { .. } | GrantedLease { .. } | Leased { .. } | Value(_) | Values { .. }))
}
