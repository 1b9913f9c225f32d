//! [`Manager`]s in messages: what travels is the address and the epoch.
//!
//! The receiver makes and finds objects on the same server. The message keeps nothing alive: the server still ends with
//! the process that started it.

use mp_sys::travel;
use mp_sys::wire;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::manager::Manager;
use crate::proxy::travel::{halves, whole};
use crate::registry::{Place, reach};

/// The place of the manager, and the epoch.
type Form = (Place, (u64, u64));

/// A manager can be part of any message and any value. Its address travels.
impl Serialize for Manager {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Place::new(self.address()), halves(self.backend().epoch())).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Manager {
    /// Connects to the manager, if this process is not connected to it yet.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (place, epoch) = Form::deserialize(deserializer)?;
        if wire::is_probing() {
            // A check whether a value can be decoded must not connect.
            return Err(D::Error::custom(travel::refuse("the manager is not being sent anywhere")));
        }
        let backend = reach(place.arrive().as_deref(), whole(epoch));
        let backend = backend.map_err(|error| D::Error::custom(travel::refuse(error)))?;
        Ok(Self::over(backend))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_manager_arrives_as_the_same_one() {
        let manager = Manager::in_process().unwrap();
        let message = postcard::to_stdvec(&manager).unwrap();
        let arrived: Manager = postcard::from_bytes(&message).unwrap();
        arrived.named("n").value(&5_u8).unwrap();
        assert_eq!(manager.named("n").value(&0_u8).unwrap().get().unwrap(), 5);
        assert!(Arc::ptr_eq(manager.backend(), arrived.backend()));
    }

    #[test]
    fn a_manager_that_is_gone_is_not_found() {
        let message = postcard::to_stdvec(&Manager::in_process().unwrap()).unwrap();
        let (gone, refused) = travel::alone(|| postcard::from_bytes::<Manager>(&message));
        assert!(gone.is_err());
        let reason = refused.unwrap().to_string();
        assert!(reason.contains("Manager::start"), "{reason}");
    }
}
