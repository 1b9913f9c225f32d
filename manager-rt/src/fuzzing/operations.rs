//! Operations of three clients on objects of every kind, with passing time, deaths and transactions, decided by bytes.

mod data;

use std::sync::LazyLock;

use bytes::Bytes;

use crate::count::count_of;
use crate::fuzzing::bytes::Source;
use crate::fuzzing::objects::{specs, to_manager};
use crate::fuzzing::unknown;
use crate::fuzzing::world::{CLIENTS, World};
use crate::proto::{
    BarrierOp, Call, ConditionOp, EventOp, JoinableQueueOp, LockOp, ManagerOp, Number, ObjectId, Op, Payload,
    QueueOp, Raw, SemaphoreOp, Spec, Step,
};
use crate::wire::control::Control;
use crate::wire::frame::FrameKind;
use crate::wire::together::Whose;

/// The most steps of one input.
const STEPS_MAX: u32 = 400;
/// The number of bytes that decide one operation.
pub(super) const RECORD_BYTES: usize = 12;
/// The length of a value of which two do not fit into the manager together.
const LONG_BYTES: usize = 36_000;
/// What a client may ask to be made.
static SPECS: LazyLock<Vec<Spec<Payload>>> = LazyLock::new(specs);
/// The names of objects and attributes.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Runs the operations that the input describes.
///
/// # Panics
/// If an invariant does not hold, which is a finding.
pub(super) fn operations(input: &[u8]) {
    let Some(world) = World::new() else { return };
    let mut run = Run { input: Source::new(input), source: Source::new(&[]), world, calls: [0; CLIENTS] };
    for _ in 0..STEPS_MAX {
        if run.input.is_empty() {
            break;
        }
        run.step();
    }
    run.world.end();
}

struct Run<'a> {
    input: Source<'a>,
    /// The record of the current operation.
    source: Source<'a>,
    world: World,
    /// The number of each client's newest call.
    calls: [u64; CLIENTS],
}

