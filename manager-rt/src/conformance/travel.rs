//! Proxies inside values, and in messages.

use crate::conformance::{Fixture, assert_objects, tests, until_objects};
use crate::{Lock, Manager, ObjectError, Value};

tests! {
    [Value] {
        a_stored_proxy_keeps_its_object,
        a_stored_proxy_has_a_type,
        a_value_may_use_its_manager_while_it_is_encoded,
    }
    [Value, Lock] {
        a_proxy_that_is_not_decoded_is_released,
        a_proxy_of_another_manager_is_not_stored,
        a_proxy_in_a_message_finds_its_object,
    }
}

fn a_stored_proxy_keeps_its_object(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let holder = one.named("holder").value(&None::<Value<u32>>).unwrap();
    let inner = one.value(&7_u32).unwrap();
    holder.set(&Some(inner.clone())).unwrap();
    drop(inner);
    let found = other.named("holder").value(&None::<Value<u32>>).unwrap().get().unwrap().unwrap();
    fixture.kill(&one);
    assert_eq!(found.fetch_add(1).unwrap(), 7);
    let holder = other.named("holder").value(&None::<Value<u32>>).unwrap();
    assert_eq!(holder.get().unwrap().unwrap().get().unwrap(), 8);
    holder.set(&None).unwrap();
    assert_eq!(found.get().unwrap(), 8, "the proxy keeps it");
    assert_objects(fixture, 2);
    drop(found);
    until_objects(fixture, "the end of the inner value", 1);
}

fn a_proxy_that_is_not_decoded_is_released(fixture: &dyn Fixture) {
    let client = fixture.client();
    let holder = client.value(&vec![client.lock().unwrap(), client.lock().unwrap()]).unwrap();
    assert_objects(fixture, 3);
    // Each of these answers carries the previous proxies.
    holder.set(&vec![client.lock().unwrap()]).unwrap();
    until_objects(fixture, "the end of both", 2);
    holder.update(|locks| locks).unwrap();
    drop(holder.get().unwrap());
    assert_objects(fixture, 2);
    assert_eq!(holder.replace(&Vec::new()).unwrap().len(), 1);
    until_objects(fixture, "the end of the last", 1);
}

fn a_stored_proxy_has_a_type(fixture: &dyn Fixture) {
    /// A type with the same name as a stored one, but with other contents.
    mod other {
        #[derive(serde::Serialize, serde::Deserialize, Debug)]
        pub(super) struct Holder(pub(super) crate::Value<u8>);
    }

    #[derive(serde::Serialize, serde::Deserialize, Debug)]
    struct Holder(Value<u16>);

    let client = fixture.client();
    client.named("holder").value(&other::Holder(client.value(&1).unwrap())).unwrap();
    let holder = client.named("holder").value(&Holder(client.value(&2).unwrap())).unwrap();
    let error = holder.get().unwrap_err();
    assert!(matches!(&error, ObjectError::Decode { reason, .. } if reason.contains("type")), "{error:?}");
    until_objects(fixture, "that the others end", 2);
}

fn a_proxy_of_another_manager_is_not_stored(fixture: &dyn Fixture) {
    let client = fixture.client();
    let stranger = Manager::in_process().unwrap().lock().unwrap();
    let holder = client.value(&None::<Lock>).unwrap();
    assert_eq!(holder.set(&Some(stranger.clone())).unwrap_err(), ObjectError::OtherManager);
    assert_eq!(client.value(&stranger).unwrap_err(), ObjectError::OtherManager);
    assert!(holder.get().unwrap().is_none());
    let own = client.lock().unwrap();
    holder.set(&Some(own)).unwrap();
    assert!(holder.get().unwrap().is_some());
}

fn a_proxy_in_a_message_finds_its_object(fixture: &dyn Fixture) {
    let client = fixture.client();
    let value = client.value(&5_u32).unwrap();
    let message = postcard::to_stdvec(&("take this", &value)).unwrap();
    // The sender's proxy is dropped before the receiver has one.
    drop(value);
    let (_, found): (String, Value<u32>) = postcard::from_bytes(&message).unwrap();
    assert_eq!(found.get().unwrap(), 5);
    assert!(postcard::from_bytes::<(String, Value<u64>)>(&message).is_err(), "it is of another type");
    assert!(postcard::from_bytes::<(String, Lock)>(&message).is_err(), "and of another kind");
    // A manager that can no longer be reached.
    let lost = postcard::to_stdvec(&Manager::in_process().unwrap().lock().unwrap()).unwrap();
    assert!(postcard::from_bytes::<Lock>(&lost).is_err());
}

fn a_value_may_use_its_manager_while_it_is_encoded(fixture: &dyn Fixture) {
    /// Reads another value while it is encoded, and also encodes a proxy for another place.
    struct Curious<'a>(&'a Value<u32>);

    impl serde::Serialize for Curious<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let read = self.0.get().map_err(serde::ser::Error::custom)?;
            self.0.set(&read.wrapping_add(1)).map_err(serde::ser::Error::custom)?;
            serde::Serialize::serialize(&(self.0, read), serializer)
        }
    }

    let client = fixture.client();
    let read = client.value(&1_u32).unwrap();
    let holder = client.value(&Curious(&read)).unwrap();
    holder.set(&Curious(&read)).unwrap();
    // Builds with debug assertions encode each value once more.
    let times = if cfg!(debug_assertions) { 2 } else { 1 };
    assert_eq!(read.get().unwrap(), 1 + 2 * times);
    assert_objects(fixture, 2);
}
