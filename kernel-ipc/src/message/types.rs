//! The identity of a type between processes.

use std::any::type_name;
use std::fmt;
use std::mem::{align_of, size_of};

use mp_sys::named::fingerprint;
use mp_sys::wire::{self, Decodes};
use serde::de::DeserializeOwned;

/// Returns the fingerprint that identifies a type between processes. It is never 0.
pub(crate) fn print_of<T>() -> u64 {
    fingerprint("message", size_of::<T>(), align_of::<T>(), type_name::<T>()).max(1)
}

/// The type of an end's values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type {
    pub(crate) print: u64,
    name: fn() -> &'static str,
    /// Decodes a sent value again as a check. Set where this side has a type that can be decoded.
    pub(super) decodes: Option<Decodes>,
}

impl Type {
    /// Describes a type that this side receives, or only knows by name.
    pub(crate) fn of<T>() -> Self {
        Self { print: print_of::<T>(), name: type_name::<T>, decodes: None }
    }

    /// Describes a type that this side sends and could decode.
    pub(crate) fn sent<T: DeserializeOwned>() -> Self {
        Self { decodes: Some(wire::decodes::<T>()), ..Self::of::<T>() }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of fingerprint {:016x}", (self.name)(), self.print)
    }
}
