//! A state machine with clients that send frames, and the invariants that must hold after each frame.
//!
//! | what | when |
//! |---|---|
//! | each call is answered once, or waits | after each step |
//! | no call waits that could be served, or longer than its timeout | after each step |
//! | the client's decoder understands each answer | for each answer |
//! | the manager takes no more than its limit and the reserve, apart from items that came back | after each step |
//! | a failed transaction changed nothing | after each transaction |
//! | nothing is left once all clients are gone and the containers are empty | at the end |

mod contents;

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;

use crate::fuzzing::answers::check_answer;
use crate::fuzzing::ledger::{Ledger, Waits, What};
use crate::fuzzing::objects::{specs, to_manager};
use crate::fuzzing::unknown;
use crate::limits::RESERVE_BYTES_MIN;
use crate::proto::{
    Answer, BarrierOp, Call, ConditionOp, EventOp, Fault, Info, JoinableQueueOp, Kind, LockOp, ManagerOp,
    ObjectId, Op, Payload, QueueOp, Raw, Reply, SemaphoreOp, Wait,
};
use crate::server::dispatch;
use crate::state::{Caller, ClientId, Departure, Effects, Heard, Limits, State};
use crate::wire::control::Control;
use crate::wire::decode::whole;
use crate::wire::frame::FrameKind;
use crate::wire::together::Together;

/// The most bytes that the manager may take.
const MEMORY_BYTES: usize = 48 << 10;
/// The fingerprint of all objects here.
const PRINT: u64 = 7;
/// The room for the body of a frame at first.
const BODY_BYTES: usize = 128;
/// The calls that make one object of each kind.
static CREATIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let calls = specs().into_iter().map(|spec| to_manager(ManagerOp::Create { spec, print: PRINT }));
    calls.filter_map(|call| postcard::to_allocvec(&call).ok()).collect()
});
/// The number of clients apart from the observer.
pub(super) const CLIENTS: usize = 3;

/// A client.
#[derive(Debug, Clone, Copy)]
struct Member {
    id: ClientId,
    /// The number of answers that it received.
    answers: u64,
}

/// A state machine and its clients.
#[derive(Debug)]
pub(super) struct World {
    state: State,
    effects: Effects,
    pub(super) now: u64,
    members: Vec<Member>,
    /// The observer, which reads the objects and never affects the other clients.
    observer: ClientId,
    ledger: Ledger,
    /// All objects that were made.
    pub(super) objects: Vec<ObjectId>,
    /// The kinds of those that were asked for it. An object never changes its kind.
    kinds: HashMap<ObjectId, Kind>,
}

impl World {
    /// Makes three clients that share one object of each kind.
    pub(super) fn new() -> Option<Self> {
        let mut state = State::new(Limits { memory_bytes: MEMORY_BYTES, ..Limits::default() });
        // All work takes as many steps as possible.
        state.set_step(1);
        let observer = state.connect().ok()?;
        let mut world = Self {
            state,
            effects: Effects::default(),
            now: 1,
            members: Vec::new(),
            observer,
            ledger: Ledger::default(),
            objects: Vec::new(),
            kinds: HashMap::new(),
        };
        for _ in 0..CLIENTS {
            let id = world.state.connect().ok()?;
            world.members.push(Member { id, answers: 0 });
        }
        CREATIONS.iter().for_each(|body| world.set_up(0, body));
        let all = to_manager(ManagerOp::Attach(world.objects.clone()));
        (1..CLIENTS).for_each(|who| world.call(who, 0, &all));
        Some(world)
    }

    /// Runs a call that makes an object for all inputs, without the checks. The next call is checked.
    fn set_up(&mut self, who: usize, body: &[u8]) {
        let Some(client) = self.members.get(who).map(|member| member.id) else { return };
        self.ledger.begin(client, 0);
        let caller = Caller { client, call: 0, now: self.now, frame: &Bytes::new(), is_settled: true };
        dispatch::run(&mut self.state, caller, FrameKind::Call, body, &mut self.effects);
        while self.state.tidy(&mut self.effects) {}
        self.collect();
    }

