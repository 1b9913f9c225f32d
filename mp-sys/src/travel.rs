//! What a message carries besides its bytes: a list of descriptors, which is filled while the message is encoded, and
//! emptied while it is decoded.
//!
//! A handle of a shared object is encoded as a few numbers, one of which is an index into that list. The list belongs
//! to the thread and to one message. [`encode`] and [`decode`] begin with a list of their own and restore the outer
//! one, also after a panic. So a value that sends or receives while it is itself being encoded disturbs nothing.
//! Encoding a handle elsewhere, for a file or for a ring in shared memory, is an error: bytes alone cannot carry it.
//!
//! Formats drop the text of errors. So a refused handle also leaves its reason here ([`refuse`]), where the code that
//! encodes or decodes the message finds it.
//!
//! Indices come from peers. Each is checked against the list. A descriptor that belongs to one value is handed out
//! once. A descriptor that no value took is closed.

mod parcel;

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub use self::parcel::{Parcel, pack_object, unpack_object};
use crate::memory::{Mapping, MemoryError};
use crate::quiet::Quiet;

/// Why a handle is not encoded or decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TravelError {
    /// There is no message that could carry it.
    #[error(
        "bytes alone cannot carry a shared object, queue, end of a pipe or descriptor: send it through a pipe or connection, \
         or pass it to a process as an argument; for an object with a name, send the name"
    )]
    NoMessage,
    /// The message already has the most descriptors that it may have.
    #[error("the message carries too many descriptors")]
    TooMany,
    /// The message names a descriptor that it does not carry, or names one twice.
    #[error("the message does not carry this descriptor")]
    NotCarried,
    /// The message names an object that is not of the expected kind, or was never sent.
    #[error("the message names another kind of object")]
    OtherObject,
    /// A descriptor in the message is not shared memory of a compatible build.
    #[error("the message carries no shared memory of a compatible build")]
    NoChunk,
    /// The shared memory in the message cannot be mapped.
    #[error(transparent)]
    Memory(MemoryError),
    /// The handle's own crate refused, for this reason.
    #[error("{0}")]
    Other(String),
}

/// What the thread is encoding or decoding.
#[derive(Debug, Default)]
struct Context {
    work: Work,
    /// The newest handle that could not be encoded or decoded, and why: a format may drop the text of its errors.
    refused: Option<TravelError>,
    /// See [`is_argument`].
    is_argument: bool,
}

#[derive(Debug, Default)]
enum Work {
    #[default]
    None,
    Encoding {
        descriptors: Vec<Arc<OwnedFd>>,
        limit: usize,
    },
    Decoding(Vec<Slot>),
}

/// A descriptor that arrived.
#[derive(Debug, Default)]
enum Slot {
    Arrived(OwnedFd),
    /// A chunk, which several objects may lie in.
    Chunk(Arc<Mapping>),
    /// It already belongs to a value.
    #[default]
    Taken,
}

thread_local! {
    // Without a destructor, which a forked child would have to register, at the cost of 15 page faults. What is entered
    // is always taken out again, and the outermost context owns at most one text of a refusal.
    static CONTEXT: RefCell<ManuallyDrop<Context>> =
        const { RefCell::new(ManuallyDrop::new(Context { work: Work::None, refused: None, is_argument: false })) };
}

thread_local! {
    /// Whether the current context contains anything. [`alone`] reads this first: if nothing is written, a process that
    /// was forked or has forked does not pay for the page.
    static IS_IN_USE: Cell<bool> = const { Cell::new(false) };
}

/// Makes `context` the current one, and returns the previous one.
fn replace(context: Context) -> Context {
    ManuallyDrop::into_inner(CONTEXT.replace(ManuallyDrop::new(context)))
}

/// Restores the outer context.
struct Restore {
    outer: Option<Context>,
    was_in_use: bool,
}

impl Restore {
    fn enter(work: Work, is_argument: bool) -> Self {
        let was_in_use = IS_IN_USE.replace(true);
        Self { outer: Some(replace(Context { work, refused: None, is_argument })), was_in_use }
    }

    /// Returns the context that ends.
    fn leave(mut self) -> Context {
        self.restore().unwrap_or_default()
    }

    fn restore(&mut self) -> Option<Context> {
        let ended = self.outer.take().map(replace)?;
        IS_IN_USE.set(self.was_in_use);
        Some(ended)
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        drop(self.restore());
    }
}

/// What [`encode`] collected.
#[derive(Debug, Default)]
pub struct Luggage {
    /// The descriptors, in the order of their indices.
    pub descriptors: Vec<Arc<OwnedFd>>,
    /// Why a handle was refused, if one was.
    pub refused: Option<TravelError>,
}

/// Runs `body`, which encodes one message; returns what the message carries: at most `limit` descriptors.
pub fn encode<R>(limit: usize, body: impl FnOnce() -> R) -> (R, Luggage) {
    encode_as(limit, false, body)
}

