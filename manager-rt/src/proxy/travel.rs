//! Proxies inside values.
//!
//! | where | what is encoded | what keeps the object alive |
//! |---|---|---|
//! | in a value that goes into the same manager | id, fingerprint | the manager counts the ids in every value that it holds |
//! | anywhere else: a pipe, a queue of another tier, a file | address, epoch, id, fingerprint | a transit reference, for [`TRANSIT_GRACE`](crate::limits::TRANSIT_GRACE) |
//!
//! A proxy that arrives from elsewhere looks for its manager among those that this process already uses, by epoch. If
//! it is not among them, the proxy connects to the address. An epoch is one life of one manager, so an id is never
//! looked up in another.

use std::any::type_name;
use std::fmt::Display;
use std::sync::Arc;

use mp_sys::named::fingerprint;
use mp_sys::travel;
use mp_sys::wire;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::backend::{Backend, address_of};
use crate::error::ObjectError;
use crate::proto::{Kind, ObjectId};
use crate::proxy::codec::{Work, with_work};
use crate::proxy::handle::Handle;
use crate::registry::{Place, reach};

/// Returns the fingerprint of an object's type, by which processes recognise it.
pub(crate) fn print_of<T: ?Sized>(kind: Kind) -> u64 {
    // Values are encoded, so their layout in memory does not matter.
    fingerprint(&kind.to_string(), 0, 0, type_name::<T>())
}

/// A proxy inside a value of its own manager.
#[derive(Serialize, Deserialize)]
struct Inside {
    id: ObjectId,
    print: u64,
}

/// A proxy in any other place.
#[derive(Serialize, Deserialize)]
struct Outside {
    place: Place,
    epoch: (u64, u64),
    inside: Inside,
}

/// Encodes a proxy.
pub(super) fn serialize<S: Serializer>(handle: &Handle, print: u64, to: S) -> Result<S::Ok, S::Error> {
    let epoch = handle.backend().epoch();
    let inside = Inside { id: handle.id(), print };
    let goes_inside = with_work(|work| match work {
        Work::Encoding { epoch: into, ids, .. } if *into == epoch => {
            ids.extend_from_slice(&inside.id.0.to_le_bytes());
            Some(true)
        }
        Work::Encoding { refused, .. } => {
            *refused = true;
            Some(false)
        }
        _ => None,
    });
    match goes_inside {
        Some(true) => inside.serialize(to),
        Some(false) => Err(S::Error::custom(ObjectError::OtherManager)),
        None if wire::is_probing() => Err(S::Error::custom(travel::refuse(NOT_SENT))),
        None => {
            let kept = handle.backend().transit(inside.id);
            kept.map_err(|error| S::Error::custom(travel::refuse(error)))?;
            Outside { place: Place::new(address_of(&**handle.backend())), epoch: halves(epoch), inside }
                .serialize(to)
        }
    }
}

/// Decodes a proxy.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(print: u64, from: D) -> Result<Handle, D::Error> {
    let refused = |reason: &dyn Display| D::Error::custom(travel::refuse(reason));
    if wire::is_probing() {
        // The value is decoded only to find errors, so no manager may count a reference for it.
        return Err(refused(&NOT_SENT));
    }
    if with_work(|work| matches!(work, Work::Plain | Work::Decoding { .. })) {
        let inside = Inside::deserialize(from)?;
        let (backend, were_counted) =
            with_work(|work| take(work, &inside, print)).map_err(|error| refused(&error))?;
        if were_counted {
            return Ok(Handle::adopt(&backend, inside.id));
        }
        return Handle::attach(&backend, inside.id).map_err(|error| refused(&error));
    }
    let Outside { place, epoch, inside } = Outside::deserialize(from)?;
    if inside.print != print {
        return Err(refused(&WRONG_TYPE));
    }
    let backend = reach(place.arrive().as_deref(), whole(epoch)).map_err(|error| refused(&error))?;
    Handle::attach(&backend, inside.id).map_err(|error| refused(&error))
}

const WRONG_TYPE: &str = "the proxy is of another type";
const NOT_SENT: &str = "the proxy is not being sent anywhere";
const NOT_CARRIED: &str = "the value contains no such proxy";

/// Removes an id from those that came with a value. Returns its manager, and whether the manager counted a reference
/// for it.
fn take(work: &mut Work, inside: &Inside, print: u64) -> Result<(Arc<dyn Backend>, bool), &'static str> {
    let Work::Decoding { backend, ids, were_counted, wrong_type } = work else {
        return Err(NOT_CARRIED);
    };
    if inside.print != print {
        *wrong_type = true;
        return Err(WRONG_TYPE);
    }
    let place = ids.iter().position(|id| *id == inside.id).ok_or(NOT_CARRIED)?;
    ids.swap_remove(place);
    Ok((Arc::clone(backend), *were_counted))
}

/// Splits an epoch into two halves, since text formats have no 128-bit numbers.
pub(crate) fn halves(epoch: u128) -> (u64, u64) {
    let low = u64::try_from(epoch & u128::from(u64::MAX)).unwrap_or_default();
    (u64::try_from(epoch >> 64).unwrap_or_default(), low)
}

pub(crate) fn whole((high, low): (u64, u64)) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_survives_a_round_trip() {
        for epoch in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978] {
            assert_eq!(whole(halves(epoch)), epoch);
        }
    }

    #[test]
    fn different_types_have_different_fingerprints() {
        let prints = [
            print_of::<u32>(Kind::List),
            print_of::<u32>(Kind::Value),
            print_of::<u64>(Kind::List),
            print_of::<(u32, u32)>(Kind::Dict),
        ];
        for (at, print) in prints.iter().enumerate() {
            assert!(!prints[..at].contains(print));
        }
    }
}
