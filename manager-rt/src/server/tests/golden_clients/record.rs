//! Recording a client: what it does is here, and what it receives comes from the server.

use std::fmt::Write as _;

use mp_sys::handshake::{Connecting, Next};

use super::script::{Names, compare, fill, hex};
use super::{CONNECTING, KEY, frame, send, server};
use crate::proto::{
    ArrayOp, BarrierOp, ConditionOp, DictOp, EventOp, Fault, JoinableQueueOp, ListOp, LockOp, ManagerOp,
    NamespaceOp, Number, Op, Part, Payload, QueueOp, Raw, Reply, Scan, SemaphoreOp, Spec, ValueOp, Wait,
};
use crate::tests::plain_client::stream_to;
use crate::wire::control::Control;
use crate::wire::frame::{self as wire, FrameKind};

const PRINT: u64 = 1;
const A: Raw<'static> = Raw::plain(b"a");
const B: Raw<'static> = Raw::plain(b"b");

struct Recorder {
    stream: std::os::unix::net::UnixStream,
    text: String,
    names: Names,
    calls: u64,
}

/// Returns the script of a client of this version.
pub(super) fn record(version: u16) -> String {
    let server = server();
    let text = format!("# A client of version {version}. See src/server/tests/golden_clients.rs.\n");
    let stream = stream_to(&server.path);
    let mut recorder = Recorder { stream, text, names: Names::new(), calls: 0 };
    recorder.shake_hands(version);
    recorder.containers();
    recorder.numbers();
    recorder.queues();
    recorder.locks();
    recorder.manager();
    if version >= 4 {
        recorder.version_4();
    }
    if version >= 5 {
        recorder.version_5();
    }
    recorder.text
}

impl Recorder {
    fn shake_hands(&mut self, version: u16) {
        use std::io::{Read, Write};

        let terms = wire::terms_of(version, KEY);
        let (mut side, mut said) = Connecting::new(terms, CONNECTING);
        writeln!(self.text, "> {}", hex(&said)).unwrap();
        loop {
            self.stream.write_all(&said).unwrap();
            let mut step = vec![0; side.missing()];
            self.stream.read_exact(&mut step).unwrap();
            match side.hear(terms, &step) {
                Next::Say(bytes) => said = bytes,
                Next::Agree(_) => break,
                other => panic!("{other:?}"),
            }
            // The versions of the server.
            let step = [hex(&step[..12]), ".. .. .. ..".to_owned(), hex(&step[16..])].join(" ");
            writeln!(self.text, "< {step}\n> proof\n< proof").unwrap();
        }
        let (head, body) = frame(&mut self.stream);
        writeln!(self.text, "< {:?} {}: {}", head.kind, head.call, hex(&body)).unwrap();
    }

    /// Sends a body, and records the answer. `name` is that of the number that the answer begins with.
    fn exchange(&mut self, kind: FrameKind, body: &str, name: Option<&str>) {
        let read = self.calls;
        self.calls += 1;
        writeln!(self.text, "> {kind:?} {} read {read}: {body}", self.calls).unwrap();
        send(&mut self.stream, kind, (self.calls, read), &fill(body, &self.names));
        let (head, bytes) = frame(&mut self.stream);
        let text = match name {
            Some(name) => {
                let reply: Reply<Payload> = postcard::from_bytes(&bytes).unwrap();
                let (Reply::Object { id: crate::proto::ObjectId(number), .. }
                | Reply::Granted { token: number, .. }
                | Reply::GrantedLease { token: number, .. }
                | Reply::Leased { lease: number, .. }) = reply
                else {
                    panic!("{reply:?}")
                };
                let rest = 1 + postcard::to_allocvec(&number).unwrap().len();
                format!("{} {{{name}}} {}", hex(&bytes[..1]), hex(&bytes[rest..]))
            }
            // The newest version of the server.
            None if head.kind == FrameKind::Fault
                && matches!(postcard::from_bytes(&bytes), Ok(Fault::UnknownOperation { .. })) =>
            {
                format!("{} ..", hex(&bytes[..bytes.len() - 1]))
            }
            None => hex(&bytes),
        };
        assert!(compare(&text, &bytes, &mut self.names));
        writeln!(self.text, "< {:?} {}: {text}", head.kind, head.call).unwrap();
    }

