//! A value whose type has a version.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value together with the version of its type.
///
/// Two programs agree on a type if its name is the same: what is compared is the name without its modules, not the fields. A
/// program that was built before a field changed would decode the new bytes as the old fields. Count `VERSION` up when you
/// change the type, and such a program gets an error instead: the version is part of the name. The bytes are those of the
/// value alone.
///
/// `VERSION` is any number. A hash of the fields, such as the one that the crate `postcard-schema` computes as a constant,
/// changes by itself.
///
/// # Examples
/// ```
/// use mp_sys::wire::Versioned;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Order {
///     pieces: i16, // an i8 in version 1
/// }
/// type OrderInMessages = Versioned<2, Order>;
///
/// let order = OrderInMessages::new(Order { pieces: 5 });
/// assert_eq!(order.pieces, 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Versioned<const VERSION: u64, T>(T);

impl<const VERSION: u64, T> Versioned<VERSION, T> {
    /// The value in this version.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<const VERSION: u64, T> From<T> for Versioned<VERSION, T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<const VERSION: u64, T> Deref for Versioned<VERSION, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<const VERSION: u64, T> DerefMut for Versioned<VERSION, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// As the value alone.
impl<const VERSION: u64, T: Serialize> Serialize for Versioned<VERSION, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de, const VERSION: u64, T: Deserialize<'de>> Deserialize<'de> for Versioned<VERSION, T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::deserialize(from).map(Self)
    }
}
