//! Tests of types that serde can derive but postcard cannot carry, and of a user's own errors.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::reading::NO_TYPE;
use super::*;

#[derive(Serialize, Deserialize)]
struct Plain {
    number: u32,
    text: String,
    kind: Kind,
    map: HashMap<String, Option<(i8, char)>>,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    Unit,
    Tuple(u8, bool),
    Struct { f: f64, bytes: Vec<u8> },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    Circle { radius: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Number(u32),
}

#[derive(Serialize, Deserialize)]
struct Sparse {
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u8>,
    second: u8,
}

#[derive(Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Even(u32);

impl Serialize for Even {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(2) {
            to.serialize_u32(self.0)
        } else {
            Err(serde::ser::Error::custom(format!("{} is odd", self.0)))
        }
    }
}

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(from)?;
        if number.is_multiple_of(2) {
            Ok(Self(number))
        } else {
            Err(serde::de::Error::custom(format!("{number} is odd")))
        }
    }
}

/// The outcome for the sender.
fn sent<T: Serialize + DeserializeOwned>(value: &T) -> Result<(), String> {
    match postcard::to_stdvec(value) {
        Ok(bytes) => check_now(value, &bytes, Some(decodes::<T>())),
        Err(error) => Err(unencodable(value, &error)),
    }
}

/// The error for the receiver of these bytes.
fn received<T: DeserializeOwned>(bytes: &[u8]) -> String {
    undecodable::<T>(bytes, &postcard::from_bytes::<T>(bytes).err().unwrap())
}

#[test]
fn values_that_postcard_carries_pass() {
    let map = HashMap::from([("a".to_owned(), Some((-1, 'ä'))), ("b".to_owned(), None)]);
    for kind in [Kind::Unit, Kind::Tuple(1, true), Kind::Struct { f: 0.5, bytes: vec![1, 2] }] {
        let map = map.clone();
        assert_eq!(sent(&Plain { number: 7, text: "seven".to_owned(), kind, map }), Ok(()));
    }
    assert_eq!(sent(&Sparse { first: Some(1), second: 2 }), Ok(()));
    assert_eq!(sent(&(u128::MAX, i128::MIN, [(); 3], Box::new(1_u16))), Ok(()));
}

#[test]
fn types_that_ask_for_types_are_found_by_the_sender() {
    let found = [
        sent(&Tagged::Circle { radius: 1 }),
        sent(&Adjacent::Number(1)),
        sent(&Untagged::Number(1)),
        sent(&vec![Untagged::Number(1)]),
    ];
    for found in found {
        assert_eq!(found, Err(format!("it cannot be decoded again: {NO_TYPE}")));
    }
}

#[test]
fn a_field_that_is_left_out_is_found_by_the_sender() {
    let told = sent(&[Sparse { first: None, second: 2 }]).unwrap_err();
    assert!(told.contains("`skip_serializing_if` left the field `first` of `Sparse` out"), "{told}");
}

#[test]
fn a_flattened_map_is_found_by_the_sender() {
    let told = sent(&Flat { rest: BTreeMap::from([("a".to_owned(), 1)]) }).unwrap_err();
    assert!(told.contains("#[serde(flatten)]"), "{told}");
}

#[test]
fn the_text_of_a_users_own_error_is_kept() {
    assert_eq!(sent(&[Even(2), Even(5)]), Err("5 is odd".to_owned()));
    assert_eq!(received::<(u8, Vec<Option<Even>>)>(&[9, 1, 1, 7]), "7 is odd");
    assert_eq!(received::<BTreeMap<Even, u8>>(&[1, 3, 0]), "3 is odd");
    assert_eq!(received::<Kind>(&[9]), "invalid value: integer `9`, expected variant index 0 <= i < 3");
}

#[test]
fn other_errors_are_those_of_postcard() {
    assert_eq!(received::<u32>(&[]), postcard::Error::DeserializeUnexpectedEnd.to_string());
    assert_eq!(received::<(Kind, u32)>(&[0]), postcard::Error::DeserializeUnexpectedEnd.to_string());
}

#[test]
fn only_values_up_to_the_limit_are_checked() {
    fn refuses(_: &[u8]) -> Result<(), String> {
        Err("checked".to_owned())
    }
    let at_the_limit = vec![0; CHECKED_BYTES_MAX];
    assert_eq!(check(&(), &at_the_limit, Some(refuses)).is_err(), cfg!(debug_assertions));
    assert_eq!(check(&(), &[&at_the_limit[..], &[0]].concat(), Some(refuses)), Ok(()));
}

#[test]
fn a_value_that_is_probed_knows_it() {
    struct Asks;
    impl Serialize for Asks {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom(is_probing()))
        }
    }
    assert!(!is_probing());
    assert_eq!(unencodable(&Asks, &postcard::Error::SerdeSerCustom), "true");
    assert!(!is_probing());
}
