//! Encoding up to a limit.

use mp_sys::socket::OVERHEAD_BYTES;
use postcard::ser_flavors::Flavor;

use crate::limits::MESSAGE_BYTES_MAX;

/// Bytes of the longest message together with its head.
const PACKET_BYTES_MAX: usize = MESSAGE_BYTES_MAX + OVERHEAD_BYTES;

/// Collects encoded bytes after the space for a packet's head, up to the limit. Bytes beyond the limit are only counted.
pub(super) struct Limited {
    pub(super) packet: Vec<u8>,
    pub(super) beyond: usize,
}

impl Flavor for Limited {
    type Output = Self;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, more: &[u8]) -> postcard::Result<()> {
        if self.beyond == 0 && more.len() <= PACKET_BYTES_MAX.saturating_sub(self.packet.len()) {
            self.packet.extend_from_slice(more);
        } else {
            self.beyond = self.beyond.saturating_add(more.len());
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_limit_are_counted_and_not_stored() {
        let limited = Limited { packet: Vec::new(), beyond: MESSAGE_BYTES_MAX };
        let limited = postcard::serialize_with_flavor(&[7_u8; 10], limited).unwrap();
        assert_eq!((limited.beyond, limited.packet.len()), (MESSAGE_BYTES_MAX + 10, 0));
    }
}
