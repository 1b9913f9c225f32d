//! A manager that cannot keep what forked children inherit says so, and a child whose object is gone knows why.

use manager_rt::{CallError, Disinherited, Fault, Manager, ObjectError};
use mp_sys::testing::{eventually, hang, kill, spawn, succeeded, tests};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::bequests::{Signalled, die, with_orphan};
use crate::fixture::{Place, until};

tests! {
    a_child_learns_that_its_inheritance_was_refused,
    objects_of_a_refused_bequest_linger_when_the_parent_drops_them,
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
