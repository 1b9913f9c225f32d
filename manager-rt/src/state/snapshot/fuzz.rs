//! Snapshots with any content, for fuzzers.

use super::blocks::Writer;
use crate::proto::{Call, ManagerOp, ObjectId, Op, Raw, Spec, Wait};
use crate::state::{Caller, Effects, Limits, State};

/// The most bytes of a manager that restores an input.
const MEMORY_BYTES: usize = 1 << 20;

fn limits() -> Limits {
    Limits { memory_bytes: MEMORY_BYTES, ..Limits::default() }
}

/// Takes the input for a file, and for what a file contains: then its checksums are right. What is restored is saved and
/// restored once more.
///
/// # Panics
/// If that changes anything, which is a finding.
pub(crate) fn snapshots(input: &[u8]) {
    drop(State::restore(limits(), input));
    let mut file = Vec::new();
    let written = Writer::new(&mut file).and_then(|mut out| {
        out.bytes(input)?;
        out.finish()
    });
    assert!(written.is_ok(), "memory can be written");
    if let Ok(state) = State::restore(limits(), &*file) {
        let saved = saved(&state);
        let Ok(again) = State::restore(limits(), &*saved) else {
            panic!("what was saved cannot be restored")
        };
        assert_eq!(saved, self::saved(&again), "the same is saved again");
    }
}

fn saved(state: &State) -> Vec<u8> {
    let mut file = Vec::new();
    assert!(state.save(&mut file).is_ok(), "memory can be written");
    file
}

/// Returns the content of a snapshot with an object of each kind, and the file itself.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut state = State::new(limits());
    let Ok(client) = state.connect() else { return Vec::new() };
    let specs = [
        Spec::List,
        Spec::Dict,
        Spec::Namespace,
        Spec::Lock,
        Spec::RLock,
        Spec::Semaphore(2),
        Spec::BoundedSemaphore(3),
        Spec::Condition,
        Spec::Event,
        Spec::Queue(4),
        Spec::JoinableQueue { maxsize: 5, max_deliveries: 2 },
        Spec::Barrier(2),
        Spec::Value(Raw::plain(b"value")),
        Spec::Array(vec![Raw::plain(b"one"), Raw::plain(b"two")]),
    ];
    let frame = &bytes::Bytes::new();
    for (call, spec) in (1_u64..).zip(specs) {
        let name = format!("object {call}");
        let op = Op::Manager(ManagerOp::Open { name, spec, print: call });
        let caller = Caller { client, call, now: 0, frame, is_settled: true };
        let call = Call { object: ObjectId::MANAGER, thread: 0, wait: Wait::No, op };
        state.apply(caller, call, &mut Effects::default());
    }
    let file = saved(&state);
    // One block has room for it all: it begins behind the head of the file and its own.
    let content = file.get(24..file.len().saturating_sub(8)).unwrap_or_default().to_vec();
    vec![content, file]
}
