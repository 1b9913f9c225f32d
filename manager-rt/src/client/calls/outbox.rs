//! What of the outbox is written.

use super::Calls;

impl Calls {
    /// Returns what is in the outbox to the caller, who writes it.
    pub(in crate::client) fn take_outbox(&mut self) -> Vec<u8> {
        self.taken_out = self.taken_out.saturating_add(1);
        std::mem::take(&mut self.outbox)
    }

    /// Records that everything which was taken out of the outbox is written.
    pub(in crate::client) const fn has_written(&mut self) {
        self.written_out = self.taken_out;
    }

    /// Returns a number for [`is_written`](Self::is_written), for what was put into the outbox last.
    pub(in crate::client) const fn newest_out(&self) -> u64 {
        self.taken_out.saturating_add(1)
    }

    /// Returns `true` if something that was put into the outbox is written.
    pub(in crate::client) const fn is_written(&self, out: u64) -> bool {
        self.written_out >= out
    }
}