/// Works as [`encode`] does, for the arguments of a child.
pub fn encode_arguments<R>(limit: usize, body: impl FnOnce() -> R) -> (R, Luggage) {
    encode_as(limit, true, body)
}

fn encode_as<R>(limit: usize, is_argument: bool, body: impl FnOnce() -> R) -> (R, Luggage) {
    // An empty `Vec` takes no memory, and most messages carry nothing.
    let restore = Restore::enter(Work::Encoding { descriptors: Vec::new(), limit }, is_argument);
    let result = body();
    let Context { work, refused, .. } = restore.leave();
    let descriptors = if let Work::Encoding { descriptors, .. } = work { descriptors } else { Vec::new() };
    (result, Luggage { descriptors, refused })
}

/// Runs `body`, which encodes or decodes something that no message carries; also returns why a handle was refused, if
/// one was.
#[inline(always)]
pub fn alone<R>(body: impl FnOnce() -> R) -> (R, Option<TravelError>) {
    if !IS_IN_USE.get() {
        // The outermost context is as good as a new one, and is used only if something is refused.
        let result = body();
        if !IS_IN_USE.get() {
            return (result, None);
        }
        IS_IN_USE.set(false);
        return (result, replace(Context::default()).refused);
    }
    alone_inside(body)
}

/// Does the same inside another message.
#[cold]
fn alone_inside<R>(body: impl FnOnce() -> R) -> (R, Option<TravelError>) {
    let restore = Restore::enter(Work::None, false);
    let result = body();
    (result, restore.leave().refused)
}

/// Runs `body`, which decodes one message with these descriptors; also returns why a handle was refused, if one was.
/// Descriptors that `body` does not take are closed.
pub fn decode<R>(descriptors: Vec<OwnedFd>, body: impl FnOnce() -> R) -> (R, Option<TravelError>) {
    decode_as(descriptors, false, body)
}

/// Works as [`decode`] does, for arguments that the parent of this process encoded.
pub fn decode_arguments<R>(descriptors: Vec<OwnedFd>, body: impl FnOnce() -> R) -> (R, Option<TravelError>) {
    decode_as(descriptors, true, body)
}

fn decode_as<R>(
    descriptors: Vec<OwnedFd>,
    is_argument: bool,
    body: impl FnOnce() -> R,
) -> (R, Option<TravelError>) {
    let slots = descriptors.into_iter().map(Slot::Arrived).collect();
    let restore = Restore::enter(Work::Decoding(slots), is_argument);
    let result = body();
    (result, restore.leave().refused)
}

/// Whether this thread encodes or decodes the arguments of a child. Arguments go from a process to its own child and to
/// no other process, so they may contain secrets: a forked child would have the secrets as well.
#[must_use]
pub fn is_argument() -> bool {
    CONTEXT.with_borrow(|context| context.is_argument)
}

/// Records why a handle that this thread encodes or decodes is refused; returns the text for the format's error.
pub fn refuse(reason: impl Display) -> String {
    let reason = reason.to_string();
    CONTEXT.with_borrow_mut(|context| context.refused = Some(TravelError::Other(reason.clone())));
    IS_IN_USE.set(true);
    reason
}

/// Why a value cannot be encoded or decoded. The reason of a refused handle says more than the format's error.
pub fn reason(error: &impl Display, refused: Option<TravelError>) -> String {
    refused.map_or_else(|| error.to_string(), |refused| refused.to_string())
}

/// Adds a descriptor to the message that this thread is encoding; returns its index.
///
/// # Errors
/// [`TravelError::NoMessage`], [`TravelError::TooMany`].
pub fn pack(file: &Arc<OwnedFd>) -> Result<u32, TravelError> {
    with_work(|work| {
        let Work::Encoding { descriptors, limit } = work else {
            return Err(TravelError::NoMessage);
        };
        if descriptors.len() >= *limit {
            return Err(TravelError::TooMany);
        }
        let index = u32::try_from(descriptors.len()).map_err(|_| TravelError::TooMany)?;
        descriptors.push(Arc::clone(file));
        Ok(index)
    })
}

/// Takes a descriptor out of the message that this thread is decoding.
///
/// # Errors
/// [`TravelError::NoMessage`], [`TravelError::NotCarried`].
pub fn unpack(index: u32) -> Result<OwnedFd, TravelError> {
    with_work(|work| {
        let Work::Decoding(descriptors) = work else {
            return Err(TravelError::NoMessage);
        };
        let slot = usize::try_from(index).ok().and_then(|index| descriptors.get_mut(index));
        match slot.map(|slot| (std::mem::take(slot), slot)) {
            Some((Slot::Arrived(file), _)) => Ok(file),
            Some((other, slot)) => {
                *slot = other;
                Err(TravelError::NotCarried)
            }
            None => Err(TravelError::NotCarried),
        }
    })
}

