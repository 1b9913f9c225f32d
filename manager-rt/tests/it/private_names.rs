//! Private attributes of a proxy never reach the backend.

use std::sync::Arc;

use manager_rt::{InProcess, Manager};

use crate::recorder::Recorder;

#[test]
fn names_that_begin_with_an_underscore_are_not_sent() {
    let backend = InProcess::new().unwrap();
    let recorder = Arc::new(Recorder::of(backend));
    let manager = Manager::with(Arc::<Recorder>::clone(&recorder));
    let space = manager.namespace().unwrap();
    let inner = manager.value(&1).unwrap();
    let before = recorder.asked.lock().unwrap().len();
    space.set("_own", &inner).unwrap();
    space.clone().set("_", &"text").unwrap();
    assert!(space.get::<manager_rt::Value<i32>>("_own").is_ok());
    assert!(space.get::<u8>("_").is_err());
    assert!(manager.transaction(|t| (t.on(&space).set("_own", &2), t.on(&inner).set(&2))).is_err());
    assert!(manager.pipeline(|p| p.on(&space).delete("_own")).is_err());
    space.delete("_own").unwrap();
    space.delete("_none").unwrap_err();
    assert_eq!(recorder.asked.lock().unwrap().split_off(before), [""; 0]);
    // The recorder sees what is sent.
    space.set("shared", &1).unwrap();
    let asked = recorder.asked.lock().unwrap().split_off(before);
    assert!(matches!(&*asked, [op] if op.contains("shared")), "{asked:?}");
}
