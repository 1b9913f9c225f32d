//! Values of every type become text and come back.

use manager_rt::proto::Raw;

use super::*;

fn of(text: &str) -> Type {
    text.parse().unwrap()
}

fn shown<T: Serialize>(value: &T, type_name: &str) -> (Json, String) {
    let bytes = postcard::to_allocvec(value).unwrap();
    let of = of(type_name);
    let payload = Payload::copy(Raw::plain(&bytes));
    let text = Shown::of(&payload, Some(&of)).text(Some(&of));
    (Shown::of(&payload, Some(&of)).json(), text)
}

/// Fails unless a value is shown like this, and the text is read as the same value.
#[track_caller]
fn both_ways<T: Serialize>(value: T, type_name: &str, text: &str) {
    let (json, shown) = shown(&value, type_name);
    assert_eq!(shown, text);
    let bytes = postcard::to_allocvec(&value).unwrap();
    assert_eq!(from_text(&of(type_name), text), Ok(bytes.clone()));
    let mut encoded = Vec::new();
    encode(&of(type_name), &json, &mut encoded).unwrap();
    assert_eq!(encoded, bytes, "by way of {json}");
}

#[test]
fn integers_at_their_limits() {
    macro_rules! limits {
        ($($type:ident),+) => {
            $(for value in [$type::MIN, 0, 1, $type::MAX] {
                both_ways(value, stringify!($type), &value.to_string());
            })+
        };
    }
    limits!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
    for (type_name, text) in [
        ("u8", "256"),
        ("u8", "-1"),
        ("i8", "128"),
        ("u64", "18446744073709551616"),
        ("u32", "1.0"),
        ("u32", ""),
        ("u32", "0x1"),
    ] {
        assert!(from_text(&of(type_name), text).is_err(), "{type_name} {text}");
    }
}

#[test]
fn floats_keep_their_shortest_text_and_their_odd_values() {
    both_ways(0.1_f32, "f32", "0.1");
    both_ways(-2.5_f64, "f64", "-2.5");
    both_ways(f64::MAX, "f64", "1.7976931348623157e+308");
    both_ways(f64::INFINITY, "f64", "inf");
    both_ways(f32::NEG_INFINITY, "f32", "-inf");
    both_ways(vec![f32::NAN, 1.5], "Vec<f32>", r#"["NaN",1.5]"#);
    assert_eq!(from_text(&of("f64"), "1e3"), Ok(postcard::to_allocvec(&1000.0).unwrap()));
}

#[test]
fn texts_are_as_they_are_and_json_inside_others() {
    both_ways("", "String", "");
    both_ways("true \"ö\" \n", "String", "true \"ö\" \n");
    both_ways('ö', "char", "ö");
    both_ways(true, "bool", "true");
    both_ways(Some("a \"b\""), "Option<String>", r#""a \"b\"""#);
    both_ways(None::<String>, "Option<String>", "null");
    both_ways(vec![Some('x'), None], "Vec<Option<char>>", r#"["x",null]"#);
    both_ways(Vec::<u64>::new(), "Vec<u64>", "[]");
    both_ways(("a", -1_i64, [true, false]), "(String, i64, [bool; 2])", r#"["a",-1,[true,false]]"#);
    both_ways((u128::MAX,), "(u128,)", r#"["340282366920938463463374607431768211455"]"#);
    for (type_name, text) in [
        ("char", "ab"),
        ("bool", "yes"),
        ("Option<String>", "a"),
        ("Vec<u64>", "1"),
        ("Vec<u64>", "[1,]"),
        ("Vec<u64>", "[\"1\"]"),
        ("[u8; 2]", "[1]"),
        ("(u8, u8)", "[1,2,3]"),
        ("Vec<u8>", "0x1"),
        ("Vec<u8>", "0xgg"),
        ("Vec<u8>", "0x+1"),
    ] {
        let why = from_text(&of(type_name), text).unwrap_err();
        assert!(!why.is_empty() && !why.contains('\n'), "{type_name} {text}: {why}");
    }
}

#[test]
fn bytes_are_hexadecimal_digits() {
    both_ways(vec![0_u8, 1, 255], "Vec<u8>", "0x0001ff");
    both_ways(Vec::<u8>::new(), "Vec<u8>", "0x");
    assert_eq!(from_text(&of("Vec<u8>"), "[1, 2]"), Ok(vec![2, 1, 2]));
    assert_eq!(shown(&vec![1_u8, 2], "Vec<u8>").0, json!([1, 2]));
}

#[test]
fn what_is_no_value_of_its_type_is_shown_as_bytes() {
    let bytes =
        |bytes: &[u8], type_name: &str| Shown::of(&Payload::copy(Raw::plain(bytes)), Some(&of(type_name)));
    let huge = postcard::to_allocvec(&u64::MAX).unwrap();
    for (stored, type_name) in [
        (&[2][..], "bool"),
        (&[2], "Option<u8>"),
        (&[], "u8"),
        (&[1, 2], "u8"),
        (&[5, 1], "Vec<u8>"),
        (&[1, 0xff], "String"),
        (&huge, "Vec<bool>"),
        (&huge, "Vec<[u8; 3]>"),
    ] {
        let shown = bytes(stored, type_name);
        assert_eq!(shown, Shown::Bytes(stored.to_vec()), "{type_name}");
        assert_eq!(shown.text(None), format!("0x{}", hex(stored)));
        assert_eq!(shown.json(), json!({ "hex": hex(stored) }));
    }
    let unknown = Shown::of(&Payload::copy(Raw::plain(&[1, 2])), None);
    assert_eq!(unknown.json(), json!({ "hex": "0102" }));
}
