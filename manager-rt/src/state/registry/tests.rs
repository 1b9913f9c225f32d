//! Slots, serial numbers, and what is left of them.

use super::*;

fn insert(registry: &mut Registry) -> ObjectId {
    registry.insert(Kind::Event, 0).unwrap().1
}

fn remove(registry: &mut Registry, waiters: &mut Waiters, id: ObjectId) {
    assert!(registry.remove(id, waiters).is_some());
}

fn empty() -> (Registry, Waiters) {
    let account = Account::new(1 << 20);
    (Registry::new(&account), Waiters::new(&account))
}

#[test]
fn a_slot_has_as_many_objects_as_the_limit_and_not_one_more() {
    let (mut registry, mut waiters) = empty();
    let first = insert(&mut registry);
    remove(&mut registry, &mut waiters, first);
    registry.serials[0] = SERIAL_MAX - 1;
    let last = insert(&mut registry);
    assert_eq!(last, ObjectId(SERIAL_MAX << SLOT_BITS), "the last one of this slot");
    remove(&mut registry, &mut waiters, last);
    let next = insert(&mut registry);
    assert_eq!(next, ObjectId((1 << SLOT_BITS) | 1), "the next one has another slot");
    assert_eq!(registry.len(), 1);
    for stale in [first, last, ObjectId(0), ObjectId::MANAGER] {
        assert_eq!(registry.slot(stale), None);
        assert!(registry.remove(stale, &mut waiters).is_none());
    }
    remove(&mut registry, &mut waiters, next);
    assert_eq!((registry.len(), insert(&mut registry)), (0, ObjectId((2 << SLOT_BITS) | 1)));
}

#[test]
fn an_id_is_not_used_again_after_the_empty_places_were_given_up() {
    let (mut registry, mut waiters) = empty();
    let mut seen = std::collections::HashSet::new();
    for round in 0..5 {
        let ids: Vec<_> = (0..100).map(|_| insert(&mut registry)).collect();
        assert!(ids.iter().all(|id| seen.insert(*id)), "round {round}");
        ids.into_iter().for_each(|id| remove(&mut registry, &mut waiters, id));
        registry.shrink();
        assert_eq!(registry.len(), 0);
    }
}

/// A manager that makes and drops one object at a time gives up its only place each time.
#[test]
fn a_place_that_is_given_up_again_and_again_wears_out_alone() {
    let (mut registry, mut waiters) = empty();
    let mut seen = std::collections::HashSet::new();
    for slot in 0..3 {
        for _ in 0..2 {
            let id = insert(&mut registry);
            assert!(seen.insert(id) && id.0 & SLOT_MASK == slot, "{id:?}");
            remove(&mut registry, &mut waiters, id);
            *registry.serials.last_mut().unwrap() = SERIAL_MAX - 1;
            registry.shrink();
        }
        let last = insert(&mut registry);
        assert_eq!(last.0 >> SLOT_BITS, SERIAL_MAX);
        remove(&mut registry, &mut waiters, last);
        registry.shrink();
    }
    assert_eq!(registry.len(), 0);
    // So it is after a restart, when only the mark is known.
    let (mut restarted, _) = empty();
    restarted.restore(Vec::new(), registry.mark()).unwrap();
    assert_eq!(insert(&mut restarted), ObjectId((1 << SLOT_BITS) | 3));
    let beyond = Restored::new(ObjectId((1 << SLOT_BITS) | 3), Kind::Event, 0, None).unwrap();
    assert!(empty().0.restore(vec![beyond], registry.mark()).is_none());
    // A file of an earlier build does not say how many places were used.
    let (mut restarted, _) = empty();
    restarted.restore(Vec::new(), 7).unwrap();
    assert_eq!(insert(&mut restarted), ObjectId(8 << SLOT_BITS));
}