    /// Returns the body of a call: the object, thread 1, no wait, and the operation.
    fn body(object: &str, op: &Op<Raw<'_>>) -> String {
        let object = if object == "manager" { "00".to_owned() } else { format!("{{{object}}}") };
        format!("{object} {} {}", hex(&postcard::to_allocvec(&(1_u64, Wait::No)).unwrap()), op_text(op))
    }

    fn ask(&mut self, object: &str, op: &Op<Raw<'_>>) {
        self.exchange(FrameKind::Call, &Self::body(object, op), None);
    }

    /// Asks for something that the server numbers.
    fn take(&mut self, object: &str, op: &Op<Raw<'_>>, name: &str) {
        self.exchange(FrameKind::Call, &Self::body(object, op), Some(name));
    }

    /// Sends an operation that ends with a number of the server's. `op` has a zero in its place.
    fn give_back(&mut self, object: &str, op: &Op<Raw<'_>>, name: &str) {
        let body = Self::body(object, op);
        let body = format!("{} {{{name}}}", body.strip_suffix(" 00").unwrap());
        self.exchange(FrameKind::Call, &body, None);
    }

    fn open(&mut self, name: &str, spec: Spec<Raw<'_>>) {
        let open = ManagerOp::Open { name: name.to_owned(), spec, print: PRINT };
        self.exchange(FrameKind::Call, &Self::body("manager", &Op::Manager(open)), Some(name));
    }

    fn each(&mut self, object: &str, ops: impl IntoIterator<Item = Op<Raw<'static>>>) {
        ops.into_iter().for_each(|op| self.ask(object, &op));
    }

    fn containers(&mut self) {
        self.open("list", Spec::List);
        let scan = || Scan { value: A, from: 0, version: None };
        let ops = [
            ListOp::Push(A),
            ListOp::Extend(vec![B, A]),
            ListOp::Get(1),
            ListOp::Set(0, B),
            ListOp::Insert(1, A),
            ListOp::Swap(0, 1),
            ListOp::Reverse,
            ListOp::IndexOf(scan()),
            ListOp::Count(scan()),
            ListOp::RemoveValue(scan()),
            ListOp::CompareExchange { at: 0, expected: A, new: B },
            ListOp::Page { at: 0, max: 10 },
            ListOp::Len,
            ListOp::Reorder { version: 0, order: vec![0, 1, 2] },
            ListOp::Remove(0),
            ListOp::Pop,
            ListOp::Get(9),
            ListOp::Clear,
            ListOp::Pop,
        ];
        self.each("list", ops.map(Op::List));
        self.open("dict", Spec::Dict);
        let ops = [
            DictOp::Insert(A, B),
            DictOp::InsertNew(A, A),
            DictOp::Claim(A, B),
            DictOp::Contains(A),
            DictOp::Contains(B),
            DictOp::Get(A),
            DictOp::GetOrInsert(B, A),
            DictOp::Extend(vec![(A, A), (B, B)]),
            DictOp::CompareExchange { key: A, expected: Some(B), new: None },
            DictOp::Page { after: None, max: 10, part: Part::Items },
            DictOp::Page { after: None, max: 10, part: Part::Keys },
            DictOp::Page { after: None, max: 10, part: Part::Values },
            DictOp::FetchAdd(Raw::plain(b"n"), Number::U8(2)),
            DictOp::FetchAddMany(vec![(Raw::plain(b"n"), Number::U8(2))]),
            DictOp::FetchAdd(A, Number::F64(1.0)),
            DictOp::Len,
            DictOp::Remove(A),
            DictOp::PopItem,
            DictOp::Clear,
            DictOp::PopItem,
        ];
        self.each("dict", ops.map(Op::Dict));
        self.open("namespace", Spec::Namespace);
        let name = || "x".to_owned();
        let ops = [
            NamespaceOp::Set { name: name(), print: PRINT, value: A },
            NamespaceOp::Get { name: name(), print: PRINT },
            NamespaceOp::Get { name: name(), print: 2 },
            NamespaceOp::Names,
            NamespaceOp::Delete { name: name() },
            NamespaceOp::Delete { name: name() },
        ];
        self.each("namespace", ops.map(Op::Namespace));
    }

