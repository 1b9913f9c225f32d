//! The account against what is really kept: counted from scratch after each step of random operations.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::limits::{RESERVE_BYTES_MIN, TRANSIT_GRACE, VALUES_AT_ONCE_MAX};
use crate::proto::{
    ArrayOp, BarrierOp, DictOp, EventOp, JoinableQueueOp, ListOp, NamespaceOp, QueueOp, SemaphoreOp,
};
use crate::state::charges::{HOLD_BYTES, REFERENCE_BYTES};
use crate::state::manager::OBJECT_BYTES;
use crate::state::waiters::{TIMER_BYTES, WAITER_BYTES};

/// The values that were counted, by the place of their bytes: each of them pays once, wherever it is used.
#[derive(Default)]
struct Blobs(HashMap<*const u8, usize>);

impl Blobs {
    fn add(&mut self, payload: &Payload) {
        let outside = payload.weight() - size_of::<Payload>();
        if outside > 0 {
            self.0.insert(payload.raw().bytes.as_ptr(), outside);
        }
    }
}

impl World {
    /// Fails unless the account agrees with what is kept.
    pub(super) fn audit(&mut self) {
        self.tidy();
        let core = &self.state.core;
        let mut blobs = Blobs::default();
        let mut bytes = self.state.bodies.places() * OBJECT_BYTES;
        for body in self.state.bodies.all() {
            bytes += body.bytes();
            body.values().for_each(|value| blobs.add(value));
        }
        // The heirs of a client have the same share.
        let mut shares = HashMap::new();
        for (id, client) in core.clients.iter() {
            let (share, records, bulk) = client.share().used();
            let counted = client.counted();
            let sum = shares.entry(share).or_insert(((records, bulk), (0, 0)));
            sum.1.0 += counted.0;
            sum.1.1 += counted.1 + core.waiters.items_of(id);
            let (references, holds) = (client.references(), client.held());
            bytes += CLIENT_BYTES + references * REFERENCE_BYTES + holds * HOLD_BYTES;
            bytes += client.grants_bytes();
            for delivery in client.deliveries() {
                bytes += delivery.bytes();
                delivery.items.iter().for_each(|item| blobs.add(item));
            }
        }
        for body in self.state.bodies.all() {
            let kinds::Body::JoinableQueue(queue) = body else { continue };
            for (client, taken) in queue.lease_shares() {
                let Some(client) = core.clients.get(client) else { continue };
                shares.get_mut(&client.share().used().0).unwrap().1.1 += taken;
            }
        }
        bytes += core.waiters.len() * WAITER_BYTES + core.waiters.timers() * TIMER_BYTES;
        core.waiters.each_value(&mut |value| blobs.add(value));
        bytes += core.registry.names_after("").map(registry::name_bytes).sum::<usize>();
        for answered in &self.effects.answers {
            if let Ok(reply) = &answered.answer {
                reply.each_value(&mut |value| blobs.add(value));
            }
        }
        for (charged, counted) in shares.into_values() {
            assert_eq!(charged, counted, "charged to a client, and counted from scratch");
        }
        bytes += blobs.0.values().sum::<usize>();
        assert_eq!(core.memory_used(), bytes, "charged, and counted from scratch");
        let held: u64 = self.state.bodies.all().map(kinds::Body::held).sum();
        assert_eq!(self.state.info().held, held, "as counted, and counted from scratch");
    }
}

/// What a client does.
#[derive(Debug, Clone)]
enum Act {
    /// An operation on one of the objects, with a value of this length.
    Op(usize, u8, usize),
    /// An operation that waits for this long.
    Waits(usize, u64),
    /// A transaction that fails.
    Fails(usize, usize),
    /// An object is made, with or without a name.
    Make(u8),
    /// The newest object is released.
    Detach,
    /// A proxy of an object is put into another one, or travels.
    Proxy(usize, bool),
    /// All answers were read.
    Read,
    /// The client ends, and another one comes. It has not read the newest answers.
    Replace(u64),
    Pass(u64),
    /// The answers that the test keeps are dropped.
    Forget,
}

