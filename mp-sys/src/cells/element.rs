//! Which types may be in shared memory, and what the compiler says about others.
//!
//! The trait is implemented for all types that have the properties, so you never implement it by hand.

use bytemuck::{CheckedBitPattern, NoUninit, Zeroable};

/// A type that may live in memory that several processes share.
///
/// The trait holds for every [`bytemuck::Pod`] type (integers, floats, arrays of them, derived structs), for `bool` and
/// `char`, and for enums that derive bytemuck's traits: no padding, no pointers, and zero is a valid value. It is
/// implemented for all of them, so you never implement it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be in shared memory",
    label = "not plain data",
    note = "shared memory holds plain data: integers, floats, `bool`, `char`, arrays of numbers, and `#[repr(C)]` structs that derive \
            bytemuck's `Pod` and `Zeroable`",
    note = "use a queue, a pipe or a manager for `{Self}`, if serde can encode it"
)]
pub trait Element: CheckedBitPattern + NoUninit + Zeroable + Send + Sync + 'static {}

// Without this attribute, the compiler reports that `Pod` is missing, and does not show the notes above.
#[diagnostic::do_not_recommend]
impl<T: CheckedBitPattern + NoUninit + Zeroable + Send + Sync + 'static> Element for T {}