impl Run<'_> {
    fn step(&mut self) {
        self.source = self.input.record(RECORD_BYTES);
        let who = self.source.below(CLIENTS);
        match self.source.byte() {
            0..=171 => {
                let (object, op) = self.operation();
                let (thread, wait) = (self.source.small() % 2, self.source.wait());
                let kind = if self.source.small() % 16 == 15 { FrameKind::Notice } else { FrameKind::Call };
                let number = self.number(who);
                self.world.send(who, kind, number, &Call { object, thread, wait, op });
            }
            176..=179 => {
                let (at, object) = self.object();
                let count = self.source.below(12).saturating_add(1);
                let ops: Vec<_> = (0..count).map(|_| self.next_operation_of(at)).collect();
                self.together(who, object, &ops);
            }
            172..=175 => {
                let ((_, object), number) = (self.object(), self.number(who));
                let call = unknown::call(object, &mut self.source);
                self.world.send(who, FrameKind::Call, number, &call);
            }
            180..=209 => {
                // After the bytes that would name an object.
                let _object = (self.source.byte(), self.source.byte());
                let (count, number) = (self.source.below(6), self.number(who));
                let steps: Vec<Step<Payload>> = (0..count).map(|_| self.transaction_step()).collect();
                self.world.send(who, FrameKind::Transaction, number, &steps);
            }
            210..=224 => {
                let request = self.manager();
                let number = self.number(who);
                match request {
                    Ok(op) => self.world.call(who, number, &to_manager(op)),
                    Err(control) => self.world.send(who, FrameKind::Call, number, &control.sent_by(0)),
                }
            }
            225..=234 => {
                let unread = self.source.small() % 4;
                self.world.acknowledge(who, unread);
            }
            235..=242 => {
                let unread = self.source.small() % 4;
                self.world.replace(who, unread);
            }
            _ => {
                let nanos = self.source.small() % 40;
                self.world.pass(nanos);
            }
        }
    }

    fn next_operation_of(&mut self, kind: usize) -> Op<Payload> {
        self.source = self.input.record(RECORD_BYTES);
        self.operation_of(kind)
    }

    /// Sends several calls in one frame.
    fn together(&mut self, who: usize, object: ObjectId, ops: &[Op<Payload>]) {
        let Some(newest) = self.calls.get_mut(who) else { return };
        let number = newest.saturating_add(1);
        *newest = newest.saturating_add(count_of(ops.len()));
        let mut body = postcard::to_allocvec(&Whose { object, thread: 0 }).unwrap_or_default();
        ops.iter().for_each(|op| body.extend(postcard::to_allocvec(op).unwrap_or_default()));
        let (kind, body) = (FrameKind::Calls(u16::try_from(ops.len()).unwrap_or(1)), Bytes::from(body));
        self.world.hear(who, kind, number, &body, &body);
    }

    fn transaction_step(&mut self) -> Step<Payload> {
        self.source = self.input.record(RECORD_BYTES);
        // As in a separate record, the first two bytes choose the client and the operation.
        let _who_and_what = (self.source.byte(), self.source.byte());
        let (object, op) = self.operation();
        Step { object, op }
    }

    /// Returns the number of a client's next call; sometimes that of an earlier one, which may still wait.
    fn number(&mut self, who: usize) -> u64 {
        let (again, back) = (self.source.small() % 16 == 15, self.source.small() % 4);
        let Some(newest) = self.calls.get_mut(who) else { return 0 };
        if again {
            return newest.saturating_sub(back);
        }
        *newest = newest.saturating_add(1);
        *newest
    }

    fn object(&mut self) -> (usize, ObjectId) {
        let at = self.source.below(self.world.objects.len());
        (at, self.world.objects.get(at).copied().unwrap_or(ObjectId::MANAGER))
    }

    /// Makes an operation that mostly fits its object.
    fn operation(&mut self) -> (ObjectId, Op<Payload>) {
        let (at, object) = self.object();
        // The first objects are one of each kind, in this order.
        let kind = if self.source.small() % 16 == 15 { self.source.below(14) } else { at };
        (object, self.operation_of(kind))
    }

    /// Makes an operation of a kind of object.
    fn operation_of(&mut self, kind: usize) -> Op<Payload> {
        match kind {
            0 | 1 => Op::Lock(self.lock()),
            2 => Op::Condition(self.condition()),
            3 | 4 => Op::Semaphore(self.semaphore()),
            5 => Op::Event(self.event()),
            6 => Op::Barrier(self.barrier()),
            7 => Op::Queue(self.queue()),
            8 => Op::JoinableQueue(self.tasks()),
            9 => Op::Value(self.value_op()),
            10 => Op::Array(self.array()),
            11 => Op::List(self.list()),
            12 => Op::Dict(self.dict()),
            13 => Op::Namespace(self.namespace()),
            _ => self.any(),
        }
    }

    fn any(&mut self) -> Op<Payload> {
        match self.source.below(6) {
            0 => Op::List(self.list()),
            1 => Op::Dict(self.dict()),
            2 => Op::Queue(self.queue()),
            3 => Op::Lock(self.lock()),
            4 => Op::JoinableQueue(self.tasks()),
            _ => Op::Value(self.value_op()),
        }
    }

    /// Makes a number, bytes, many bytes, or proxies.
    fn value(&mut self) -> Payload {
        let kind = self.source.byte();
        let number = self.source.byte();
        match kind {
            0..=150 => Payload::copy(Raw::plain(&[number % 8])),
            151..=190 => Payload::copy(Raw::plain(&[number; 40])),
            191..=200 => Payload::copy(Raw::plain(&vec![number; LONG_BYTES])),
            _ => {
                let ids: Vec<u8> = (0..number % 3).flat_map(|_| self.object().1.0.to_le_bytes()).collect();
                Payload::copy(Raw { bytes: &[number], ids: &ids })
            }
        }
    }

    fn values(&mut self) -> Vec<Payload> {
        (0..self.source.below(4)).map(|_| self.value()).collect()
    }

    fn name(&mut self) -> String {
        NAMES.get(self.source.below(NAMES.len())).copied().unwrap_or_default().to_owned()
    }

    /// Makes a token, a lease or an index. Small ones are most often right.
    fn little(&mut self) -> u64 {
        self.source.small() % 6
    }

    fn number_to_add(&mut self) -> Number {
        if self.source.small() % 4 == 3 { Number::I64(-1) } else { Number::U64(1) }
    }

    /// Makes an operation of the manager, or something about a call of the client.
    fn manager(&mut self) -> Result<ManagerOp<Payload>, Control> {
        let print = self.source.small() / 250;
        let spec = SPECS.get(self.source.below(SPECS.len()));
        Ok(match (self.source.below(18), spec) {
            (0 | 1, Some(spec)) => ManagerOp::Create { spec: spec.clone(), print },
            (2 | 3, Some(spec)) => ManagerOp::Open { name: self.name(), spec: spec.clone(), print },
            (4, _) => ManagerOp::Remove { name: self.name() },
            (5, _) => ManagerOp::Attach((0..self.source.below(3)).map(|_| self.object().1).collect()),
            (6, _) => {
                let references = vec![(self.object().1, self.little())];
                ManagerOp::Detach { references, lingers: self.source.small().is_multiple_of(2) }
            }
            (7, _) => ManagerOp::Transit(vec![self.object().1]),
            (8, _) => return Err(Control::Cancel { call: self.source.small() }),
            (9, _) => return Err(Control::Reject { call: self.source.small() }),
            (10, _) => ManagerOp::Names,
            (11, _) => ManagerOp::NamesAfter { name: self.name() },
            (12, _) => ManagerOp::Server,
            (13, _) => ManagerOp::Clients { from: self.little() },
            (14, _) => {
                ManagerOp::Objects { from: self.little(), is_busy: self.source.small().is_multiple_of(2) }
            }
            (15, _) => ManagerOp::Object { name: self.name() },
            (16, _) => ManagerOp::Waits { after: self.little() },
            _ => ManagerOp::Info,
        })
    }

    fn lock(&mut self) -> LockOp {
        match self.source.below(5) {
            0 => LockOp::IsLocked,
            1 | 2 => LockOp::Release { token: self.source.small() % 12 },
            3 => LockOp::Acquire { lease: self.source.small() % 30 },
            _ => LockOp::Acquire { lease: 0 },
        }
    }

    fn condition(&mut self) -> ConditionOp {
        match self.source.below(5) {
            0 => ConditionOp::Waiting,
            1 => ConditionOp::Notify(self.little()),
            _ => {
                let lock = self.world.objects.get(self.source.below(2)).copied();
                let token = self.source.small() % 12;
                ConditionOp::Wait { lock: lock.unwrap_or(ObjectId::MANAGER), token }
            }
        }
    }

    fn semaphore(&mut self) -> SemaphoreOp {
        match self.source.below(12) {
            0 => SemaphoreOp::Available,
            1 | 2 => SemaphoreOp::Release,
            3 => SemaphoreOp::Forget,
            4 => SemaphoreOp::Add(self.little()),
            5 | 6 => SemaphoreOp::Take,
            7 => SemaphoreOp::Return { token: self.little() },
            8 => SemaphoreOp::Disown { token: self.little() },
            _ => SemaphoreOp::Acquire,
        }
    }

    fn event(&mut self) -> EventOp {
        match self.source.below(5) {
            0 => EventOp::IsSet,
            1 => EventOp::Set,
            2 => EventOp::Clear,
            _ => EventOp::Wait,
        }
    }

    fn barrier(&mut self) -> BarrierOp {
        match self.source.below(14) {
            0 => BarrierOp::Waiting,
            1 => BarrierOp::Abort,
            2 | 3 => BarrierOp::Reset,
            4 => BarrierOp::Register,
            5 => BarrierOp::Unregister,
            6 => BarrierOp::EndRound { round: self.little() },
            7 => BarrierOp::Wait { acts: true },
            8 => BarrierOp::Enrol,
            9 => BarrierOp::Withdraw { token: self.little() },
            _ => BarrierOp::Wait { acts: false },
        }
    }

    fn queue(&mut self) -> QueueOp<Payload> {
        match self.source.below(12) {
            0..=2 => QueueOp::Put(self.value()),
            3 | 4 => QueueOp::PutMany(self.values()),
            5..=7 => QueueOp::Get,
            8 | 9 => QueueOp::GetMany(self.little()),
            10 => QueueOp::Len,
            _ if self.source.small() % 8 == 7 => QueueOp::Close,
            _ => QueueOp::IsClosed,
        }
    }

    fn tasks(&mut self) -> JoinableQueueOp<Payload> {
        match self.source.below(14) {
            0..=2 => JoinableQueueOp::Put(self.value()),
            3 => JoinableQueueOp::PutMany(self.values()),
            4..=6 => JoinableQueueOp::Get,
            7 | 8 => JoinableQueueOp::Done { lease: self.source.small() % 16 },
            9 | 10 => JoinableQueueOp::Requeue { lease: self.source.small() % 16 },
            11 => JoinableQueueOp::Join,
            12 => JoinableQueueOp::Failed { at: self.little(), take: self.source.small().is_multiple_of(2) },
            _ if self.source.small() % 8 == 7 => JoinableQueueOp::Close,
            _ => JoinableQueueOp::Unfinished,
        }
    }
}