fn act() -> impl Strategy<Value = Act> {
    let len = prop_oneof![0_usize..40, 100_usize..3_000, Just(40_000_usize)];
    prop_oneof![
        8 => (0_usize..7, any::<u8>(), len.clone()).prop_map(|(at, op, len)| Act::Op(at, op, len)),
        2 => (0_usize..4, 0_u64..50).prop_map(|(at, nanos)| Act::Waits(at, nanos)),
        2 => (0_usize..7, len).prop_map(|(at, len)| Act::Fails(at, len)),
        1 => any::<u8>().prop_map(Act::Make),
        1 => Just(Act::Detach),
        1 => (0_usize..7, any::<bool>()).prop_map(|(at, travels)| Act::Proxy(at, travels)),
        1 => Just(Act::Read),
        1 => (0_u64..4).prop_map(Act::Replace),
        1 => prop_oneof![0_u64..100, Just(u64::try_from(TRANSIT_GRACE.as_nanos()).unwrap())].prop_map(Act::Pass),
        1 => Just(Act::Forget),
    ]
}

/// Two clients and the objects that they share.
struct Shared {
    world: World,
    clients: [ClientId; 2],
    objects: Vec<ObjectId>,
    made: Vec<ObjectId>,
}

impl Shared {
    fn new(limits: Limits) -> Self {
        let mut world = World::with(limits);
        let clients = [world.client(), world.client()];
        let specs = [
            Spec::List,
            Spec::Dict,
            Spec::Namespace,
            Spec::Queue(4),
            Spec::JoinableQueue { maxsize: 4, max_deliveries: 2 },
            Spec::Value(Raw::plain(b"0")),
            Spec::Array(vec![Raw::plain(b"0"); 3]),
            Spec::Lock,
            Spec::Semaphore(1),
            Spec::Event,
            Spec::Barrier(2),
        ];
        let objects: Vec<_> = specs.into_iter().map(|spec| world.create(clients[0], spec)).collect();
        let mut shared = Self { world, clients, objects, made: Vec::new() };
        shared.attach();
        shared
    }

    fn attach(&mut self) {
        let attach = Op::Manager(ManagerOp::Attach(self.objects.clone()));
        // It may be refused for lack of memory.
        drop(self.world.ask(self.clients[1], ObjectId::MANAGER, attach));
    }

