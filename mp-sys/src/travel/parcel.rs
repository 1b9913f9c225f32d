//! How a message names an object in shared memory: by the chunk that it lies in, and its place there.
//!
//! # Why no bytes get two types
//! A handle is made from a message only if the [`directory`](crate::span::directory) of the chunk has, at exactly that
//! place, the mark of exactly that kind of object, element type, number of elements and length. A process that had a
//! handle of that kind put the mark there when it sent the object. The mark is never replaced, and the bytes are never
//! handed out again. So all handles of the bytes, here and elsewhere, are of one kind. A message that names a place
//! from which nothing was sent, or the middle of an object, finds no mark.

use std::sync::Arc;

use crate::named::{ExistingSpan, Placed, What};
use crate::span::Span;
use crate::span::chunks::{self, NoChunk};
use crate::span::directory::Mark;
use crate::travel::{Slot, TravelError, Work, with_work};

/// The numbers in the message: the index of the chunk's file, offset, length, class and kind, print of the element
/// type, and number of elements.
pub type Parcel = [u64; 6];

/// Adds an object to the message that this thread is encoding.
///
/// # Errors
/// [`TravelError`].
pub fn pack_object<O: Placed>(object: &O, what: What, count: u64) -> Result<Parcel, TravelError> {
    let span = object.span();
    let length = u64::try_from(span.len()).unwrap_or(u64::MAX);
    let mark = Mark::of(what, O::CLASS, count, length);
    with_work(|work| {
        let Work::Encoding { descriptors, limit } = work else {
            return Err(TravelError::NoMessage);
        };
        // Checked before the object is marked: one that is not sent can be handed out again.
        let there = |file| descriptors.iter().position(|other| Arc::ptr_eq(other, file));
        let index = there(span.file());
        if index.is_none() && descriptors.len() >= *limit {
            return Err(TravelError::TooMany);
        }
        let (file, at) = mark.and_then(|mark| span.send(mark)).ok_or(TravelError::OtherObject)?;
        let index = index.unwrap_or_else(|| {
            descriptors.push(Arc::clone(file));
            descriptors.len().saturating_sub(1)
        });
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Ok([number(index), number(at), length, what.class_and_kind(O::CLASS), what.print, count])
    })
}

/// Takes an object out of the message that this thread is decoding; returns it with its number of elements.
///
/// # Errors
/// [`TravelError`].
pub fn unpack_object<O: Placed>(parcel: Parcel, what: What) -> Result<(ExistingSpan<O>, u64), TravelError> {
    let [index, at, length, its_class_and_kind, its_print, count] = parcel;
    if its_class_and_kind != what.class_and_kind(O::CLASS) || its_print != what.print {
        with_work(|_| Err::<(), _>(TravelError::OtherObject))?;
    }
    with_work(|work| {
        let Work::Decoding(slots) = work else {
            return Err(TravelError::NoMessage);
        };
        let slot = usize::try_from(index).ok().and_then(|index| slots.get_mut(index));
        let slot = slot.ok_or(TravelError::NotCarried)?;
        let mapping = match std::mem::take(slot) {
            Slot::Arrived(file) => chunks::adopt(file).map_err(|error| match error {
                NoChunk::Foreign => TravelError::NoChunk,
                NoChunk::Memory(error) => TravelError::Memory(error),
            })?,
            Slot::Chunk(mapping) => mapping,
            Slot::Taken => return Err(TravelError::NotCarried),
        };
        // So the next object of the same chunk finds it mapped.
        *slot = Slot::Chunk(Arc::clone(&mapping));
        let mark = Mark::of(what, O::CLASS, count, length).ok_or(TravelError::OtherObject)?;
        let (at, length) =
            usize::try_from(at).ok().zip(usize::try_from(length).ok()).ok_or(TravelError::NotCarried)?;
        let span = Span::arrived(mapping, at, length, mark).ok_or(TravelError::OtherObject)?;
        Ok((ExistingSpan::of(span), count))
    })
}
