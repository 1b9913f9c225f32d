//! `Value`.

use crate::conformance::{Fixture, tests};
use crate::proto::Fault;
use crate::{CallError, ItemError, ObjectError};

tests! {
    [Value] {
        it_is_read_and_replaced,
        it_is_exchanged_if_it_is_the_expected_one,
        no_update_is_lost,
        adding_to_a_value_that_is_not_a_number_fails,
        a_value_may_be_as_long_as_the_limit_and_no_longer,
        a_value_that_cannot_be_encoded_is_not_stored,
    }
}

fn it_is_read_and_replaced(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let value = one.named("text").value(&"first".to_owned()).unwrap();
    let same = other.named("text").value(&"ignored".to_owned()).unwrap();
    assert_eq!(same.get().unwrap(), "first");
    same.set(&"second".to_owned()).unwrap();
    assert_eq!(value.replace(&"x".repeat(100_000)).unwrap(), "second");
    assert_eq!(same.get().unwrap().len(), 100_000);
}

fn it_is_exchanged_if_it_is_the_expected_one(fixture: &dyn Fixture) {
    let value = fixture.client().value(&Some(1_u32)).unwrap();
    assert_eq!(value.compare_exchange(&Some(1), &None).unwrap(), Ok(()));
    assert_eq!(value.compare_exchange(&Some(1), &Some(2)).unwrap(), Err(None));
    assert_eq!(value.get().unwrap(), None);
}

fn no_update_is_lost(fixture: &dyn Fixture) {
    const EACH: u64 = 200;
    let clients = [fixture.client(), fixture.client()];
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(move || {
                let added = client.named("added").value(&0_u64).unwrap();
                let updated = client.named("updated").value(&(0_u64, "text".to_owned())).unwrap();
                for _ in 0..EACH {
                    added.fetch_add(1).unwrap();
                    let before = updated.update(|(n, text)| (n.saturating_add(1), text)).unwrap();
                    assert_eq!(before.1, "text");
                }
            });
        }
    });
    let [client, _] = &clients;
    assert_eq!(client.named("added").value(&0_u64).unwrap().get().unwrap(), 2 * EACH);
    let updated = client.named("updated").value(&(0_u64, String::new())).unwrap();
    assert_eq!(updated.get().unwrap().0, 2 * EACH);
}

fn adding_to_a_value_that_is_not_a_number_fails(fixture: &dyn Fixture) {
    let client = fixture.client();
    let wrapping = client.value(&u8::MAX).unwrap();
    assert_eq!(wrapping.fetch_add(2).unwrap(), u8::MAX);
    assert_eq!(wrapping.get().unwrap(), 1);
    let float = client.value(&1.5).unwrap();
    assert_eq!(float.fetch_add(-0.25).unwrap(), 1.5);
    assert_eq!(float.get().unwrap(), 1.25);

    /// The type has the name of a number, but is not encoded as one.
    mod other {
        #[derive(serde::Serialize)]
        #[expect(non_camel_case_types, reason = "the name is the point")]
        pub(super) struct u64(pub(super) &'static str);
    }
    client.named("n").value(&other::u64("many")).unwrap();
    let number = client.named("n").value(&0_u64).unwrap();
    assert_eq!(number.fetch_add(1), Err(ItemError::NoNumber));
    assert!(matches!(number.get(), Err(ObjectError::Decode { bytes, .. }) if bytes == b"\x04many"));
}

fn a_value_may_be_as_long_as_the_limit_and_no_longer(fixture: &dyn Fixture) {
    let client = fixture.client();
    let limit = client.backend().caps().value_bytes_max;
    // The length of the text is encoded before it, in this many bytes.
    let head = postcard::to_stdvec(&limit).unwrap().len();
    let value = client.value(&String::new()).unwrap();
    let mut text = "x".repeat(limit.saturating_sub(head));
    value.set(&text).unwrap();
    text.push('x');
    assert!(matches!(value.set(&text), Err(ObjectError::Call(CallError::Fault(Fault::TooLarge { .. })))));
    text.pop();
    assert_eq!(value.get().unwrap(), text);
}

fn a_value_that_cannot_be_encoded_is_not_stored(fixture: &dyn Fixture) {
    #[derive(serde::Deserialize, Debug)]
    struct Secret(u8);

    impl serde::Serialize for Secret {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                0 => Err(serde::ser::Error::custom("it is a secret")),
                open => serializer.serialize_u8(open),
            }
        }
    }

    let value = fixture.client().value(&Secret(1)).unwrap();
    assert_eq!(value.set(&Secret(0)), Err(ObjectError::Encode("it is a secret".to_owned())));
    assert_eq!(value.get().unwrap().0, 1);
}