    fn numbers(&mut self) {
        let (zero, one) = (Raw::plain(&[0]), Raw::plain(&[1]));
        self.open("value", Spec::Value(zero));
        let ops = [
            ValueOp::Get,
            ValueOp::Set(one),
            ValueOp::CompareExchange { expected: zero, new: one },
            ValueOp::CompareExchange { expected: one, new: zero },
            ValueOp::FetchAdd(Number::U8(3)),
            ValueOp::FetchAdd(Number::F32(1.0)),
        ];
        self.each("value", ops.map(Op::Value));
        self.open("array", Spec::Array(vec![zero, zero]));
        let ops = [
            ArrayOp::Len,
            ArrayOp::Set(1, one),
            ArrayOp::Get(1),
            ArrayOp::Get(2),
            ArrayOp::Write { at: 0, elements: vec![one, zero] },
            ArrayOp::CompareExchange { at: 0, expected: one, new: zero },
            ArrayOp::FetchAdd(0, Number::U8(1)),
            ArrayOp::Read { at: 0, max: 9 },
        ];
        self.each("array", ops.map(Op::Array));
    }

    fn queues(&mut self) {
        self.open("queue", Spec::Queue(3));
        let ops = [
            QueueOp::Get,
            QueueOp::Put(A),
            QueueOp::PutMany(vec![B, A]),
            QueueOp::Put(A),
            QueueOp::Get,
            QueueOp::GetMany(9),
            QueueOp::Len,
            QueueOp::Capacity,
            QueueOp::Close,
            QueueOp::IsClosed,
            QueueOp::Get,
        ];
        self.each("queue", ops.map(Op::Queue));
        self.open("tasks", Spec::JoinableQueue { maxsize: 0, max_deliveries: 2 });
        let ops = [JoinableQueueOp::Put(A), JoinableQueueOp::PutMany(vec![B])];
        self.each("tasks", ops.map(Op::JoinableQueue));
        self.take("tasks", &Op::JoinableQueue(JoinableQueueOp::Get), "first");
        self.give_back("tasks", &Op::JoinableQueue(JoinableQueueOp::Requeue { lease: 0 }), "first");
        self.take("tasks", &Op::JoinableQueue(JoinableQueueOp::Get), "second");
        self.give_back("tasks", &Op::JoinableQueue(JoinableQueueOp::Done { lease: 0 }), "second");
        let ops = [
            JoinableQueueOp::Join,
            JoinableQueueOp::Len,
            JoinableQueueOp::Capacity,
            JoinableQueueOp::Unfinished,
            JoinableQueueOp::Failed { at: 0, take: false },
            JoinableQueueOp::Close,
            JoinableQueueOp::IsClosed,
            JoinableQueueOp::Put(A),
        ];
        self.each("tasks", ops.map(Op::JoinableQueue));
    }

    fn locks(&mut self) {
        for (name, token, spec) in [("lock", "of_lock", Spec::Lock), ("rlock", "of_rlock", Spec::RLock)] {
            self.open(name, spec);
            self.take(name, &Op::Lock(LockOp::Acquire { lease: 0 }), token);
            self.ask(name, &Op::Lock(LockOp::IsLocked));
            self.give_back(name, &Op::Lock(LockOp::Release { token: 0 }), token);
            self.give_back(name, &Op::Lock(LockOp::Release { token: 0 }), token);
        }
        self.open("semaphore", Spec::Semaphore(1));
        let ops = [
            SemaphoreOp::Acquire,
            SemaphoreOp::Acquire,
            SemaphoreOp::Release,
            SemaphoreOp::Acquire,
            SemaphoreOp::Forget,
            SemaphoreOp::Add(2),
            SemaphoreOp::Available,
        ];
        self.each("semaphore", ops.map(Op::Semaphore));
        self.open("bounded", Spec::BoundedSemaphore(1));
        self.ask("bounded", &Op::Semaphore(SemaphoreOp::Add(1)));
        self.open("condition", Spec::Condition);
        self.each("condition", [ConditionOp::Notify(1), ConditionOp::Waiting].map(Op::Condition));
        self.open("event", Spec::Event);
        let ops =
            [EventOp::Wait, EventOp::Set, EventOp::Wait, EventOp::IsSet, EventOp::Clear, EventOp::IsSet];
        self.each("event", ops.map(Op::Event));
        self.open("barrier", Spec::Barrier(1));
        let ops = [
            BarrierOp::Wait { acts: false },
            BarrierOp::Parties,
            BarrierOp::Waiting,
            BarrierOp::Register,
            BarrierOp::Unregister,
            BarrierOp::Abort,
            BarrierOp::IsBroken,
            BarrierOp::Wait { acts: false },
            BarrierOp::Reset,
        ];
        self.each("barrier", ops.map(Op::Barrier));
    }

