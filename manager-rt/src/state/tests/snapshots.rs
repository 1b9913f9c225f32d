//! Tests of what a snapshot contains, and of files that are not what was written.

use proptest::prelude::*;

use super::snapshot::fuzz;
use super::*;
use crate::proto::{
    ArrayOp, BarrierOp, DictOp, EventOp, JoinableQueueOp, ListOp, NamespaceOp, Part, QueueOp, SemaphoreOp,
};

fn saved(state: &State) -> Vec<u8> {
    let mut file = Vec::new();
    state.save(&mut file).unwrap();
    file
}

fn restored(file: &[u8]) -> Result<State, SnapshotFault> {
    State::restore(Limits::default(), file)
}

/// Restarts the server of a world, whose clients have all ended then.
fn restart(world: World) -> World {
    let file = saved(&world.state);
    let mut again = World::new();
    again.state = restored(&file).unwrap();
    assert_eq!(saved(&again.state), file, "the same is saved again");
    again.state.set_step(1);
    again
}

fn found(world: &mut World, client: ClientId, name: &str, spec: Spec<Raw<'_>>) -> ObjectId {
    let op = Op::Manager(ManagerOp::Open { name: name.to_owned(), spec, print: PRINT });
    match world.ask(client, ObjectId::MANAGER, op) {
        Ok(Reply::Object { id, created: false }) => id,
        other => panic!("{name}: {other:?}"),
    }
}

fn value(bytes: &[u8]) -> Payload {
    Payload::copy(Raw::plain(bytes))
}

fn holder(inside: ObjectId) -> Payload {
    Payload::copy(Raw { bytes: b"proxy", ids: &inside.0.to_le_bytes() })
}

#[test]
fn containers_have_the_same_contents_in_the_same_order() {
    let mut world = World::new();
    let client = world.client();
    let long = vec![7; 100_000];
    let list = world.open(client, "list", Spec::List);
    let items = vec![Raw::plain(b"one"), Raw::plain(&long), Raw::plain(b"")];
    world.ask(client, list, Op::List(ListOp::Extend(items))).unwrap();
    world.ask(client, list, Op::List(ListOp::Reverse)).unwrap();
    let dict = world.open(client, "dict", Spec::Dict);
    for key in [b"b", b"a", b"c"] {
        world.ask(client, dict, Op::Dict(DictOp::Store(Raw::plain(key), Raw::plain(&long[..30])))).unwrap();
    }
    let names = world.open(client, "names", Spec::Namespace);
    for (print, name) in [(5, "x"), (6, "y")] {
        let set = NamespaceOp::Set { name: name.to_owned(), print, value: Raw::plain(b"v") };
        world.ask(client, names, Op::Namespace(set)).unwrap();
    }
    world.open(client, "value", Spec::Value(Raw::plain(b"only")));
    world.open(client, "array", Spec::Array(vec![Raw::plain(b"0"), Raw::plain(b"1")]));

    let mut world = restart(world);
    let client = world.client();
    let list = found(&mut world, client, "list", Spec::List);
    let page = world.ask(client, list, Op::List(ListOp::Page { at: 0, max: 10 }));
    let values = vec![value(b""), value(&long), value(b"one")];
    assert_eq!(page, Ok(Reply::Values { values, version: 0 }));
    let dict = found(&mut world, client, "dict", Spec::Dict);
    let keys = world.ask(client, dict, Op::Dict(DictOp::Page { after: None, max: 10, part: Part::Keys }));
    let Ok(Reply::Values { values, .. }) = keys else { panic!("{keys:?}") };
    assert_eq!(values, [value(b"b"), value(b"a"), value(b"c")]);
    let names = found(&mut world, client, "names", Spec::Namespace);
    let get = |print| NamespaceOp::Get { name: "y".to_owned(), print };
    assert_eq!(world.ask(client, names, Op::Namespace(get(6))), Ok(Reply::Value(value(b"v"))));
    assert_eq!(world.ask(client, names, Op::Namespace(get(5))), Err(Fault::WrongType));
    let single = found(&mut world, client, "value", Spec::Value(Raw::default()));
    assert_eq!(world.ask(client, single, Op::Value(ValueOp::Get)), Ok(Reply::Value(value(b"only"))));
    let array = found(&mut world, client, "array", Spec::Array(vec![]));
    assert_eq!(world.ask(client, array, Op::Array(ArrayOp::Get(1))), Ok(Reply::Value(value(b"1"))));
}

