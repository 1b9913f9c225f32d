//! Why a value does not travel in postcard's form, in words that help (feature `wire`).
//!
//! postcard's errors have no room for text, so what a user's `Serialize` or `Deserialize` says is lost. Here the value is
//! encoded or decoded once more, on the way to an error only, by an encoder and a decoder that keep the words.
//!
//! postcard writes no names of fields, and nothing that tells what comes next. Some types are encoded without complaint and
//! cannot be decoded: enums that are `untagged` or have `tag = …`, structs with `flatten`, and values from which
//! `skip_serializing_if` left a field out. Builds with debug assertions look for these when a value is sent
//! ([`check`]): the sender gets an error with the reason, instead of a receiver that cannot do anything about it.
//!
//! All of that happens while the thread is [*probing*](is_probing): handles of shared objects refuse to travel then, since
//! there is no message to put them in, and what they say is no reason.

mod reading;
mod versioned;
mod writing;

use std::cell::Cell;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::versioned::Versioned;
use crate::travel;

/// A longer value is not checked again: it would cost a debug build too much time.
pub const CHECKED_BYTES_MAX: usize = 16 << 10;

const LENGTH_UNKNOWN: &str = "a map or sequence in it does not tell its length in advance, as `#[serde(flatten)]` causes: its \
                              form does not allow that";

thread_local! {
    static IS_PROBING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread encodes or decodes a value only to find out how that ends.
#[must_use]
pub fn is_probing() -> bool {
    IS_PROBING.get()
}

/// Runs `body`, which encodes or decodes; `None` if a handle had a part in how it ended.
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

/// Why `value` cannot be encoded, where postcard says `error` and no handle was refused.
#[cold]
pub fn unencodable<T: Serialize + ?Sized>(value: &T, error: &postcard::Error) -> String {
    match error {
        postcard::Error::SerializeSeqLengthUnknown => LENGTH_UNKNOWN.to_owned(),
        _ => probe(|| writing::look(value).error).flatten().unwrap_or_else(|| error.to_string()),
    }
}

/// Why `bytes` cannot be decoded, where postcard says `error` and no handle was refused.
#[cold]
pub fn undecodable<T: DeserializeOwned>(bytes: &[u8], error: &postcard::Error) -> String {
    let told = probe(|| reading::read::<T>(bytes).err());
    told.flatten().flatten().unwrap_or_else(|| error.to_string())
}

/// What decodes the bytes of a value and drops it, or says why it cannot.
pub type Decodes = fn(&[u8]) -> Result<(), String>;

/// What decodes a `T`, for [`check`].
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

/// Whether `value`, encoded as `bytes`, can be decoded again; not asked in builds without debug assertions, and of more
/// than [`CHECKED_BYTES_MAX`] bytes. Where nobody knows the receiver's type there is no `decodes`.
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
    // Here the refusal of a handle changes nothing: what was left out is known.
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
