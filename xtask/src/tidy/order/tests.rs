//! Small crates that keep an order, and crates that break it.

use super::*;
use crate::tidy::fixture;

const ORDER: Order = Order { folder: "a/src", rows: &[&["top"], &["left", "right"], &["bottom"]] };
/// The order of the modules in a module, whose own file stands between them.
const NESTED: Order = Order { folder: "a/src/top", rows: &[&["makers"], &["self"], &["parts"]] };

/// The findings about a crate with these modules, as `file:line` and the names of both ends.
fn found(order: &Order, files: &[(&str, &str)]) -> Vec<String> {
    let mut all = vec![("lib", "")];
    for module in ["top", "left", "right", "bottom"] {
        all.push((module, ""));
    }
    if order.folder == NESTED.folder {
        all.extend([("top/makers", ""), ("top/parts", "")]);
    }
    all.retain(|(path, _)| !files.iter().any(|(given, _)| given == path));
    all.extend(files);
    let files: Vec<_> =
        all.iter().map(|(path, text)| fixture::rust(&format!("a/src/{path}.rs"), text)).collect();
    let mut findings = check_order(order, &files);
    findings.sort();
    let short = |finding: &Finding| {
        let names: Vec<&str> = finding.message.split('`').skip(1).step_by(2).take(2).collect();
        format!("{}:{} {}", finding.path, finding.line, names.join(" -> "))
    };
    findings.iter().map(short).collect()
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn arrows_downwards_are_allowed() {
    let top = "use crate::{left, right::Thing};\nfn f(_: &crate::bottom::Base) { left::go() }";
    assert_eq!(found(&ORDER, &[("top", top), ("left", "use crate::bottom::Base;")]), none());
}

#[test]
fn an_arrow_upwards_is_found() {
    let bottom = "//! x\nuse crate::top::Thing;";
    assert_eq!(found(&ORDER, &[("bottom", bottom)]), ["a/src/bottom.rs:2 bottom -> crate::top::Thing"]);
}

#[test]
fn a_circle_is_found_between_rows_and_within_one() {
    let circle = [("top", "use crate::bottom::Base;"), ("bottom", "use crate::top::Top;")];
    assert_eq!(found(&ORDER, &circle), ["a/src/bottom.rs:1 bottom -> crate::top::Top"]);
    let beside = [("left", "use crate::right::Right;"), ("right", "use crate::left::Left;")];
    assert_eq!(
        found(&ORDER, &beside),
        ["a/src/left.rs:1 left -> crate::right::Right", "a/src/right.rs:1 right -> crate::left::Left"]
    );
}

#[test]
fn every_form_of_a_path_is_seen() {
    let forms = [
        "use crate::{top};",
        "use crate::top::{self as t};",
        "use crate::top::*;",
        "use super::top::Thing;",
        "fn f() { crate::top::go() }",
        "fn f() -> super::top::Thing { loop {} }",
        "impl crate::top::Make for u8 {}",
        "fn f() { use crate::top::go; }",
        "macro_rules! m { ($a:ident) => { $crate::top::go($a) } }",
        "fn f() { assert!(matches!(x, [crate::top::Thing::A])) }",
        "mod inner { use super::super::top::Thing; }",
        "mod inner { fn f() { super::super::top::go() } }",
    ];
    for text in forms {
        assert_eq!(found(&ORDER, &[("bottom", text)]).len(), 1, "{text}");
    }
    let deep = [("bottom", "mod deep;"), ("bottom/deep", "use super::super::top::Thing;")];
    assert_eq!(found(&ORDER, &deep), ["a/src/bottom/deep.rs:1 bottom -> crate::top::Thing"]);
}

#[test]
fn a_reexport_counts_as_what_it_stands_for() {
    let lib = "pub use top::Thing;\npub use bottom::Base;\npub use other_crate::Error;";
    let bottom = "use crate::{Base, Error};\nfn f(_: crate::Thing) {}";
    assert_eq!(
        found(&ORDER, &[("lib", lib), ("bottom", bottom)]),
        ["a/src/bottom.rs:2 bottom -> crate::Thing"]
    );
    let through = [("left", "pub use crate::bottom::Base;"), ("right", "use crate::left::Base;")];
    assert_eq!(found(&ORDER, &through), none());
}

#[test]
fn what_the_crate_itself_defines_stands_above_all() {
    assert_eq!(
        found(&ORDER, &[("lib", "pub struct Root;\nuse bottom::Base;"), ("left", "use crate::Root;")]),
        ["a/src/left.rs:1 left -> crate::Root"]
    );
}

#[test]
fn tests_may_use_anything() {
    let bottom = "#[cfg(test)]\nmod tests { use crate::top::Thing; }\n#[cfg(test)]\nuse crate::top::Other;";
    assert_eq!(found(&ORDER, &[("bottom", bottom)]), none());
    let own_file = [("bottom", "#[cfg(test)]\nmod tests;"), ("bottom/tests", "use crate::top::Thing;")];
    assert_eq!(found(&ORDER, &own_file), none());
    let shared = [("lib", "#[cfg(test)]\nmod tests;"), ("tests", "use crate::top::Thing;")];
    assert_eq!(found(&ORDER, &shared), none());
    let feature = "#[cfg(feature = \"test\")]\nuse crate::top::Thing;";
    assert_eq!(found(&ORDER, &[("bottom", feature)]).len(), 1);
}

#[test]
fn names_of_other_things_are_no_arrows() {
    let bottom =
        "pub(in crate::top) struct A;\nuse std::top::Thing;\nfn f(top: Top) { top.go(); Self::top() }";
    assert_eq!(found(&ORDER, &[("bottom", bottom)]), none());
}

#[test]
fn the_folder_of_a_module_has_an_order_of_its_own() {
    let top = ("top", "use self::parts::Part;\npub struct Machine;");
    let makers =
        ("top/makers", "use crate::top::Machine;\nuse crate::top::parts::Part;\nuse crate::left::Left;");
    assert_eq!(found(&NESTED, &[top, makers]), none());
    let upwards = ("top/parts", "use super::Machine;\nuse crate::top::makers::make;");
    assert_eq!(
        found(&NESTED, &[top, upwards]),
        [
            "a/src/top/parts.rs:1 parts -> crate::top::Machine",
            "a/src/top/parts.rs:2 parts -> crate::top::makers::make"
        ]
    );
}

#[test]
fn modules_without_a_place_and_places_without_a_module_are_found() {
    assert_eq!(found(&ORDER, &[("extra", "")]), ["a/src/extra.rs:1 extra"]);
    assert_eq!(found(&ORDER, &[("lib", "mod extra { }")]), none());
    let more = Order { folder: "a/src", rows: &[&["top"], &["left", "right"], &["bottom", "gone", "top"]] };
    let found: Vec<_> = found(&more, &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|finding| finding.starts_with(TABLES)), "{found:?}");
}
