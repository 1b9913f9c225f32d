//! Pipelines that are sent while other operations of them are still recorded.

use std::fmt;
use std::sync::Arc;

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

    fn put(&mut self, portion: &mut Recorded, is_last: bool) -> Result<(), CallError> {
        if !self.home.is_current() {
            return Err(CallError::OutcomeUnknown);
        }
        let patience = Patience::at_once();
        if let Some(Begun { connection, run }) = &mut self.begun {
            let sent = connection.send_portion(run, portion, CALLS_MAX, patience.answer_by());
            return sent.map_err(|failure| patience.error(failure, connection.agreed));
        }
        let reserved = if is_last { count_of(portion.len()) } else { CALLS_MAX };
        let begun = self.local.ask(self.target, patience, |connection| {
            let mut run = None;
            connection.send_portion(&mut run, portion, reserved, patience.answer_by())?;
            Ok(Begun { connection: Arc::clone(connection), run })
        })?;
        self.begun = Some(begun);
        Ok(())
    }
}

impl OpenPipeline for Open<'_> {
    fn send(&mut self, portion: &mut Recorded) -> Result<(), CallError> {
        self.put(portion, false)
    }

    fn finish(mut self: Box<Self>, last: &mut Recorded) -> Result<Vec<Answer<Payload>>, CallError> {
        self.put(last, true)?;
        let Some(Begun { connection, run: Some(run) }) = self.begun.take() else { return Ok(Vec::new()) };
        let patience = Patience::at_once();
        connection.collect(run, patience.answer_by()).map_err(|failure| {
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
