//! Calls that wait.

use super::{Context, Outcome};
use crate::proto::{Fault, Wait};
use crate::state::waiters::{Line, WaiterId, Want};

impl Context<'_> {
    /// Lets the caller wait in a line, or refuses with `otherwise` if it does not want to wait.
    pub(in crate::state) fn park(&mut self, line: &mut Line, want: Want, otherwise: Fault) -> Outcome {
        match self.park_or(want, otherwise) {
            Ok(waiter) => {
                line.insert(waiter);
                Outcome::Parked
            }
            Err((want, fault)) => {
                if let Want::Room(items) = want {
                    self.core.let_go_all(items);
                }
                Outcome::Answer(Err(fault))
            }
        }
    }

    /// Like [`park`](Self::park), but leaves it to the caller to put the waiter into its line.
    pub(in crate::state) fn park_or(
        &mut self,
        want: Want,
        otherwise: Fault,
    ) -> Result<WaiterId, (Want, Fault)> {
        let deadline = match self.target.wait {
            Wait::No => return Err((want, otherwise)),
            Wait::For(nanos) => Some(self.core.after(nanos)),
            Wait::Forever => None,
        };
        if let Err(fault) = self.core.may_wait(self.client, self.call, &want) {
            return Err((want, fault));
        }
        let caller = (self.client, self.call, self.target.thread);
        let time = (self.core.now(), deadline);
        match self.core.clients.get_mut(self.client) {
            Some(client) => {
                let items = want.outside();
                let waiter = self.core.waiters.insert(caller, self.target.object, want, time);
                client.add_waiter(caller.1, waiter, items);
                Ok(waiter)
            }
            None => Err((want, Fault::Unauthorised)),
        }
    }
}
