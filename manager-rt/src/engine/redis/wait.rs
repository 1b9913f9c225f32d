//! [`Waiting`]: a call that waits until another one hands it what it wants.
//!
//! The call first asks for what it wants. If it cannot have it now, it is in the line, and its answer comes as the only element of
//! a list of its own, from which this process pops it. All timeouts are those of this process: when one ends, a second
//! connection takes the call out of the line, and that answers the pop as well. So no pop is abandoned, and nothing that was
//! handed over is lost. If a connection is lost, the call asks again, under the same name: it gets what it was given before.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::ready::readable_later;
use redis::Value as Item;

use super::answer::{Outcome, outcome_in, outcome_of};
use super::command::{Command, Keys};
use super::connection::Connection;
use super::line;
use super::link::{ANSWER_TIME_MAX, Link};
use crate::backend::CallError;
use crate::proto::{Answer, Fault, ObjectId, Payload, Wait};

/// The longest that Redis lets one pop wait, in seconds, so that those of dead processes end.
const POP_SECS: u32 = 30;
/// How long a process waits after a failure before it tries again.
const PAUSE: Duration = Duration::from_millis(20);

/// Repeats something that may be done twice while it is not known whether it was done.
///
/// # Errors
/// That of the last attempt.
pub(super) fn repeated<T>(mut attempt: impl FnMut() -> Result<T, CallError>) -> Result<T, CallError> {
    let first = attempt();
    // What was not begun is not repeated.
    if !matches!(first, Err(CallError::OutcomeUnknown)) {
        return first;
    }
    let deadline = Deadline::after(ANSWER_TIME_MAX);
    loop {
        pause()?;
        match attempt() {
            Err(CallError::OutcomeUnknown | CallError::ServerGone) if !deadline.has_passed() => {}
            Err(CallError::ServerGone) => return Err(CallError::OutcomeUnknown),
            outcome => return outcome,
        }
    }
}

fn pause() -> Result<(), CallError> {
    readable_later(&[], Deadline::after(PAUSE))?;
    Ok(())
}

/// A call that waits.
pub(super) struct Waiting<'a> {
    pub(super) link: &'a Link,
    pub(super) keys: &'a Keys,
    pub(super) object: ObjectId,
    /// Its name.
    pub(super) call: &'a str,
    /// Makes the command that asks for what the call wants.
    pub(super) ask: &'a dyn Fn(Ask) -> Command,
    /// Makes the command that ends the first part of the wait, if another part without a timeout follows: the call waits for a
    /// notification first, and then for its lock.
    pub(super) stop: Option<&'a dyn Fn() -> Command>,
    /// Whether what the call does stays done when its session ends. Then it does not begin again if it may have been done.
    pub(super) stays: bool,
    /// Becomes `true` if the call joins the line.
    pub(super) was_parked: &'a Cell<bool>,
}

/// Returns when a wait that begins now ends.
pub(super) fn deadline_of(wait: Wait) -> Deadline {
    match wait {
        Wait::No => Deadline::after(Duration::ZERO),
        Wait::For(nanos) => Deadline::after(Duration::from_nanos(nanos)),
        Wait::Forever => Deadline::NEVER,
    }
}

/// How a call asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    /// Whether the call joins the line if it cannot have what it wants now.
    pub(super) joins: bool,
    /// What the object said when the call joined the line.
    pub(super) mark: Option<u64>,
    /// Whether it may have asked before.
    pub(super) is_again: bool,
}

/// How a call waited for its answer over one connection.
enum Heard {
    Outcome(Outcome),
    /// There was no answer yet.
    Nothing,
    /// The connection is lost.
    Broken,
}

/// How long a call waits.
struct Until {
    deadline: Deadline,
    /// When it asks again, since something may have ended without a word.
    again: Deadline,
    /// Whether it has left the line.
    has_left: bool,
    mark: Option<u64>,
}