#[test]
fn queues_have_their_items_and_the_tasks_that_were_in_work() {
    let mut world = World::new();
    let [client, other] = [world.client(), world.client()];
    let queue = world.open(client, "queue", Spec::Queue(2));
    for item in [b"1", b"2"] {
        world.ask(client, queue, Op::Queue(QueueOp::Put(Raw::plain(item)))).unwrap();
    }
    // It was not acknowledged.
    world.send(other, queue, Wait::Forever, Op::Queue(QueueOp::Put(Raw::plain(b"3"))));
    let closed = world.open(client, "closed", Spec::Queue(0));
    world.ask(client, closed, Op::Queue(QueueOp::Close)).unwrap();
    let spec = || Spec::JoinableQueue { maxsize: 0, max_deliveries: 2 };
    let tasks = world.open(client, "tasks", spec());
    let get = || Op::JoinableQueue(JoinableQueueOp::Get);
    for task in [b"a", b"b", b"c", b"d"] {
        world.ask(client, tasks, Op::JoinableQueue(JoinableQueueOp::Put(Raw::plain(task)))).unwrap();
    }
    // `a` has failed, `b` is in work for the last time, and `c` for the first time.
    for lease in [1, 2] {
        world.ask(client, tasks, get()).unwrap();
        world.ask(client, tasks, Op::JoinableQueue(JoinableQueueOp::Requeue { lease })).unwrap();
    }
    world.ask(client, tasks, get()).unwrap();
    world.ask(client, tasks, Op::JoinableQueue(JoinableQueueOp::Requeue { lease: 3 })).unwrap();
    world.ask(other, tasks, get()).unwrap();
    world.ask(client, tasks, get()).unwrap();

    let mut world = restart(world);
    let client = world.client();
    let queue = found(&mut world, client, "queue", Spec::Queue(9));
    let len = Op::Queue(QueueOp::Len);
    assert_eq!(world.ask(client, queue, len), Ok(Reply::Count(2)));
    let put = Op::Queue(QueueOp::Put(Raw::plain(b"4")));
    assert_eq!(world.ask(client, queue, put), Err(Fault::Full), "its limit is the same");
    for item in [b"1", b"2"] {
        assert_eq!(world.ask(client, queue, Op::Queue(QueueOp::Get)), Ok(Reply::Value(value(item))));
    }
    let closed = found(&mut world, client, "closed", Spec::Queue(0));
    assert_eq!(world.ask(client, closed, Op::Queue(QueueOp::Get)), Err(Fault::Closed));
    let tasks = found(&mut world, client, "tasks", spec());
    let failed = world.ask(client, tasks, Op::JoinableQueue(JoinableQueueOp::Failed { at: 0, take: false }));
    let values = vec![value(b"a"), value(b"b")];
    assert_eq!(failed, Ok(Reply::Values { values, version: 2 }));
    for (lease, deliveries, task) in [(6, 2, b"c"), (7, 1, b"d")] {
        let leased = Reply::Leased { lease, deliveries, task: value(task) };
        assert_eq!(world.ask(client, tasks, get()), Ok(leased), "leases go on growing");
    }
}

#[test]
fn what_was_held_is_free_and_tokens_go_on_growing() {
    let mut world = World::new();
    let client = world.client();
    let (free, held) = (world.open(client, "free", Spec::Lock), world.open(client, "held", Spec::RLock));
    world.ask(client, free, ACQUIRE).unwrap();
    world.ask(client, free, Op::Lock(LockOp::Release { token: 1 })).unwrap();
    world.ask(client, held, ACQUIRE).unwrap();
    let permits = world.open(client, "permits", Spec::BoundedSemaphore(2));
    world.ask(client, permits, Op::Semaphore(SemaphoreOp::Acquire)).unwrap();
    let event = world.open(client, "event", Spec::Event);
    world.ask(client, event, Op::Event(EventOp::Set)).unwrap();
    let barrier = world.open(client, "barrier", Spec::Barrier(2));
    world.ask(client, barrier, Op::Barrier(BarrierOp::Register)).unwrap();
    world.open(client, "condition", Spec::Condition);

    let mut world = restart(world);
    let client = world.client();
    for (name, spec, grant) in [("free", Spec::Lock, (2, false)), ("held", Spec::RLock, (2, true))] {
        let lock = found(&mut world, client, name, spec);
        let (token, owner_died, _) = granted(Some(world.ask(client, lock, ACQUIRE)));
        assert_eq!((token, owner_died), grant, "{name}");
    }
    let permits = found(&mut world, client, "permits", Spec::BoundedSemaphore(2));
    let available = Op::Semaphore(SemaphoreOp::Available);
    assert_eq!(world.ask(client, permits, available), Ok(Reply::Count(2)));
    assert_eq!(world.ask(client, permits, Op::Semaphore(SemaphoreOp::Add(1))), Err(Fault::OverReleased));
    let event = found(&mut world, client, "event", Spec::Event);
    assert_eq!(world.ask(client, event, Op::Event(EventOp::IsSet)), Ok(Reply::Bool(true)));
    let barrier = found(&mut world, client, "barrier", Spec::Barrier(2));
    for _ in 0..2 {
        assert_eq!(world.ask(client, barrier, Op::Barrier(BarrierOp::Register)), DONE, "nobody has a place");
    }
    found(&mut world, client, "condition", Spec::Condition);
}

