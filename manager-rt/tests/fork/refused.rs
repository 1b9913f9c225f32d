//! A manager that cannot keep what forked children inherit says so, and a child whose object is gone knows why.

use manager_rt::{CallError, Disinherited, Fault, Manager, ObjectError};
use mp_sys::testing::{eventually, hang, kill, spawn, spawn_holding, succeeded, tests};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::bequests::{Signalled, die, with_orphan};
use crate::fixture::{Place, until};

tests! {
    a_child_learns_that_its_inheritance_was_refused,
    objects_of_a_refused_bequest_linger_when_the_parent_drops_them,
    a_child_keeps_what_a_full_manager_refuses_it_until_there_is_room,
}

/// How many bequests the manager keeps, and how many clients it has.
const BEQUESTS: usize = 3;

/// Runs a test with a manager that keeps bequests for children of this process, and for no other ones.
fn with_full_manager(body: impl FnOnce(&Manager)) {
    let manager = Manager::builder().clients_max(BEQUESTS).start().unwrap();
    let place = Place::of(&manager);
    let mut made = Vec::new();
    let children: Vec<_> = (0..BEQUESTS)
        .map(|_| {
            // A bequest is made if there is something new.
            made.push(manager.event().unwrap());
            spawn(|| hang())
        })
        .collect();
    body(&manager);
    children.iter().for_each(kill);
    until(&manager, "the others have ended", |info| info.clients == 1);
    manager.shutdown().unwrap();
    drop((made, manager));
    place.is_gone();
}

fn a_child_learns_that_its_inheritance_was_refused() {
    with_full_manager(|manager| {
        let parent = |start: &Signalled| {
            let list = manager.list::<u8>().unwrap();
            let _child = spawn(|| {
                start.take();
                let error = list.len().unwrap_err();
                let ObjectError::Call(CallError::NotInherited { object, why }) = &error else {
                    panic!("{error:?}")
                };
                let limit = u64::try_from(BEQUESTS).unwrap();
                assert_eq!(*why, Disinherited::Refused(Fault::TooMany { limit }));
                assert!(error.to_string().contains(&object.to_string()), "{error}");
                assert_eq!(list.push(&1), Err(error), "it is no other error later");
                let new = manager.value(&7_u8).unwrap();
                assert_eq!(new.get(), Ok(7), "what the child makes itself is there");
            });
            die();
        };
        with_orphan(manager, parent, || {});
    });
}

fn objects_of_a_refused_bequest_linger_when_the_parent_drops_them() {
    with_full_manager(|manager| {
        let (start, go) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let mut list = Some(manager.list::<u8>().unwrap());
        let child = spawn(|| {
            assert_eq!(rustix::io::read(&start, &mut [0]), Ok(1));
            assert_eq!(list.as_ref().unwrap().len(), Ok(0));
        });
        let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let with_bequest = descriptors();
        eventually("the refusal has come, and the socket of the bequest is closed", || {
            drop(manager.event().unwrap());
            descriptors() < with_bequest
        });
        drop(list.take());
        manager.info().unwrap();
        assert_eq!(rustix::io::write(&go, &[0]), Ok(1));
        succeeded(&child);
    });
}

/// A client of a full manager may have about 1,340 references.
fn a_child_keeps_what_a_full_manager_refuses_it_until_there_is_room() {
    const OBJECTS: usize = 2_000;
    let manager = Manager::builder().memory_bytes_max(16 << 20).start().unwrap();
    let place = Place::of(&manager);
    let (filled, freed) = (Signalled::new(), Signalled::new());
    let refused = Signalled::new();
    let mut events: Vec<_> = (0..OBJECTS).map(|_| manager.event().unwrap()).collect();
    let child = spawn_holding(|| {
        filled.take();
        let outcomes: Vec<_> = events.iter().map(manager_rt::Event::set).collect();
        let are_refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        assert!((1..OBJECTS).contains(&are_refused), "{are_refused} are refused");
        let full = |error: &ObjectError| matches!(error, ObjectError::Call(CallError::Fault(fault)) if fault.is_no_space());
        assert!(outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).all(full), "{outcomes:?}");
        refused.give();
        freed.take();
        events.iter().for_each(|event| event.set().unwrap());
    });
    let filler = manager.named("filler").list().unwrap();
    let value = vec![7_u8; 10_000];
    while filler.push(&value).is_ok() {}
    filled.give();
    refused.take();
    events.clear();
    filler.clear().unwrap();
    until(&manager, "the child has the objects", |info| info.objects == u64::try_from(OBJECTS).unwrap() + 1);
    freed.give();
    succeeded(&child);
    until(&manager, "the objects are gone", |info| info.objects == 1);
    manager.shutdown().unwrap();
    drop((filler, manager));
    place.is_gone();
}
