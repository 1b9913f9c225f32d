//! What the signature check must find, and what it must ignore.

use super::*;
use crate::tidy::fixture;

/// The lines of the findings in a crate of one file.
fn found(text: &str) -> Vec<usize> {
    fixture::lines(&check(&[&fixture::rust("shm-core/src/x.rs", text)]))
}

/// The number of findings in one item below two imports.
fn found_in(item: &str) -> usize {
    found(&format!("use mp_sys::robust::{{self, Guard}};\n{item}")).len()
}

#[test]
fn every_kind_of_public_item_is_checked() {
    let leaks = [
        "pub fn f(guard: Guard) {}",
        "pub fn f() -> Option<mp_sys::robust::Guard> { None }",
        "pub fn f(guard: &robust::Guard) {}",
        "pub fn f<T: robust::Lock>() {}",
        "pub fn f<T>() where T: Into<Guard> {}",
        "pub fn f() -> impl Iterator<Item = Guard> { [].into_iter() }",
        "pub fn f(lock: &dyn robust::Lock) {}",
        "pub struct S { pub guard: Guard }",
        "pub struct S(pub Guard);",
        "pub struct S<T: robust::Lock>(T);",
        "pub union U { pub guard: Guard }",
        "pub enum E { A, B(Guard) }",
        "pub enum E { A { guard: Guard } }",
        "pub type T = Vec<Guard>;",
        "pub const C: Option<Guard> = None;",
        "pub static S: Option<Guard> = None;",
        "pub trait T: robust::Lock {}",
        "pub trait T { fn f(&self) -> Guard; }",
        "pub trait T { type A: robust::Lock; }",
        "pub trait T { const C: Guard; }",
        "impl S { pub fn f(&self) -> Guard { todo() } }",
        "impl S { pub const C: Option<Guard> = None; }",
        "impl<T: robust::Lock> S<T> { pub fn f(&self) {} }",
        "impl From<Guard> for S { fn from(_: Guard) -> Self { S } }",
        "impl robust::Lock for S {}",
        "impl Iterator for S { type Item = Guard; fn next(&mut self) -> Option<Guard> { None } }",
        "pub mod inner { pub fn f(guard: super::Guard) {} use mp_sys::robust::Guard; pub fn g(guard: Guard) {} }",
    ];
    for item in leaks {
        assert_eq!(found_in(item), 1, "{item}");
    }
}

#[test]
fn items_that_are_not_public_are_left_alone() {
    let allowed = [
        "fn f(guard: Guard) {}",
        "pub(crate) fn f(guard: Guard) {}",
        "pub fn f() { let guard: Guard = robust::lock(); }",
        "pub struct S { guard: Guard, pub(crate) other: Guard }",
        "pub struct S(Guard);",
        "struct S { pub guard: Guard }",
        "struct S; impl S { pub fn f(&self) -> Guard { todo() } }",
        "struct S; impl From<Guard> for S { fn from(_: Guard) -> Self { S } }",
        "trait T { fn f(&self) -> Guard; } impl T for Guard { fn f(&self) -> Guard { todo() } }",
        "impl S { fn f(&self) -> Guard { todo() } pub(crate) fn g(&self) -> Guard { todo() } }",
        "impl S { pub fn f(&self) { let guard: Guard = robust::lock(); } }",
        "type T = Guard;",
        "const C: Option<Guard> = None;",
        "#[cfg(test)] mod tests { pub fn f(guard: super::Guard) {} pub fn g(guard: mp_sys::robust::Guard) {} }",
        "pub fn f(guard: std::sync::MutexGuard<'_, u8>) {}",
        "pub fn f(guard: other::robust::Guard) {}",
    ];
    for item in allowed {
        assert_eq!(found_in(item), 0, "{item}");
    }
}

#[test]
fn a_finding_names_the_place_and_the_type() {
    let text = "use mp_sys::robust::Guard;\n\nimpl S {\n    pub fn lock(\n        &self,\n    ) -> Guard {\n    }\n}\n";
    let findings = check(&[&fixture::rust("shm-core/src/lock.rs", text)]);
    let message = "the public `fn lock` names `mp_sys::robust::Guard`, which this crate does not re-export";
    assert_eq!(findings, [Finding::new("shm-core/src/lock.rs", 6, message)]);
}

#[test]
fn a_reexport_in_any_file_makes_a_type_belong_to_the_crate() {
    let user = fixture::rust(
        "shm-core/src/lock.rs",
        "use mp_sys::{deadline::Deadline, robust::{Guard, Owner}};\npub fn f(g: Guard, d: Deadline, o: Owner) {}",
    );
    let lib = fixture::rust("shm-core/src/lib.rs", "pub use mp_sys::{Deadline, robust::Guard as LockGuard};");
    let findings = check(&[&user, &lib]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].message.contains("`mp_sys::robust::Owner`"));
}

#[test]
fn a_private_use_is_not_a_reexport() {
    assert_eq!(
        found("use mp_sys::Guard;\npub(crate) use mp_sys::Guard as G;\npub fn f(guard: Guard) {}"),
        [3]
    );
}

#[test]
fn aliases_and_renames_are_followed() {
    assert_eq!(found("type Own = mp_sys::Guard;\npub fn f(guard: Own) {}"), [2]);
    assert_eq!(found("use mp_sys as floor;\npub fn f(guard: floor::Guard) {}"), [2]);
    let sys = fixture::rust("shm-core/src/sys.rs", "pub(crate) use mp_sys::Guard;");
    let user = fixture::rust("shm-core/src/lock.rs", "use crate::sys::Guard;\npub fn f(a: Guard) {}");
    let direct = fixture::rust("shm-core/src/raw.rs", "pub fn f(a: crate::sys::Guard) {}");
    assert_eq!(fixture::lines(&check(&[&sys, &user, &direct])), [2, 1]);
}

#[test]
fn globs_are_found() {
    assert_eq!(found("use mp_sys::robust::*;"), [1]);
    assert_eq!(found("pub use mp_sys::*;"), [1]);
    assert_eq!(found("use std::sync::*;\nuse mp_sys::robust::{self};"), fixture::NOWHERE);
}
