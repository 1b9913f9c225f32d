//! `rm`.

use manager_rt::{CallError, Fault, ObjectError};

use crate::program::Place;

#[test]
fn a_removed_object_is_gone_for_everybody() {
    let server = Place::new().serve();
    let manager = server.manager();
    for at in [0, 1] {
        let value = manager.named("n").value(&5_u64).unwrap();
        server.run_at(at, ["rm", "n"]).printed("");
        assert_eq!(value.get(), Err(ObjectError::Call(CallError::Fault(Fault::UnknownObject))));
        server
            .run_at(at, ["rm", "n"])
            .refused(4, &["\"n\"", &server.addresses[at], "no object has this name"]);
    }
}

#[test]
fn a_name_is_any_text() {
    let server = Place::new().serve();
    let manager = server.manager();
    for name in ["two words", "--json", "\u{1b}[31m", "ö", "0"] {
        manager.named(name).event().unwrap();
        server.run(["rm", "--", name]).printed("");
        let absent = server.run(["rm", "--", name]);
        absent.refused(4, &["no object has this name"]);
        assert!(!absent.stderr.contains('\u{1b}'), "{absent:?}");
    }
    server.run(["rm", ""]).refused(4, &["no object has this name"]);
}