    /// Runs a call of a client.
    pub(super) fn call(&mut self, who: usize, number: u64, call: &Call<Payload>) {
        self.send(who, FrameKind::Call, number, call);
    }

    /// Sends a frame of a client.
    pub(super) fn send(&mut self, who: usize, kind: FrameKind, number: u64, body: &impl serde::Serialize) {
        // Most bodies fit, so nothing is moved while they are encoded.
        if let Ok(body) = postcard::to_extend(body, Vec::with_capacity(BODY_BYTES)) {
            let body = Bytes::from(body);
            self.hear(who, kind, number, &body, &body);
        }
    }

    /// Processes a frame of a client. If the body may be kept, it lies in `frame`.
    pub(super) fn hear(&mut self, who: usize, kind: FrameKind, number: u64, body: &[u8], frame: &Bytes) {
        let Some(client) = self.members.get(who).map(|member| member.id) else { return };
        if let FrameKind::Calls(count) = kind {
            return self.hear_together((client, number, count), body, frame);
        }
        let before = self.state.info();
        let unknown = unknown::in_body(kind, body, self.state.decoded_bytes_max());
        let seen = (kind == FrameKind::Transaction).then(|| self.snapshot());
        let call = if kind == FrameKind::Call { whole::<Call<Raw<'_>>>(body) } else { None };
        if kind != FrameKind::Notice {
            self.ledger.begin(client, number);
        }
        let caller = Caller { client, call: number, now: self.now, frame, is_settled: false };
        let mut effects = std::mem::take(&mut self.effects);
        if dispatch::run(&mut self.state, caller, kind, body, &mut effects) == Heard::Unsettled {
            assert!(effects.answers.is_empty(), "a call that has to be repeated was answered");
            let info = Info { bytes: before.bytes, ..self.state.info() };
            assert_eq!(info, before, "a call that has to be repeated has changed something");
            let caller = Caller { is_settled: true, ..caller };
            assert_eq!(dispatch::run(&mut self.state, caller, kind, body, &mut effects), Heard::Done);
        }
        unknown::check(unknown, kind, &effects, before, self.state.info());
        while self.state.tidy(&mut effects) {}
        self.effects = effects;
        let failed = self.effects.answers.iter().any(|answered| answered.answer.is_err());
        self.collect();
        if kind != FrameKind::Notice
            && let Some(pending) =
                self.ledger.newest(client, number).filter(|pending| pending.waits.is_none())
        {
            pending.waits = call.as_ref().and_then(|call| Waits::of(call, self.now));
        }
        let info = self.state.info();
        if !matches!(Control::of(body), Some(Control::Reject { .. } | Control::Cancel { .. })) {
            let limit = MEMORY_BYTES.saturating_add(RESERVE_BYTES_MIN);
            let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(before.bytes);
            assert!(info.bytes <= limit, "the manager takes {} of {limit} bytes", info.bytes);
        }
        if let Some(seen) = seen.filter(|_| failed) {
            assert_eq!(seen, self.snapshot(), "a failed transaction has changed something");
            assert!(info.held == before.held && info.waiters == before.waiters, "{before:?} became {info:?}");
        }
        self.check();
    }

    /// Processes a frame with several calls. Each of them is answered.
    fn hear_together(&mut self, (client, first, count): (ClientId, u64, u16), body: &[u8], frame: &Bytes) {
        let (mut body, mut call, mut left) = (body.to_vec(), first, count);
        (first..=u64::MAX).take(count.into()).for_each(|call| self.ledger.begin(client, call));
        while left > 0 {
            let caller = Caller { client, call, now: self.now, frame, is_settled: true };
            let mut effects = std::mem::take(&mut self.effects);
            let kind = FrameKind::Calls(left);
            match dispatch::run(&mut self.state, caller, kind, &body, &mut effects) {
                Heard::Done => left = 0,
                Heard::Partly { done, left: bytes } => {
                    assert!(done > 0 && done < left, "{done} of {left} calls were run");
                    (call, left) = (call.wrapping_add(done.into()), left.saturating_sub(done));
                    body = Together::of(&body).map_or_else(Vec::new, |together| together.with_last(bytes));
                }
                Heard::Unsettled => panic!("nothing is left to do, and {left} calls are not run"),
            }
            while self.state.tidy(&mut effects) {}
            self.effects = effects;
            self.collect();
        }
        // Before, some of the calls were neither answered nor waiting.
        self.check();
    }

    /// Collects the answers.
    fn collect(&mut self) {
        for answered in std::mem::take(&mut self.effects.answers) {
            let calls = std::iter::once(&answered.answer).chain(&answered.more).zip(answered.call..);
            for (answer, call) in calls {
                self.ledger.answered(answered.client, call);
                check_answer(call, answer);
            }
            for member in self.members.iter_mut().filter(|member| member.id == answered.client) {
                member.answers = member.answers.saturating_add(1);
            }
            if let Ok(Reply::Object { id, created: true }) = answered.answer {
                self.objects.push(id);
            }
        }
    }

    /// Records that a client has read all of its answers except this many.
    pub(super) fn acknowledge(&mut self, who: usize, unread: u64) {
        if let Some(member) = self.members.get(who) {
            self.state.acknowledge(member.id, member.answers.saturating_sub(unread));
        }
    }

    /// Ends a client with this many unread answers, and connects another one.
    pub(super) fn replace(&mut self, who: usize, unread: u64) {
        let Some(member) = self.members.get(who).copied() else { return };
        self.disconnect(member.id, member.answers.saturating_sub(unread));
        self.ledger.leave(member.id);
        self.collect();
        self.check();
        if let (Ok(id), Some(place)) = (self.state.connect(), self.members.get_mut(who)) {
            *place = Member { id, answers: 0 };
        }
        let all = self.objects.clone();
        let alive = all.into_iter().filter(|object| self.is_alive(*object)).collect();
        self.call(who, 0, &to_manager(ManagerOp::Attach(alive)));
    }

    fn disconnect(&mut self, client: ClientId, unread: u64) {
        let departure = Departure { client, now: self.now, unread, doubtful: unread / 2 };
        self.state.disconnect(departure, &mut self.effects);
        while self.state.tidy(&mut self.effects) {}
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, nanos: u64) {
        self.now = self.now.saturating_add(nanos);
        self.advance(self.now);
        self.collect();
        self.ledger.check_times(self.now);
        self.check();
    }

    /// Lets time pass in the state machine, which may take several steps.
    fn advance(&mut self, now: u64) {
        loop {
            self.state.advance(now, &mut self.effects);
            while self.state.tidy(&mut self.effects) {}
            if self.state.next_deadline().is_none_or(|next| next > now) {
                return;
            }
        }
    }

    /// Runs an operation as the observer, without the ledger.
    fn ask(&mut self, object: ObjectId, op: Op<Raw<'_>>) -> Answer<Payload> {
        let (client, frame) = (self.observer, &Bytes::new());
        let caller = Caller { client, call: 0, now: self.now, frame, is_settled: true };
        let mut effects = Effects::default();
        let call = Call { object, thread: 0, wait: Wait::No, op };
        self.state.apply(caller, call, &mut effects);
        while self.state.tidy(&mut effects) {}
        let own = effects.answers.iter().position(|answered| answered.client == self.observer);
        let answer = own.map_or(Err(Fault::Malformed), |own| effects.answers.swap_remove(own).into_answer());
        self.effects.answers.append(&mut effects.answers);
        self.state.acknowledge(self.observer, u64::MAX);
        answer
    }

    fn count(&mut self, object: ObjectId, op: Op<Raw<'_>>) -> u64 {
        match self.ask(object, op) {
            Ok(Reply::Count(count)) => count,
            other => panic!("{object} was asked for a count, and returned {other:?}"),
        }
    }

    fn is(&mut self, object: ObjectId, op: Op<Raw<'_>>) -> bool {
        match self.ask(object, op) {
            Ok(Reply::Bool(is)) => is,
            other => panic!("{object} was asked for yes or no, and returned {other:?}"),
        }
    }

    /// Checks the invariants that must always hold.
    fn check(&mut self) {
        let info = self.state.info();
        let clients = u64::try_from(self.members.len()).unwrap_or(0).saturating_add(1);
        assert!(info.clients <= clients, "{info:?}");
        assert_eq!(info.waiters, self.ledger.len(), "a call neither waits nor was answered");
        for (object, what) in self.ledger.wants() {
            assert!(self.has_to_wait(object, what), "{what:?} of {object} is waited for, but available");
        }
        for ((condition, lock), count) in self.ledger.notifications() {
            let is_free = !matches!(self.ask(lock, Op::Lock(LockOp::IsLocked)), Ok(Reply::Bool(true)));
            if is_free {
                let waiting = self.count(condition, Op::Condition(ConditionOp::Waiting));
                assert!(count <= waiting, "{lock} is free, and a notified thread waits for it");
            }
        }
        assert!(self.effects.answers.is_empty(), "reading changes nothing");
    }

    fn has_to_wait(&mut self, object: ObjectId, what: What) -> bool {
        use JoinableQueueOp as Tasks;
        let (queue, tasks) = (|op| Op::Queue(op), |op| Op::JoinableQueue(op));
        match what {
            What::Lock => self.is(object, Op::Lock(LockOp::IsLocked)),
            What::Permit => self.count(object, Op::Semaphore(SemaphoreOp::Available)) == 0,
            What::Flag => !self.is(object, Op::Event(EventOp::IsSet)),
            What::Parties => {
                let waiting = self.count(object, Op::Barrier(BarrierOp::Waiting));
                waiting < self.count(object, Op::Barrier(BarrierOp::Parties))
                    && !self.is(object, Op::Barrier(BarrierOp::IsBroken))
            }
            What::Item => {
                self.count(object, queue(QueueOp::Len)) == 0 && !self.is(object, queue(QueueOp::IsClosed))
            }
            What::Room(count) => {
                let len = self.count(object, queue(QueueOp::Len)).saturating_add(count);
                len > self.count(object, queue(QueueOp::Capacity))
                    && !self.is(object, queue(QueueOp::IsClosed))
            }
            What::Task => {
                let is_over = self.is(object, tasks(Tasks::IsClosed))
                    && self.count(object, tasks(Tasks::Unfinished)) == 0;
                self.count(object, tasks(Tasks::Len)) == 0 && !is_over
            }
            What::TaskRoom(count) => {
                let len = self.count(object, tasks(Tasks::Len)).saturating_add(count);
                len > self.count(object, tasks(Tasks::Capacity)) && !self.is(object, tasks(Tasks::IsClosed))
            }
            What::AllDone => self.count(object, tasks(Tasks::Unfinished)) > 0,
            What::Notification(_) => true,
        }
    }

    /// Ends all clients, and empties the containers. Then nothing may be left.
    ///
    /// # Panics
    /// If something is left, which is a finding.
    pub(super) fn end(mut self) {
        // The first client ends first: while the others still have the objects, nothing it leaves may have an owner.
        self.members.reverse();
        while let Some(member) = self.members.pop() {
            self.disconnect(member.id, member.answers / 2);
            self.ledger.leave(member.id);
            self.collect();
            self.check();
        }
        let info = self.state.info();
        assert_eq!((info.held, info.waiters), (0, 0), "dead clients hold something");
        // Proxies that are stored in each other's objects would keep each other alive.
        self.objects.clone().into_iter().for_each(|object| self.empty(object));
        if let Ok(Reply::Names(names)) = self.ask(ObjectId::MANAGER, Op::Manager(ManagerOp::Names)) {
            names.into_iter().for_each(|name| {
                drop(self.ask(ObjectId::MANAGER, Op::Manager(ManagerOp::Remove { name })));
            });
        }
        self.advance(u64::MAX);
        self.disconnect(self.observer, u64::MAX);
        while self.state.tidy(&mut self.effects) {}
        assert_eq!(self.state.info(), Info::default(), "something is left");
        assert_eq!(self.state.next_deadline(), None, "a timer is left");
    }
}