fn with_work<R>(step: impl FnOnce(&mut Work) -> Result<R, TravelError>) -> Result<R, TravelError> {
    // A subscriber may send a message, so it must not run while the list is borrowed.
    let _quiet = Quiet::begin();
    CONTEXT.with_borrow_mut(|context| {
        let outcome = step(&mut context.work);
        if let Err(error) = &outcome {
            context.refused = Some(error.clone());
            IS_IN_USE.set(true);
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn file() -> Arc<OwnedFd> {
        Arc::new(rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap())
    }

    fn files(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| Arc::into_inner(file()).unwrap()).collect()
    }

    #[test]
    fn no_handle_is_encoded_or_decoded_outside_a_message() {
        assert_eq!(pack(&file()).unwrap_err(), TravelError::NoMessage);
        assert_eq!(unpack(0).unwrap_err(), TravelError::NoMessage);
        assert_eq!(encode(1, || unpack(0).unwrap_err()).0, TravelError::NoMessage);
        let inside = encode(1, || alone(|| pack(&file()).unwrap_err()));
        assert_eq!(inside.0, (TravelError::NoMessage, Some(TravelError::NoMessage)));
        assert!(inside.1.descriptors.is_empty());
        let refused = decode(vec![], || pack(&file()).unwrap_err());
        assert_eq!(refused, (TravelError::NoMessage, Some(TravelError::NoMessage)));
    }

    #[test]
    fn the_reason_of_a_refused_handle_is_found() {
        assert_eq!(alone(|| refuse(7)), ("7".to_owned(), Some(TravelError::Other("7".to_owned()))));
        let (_, refused) = decode(vec![], || {
            drop(refuse("the first"));
            alone(|| refuse("one of another message"));
            refuse("the newest")
        });
        assert_eq!(refused.unwrap().to_string(), "the newest");
        assert_eq!(alone(|| ()).1, None, "each context starts empty");
    }

    #[test]
    fn alone_returns_only_its_own_refusals() {
        assert_eq!(alone(|| ()).1, None);
        assert_eq!(alone(|| refuse("one")).1, Some(TravelError::Other("one".to_owned())));
        assert_eq!(alone(|| ()).1, None, "it was already returned");
        let (inner, outer) = alone(|| {
            let inner = alone(|| refuse("inner")).1;
            assert_eq!(encode(1, || pack(&file()).unwrap()).1.refused, None);
            inner
        });
        assert_eq!((inner, outer), (Some(TravelError::Other("inner".to_owned())), None));
        // Nothing reads this refusal, and it does not come up later.
        assert_eq!(pack(&file()).unwrap_err(), TravelError::NoMessage);
        assert_eq!(alone(|| ()).1, None);
        assert_eq!(alone(|| refuse("two")).1, Some(TravelError::Other("two".to_owned())));
        let panicked = catch_unwind(|| alone(|| panic!("{}", refuse("three"))).0);
        assert!(panicked.is_err());
        assert_eq!(alone(|| ()).1, None);
    }

    #[test]
    fn only_arguments_are_arguments() {
        assert!(!is_argument());
        let ((), _) = encode_arguments(1, || {
            assert!(is_argument());
            assert!(!encode(1, is_argument).0, "a message inside of them");
            assert!(!alone(is_argument).0);
            assert!(is_argument());
        });
        assert!(decode_arguments(vec![], is_argument).0);
        assert!(!decode(vec![], is_argument).0);
        let panicked = catch_unwind(|| encode_arguments(1, || panic!("in a Serialize")).0);
        assert!(panicked.is_err());
        assert!(!is_argument());
    }

    #[test]
    fn a_message_carries_its_limit_and_no_more() {
        let file = file();
        let (indices, luggage) = encode(2, || [pack(&file), pack(&file), pack(&file)]);
        assert_eq!(indices, [Ok(0), Ok(1), Err(TravelError::TooMany)]);
        assert_eq!(luggage.refused, Some(TravelError::TooMany));
        assert_eq!(luggage.descriptors.len(), 2);
        assert_eq!(encode(2, || pack(&file)).1.refused, None, "each message starts empty");
    }

    #[test]
    fn each_index_is_taken_once() {
        let (_, refused) = decode(files(2), || {
            assert!(unpack(1).is_ok());
            for bad in [1, 2, u32::MAX] {
                assert_eq!(unpack(bad).unwrap_err(), TravelError::NotCarried);
            }
        });
        assert_eq!(refused, Some(TravelError::NotCarried));
    }

    #[test]
    fn a_message_inside_a_message_disturbs_nothing() {
        let file = file();
        let (_, outer) = encode(9, || {
            pack(&file).unwrap();
            let (_, inner) = encode(9, || pack(&file).unwrap());
            decode(files(1), || unpack(0).unwrap());
            let panicked = catch_unwind(AssertUnwindSafe(|| encode(9, || panic!("in a Serialize"))));
            assert!(panicked.is_err());
            assert_eq!(inner.descriptors.len(), 1);
            assert_eq!(pack(&file).unwrap(), 1);
        });
        assert_eq!(outer.descriptors.len(), 2);
    }
}