    /// Returns an operation on one of the first seven objects.
    fn op<'a>(at: usize, which: u8, bytes: &'a [u8]) -> Op<Raw<'a>> {
        let (raw, key) = (Raw::plain(bytes), Raw::plain(&bytes[..bytes.len().min(2)]));
        let name = format!("n{}", which % 5);
        match (at, which % 5) {
            (0, 0) => Op::List(ListOp::Extend(vec![raw; 20])),
            (0, 1) => Op::List(ListOp::Pop),
            (0, 2) => Op::List(ListOp::Clear),
            (0, _) => Op::List(ListOp::Insert(0, raw)),
            (1, 0) => Op::Dict(DictOp::Remove(key)),
            (1, 1) => Op::Dict(DictOp::Clear),
            (1, _) => Op::Dict(DictOp::Insert(raw, key)),
            (2, 0) => Op::Namespace(NamespaceOp::Delete { name }),
            (2, _) => Op::Namespace(NamespaceOp::Set { name, print: 1, value: raw }),
            (3, 0 | 1) => Op::Queue(QueueOp::Put(raw)),
            (3, _) => Op::Queue(QueueOp::GetMany(3)),
            (4, 0 | 1) => Op::JoinableQueue(JoinableQueueOp::Put(raw)),
            (4, 2) => Op::JoinableQueue(JoinableQueueOp::Get),
            (4, 3) => Op::JoinableQueue(JoinableQueueOp::Requeue { lease: u64::from(which / 5) }),
            (4, _) => Op::JoinableQueue(JoinableQueueOp::Failed { at: 0, take: true }),
            (5, _) => Op::Value(ValueOp::Set(raw)),
            _ => Op::Array(ArrayOp::Write { at: 0, elements: vec![raw; 2] }),
        }
    }

    fn waits(at: usize) -> (usize, Op<Raw<'static>>) {
        match at {
            0 => (7, Op::Lock(LockOp::Acquire { lease: 20 })),
            1 => (8, Op::Semaphore(SemaphoreOp::Acquire)),
            2 => (9, Op::Event(EventOp::Wait)),
            _ => (10, Op::Barrier(BarrierOp::Wait { acts: false })),
        }
    }

    fn act(&mut self, who: usize, act: &Act) {
        let (world, client) = (&mut self.world, self.clients[who]);
        match *act {
            Act::Op(at, which, len) => {
                let bytes = vec![which; len];
                world.send(client, self.objects[at], Wait::For(30), Self::op(at, which, &bytes));
            }
            Act::Waits(at, nanos) => {
                let (at, op) = Self::waits(at);
                world.send(client, self.objects[at], Wait::For(nanos), op);
            }
            Act::Fails(at, len) => {
                let bytes = vec![7; len];
                let step = |at, op| Step { object: self.objects[at], op };
                let wrong = step(0, Op::List(ListOp::Get(u64::MAX)));
                let steps =
                    (0..4).map(|which| step(at, Self::op(at, which, &bytes))).chain([wrong]).collect();
                assert!(world.transact(client, steps).is_err());
            }
            Act::Make(which) => {
                let spec = if which % 2 == 0 { Spec::Lock } else { Spec::Dict };
                let op = match which % 4 {
                    0 | 1 => ManagerOp::Create { spec, print: PRINT },
                    _ => ManagerOp::Open { name: format!("name {}", which % 7), spec, print: PRINT },
                };
                if let Ok(Reply::Object { id, .. }) = world.ask(client, ObjectId::MANAGER, Op::Manager(op)) {
                    self.made.push(id);
                }
            }
            Act::Detach => {
                let references = self.made.pop().into_iter().map(|object| (object, 1)).collect();
                let detach = ManagerOp::Detach { references, lingers: false };
                world.ask(client, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
            }
            Act::Proxy(at, travels) => {
                let object = self.made.last().copied().unwrap_or(self.objects[7]);
                if travels {
                    let transit = ManagerOp::Transit(vec![object; 3]);
                    world.ask(client, ObjectId::MANAGER, Op::Manager(transit)).unwrap();
                }
                let ids = object.0.to_le_bytes();
                let op = match at {
                    0 => Op::List(ListOp::Push(Raw { bytes: b"p", ids: &ids })),
                    _ => Op::Queue(QueueOp::Put(Raw { bytes: b"p", ids: &ids })),
                };
                world.send(client, self.objects[if at == 0 { 0 } else { 3 }], Wait::No, op);
            }
            Act::Read => world.state.acknowledge(client, u64::MAX),
            Act::Replace(unread) => {
                let answers = world.answered.get(&client).map_or(0, Vec::len);
                world.leave_unread(client, u64::try_from(answers).unwrap().saturating_sub(unread));
                self.clients[who] = world.client();
                self.clients.swap(0, 1);
                self.attach();
            }
            Act::Pass(nanos) => world.pass(nanos),
            Act::Forget => world.effects.answers.clear(),
        }
    }
}

proptest! {
    #[test]
    fn the_account_agrees_with_what_is_kept(
        memory_bytes in prop_oneof![Just(1_usize << 30), Just(60_000)],
        acts in proptest::collection::vec((0_usize..2, act()), 1..60),
    ) {
        let mut shared = Shared::new(Limits { memory_bytes, ..Limits::default() });
        for (who, act) in acts {
            shared.act(who, &act);
            shared.world.audit();
            let most = memory_bytes + RESERVE_BYTES_MIN;
            prop_assert!(shared.world.state.core.memory_used() <= most);
        }
        // Named objects stay, and so do those in each other.
        shared.clients.into_iter().for_each(|client| shared.world.leave(client));
        shared.world.audit();
    }
}

