//! Inputs as honest peers send them: nearly valid input gets farther than noise.

use serde::Serialize;

use crate::fuzzing::operations::RECORD_BYTES;
use crate::proto::{
    Answer, BarrierOp, Call, ConditionOp, DictOp, EventOp, Fault, Info, JoinableQueueOp, ListOp, LockOp,
    ManagerOp, NamespaceOp, Number, ObjectId, Op, Part, Payload, QueueOp, Raw, Reply, SemaphoreOp, Spec,
    Step, ValueOp, Wait,
};
use crate::wire::control::Control;
use crate::wire::frame::{FrameKind, Head};

/// Returns the id of one of the objects that exist at the start, which are numbered in order of creation.
fn object(index: u64) -> ObjectId {
    ObjectId(index.saturating_add(1) << 24 | index)
}

fn frame(kind: FrameKind, call: u64, body: &impl Serialize) -> Vec<u8> {
    let body = postcard::to_allocvec(body).unwrap_or_default();
    let body_len = u32::try_from(body.len()).unwrap_or(0);
    [&Head { body_len, kind, cpu: 1, call, read: 0 }.to_bytes()[..], &body].concat()
}

fn call(number: u64, object: ObjectId, wait: Wait, op: Op<Payload>) -> Vec<u8> {
    frame(FrameKind::Call, number, &Call { object, thread: 0, wait, op })
}

fn value(bytes: &[u8]) -> Payload {
    Payload::copy(Raw::plain(bytes))
}

/// Makes a value with a proxy inside.
fn holder(inside: ObjectId) -> Payload {
    Payload::copy(Raw { bytes: b"p", ids: &inside.0.to_le_bytes() })
}

/// Makes the input for three clients or for one.
fn cut(piece: u8, frames: &[Vec<u8>]) -> Vec<u8> {
    [&[piece][..], &frames.concat()].concat()
}

/// Returns calls of a client of a newer version, with numbers that this build does not know at each depth.
fn newer() -> Vec<Vec<u8>> {
    let call = |numbers: (u32, u32, u32)| {
        frame(FrameKind::Call, 1, &(object(11), 0_u64, Wait::No, numbers, (500_u64, value(b"new"))))
    };
    let step = (1_u32, object(11), 1_u32, 200_u32, value(b"new"));
    vec![
        // A kind of object, an operation of a list, of the manager, of a barrier, and a specification.
        cut(
            255,
            &[call((200, 0, 0)), call((1, 200, 0)), call((0, 200, 0)), call((10, 200, 0)), call((0, 0, 200))],
        ),
        cut(
            9,
            &[
                frame(FrameKind::Transaction, 1, &step),
                frame(FrameKind::Notice, 2, &(object(0), 0_u64, 9_u32)),
            ],
        ),
    ]
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    [honest(), newer()].concat()
}

fn honest() -> Vec<Vec<u8>> {
    let acquire = || Op::Lock(LockOp::Acquire { lease: 0 });
    let (lock, forever) = (object(0), Wait::Forever);
    vec![
        cut(
            97,
            &[
                call(1, lock, forever, acquire()),
                call(2, object(2), Wait::For(5), Op::Condition(ConditionOp::Wait { lock, token: 1 })),
                call(3, object(2), Wait::No, Op::Condition(ConditionOp::Notify(1))),
                frame(
                    FrameKind::Notice,
                    4,
                    &Call::<Payload> {
                        object: lock,
                        thread: 0,
                        wait: Wait::No,
                        op: Op::Lock(LockOp::Release { token: 2 }),
                    },
                ),
            ],
        ),
        cut(
            7,
            &[
                call(1, object(3), forever, Op::Semaphore(SemaphoreOp::Acquire)),
                call(2, object(5), forever, Op::Event(EventOp::Wait)),
                call(3, object(5), forever, Op::Event(EventOp::Set)),
                call(4, object(6), Wait::For(9), Op::Barrier(BarrierOp::Wait { acts: false })),
            ],
        ),
        cut(
            255,
            &[
                call(1, object(7), forever, Op::Queue(QueueOp::GetMany(3))),
                call(2, object(7), forever, Op::Queue(QueueOp::PutMany(vec![value(b"a"), holder(lock)]))),
                frame(FrameKind::Notice, 3, &Control::Taken { first: 1, last: 2 }.sent_by(0)),
                frame(FrameKind::Call, 3, &Control::Reject { call: 1 }.sent_by(0)),
                call(4, object(8), forever, Op::JoinableQueue(JoinableQueueOp::Put(value(&[9; 700])))),
                call(5, object(8), forever, Op::JoinableQueue(JoinableQueueOp::Get)),
                call(6, object(8), Wait::For(3), Op::JoinableQueue(JoinableQueueOp::Join)),
            ],
        ),
        cut(
            95,
            &[
                call(1, object(7), forever, Op::Queue(QueueOp::Get)),
                call(1, object(7), forever, Op::Queue(QueueOp::Get)),
                frame(FrameKind::Call, 2, &Control::Cancel { call: 1 }.sent_by(0)),
            ],
        ),
        cut(200, &[transaction(), open(), containers()]),
    ]
}

