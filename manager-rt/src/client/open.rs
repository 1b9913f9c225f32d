//! Pipelines that are sent while other operations of them are still recorded.

use std::fmt;
use std::sync::Arc;

use mp_sys::deadline::Deadline;
use mp_sys::fork::Epoch;

use super::connection::{CALLS_MAX, Connection, Run};
use super::link::{Local, Target};
use super::patience::Patience;
use crate::backend::{CallError, OpenPipeline};
use crate::count::count_of;
use crate::proto::{Answer, Payload};
use crate::wire::recorded::Recorded;

/// A pipeline over the connection of this process.
///
/// The first portion chooses the connection, and may be repeated over a second one, as a call may. If the closure that
/// records the pipeline forks, the child never touches the connection, and the pipeline fails there.
pub(super) struct Open<'r> {
    local: &'r Local,
    target: &'r Target,
    home: Epoch,
    begun: Option<Begun>,
}

/// A pipeline of which a portion was sent.
struct Begun {
    connection: Arc<Connection>,
    run: Option<Run>,
}

impl<'r> Open<'r> {
    pub(super) fn new(local: &'r Local, target: &'r Target) -> Self {
        Self { local, target, home: Epoch::current(), begun: None }
    }

    fn put(
        &mut self,
        portion: &mut Recorded,
        (patience, deadline): (Patience, Deadline),
        is_last: bool,
    ) -> Result<(), CallError> {
        if !self.home.is_current() {
            return Err(CallError::OutcomeUnknown);
        }
        if let Some(Begun { connection, run }) = &mut self.begun {
            let sent = connection.send_portion(run, portion, CALLS_MAX, deadline);
            return sent.map_err(|failure| patience.error(failure, connection.agreed));
        }
        let reserved = if is_last { count_of(portion.len()) } else { CALLS_MAX };
        let begun = self.local.ask(self.target, patience, |connection| {
            let mut run = None;
            connection.send_portion(&mut run, portion, reserved, deadline)?;
            Ok(Begun { connection: Arc::clone(connection), run })
        })?;
        self.begun = Some(begun);
        Ok(())
    }
}

impl OpenPipeline for Open<'_> {
    fn send(&mut self, portion: &mut Recorded) -> Result<(), CallError> {
        let patience = Patience::at_once();
        self.put(portion, (patience, patience.answer_by()), false)
    }

    fn finish(mut self: Box<Self>, last: &mut Recorded) -> Result<Vec<Answer<Payload>>, CallError> {
        // The last portion and the answers have one time together.
        let patience = Patience::at_once();
        let deadline = patience.answer_by();
        self.put(last, (patience, deadline), true)?;
        let Some(Begun { connection, run: Some(run) }) = self.begun.take() else { return Ok(Vec::new()) };
        connection.collect(run, deadline).map_err(|failure| {
            self.local.part_from(&connection);
            patience.error(failure, connection.agreed)
        })
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(Begun { connection, run: Some(run) }) = self.begun.take()
            && self.home.is_current()
        {
            connection.give_up(run, Patience::at_once().answer_by());
        }
    }
}

impl fmt::Debug for Open<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.begun.is_some() { "begun" } else { "nothing was sent" };
        write!(f, "Open({state})")
    }
}