#[test]
fn a_manager_that_is_full_of_values_still_answers_and_can_be_emptied() {
    const MEMORY_BYTES: usize = 1 << 20;
    let mut world = World::with(Limits { memory_bytes: MEMORY_BYTES, ..Limits::default() });
    let client = world.client();
    let (list, lock) = (world.create(client, Spec::List), world.create(client, Spec::Lock));
    let item = vec![1; 10_000];
    let mut items = 0_usize;
    while world.ask(client, list, Op::List(ListOp::Push(Raw::plain(&item)))).is_ok() {
        items += 1;
    }
    assert!((95..=104).contains(&items), "{items} items of 10,000 bytes in 1 MiB");
    assert_eq!(
        world.ask(client, list, Op::List(ListOp::Push(Raw::plain(&item)))).unwrap_err().full(),
        Some(Room::Memory)
    );
    world.audit();
    // Clients, waiting calls and references have a reserve.
    let other = world.client();
    let attach = Op::Manager(ManagerOp::Attach(vec![list, lock]));
    world.ask(other, ObjectId::MANAGER, attach).unwrap();
    world.send(client, lock, Wait::Forever, ACQUIRE);
    let waiting = world.send(other, lock, Wait::Forever, ACQUIRE);
    assert_eq!(world.answer(waiting), None);
    world.ask(other, list, Op::List(ListOp::Clear)).unwrap();
    world.audit();
    world.ask(other, list, Op::List(ListOp::Push(Raw::plain(&item)))).unwrap();
    world.effects.answers.clear();
    world.end(&[client, other]);
}

#[test]
fn the_reserve_ends_too() {
    let mut world = World::with(Limits { memory_bytes: 0, ..Limits::default() });
    let mut clients = vec![world.client()];
    let refused = loop {
        match world.state.connect() {
            Ok(client) => clients.push(client),
            Err(fault) => break fault,
        }
    };
    assert_eq!((refused.full(), clients.len()), (Some(Room::Reserve), RESERVE_BYTES_MIN / CLIENT_BYTES));
    let create = Op::Manager(ManagerOp::Create { spec: Spec::Event, print: PRINT });
    assert_eq!(world.ask(clients[0], ObjectId::MANAGER, create).unwrap_err().full(), Some(Room::Memory));
    world.leave(clients.pop().unwrap());
    assert!(world.state.connect().is_ok(), "there is room for one again");
}

#[test]
fn waiting_calls_and_references_are_refused_beyond_the_reserve() {
    let mut world = World::with(Limits { memory_bytes: 100_000, ..Limits::default() });
    let mut client = world.client();
    let event = world.create(client, Spec::Event);
    let mut waiting = 0_usize;
    loop {
        let call = world.send(client, event, Wait::Forever, Op::Event(EventOp::Wait));
        match world.answer(call).map(Result::unwrap_err) {
            None => waiting += 1,
            // Each of them may take a part of the reserve.
            Some(fault) if fault.full() == Some(Room::Client) => client = world.client(),
            Some(fault) => break assert_eq!(fault.full(), Some(Room::Reserve)),
        }
    }
    let room = 100_000 + RESERVE_BYTES_MIN;
    let taken = waiting * WAITER_BYTES + world.state.core.clients.len() * CLIENT_BYTES;
    assert!(taken < room && taken + 10 * WAITER_BYTES > room, "{waiting} calls");
    world.audit();
    let set = Op::Event(EventOp::Set);
    assert_eq!(world.ask(client, event, set), Ok(Reply::Done), "what frees memory is never refused");
    world.audit();
    assert_eq!(world.state.info().waiters, 0);
}

#[test]
fn a_long_operation_gives_its_memory_back() {
    let mut world = World::new();
    let client = world.client();
    let list = world.create(client, Spec::List);
    let empty = world.state.info().bytes;
    for _ in 0..3 {
        let items = vec![Raw::plain(b"x"); VALUES_AT_ONCE_MAX];
        world.ask(client, list, Op::List(ListOp::Extend(items))).unwrap();
        world.audit();
        let bytes = world.state.info().bytes - empty;
        let least = u64::try_from(VALUES_AT_ONCE_MAX * size_of::<Payload>()).unwrap();
        assert!(bytes >= least && bytes < least + least / 8, "{bytes} bytes");
        world.ask(client, list, Op::List(ListOp::Clear)).unwrap();
        world.audit();
        assert_eq!(world.state.info().bytes, empty);
    }
}
