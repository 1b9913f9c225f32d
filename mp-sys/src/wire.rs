//! Explains in words why postcard cannot encode or decode a value (feature `wire`).
//!
//! postcard's errors have no room for text, so the message of a user's `Serialize` or `Deserialize` is lost. If there is an
//! error, this module encodes or decodes the value once more, with an encoder and a decoder that keep the message.
//!
//! postcard writes neither the names of fields nor the types of values. Some types can be encoded but not decoded: enums that
//! are `untagged` or have `tag = …`, structs with `flatten`, and values from which `skip_serializing_if` left a field out.
//! Builds with debug assertions look for these when a value is sent ([`check`]). So the sender gets an error with the reason,
//! and not the receiver, which cannot do anything about it.
//!
//! Meanwhile the thread is [*probing*](is_probing). Handles of shared objects refuse to travel then, because there is no
//! message to put them in. Such a refusal is not the reason for the error.

mod reading;
mod versioned;
mod writing;

use std::cell::Cell;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::versioned::Versioned;
use crate::travel;

/// The most bytes of a value that is checked. A longer value would cost a debug build too much time.
pub const CHECKED_BYTES_MAX: usize = 16 << 10;

const LENGTH_UNKNOWN: &str = "a map or sequence in it does not tell its length in advance, as `#[serde(flatten)]` causes: its \
                              form does not allow that";

thread_local! {
    static IS_PROBING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread encodes or decodes a value only to learn the outcome.
#[must_use]
pub fn is_probing() -> bool {
    IS_PROBING.get()
}

/// Runs `body`, which encodes or decodes. Returns `None` if a handle influenced the outcome.
fn probe<R>(body: impl FnOnce() -> R) -> Option<R> {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IS_PROBING.set(self.0);
        }
    }
    let _restore = Restore(IS_PROBING.replace(true));
    let (result, refused) = travel::alone(body);
    refused.is_none().then_some(result)
}

/// Returns why `value` cannot be encoded, if postcard returned `error` and no handle was refused.
#[cold]
pub fn unencodable<T: Serialize + ?Sized>(value: &T, error: &postcard::Error) -> String {
    match error {
        postcard::Error::SerializeSeqLengthUnknown => LENGTH_UNKNOWN.to_owned(),
        _ => probe(|| writing::look(value).error).flatten().unwrap_or_else(|| error.to_string()),
    }
}

/// Returns why `bytes` cannot be decoded, if postcard returned `error` and no handle was refused.
#[cold]
pub fn undecodable<T: DeserializeOwned>(bytes: &[u8], error: &postcard::Error) -> String {
    let told = probe(|| reading::read::<T>(bytes).err());
    told.flatten().flatten().unwrap_or_else(|| error.to_string())
}

/// A function that decodes the bytes of a value and drops it, or returns the reason why it cannot.
pub type Decodes = fn(&[u8]) -> Result<(), String>;

/// Returns the function that decodes a `T`, for [`check`].
#[must_use]
pub fn decodes<T: DeserializeOwned>() -> Decodes {
    |bytes| match probe(|| reading::read::<T>(bytes)) {
        None | Some(Ok(0)) => Ok(()),
        Some(Ok(left)) => Err(format!("it cannot be decoded again: {left} bytes are left over")),
        Some(Err(told)) => {
            let reason = told.as_deref().unwrap_or("its bytes are not what its type expects");
            Err(format!("it cannot be decoded again: {reason}"))
        }
    }
}

/// Checks whether `value`, encoded as `bytes`, can be decoded again. It checks nothing in builds without debug assertions, or
/// if there are more than [`CHECKED_BYTES_MAX`] bytes. `decodes` is `None` if the receiver's type is unknown.
///
/// # Errors
/// The reason, in words.
#[inline]
pub fn check<T: Serialize + ?Sized>(value: &T, bytes: &[u8], decodes: Option<Decodes>) -> Result<(), String> {
    if cfg!(debug_assertions) && bytes.len() <= CHECKED_BYTES_MAX && !is_probing() {
        return check_now(value, bytes, decodes);
    }
    Ok(())
}

fn check_now<T: Serialize + ?Sized>(value: &T, bytes: &[u8], decodes: Option<Decodes>) -> Result<(), String> {
    // Here it does not matter if a handle is refused: the encoder has seen which field was left out.
    let mut left_out = None;
    let _unused = probe(|| left_out = writing::look(value).left_out);
    if let Some((of, field)) = left_out {
        return Err(format!(
            "it cannot be decoded again: `skip_serializing_if` left the field `{field}` of `{of}` out, and its form has \
             no names by which that would be noticed"
        ));
    }
    decodes.map_or(Ok(()), |decodes| decodes(bytes))
}

#[cfg(test)]
mod tests;
