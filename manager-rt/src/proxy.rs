//! The proxies: typed handles to objects that live in a manager.
//!
//! A proxy consists of an id and a [`Backend`](crate::Backend). Each method is one operation, which is atomic in the
//! manager unless its documentation says otherwise. Cloning a proxy is cheap. An object without a name lives as long as
//! any process has a proxy of it, or any stored value contains one.
//!
//! | module | what it holds |
//! |---|---|
//! | [`codec`] | encoding and decoding of values |
//! | [`travel`] | proxies inside values and messages |
//! | [`handle`], [`read`] | what all proxies share: an object, operations, answers |
//! | the others | one kind of object each |

mod array;
#[cfg(feature = "tokio")]
mod asynchronous;
mod barrier;
mod codec;
mod condition;
mod dict;
mod event;
mod handle;
mod joinable_queue;
mod list;
mod lock;
mod namespace;
mod number;
mod queue;
pub(crate) mod read;
mod rlock;
mod semaphore;
mod storable;
pub(crate) mod travel;
mod value;

pub use self::array::Array;
#[cfg(feature = "tokio")]
pub use self::asynchronous::TaskGuard;
pub use self::barrier::{Barrier, Party};
pub(crate) use self::codec::Values;
pub use self::condition::{Condition, WaitGuard};
pub use self::dict::{Dict, DictIter};
pub use self::event::Event;
pub(crate) use self::handle::{Handle, Read, make};
pub(crate) use self::joinable_queue::Lease;
pub use self::joinable_queue::{JoinableQueue, Task};
pub use self::list::{List, ListIter};
pub use self::lock::{Lock, LockGuard};
pub use self::namespace::Namespace;
pub(crate) use self::namespace::is_private;
pub use self::number::Numeric;
pub use self::queue::Queue;
pub use self::rlock::{RLock, RLockGuard};
pub use self::semaphore::{BoundedSemaphore, Permit, Semaphore};
pub use self::storable::Storable;
pub use self::value::Value;
use crate::proto::Kind;

/// How often an object that is read in pages is read again because it changed between two pages.
pub(crate) const TRIES_MAX: usize = 64;

/// What all proxies have in common.
pub(crate) trait Proxy: Sized {
    /// The kind of the object.
    const KIND: Kind;

    /// The fingerprint of the object's type, by which processes recognise it.
    fn print() -> u64;

    /// Makes a proxy from a handle to the object.
    fn over(handle: Handle) -> Self;

    /// The handle to the object.
    fn handle(&self) -> &Handle;
}

/// Turns a struct with a `handle` and, if it has type parameters, `items` into a proxy that can be cloned, shown and
/// sent.
macro_rules! proxy {
    ($name:ident $(<$($item:ident),+>)?) => {
        impl$(<$($item),+>)? crate::proxy::Proxy for $name$(<$($item),+>)? {
            const KIND: crate::proto::Kind = crate::proto::Kind::$name;

            fn print() -> u64 {
                crate::proxy::travel::print_of::<($($($item,)+)?)>(Self::KIND)
            }

            fn over(handle: crate::proxy::Handle) -> Self {
                Self { handle, $(items: std::marker::PhantomData::<fn($($item),+) -> ($($item,)+)>)? }
            }

            fn handle(&self) -> &crate::proxy::Handle {
                &self.handle
            }
        }

        impl$(<$($item),+>)? Clone for $name$(<$($item),+>)? {
            fn clone(&self) -> Self {
                crate::proxy::Proxy::over(self.handle.clone())
            }
        }

        crate::proxy::travels!($name $(<$($item),+>)?);
    };
}

/// Implements `Debug` and serde's traits for a proxy.
macro_rules! travels {
    ($name:ident $(<$($item:ident),+>)?) => {
        impl$(<$($item),+>)? std::fmt::Debug for $name$(<$($item),+>)? {
            /// Shows the object's id. This does not call the manager.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.handle)
            }
        }

        /// A proxy can be part of a value that is stored in the same manager, which then keeps the object alive. It can
        /// also travel in any message: a process that decodes it within [`TRANSIT_GRACE`](crate::limits::TRANSIT_GRACE)
        /// gets a proxy of the same object.
        impl$(<$($item),+>)? serde::Serialize for $name$(<$($item),+>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::proxy::travel::serialize(&self.handle, <Self as crate::proxy::Proxy>::print(), serializer)
            }
        }

        impl<'de, $($($item),+)?> serde::Deserialize<'de> for $name$(<$($item),+>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let print = <Self as crate::proxy::Proxy>::print();
                crate::proxy::travel::deserialize(print, deserializer).map(crate::proxy::Proxy::over)
            }
        }
    };
}

use {proxy, travels};