fn transaction() -> Vec<u8> {
    let step = |index, op| Step { object: object(index), op };
    frame(
        FrameKind::Transaction,
        7,
        &[
            step(9, Op::Value(ValueOp::FetchAdd(Number::U8(1)))),
            step(11, Op::List(ListOp::Push(holder(object(12))))),
            step(12, Op::Dict(DictOp::Insert(value(b"k"), value(b"v")))),
            step(7, Op::Queue(QueueOp::Put(value(b"q")))),
        ],
    )
}

fn open() -> Vec<u8> {
    let (name, print) = ("name".to_owned(), 7);
    let open = ManagerOp::Open { name: name.clone(), spec: Spec::Value(value(b"1")), print };
    let manager = |number, op| call(number, ObjectId::MANAGER, Wait::No, Op::Manager(op));
    let detach = ManagerOp::Detach { references: vec![(object(14), 1)], lingers: true };
    [
        manager(10, open),
        manager(11, ManagerOp::Names),
        manager(12, detach),
        manager(13, ManagerOp::NamesAfter { name: String::new() }),
        manager(14, ManagerOp::Remove { name }),
    ]
    .concat()
}

fn containers() -> Vec<u8> {
    let page = DictOp::Page { after: None, max: 9, part: Part::Items };
    let set = NamespaceOp::Set { name: "n".to_owned(), print: 1, value: value(b"x") };
    [
        call(20, object(12), Wait::No, Op::Dict(DictOp::FetchAdd(value(b"n"), Number::U64(1)))),
        call(21, object(12), Wait::No, Op::Dict(page)),
        call(22, object(13), Wait::No, Op::Namespace(set)),
        call(23, object(11), Wait::No, Op::List(ListOp::Extend(vec![value(b"1"), value(b"2")]))),
        call(24, object(11), Wait::No, Op::List(ListOp::Page { at: 0, max: 9 })),
    ]
    .concat()
}

/// Makes operations, one in each record, chosen at random.
pub(super) fn operations() -> Vec<Vec<u8>> {
    let mut seed = 1_u32;
    let mut next = || {
        // A linear congruence is enough to spread over the operations.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes().first().copied().unwrap_or(0)
    };
    // First all objects, then a few at a time: locks and the condition, permits and the barrier, queues, containers.
    let all: Vec<u8> = (0..14).collect();
    let mut seeds = Vec::new();
    for objects in [&all[..], &[0, 1, 2], &[3, 4, 6], &[7], &[8], &[9, 10, 11, 12, 13], &[7, 8, 12]] {
        // Short ones take less time, so more of them run, and long ones get farther.
        for steps in [100, 48, 24, 16, 12, 8] {
            let steps = objects.iter().cycle().take(steps).map(|object| {
                // Of four steps, three are operations or transactions, and one is any kind of step.
                let what = next();
                let what = if next() < 192 { what % 210 } else { what };
                let mut record = vec![next(), what, *object, 0];
                record.resize_with(RECORD_BYTES, &mut next);
                record
            });
            seeds.push(steps.collect::<Vec<_>>().concat());
        }
    }
    seeds
}

pub(super) fn answers() -> Vec<Vec<u8>> {
    let replies = [
        Reply::Done,
        Reply::Granted { token: 3, owner_died: false, timed_out: false },
        Reply::GrantedLease { token: 3, owner_died: false, timed_out: false, waited: 9 },
        Reply::Count(4),
        Reply::Leased { lease: 5, deliveries: 1, task: value(b"task") },
        Reply::Values { values: vec![value(b"a"), holder(object(0)), value(&[7; 40_000])], version: 3 },
        Reply::Entries { entries: vec![(value(b"k"), holder(object(1)))], place: 2 },
        Reply::Scanned { found: Some(1), next: None, version: 9 },
        Reply::Names(vec!["a".to_owned(), "b".to_owned()]),
        Reply::Info(Info::default()),
        Reply::Transaction(vec![Reply::Done, Reply::Option(Some(value(b"x"))), Reply::Bool(true)]),
        Reply::Object { id: object(3), created: true },
    ];
    let frames: Vec<Vec<u8>> =
        (0..).zip(&replies).map(|(call, reply)| frame(FrameKind::Reply, call, reply)).collect();
    let fault: Answer<Payload> = Err(Fault::Index { index: 1, len: 0 });
    let fault = fault.map_err(|fault| frame(FrameKind::Fault, 11, &fault)).err().unwrap_or_default();
    let mut seeds: Vec<Vec<u8>> = frames.iter().map(|frame| cut(5, std::slice::from_ref(frame))).collect();
    // A reply and a fault that this build does not know.
    let newer = [FrameKind::Reply, FrameKind::Fault].map(|kind| frame(kind, 0, &(200_u32, value(b"new"))));
    seeds.extend(newer.map(|frame| cut(5, &[frame])));
    seeds.push(cut(3, &[frames.concat(), fault]));
    seeds
}