#[test]
fn objects_inside_values_are_kept_and_others_are_not() {
    let mut world = World::new();
    let client = world.client();
    let [inner, outer, lost] = [Spec::List, Spec::Dict, Spec::List].map(|spec| world.create(client, spec));
    let root = world.open(client, "root", Spec::Value(holder(outer).raw()));
    let store = |inside: ObjectId| Payload::copy(Raw { bytes: b"key", ids: &inside.0.to_le_bytes() });
    let (key, itself) = (store(inner), holder(root));
    world.ask(client, outer, Op::Dict(DictOp::Store(key.raw(), itself.raw()))).unwrap();
    world.ask(client, lost, Op::List(ListOp::Push(holder(inner).raw()))).unwrap();

    let mut world = restart(world);
    assert_eq!(world.state.info().objects, 3);
    let client = world.client();
    assert_eq!(found(&mut world, client, "root", Spec::Value(Raw::default())), root, "ids stay the same");
    let given = world.ask(client, root, Op::Value(ValueOp::Get));
    assert_eq!(given, Ok(Reply::Value(holder(outer))));
    let get = Op::Dict(DictOp::Get(key.raw()));
    assert_eq!(world.ask(client, outer, get), Ok(Reply::Option(Some(holder(root)))));
    world.ask(client, inner, Op::List(ListOp::Push(Raw::plain(b"item")))).unwrap();
    assert_eq!(world.ask(client, lost, Op::List(ListOp::Len)), Err(Fault::UnknownObject));
    let new = world.create(client, Spec::List);
    assert!(![inner, outer, lost, root].contains(&new), "no id is used again");
    // The references are counted: without its key, the list ends with its client.
    let delete = Op::Dict(DictOp::Delete(key.raw()));
    world.ask(client, outer, delete).unwrap();
    world.leave(client);
    assert_eq!(world.state.info().objects, 2);
    let client = world.client();
    world.remove(client, "root");
    world.tidy();
    assert_eq!(world.state.info().objects, 0, "nothing refers to the dict");
}

#[test]
fn what_exceeds_a_limit_of_the_manager_is_refused() {
    let mut world = World::new();
    let client = world.client();
    let list = world.open(client, "list", Spec::List);
    for _ in 0..20 {
        world.ask(client, list, Op::List(ListOp::Push(Raw::plain(&[1; 100_000])))).unwrap();
    }
    let file = saved(&world.state);
    let of = |memory_bytes| State::restore(Limits { memory_bytes, ..Limits::default() }, &*file);
    assert!(of(4 << 20).is_ok());
    assert!(matches!(of(1 << 20), Err(SnapshotFault::Limit(Fault::NoRoom { .. }))));
}

/// A file whose checksums are right, with these bytes in it.
#[test]
fn what_no_manager_saves_is_refused() {
    for (what, seed) in ["content", "file"].into_iter().zip(fuzz::seeds()) {
        assert!(!seed.is_empty(), "{what}");
        for at in 0..seed.len() {
            for byte in [0, 1, 0xff] {
                let mut changed = seed.clone();
                changed[at] = byte;
                fuzz::snapshots(&changed);
            }
        }
        for len in 0..seed.len() {
            fuzz::snapshots(&seed[..len]);
        }
    }
}

fn file_with_everything() -> Vec<u8> {
    fuzz::seeds().pop().unwrap()
}

#[test]
fn an_incomplete_file_is_refused_at_every_length() {
    let file = file_with_everything();
    assert!(restored(&file).is_ok());
    for len in 0..file.len() {
        let fault = restored(&file[..len]).unwrap_err();
        let at = count_of(len);
        let expected = if len < 8 { SnapshotFault::NotASnapshot } else { SnapshotFault::Incomplete { at } };
        assert_eq!(fault, expected, "{len}");
    }
    let longer = [&file[..], b"x"].concat();
    assert!(matches!(restored(&longer), Err(SnapshotFault::Invalid { .. })));
    assert_eq!(restored(b"any other file").unwrap_err(), SnapshotFault::NotASnapshot);
    let mut newer = file.clone();
    newer[8..12].copy_from_slice(&2_u32.to_le_bytes());
    let sum = crc32fast::hash(&newer[..12]);
    newer[12..16].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(restored(&newer).unwrap_err(), SnapshotFault::Version { found: 2 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any change is found, wherever it is.
    #[test]
    fn a_damaged_file_is_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..5)) {
        let file = file_with_everything();
        let mut damaged = file.clone();
        for (at, difference) in changes {
            let at = at.index(damaged.len());
            damaged[at] ^= difference;
        }
        prop_assume!(damaged != file);
        prop_assert!(restored(&damaged).is_err());
    }

    #[test]
    fn blocks_that_were_moved_or_left_out_are_found(len in 1_usize..2_000_000, cut in any::<prop::sample::Index>()) {
        let mut world = World::new();
        let client = world.client();
        world.open(client, "value", Spec::Value(Raw::plain(&vec![3; len])));
        let file = saved(&world.state);
        prop_assert!(restored(&file).is_ok());
        let (block, at) = (8 + (256 << 10), 16 + cut.index(len / (256 << 10) + 1) * (8 + (256 << 10)));
        let without = [&file[..at.min(file.len())], file.get(at + block..).unwrap_or_default()].concat();
        prop_assert!(restored(&without).is_err());
    }
}
