//! Calls for snapshots.

use crate::proto::Fault;
use crate::state::asked::Asked;
use crate::state::context::{DONE, Outcome};
use crate::state::{Caller, Effects, State};

impl State {
    /// Accepts calls for snapshots. The caller takes and answers them, and those that ask for the end.
    pub(crate) const fn accept_snapshots(&mut self) {
        self.snapshots.are_written = true;
    }

    /// Notes that a client waits for a snapshot.
    pub(in crate::state) fn ask_for_snapshot(&mut self, caller: Caller<'_>, path: String) -> Outcome {
        let Caller { client, call, .. } = caller;
        match self.snapshots.add(Asked { client, call, path: path.into() }) {
            Ok(()) => {
                if let Some(client) = self.core.clients.get_mut(client) {
                    client.has_asked = true;
                }
                Outcome::Parked
            }
            Err(fault) => Outcome::Answer(Err(fault)),
        }
    }

    /// Ends the manager. If somebody may have to save it first, the client waits for that.
    pub(in crate::state) fn ask_to_end(&mut self, caller: Caller<'_>) -> Outcome {
        self.has_ended = true;
        if !self.snapshots.are_written {
            return Outcome::Answer(DONE);
        }
        self.snapshots.add_end(caller.client, caller.call);
        Outcome::Parked
    }

    /// Takes note of the end of a save to the file in which the objects are kept.
    pub(crate) fn save_is_over(&mut self, is_saved: bool, now: u64) {
        self.core.reach(now);
        match is_saved {
            true => self.snapshots.last_save = Some(self.core.now()),
            false => self.snapshots.failed_saves = self.snapshots.failed_saves.saturating_add(1),
        }
    }

    /// Answers the clients that have asked for the end.
    pub(crate) fn end_is_over(&mut self, outcome: Result<(), Fault>, now: u64, effects: &mut Effects) {
        self.begin(now);
        for (client, call) in self.snapshots.take_ends() {
            self.core.answer(client, call, outcome.and(DONE));
        }
        self.settle(effects);
    }

    /// Returns the snapshots that clients have asked for since the last call.
    pub(crate) fn take_snapshots(&mut self) -> Vec<Asked> {
        self.snapshots.take()
    }

    /// Returns `true` if there are any. A step may bring them that finishes what other calls had to wait for.
    pub(crate) const fn has_new_snapshots(&self) -> bool {
        self.snapshots.has_new()
    }

    /// Answers a client that waits for a snapshot. It may have ended.
    pub(crate) fn snapshot_is_over(
        &mut self,
        asked: &Asked,
        outcome: Result<(), Fault>,
        now: u64,
        effects: &mut Effects,
    ) {
        self.begin(now);
        self.snapshots.is_over();
        self.core.answer(asked.client, asked.call, outcome.and(DONE));
        self.settle(effects);
    }
}