    fn manager(&mut self) {
        let ping = hex(&postcard::to_allocvec(&Control::Ping.sent_by(1)).unwrap());
        self.exchange(FrameKind::Call, &ping, None);
        let ops = [
            ManagerOp::Remove { name: "nothing".to_owned() },
            ManagerOp::Remove { name: "barrier".to_owned() },
        ];
        self.each("manager", ops.map(Op::Manager));
        self.ask("value", &Op::List(ListOp::Len));
        self.ask("barrier", &Op::Barrier(BarrierOp::Parties));
        // A transaction of two steps, and one that fails.
        let value = op_text(&Op::Value(ValueOp::Get));
        let push = op_text(&Op::List(ListOp::Push(A)));
        let get = op_text(&Op::List(ListOp::Get(9)));
        self.exchange(FrameKind::Transaction, &format!("02 {{value}} {value} {{list}} {push}"), None);
        self.exchange(FrameKind::Transaction, &format!("02 {{list}} {push} {{list}} {get}"), None);
        self.ask("list", &Op::List(ListOp::Len));
        self.ask("manager", &Op::Manager(ManagerOp::Names));
    }

    /// What version 4 introduced.
    fn version_4(&mut self) {
        self.each("list", [ListOp::Store(0, B), ListOp::Get(0), ListOp::Delete(0)].map(Op::List));
        self.each("dict", [DictOp::Store(A, B), DictOp::Delete(A), DictOp::Delete(A)].map(Op::Dict));
        self.each("value", [ValueOp::Store(A), ValueOp::Get].map(Op::Value));
        self.each("array", [ArrayOp::Store(0, A), ArrayOp::Get(0)].map(Op::Array));
        self.ask("manager", &Op::Manager(ManagerOp::NamesAfter { name: String::new() }));
        // An operation that no version knows yet.
        self.exchange(FrameKind::Call, "{list} 01 00 01 ff 7f 01 02 03", None);
    }

    /// What version 5 introduced.
    fn version_5(&mut self) {
        self.open("permits", Spec::Semaphore(2));
        let take = Op::Semaphore(SemaphoreOp::Take);
        (0..2).for_each(|_| self.take("permits", &take, "permit"));
        self.ask("permits", &take);
        self.give_back("permits", &Op::Semaphore(SemaphoreOp::Return { token: 0 }), "permit");
        self.give_back("permits", &Op::Semaphore(SemaphoreOp::Disown { token: 0 }), "permit");
        self.ask("permits", &Op::Semaphore(SemaphoreOp::Return { token: u64::MAX }));
        self.open("party", Spec::Barrier(1));
        self.take("party", &Op::Barrier(BarrierOp::Enrol), "place");
        self.ask("party", &Op::Barrier(BarrierOp::Withdraw { token: u64::MAX }));
        self.give_back("party", &Op::Barrier(BarrierOp::Withdraw { token: 0 }), "place");
        self.open("leased", Spec::Lock);
        self.take("leased", &Op::Lock(LockOp::Acquire { lease: u64::MAX }), "lease");
    }
}

fn op_text(op: &Op<Raw<'_>>) -> String {
    hex(&postcard::to_allocvec(op).unwrap())
}
