//! Types are read and written as the compiler names them, and found by their fingerprints.

use std::any::type_name;

use super::*;

fn parsed(text: &str) -> String {
    text.parse::<Type>().map_or_else(|error| error, |parsed| parsed.to_string())
}

#[test]
fn types_are_written_as_the_compiler_names_them() {
    fn same<T>(text: &str) {
        let bare = type_name::<T>()
            .replace("alloc::string::", "")
            .replace("alloc::vec::", "")
            .replace("core::option::", "");
        assert_eq!(parsed(text), bare);
    }
    same::<u8>(" u8 ");
    same::<Vec<u8>>("Vec < u8 >");
    same::<Option<Vec<String>>>("Option<Vec<String>>");
    same::<(String, i128)>("(String,i128)");
    same::<(String, i128)>("String, i128");
    same::<char>("(char)");
    same::<(char,)>("(char,)");
    same::<(char,)>("char,");
    same::<[f32; 3]>("[f32;3]");
    same::<Vec<(usize, [bool; 2])>>("Vec<(usize, [bool; 2])>");
    for scalar in Scalar::ALL {
        with_scalar!(*scalar, T => assert_eq!(type_name::<T>().trim_start_matches("alloc::string::"), scalar.name()));
    }
}

#[test]
fn what_is_no_type_is_refused() {
    for text in [
        "",
        "u65",
        "u8>",
        "Vec",
        "Vec<>",
        "Vec<u8",
        "(u8",
        "()",
        "[u8; 0]",
        "[u8]",
        "[u8; x]",
        "u8 u8",
        "&str",
        "HashMap<u8, u8>",
    ] {
        assert!(text.parse::<Type>().is_err(), "{text}");
    }
    let nested = |levels: usize| format!("{}u8{}", "Vec<".repeat(levels), ">".repeat(levels));
    assert!(nested(DEPTH_MAX - 1).parse::<Type>().is_ok());
    assert!(nested(DEPTH_MAX).parse::<Type>().unwrap_err().contains("nested"));
}

#[test]
fn likely_types_are_found_by_their_fingerprints_and_differ() {
    for kind in [Kind::Value, Kind::List, Kind::Array, Kind::Queue, Kind::JoinableQueue] {
        for text in
            ["String", "Vec<u8>", "Option<f64>", "Vec<Option<u16>>", "(i8, String)", "Vec<(String, u64)>"]
        {
            let types = Types::Items(text.parse().unwrap());
            assert_eq!(Types::find(kind, types.print(kind)), Some(types));
        }
    }
    let entries = Types::Entries(Type::Scalar(Scalar::String), "Vec<u8>".parse().unwrap());
    assert_eq!(Types::find(Kind::Dict, entries.print(Kind::Dict)), Some(entries));
    assert_eq!(Types::find(Kind::Value, 7), None);
    let all: Vec<u64> = likely().map(|one| one.attribute_print()).collect();
    let different: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(all.len(), different.len());
}

#[test]
fn a_dict_needs_two_named_types() {
    let named = |kind, text: &str| Types::named(kind, &text.parse().unwrap()).map(|types| types.to_string());
    assert_eq!(named(Kind::Dict, "String, u64").as_deref(), Some("String, u64"));
    assert_eq!(named(Kind::Dict, "u64"), None);
    assert_eq!(named(Kind::List, "(String, u64)").as_deref(), Some("(String, u64)"));
}
