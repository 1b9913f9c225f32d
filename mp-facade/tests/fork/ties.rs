//! Children that die with their parent: whatever user they become, whichever thread started them, and in a user namespace.

use mp::{Child, Connection, Method, Process, RecvError, Sender, duplex, pipe, renew_die_with_parent};
use mp_sys::testing::{PATIENCE, enter_user_namespace, hang, skip, tests};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::METHODS;
use crate::processes::with_orphans;

tests! {
    a_child_that_drops_its_rights_dies_with_its_parent,
    a_child_outlives_the_thread_that_started_it,
    a_sibling_that_was_forked_does_not_keep_a_child_alive,
    a_tie_is_not_inherited,
    in_a_user_namespace_a_tie_is_renewed,
}

/// The user id of `nobody`.
const USER: u32 = 65_534;

fn become_user(user: u32) {
    let (gid, uid) = (Gid::from_raw(user), Uid::from_raw(user));
    set_thread_res_gid(gid, gid, gid).unwrap();
    set_thread_res_uid(uid, uid, uid).unwrap();
}

fn drop_rights(held: Sender<u8>) {
    become_user(USER);
    held.send(&1).unwrap();
    hang()
}

fn a_child_that_drops_its_rights_dies_with_its_parent() {
    if !geteuid().is_root() {
        skip("only root becomes another user");
    }
    with_orphans(|| {
        for method in METHODS {
            let (held, ends) = pipe::<u8>().unwrap();
            let parent = mp::fork_with(held, |held| -> () {
                let process = Process::new().method(method).die_with_parent(true);
                let _child: Child<()> = process.start(drop_rights, held).unwrap();
                hang()
            });
            assert_eq!(ends.recv_timeout(PATIENCE), Ok(1), "{method:?}");
            let parent = parent.unwrap();
            parent.kill().unwrap();
            assert_eq!(ends.recv_timeout(PATIENCE), Err(RecvError::Closed), "{method:?}");
            assert!(parent.join().is_err());
        }
    });
}

/// Answers until the other end is closed.
fn answer(questions: Connection<u8, u8>) {
    questions.send(&0).unwrap();
    while let Ok(question) = questions.recv() {
        questions.send(&(question + 1)).unwrap();
    }
    hang()
}

fn a_child_outlives_the_thread_that_started_it() {
    with_orphans(|| {
        for method in [Method::Spawn, Method::ForkServer] {
            let (here, there) = duplex::<u8, u8>().unwrap();
            let parent = mp::fork_with(there, |there| -> () {
                let process = Process::new().method(method).die_with_parent(true);
                let start = move || process.start(answer, there).unwrap();
                let _child = std::thread::Builder::new().spawn(start).unwrap().join().unwrap();
                hang()
            });
            assert_eq!(here.recv_timeout(PATIENCE), Ok(0), "{method:?}");
            // The thread ends when its parent is back in the main thread, which reports nothing: ask until it hangs.
            for question in 1..100 {
                here.send(&question).unwrap();
                assert_eq!(here.recv_timeout(PATIENCE), Ok(question + 1), "{method:?}: it lives");
            }
            let parent = parent.unwrap();
            parent.kill().unwrap();
            assert!(matches!(here.recv_timeout(PATIENCE), Err(RecvError::Closed)), "{method:?}");
            assert!(parent.join().is_err());
        }
    });
}

fn a_sibling_that_was_forked_does_not_keep_a_child_alive() {
    with_orphans(|| {
        let (held, ends) = pipe::<u8>().unwrap();
        let (finish, until) = pipe::<()>().unwrap();
        let parent = mp::fork_with((held, until), |(held, until)| -> () {
            let process = Process::new().method(Method::Spawn).die_with_parent(true);
            let hold = |held: Sender<u8>| -> () {
                held.send(&1).unwrap();
                hang()
            };
            // In a thread, so that the kernel checks nothing else.
            let start = move || process.start(hold, held).unwrap();
            let _child: Child<()> = std::thread::Builder::new().spawn(start).unwrap().join().unwrap();
            // Forked while the parent holds the line.
            let _sibling = mp::fork_with(until, |until| assert_eq!(until.recv(), Err(RecvError::Closed)));
            hang()
        });
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(1));
        let parent = parent.unwrap();
        parent.kill().unwrap();
        assert_eq!(ends.recv_timeout(PATIENCE), Err(RecvError::Closed));
        assert!(parent.join().is_err());
        drop(finish);
    });
}

fn a_tie_is_not_inherited() {
    assert_eq!(renew_die_with_parent(), Ok(false), "nobody tied this process");
    for method in METHODS {
        let work = |()| {
            let forked = mp::fork(|| renew_die_with_parent().unwrap()).unwrap();
            (renew_die_with_parent().unwrap(), forked.join().unwrap())
        };
        let tied = Process::new().method(method).die_with_parent(true).start(work, ()).unwrap();
        assert_eq!(tied.join(), Ok((true, false)), "{method:?}");
        let free = Process::new().method(method).start(work, ()).unwrap();
        assert_eq!(free.join(), Ok((false, false)), "{method:?}");
    }
}

/// When the kernel sends a signal, root of a user namespace has no special rights.
fn in_a_user_namespace_a_tie_is_renewed() {
    if !geteuid().is_root() {
        skip("only root maps several users");
    }
    with_orphans(|| {
        let (here, there) = duplex::<u8, u8>().unwrap();
        let (held, ends) = pipe::<u8>().unwrap();
        let parent = mp::fork_with((there, held), |(there, held)| -> () {
            become_user(100_000);
            there.send(&u8::from(enter_user_namespace().is_ok())).unwrap();
            assert_eq!(there.recv(), Ok(1), "the users are mapped");
            become_user(0);
            let process = Process::new().method(Method::Fork).die_with_parent(true);
            let work = |held: Sender<u8>| -> () {
                become_user(USER);
                assert_eq!(renew_die_with_parent(), Ok(true));
                held.send(&1).unwrap();
                hang()
            };
            let _child = process.start(work, held).unwrap();
            hang()
        })
        .unwrap();
        if here.recv_timeout(PATIENCE) != Ok(1) {
            parent.kill().unwrap();
            skip("no user namespaces");
        }
        for map in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{}/{map}", parent.pid()), "0 100000 65536").unwrap();
        }
        here.send(&1).unwrap();
        assert_eq!(ends.recv_timeout(PATIENCE), Ok(1));
        parent.kill().unwrap();
        assert_eq!(ends.recv_timeout(PATIENCE), Err(RecvError::Closed));
        assert!(parent.join().is_err());
    });
}