impl Waiting<'_> {
    /// Runs the call.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of the operation. After [`CallError::OutcomeUnknown`], the call may have been given
    /// something.
    pub(super) fn run(&self, wait: Wait, deadline: Deadline) -> Result<Outcome, CallError> {
        if wait == Wait::No && self.stop.is_none() {
            return self.ask(false);
        }
        if deadline.has_passed() && self.stop.is_none() {
            return self.ask(false).map(timed_out);
        }
        let mut outcome = self.ask(true)?;
        let mut until = Until { deadline, again: Deadline::NEVER, has_left: false, mark: None };
        while let Outcome::Parked { again, mark } = outcome {
            self.was_parked.set(true);
            (until.again, until.mark) = (Deadline::after(again), until.mark.or(mark));
            match self.listen(&mut until)? {
                // It has something to ask for.
                Heard::Outcome(Outcome::Parked { .. }) | Heard::Nothing => {}
                Heard::Outcome(heard) => return Ok(heard),
                Heard::Broken => pause()?,
            }
            if until.has_left {
                // It is not in the line any more, but may have been given something.
                return self.ask_surely(false, until.mark).map(timed_out);
            }
            outcome = self.ask_surely(true, until.mark)?;
        }
        Ok(outcome)
    }

    fn ask(&self, joins: bool) -> Result<Outcome, CallError> {
        let mut is_again = false;
        let outcome = repeated(|| {
            let command = (self.ask)(Ask { joins, mark: None, is_again });
            let outcome = self.link.script(&command).and_then(outcome_of);
            is_again |= outcome == Err(CallError::OutcomeUnknown);
            outcome
        })?;
        let may_be_done = is_again && self.stays && outcome == Outcome::SessionLost;
        Ok(if may_be_done { Outcome::Unknown } else { outcome })
    }

    /// Asks in a call that may have been given something.
    fn ask_surely(&self, joins: bool, mark: Option<u64>) -> Result<Outcome, CallError> {
        let command = (self.ask)(Ask { joins, mark, is_again: true });
        surely(|| self.link.script(&command).and_then(outcome_of))
    }

    /// Waits for the answer over one connection.
    fn listen(&self, until: &mut Until) -> Result<Heard, CallError> {
        let Ok(mut connection) = self.link.connection() else { return Ok(Heard::Broken) };
        let mut pop = redis::cmd("BLPOP");
        pop.arg(self.keys.of(&format!("w:{}", self.call))).arg(POP_SECS);
        // The other side of a connection may have died without a word.
        let dead = Deadline::after(Duration::from_secs(POP_SECS.into()).saturating_add(ANSWER_TIME_MAX));
        if connection.send(&pop.get_packed_command()).is_err() {
            return Ok(Heard::Broken);
        }
        loop {
            let due = if until.has_left { until.again } else { until.again.min(until.deadline).min(dead) };
            if !readable_later(&[connection.as_fd()], due)?.is_empty() {
                return self.heard(connection);
            }
            if until.has_left {
                return Ok(Heard::Broken);
            }
            if until.deadline.has_passed() {
                let leave =
                    self.stop.map_or_else(|| line::leave(self.keys, self.object, self.call), |stop| stop());
                surely(|| self.link.script(&leave))?;
                if self.stop.is_some() {
                    (until.deadline, until.again) = (Deadline::NEVER, Deadline::after(Duration::ZERO));
                    continue;
                }
                (until.has_left, until.again) = (true, Deadline::after(ANSWER_TIME_MAX));
                continue;
            }
            if dead.has_passed() {
                return Ok(Heard::Broken);
            }
            match self.ask_surely(true, until.mark)? {
                Outcome::Parked { again, .. } => until.again = Deadline::after(again),
                // Nobody else needs the connection that waits.
                outcome => return Ok(Heard::Outcome(outcome)),
            }
        }
    }

    fn heard(&self, mut connection: Connection) -> Result<Heard, CallError> {
        let heard = match connection.receive() {
            Ok(Item::Array(mut items)) => match items.pop() {
                Some(Item::BulkString(text)) => Heard::Outcome(outcome_in(&text)?),
                _ => return Err(CallError::Protocol),
            },
            Ok(Item::Nil) => Heard::Nothing,
            _ => return Ok(Heard::Broken),
        };
        self.link.put_back(connection);
        Ok(heard)
    }
}

/// Repeats something that may be done twice, and that has to be done.
///
/// # Errors
/// [`CallError::OutcomeUnknown`], or the fault with which Redis refused it.
pub(super) fn surely<T>(mut attempt: impl FnMut() -> Result<T, CallError>) -> Result<T, CallError> {
    // Nobody knows what became of what was begun.
    let unknown = |error| match error {
        CallError::ServerGone => CallError::OutcomeUnknown,
        error => error,
    };
    repeated(|| attempt().map_err(unknown)).map_err(|error| match error {
        CallError::Fault(_) => error,
        _ => CallError::OutcomeUnknown,
    })
}

/// Returns the outcome of a call whose time is over.
fn timed_out(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Answer(Err(Fault::WouldBlock)) => {
            let late: Answer<Payload> = Err(Fault::TimedOut);
            Outcome::Answer(late)
        }
        outcome => outcome,
    }
}
