//! Frames that a server puts back because it could not run them.

use bytes::Bytes;

use super::Inbound;
use crate::wire::frame::Head;

impl Inbound {
    /// Puts back a long frame that could not be run, so that [`next`](Self::next) returns it again.
    pub(crate) fn put_back(&mut self, head: Head, body: Bytes) {
        self.back = Some((head, body));
    }
}
