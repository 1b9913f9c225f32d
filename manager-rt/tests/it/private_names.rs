//! Private attributes of a proxy never reach the backend.

use std::sync::{Arc, Mutex};

use manager_rt::proto::{Answer, Call, ObjectId, Payload, Raw, Reply, Step};
use manager_rt::{Backend, CallError, Caps, InProcess, Manager, OnLost, Validity};

/// A backend that records its calls.
#[derive(Debug)]
struct Recorder {
    backend: InProcess,
    asked: Mutex<Vec<String>>,
}

impl Backend for Recorder {
    fn caps(&self) -> Caps {
        self.backend.caps()
    }

    fn call(&self, call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        self.asked.lock().unwrap().push(format!("{:?}", call.op));
        self.backend.call(call)
    }

    fn pipeline(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Answer<Payload>>, CallError> {
        self.asked.lock().unwrap().push(format!("{steps:?}"));
        self.backend.pipeline(thread, steps)
    }

    fn transaction(&self, thread: u64, steps: Vec<Step<Raw<'_>>>) -> Result<Vec<Reply<Payload>>, CallError> {
        self.asked.lock().unwrap().push(format!("{steps:?}"));
        self.backend.transaction(thread, steps)
    }

    fn transit(&self, object: ObjectId) {
        self.backend.transit(object);
    }

    fn attach(&self, object: ObjectId) -> Result<(), CallError> {
        self.backend.attach(object)
    }

    fn adopt(&self, object: ObjectId) {
        self.backend.adopt(object);
    }

    fn detach(&self, object: ObjectId) {
        self.backend.detach(object);
    }

    fn validity(&self, object: ObjectId, token: u64) -> Validity {
        self.backend.validity(object, token)
    }

    fn watch(&self, object: ObjectId, token: u64, lost: OnLost) {
        self.backend.watch(object, token, lost);
    }

    fn epoch(&self) -> u128 {
        self.backend.epoch()
    }

    fn address(&self) -> Option<String> {
        self.backend.address()
    }
}

#[test]
fn names_that_begin_with_an_underscore_are_not_sent() {
    let backend = InProcess::new().unwrap();
    let recorder = Arc::new(Recorder { backend, asked: Mutex::default() });
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
