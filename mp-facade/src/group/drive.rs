//! How a group goes on: what its calls do, and when the next one is due.

use std::os::fd::AsFd;
use std::time::Duration;

use mp_sys::deadline::Deadline;

use crate::group::Group;
use crate::group::error::GroupError;
use crate::group::kind::Kind;
use crate::group::worker::Sign;

impl Group<'_> {
    /// Does what there is to do, without waiting. An error is kept in `failed`, and ends all workers.
    pub(super) fn advance(&mut self) {
        if let Err(error) = self.try_advance() {
            self.failed.get_or_insert(error);
            self.ask_all_to_end();
        }
    }

    fn try_advance(&mut self) -> Result<(), GroupError> {
        let Self { core, kinds, .. } = self;
        for sign in core.signs()? {
            match sign {
                Sign::End(number) => {
                    core.note_end(number);
                    kinds.iter_mut().try_for_each(|kind| kind.note_end(number, core))?;
                }
                Sign::Ready(number) => {
                    core.note_ready(number);
                    kinds.iter_mut().for_each(|kind| kind.note_ready(number, core));
                }
            }
        }
        core.kill_late();
        for kind in kinds {
            kind.excuse();
            kind.start_due(core)?;
            kind.go_on_with_reload(core);
        }
        Ok(())
    }

    /// Waits until there is something to do, and does it.
    pub(super) fn wait(&mut self) -> Result<(), GroupError> {
        kernel_ipc::wait([self.core.set().as_fd()], Duration::MAX)?;
        self.advance();
        self.arm_for_work()
    }

    pub(super) fn ask_all_to_end(&mut self) {
        self.is_stopping = true;
        for kind in &mut self.kinds {
            if kind.reload.take().is_some() {
                kind.reloaded = Some(Err(GroupError::Stopping));
            }
            kind.resize(0, &mut self.core);
        }
    }

    /// Lets the group's descriptor become readable when there is something to do or an event to take.
    pub(super) fn arm(&self) -> Result<(), GroupError> {
        let due = if self.core.has_events() || self.failed.is_some() {
            Deadline::after(Duration::ZERO)
        } else {
            self.due()
        };
        Ok(self.core.set().set_alarm(due)?)
    }

    /// Does the same, but leaves out events, which wait for later.
    fn arm_for_work(&self) -> Result<(), GroupError> {
        Ok(self.core.set().set_alarm(self.due())?)
    }

    /// When there is something to do, if nothing happens before.
    fn due(&self) -> Deadline {
        self.kinds.iter().map(Kind::due).fold(self.core.due(), Deadline::min)
    }
}
