//! Frames that a server puts back because it could not run them, or not all calls in them.

use bytes::Bytes;

use super::Inbound;
use crate::account::{Full, charged};
use crate::wire::frame::Head;

impl Inbound {
    /// Puts back a long frame that could not be run, so that [`next`](Self::next) returns it again.
    pub(crate) fn put_back(&mut self, head: Head, body: Bytes) {
        self.back = Some((head, body));
    }

    /// Puts back a part of a frame, so that [`next`](Self::next) returns it.
    ///
    /// # Errors
    /// [`Full`] if there is no memory for it.
    pub(crate) fn put_rest_back(&mut self, head: Head, body: Vec<u8>) -> Result<(), Full> {
        let body = match &self.account {
            Some(account) => {
                let account = account.whole();
                account.check_reserve(body.len())?;
                let of_share = self.share.as_ref().map(|share| share.charge_bulk(body.len()));
                let charges = (account.charge(body.len()), of_share);
                charged(body, charges)
            }
            None => body.into(),
        };
        self.back = Some((head, body));
        Ok(())
    }

    /// Returns `true` if a frame, or a part of one, was put back.
    pub(crate) fn has_back(&self) -> bool {
        self.back.is_some()
    }
}
