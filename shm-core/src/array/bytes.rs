//! Byte strings in an array.

use mp_sys::crash;

use crate::array::Array;
use crate::error::{ArrayError, LockResult, RangeError};

/// Byte strings as in C: they end at the first NUL.
impl Array<u8> {
    /// Returns the bytes before the first NUL, or all of them if there is none. Python's `.value` of a character array.
    ///
    /// # Errors
    /// The same as [`to_vec`](Self::to_vec).
    #[doc(alias = "value")]
    pub fn to_c_bytes(&self) -> LockResult<Vec<u8>> {
        let until_nul = |mut bytes: Vec<u8>| {
            bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
            bytes
        };
        self.to_vec().map(until_nul).map_err(|error| error.map(until_nul))
    }

    /// Stores `bytes` at the start, and a NUL after them if there is room. The rest stays as it is.
    ///
    /// # Errors
    /// [`RangeError::OutOfRange`] if there are more bytes than elements; otherwise the same as [`write`](Self::write).
    #[doc(alias = "value")]
    pub fn set_c_bytes(&self, bytes: &[u8]) -> Result<(), ArrayError<()>> {
        RangeError::check(0, bytes.len(), self.len)?;
        let mut held = self.open_to_write().map_err(|error| error.map(drop))?;
        held.write_slice(Self::FIRST, bytes);
        crash::point();
        if bytes.len() < self.len {
            held.write_whole(Self::place(bytes.len()), 0_u8);
        }
        crash::point();
        Ok(())
    }
}
