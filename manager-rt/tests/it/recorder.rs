//! A backend that records what it is asked.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use manager_rt::proto::{Answer, Call, ListOp, ObjectId, Op, Payload, Raw, Reply, Step};
use manager_rt::{Backend, CallError, Caps, InProcess, OnLost, Validity};

/// A backend that records its calls.
#[derive(Debug)]
pub(crate) struct Recorder {
    backend: InProcess,
    /// All operations, as text.
    pub(crate) asked: Mutex<Vec<String>>,
    /// The most values that one operation added to a list.
    pub(crate) added_at_once: AtomicUsize,
}

impl Recorder {
    pub(crate) fn of(backend: InProcess) -> Self {
        Self { backend, asked: Mutex::default(), added_at_once: AtomicUsize::new(0) }
    }
}

impl Backend for Recorder {
    fn caps(&self) -> Caps {
        self.backend.caps()
    }

    fn call(&self, call: Call<Raw<'_>>) -> Result<Reply<Payload>, CallError> {
        if let Op::List(ListOp::Extend(values)) = &call.op {
            self.added_at_once.fetch_max(values.len(), Ordering::Relaxed);
        } else {
            self.asked.lock().unwrap().push(format!("{:?}", call.op));
        }
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

    fn transit(&self, object: ObjectId) -> Result<(), CallError> {
        self.backend.transit(object)
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
