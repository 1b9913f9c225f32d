//! A value whose type has a version.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value together with the version of its type.
///
/// Two programs agree on a type if its name is the same. They compare the name without its modules, and not the fields. So a
/// program that was built before a field changed would decode the new bytes as the old fields. If you increment `VERSION` when
/// you change the type, such a program gets an error instead, because the version is part of the name. The version adds no
/// bytes to the value.
///
/// `VERSION` can be any number. A hash of the fields, such as the constant that the crate `postcard-schema` computes, changes
/// automatically.
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

/// Encodes the value without its version.
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
