//! Names, families, and what becomes of children when their parent ends: for every start method.

use std::time::Duration;

use mp::{
    Child, ChildError, ExitError, Method, Process, RawValue, Receiver, RecvError, Sender, StartError,
    active_children, current_process, parent_process, pipe,
};
use mp_sys::testing::{PATIENCE, hang, tests};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpgrp, getpid, kill_process_group, set_child_subreaper, setpgid,
    waitid,
};

use crate::METHODS;

tests! {
    a_child_knows_who_it_is_and_who_started_it,
    the_longest_name_and_one_byte_more,
    active_children_are_those_that_run,
    active_children_can_be_ended,
    an_inherited_list_of_children_is_not_used,
    daemons_are_ended_and_others_waited_for_at_exit,
    a_child_waits_for_its_children,
    only_tied_children_die_with_a_killed_parent,
    a_child_waits_for_the_end_of_its_parent,
    an_interrupt_of_the_group_ends_all,
}

type Who = (String, u32, bool, Option<(u32, bool)>);

fn who((): ()) -> Who {
    let own = current_process();
    let parent = parent_process().unwrap().map(|parent| (parent.pid(), parent.is_alive()));
    (own.name().to_owned(), own.pid(), own.is_daemon(), parent)
}

fn a_child_knows_who_it_is_and_who_started_it() {
    let me = current_process().pid();
    for method in METHODS {
        let named = Process::new().name("worker").method(method).daemon(true).start(who, ()).unwrap();
        assert_eq!((named.name().as_str(), named.method()), ("worker", method));
        let expected = ("worker".to_owned(), named.pid(), true, Some((me, true)));
        assert_eq!(named.join().unwrap(), expected, "{method:?}");
        let plain = Process::new().method(method).start(who, ()).unwrap();
        let expected = (plain.name(), plain.pid(), false, Some((me, true)));
        assert_eq!(plain.join().unwrap(), expected, "{method:?}");
    }
    let short = mp::fork(|| who(())).unwrap();
    assert_eq!(
        short.join().unwrap(),
        (format!("Process-{}", short.pid()), short.pid(), false, Some((me, true)))
    );
}

fn the_longest_name_and_one_byte_more() {
    let longest = "n".repeat(mp::NAME_BYTES_MAX);
    for method in METHODS {
        let with = |name: &str| Process::new().method(method).name(name).start(who, ());
        assert_eq!(with(&longest).unwrap().join().unwrap().0, longest);
        for bad in [format!("{longest}n"), "a\0b".to_owned()] {
            assert_eq!(with(&bad).unwrap_err(), StartError::Name);
        }
    }
}

fn wait_for_end(until: Receiver<()>) {
    assert_eq!(until.recv_timeout(PATIENCE), Err(RecvError::Closed));
}

fn active_children_are_those_that_run() {
    for method in METHODS {
        assert!(active_children().is_empty());
        let (finish, until) = pipe::<()>().unwrap();
        let kept = Process::new().name("kept").method(method).start(wait_for_end, &until).unwrap();
        let dropped = Process::new().name("dropped").method(method).start(wait_for_end, &until).unwrap();
        drop((dropped, until));
        let mut active = active_children();
        active.sort_by_key(mp::ActiveChild::name);
        let names: Vec<_> =
            active.iter().map(|child| (child.name(), child.method(), child.is_daemon())).collect();
        assert_eq!(names, [("dropped".to_owned(), method, false), ("kept".to_owned(), method, false)]);
        assert_eq!(active[1].pid(), kept.pid());
        drop(finish);
        for child in &active {
            assert_eq!(child.wait_timeout(PATIENCE), Ok(true));
        }
        assert_eq!(kept.join(), Ok(()), "its value is there all the same");
    }
}

fn active_children_can_be_ended() {
    for method in METHODS {
        let children =
            [(); 2].map(|()| Process::new().method(method).start(|()| -> () { hang() }, ()).unwrap());
        let active = active_children();
        assert_eq!(active.len(), 2);
        assert_eq!((active[0].kill(), active[1].terminate()), (Ok(true), Ok(true)));
        active.iter().for_each(|child| child.wait().unwrap());
        let mut signals = children.map(|child| child.join().unwrap_err());
        signals.sort_by_key(ToString::to_string);
        assert_eq!(signals, [ExitError::Signaled(15), ExitError::Signaled(9)]);
    }
}

fn an_inherited_list_of_children_is_not_used() {
    let child = mp::fork(|| hang()).unwrap();
    let active = active_children();
    let other =
        mp::fork(|| (active_children().len(), active[0].wait() == Err(ChildError::NotParent))).unwrap();
    assert_eq!(other.join(), Ok((0, true)));
    child.kill().unwrap();
    assert_eq!(child.join(), Err::<(), _>(ExitError::Signaled(9)));
}

/// Ends in order, by `exit`, while its children run.
fn daemons_are_ended_and_others_waited_for_at_exit() {
    // The fork server sees that its parent has ended, and ends.
    with_orphans(|| METHODS.into_iter().for_each(one_exits_in_order));
}

#[expect(clippy::exit, reason = "the case")]
fn one_exits_in_order(method: Method) {
    let done = RawValue::new(0_u32).unwrap();
    let (held, until) = pipe::<()>().unwrap();
    let parent = mp::fork(|| -> () {
        // The daemon never ends by itself, and the other one does not end before the daemon.
        let daemon = Process::new().method(method).daemon(true);
        drop(daemon.start(|_held: Sender<()>| -> () { hang() }, held).unwrap());
        let work = |(until, done): (Receiver<()>, RawValue<u32>)| {
            wait_for_end(until);
            done.store(1);
        };
        let _worker = Process::new().method(method).start(work, (&until, &done)).unwrap();
        std::process::exit(3)
    });
    assert_eq!(parent.unwrap().join(), Err(ExitError::Exited(3)), "{method:?}");
    assert_eq!(done.load(), 1, "{method:?}: the end came after the worker's");
}

fn a_child_waits_for_its_children() {
    let done = RawValue::new(0_u32).unwrap();
    let (finish, until) = pipe::<()>().unwrap();
    let parent = mp::fork_with(&until, |until| {
        let grandchild = mp::fork_with(until, |until| {
            assert_eq!(until.recv_timeout(PATIENCE), Err(RecvError::Closed));
            done.store(1);
        });
        drop(grandchild.unwrap());
    })
    .unwrap();
    assert_eq!(parent.try_join(), Ok(None));
    drop((finish, until));
    assert_eq!((parent.join(), done.load()), (Ok(()), 1));
}

/// Starts a child that holds one end until it is dropped.
fn start_holder(process: Process, held: &Sender<u8>) -> Child<()> {
    let hold = |held: Sender<u8>| -> () {
        held.send(&1).unwrap();
        hang()
    };
    process.start(hold, held).unwrap()
}

/// Runs a test whose children leave children behind, and waits until these have ended too.
pub(crate) fn with_orphans(test: impl FnOnce()) {
    set_child_subreaper(Some(getpid())).unwrap();
    test();
    loop {
        match waitid(WaitId::All, WaitIdOptions::EXITED) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return assert_eq!(error, Errno::CHILD),
        }
    }
}

fn only_tied_children_die_with_a_killed_parent() {
    with_orphans(|| METHODS.into_iter().for_each(a_tied_child_dies_with_a_killed_parent));
}

fn a_tied_child_dies_with_a_killed_parent(method: Method) {
    let (dying, dies) = pipe::<u8>().unwrap();
    let (living, lives) = pipe::<u8>().unwrap();
    let (pid, other) = pipe::<u32>().unwrap();
    let parent = mp::fork(|| -> () {
        let process = Process::new().method(method);
        let first = start_holder(process.clone().die_with_parent(true), &dying);
        let second = start_holder(process, &living);
        pid.send(&second.pid()).unwrap();
        drop((dying, living, &first));
        hang()
    })
    .unwrap();
    assert_eq!((dies.recv_timeout(PATIENCE), lives.recv_timeout(PATIENCE)), (Ok(1), Ok(1)));
    let other = other.recv_timeout(PATIENCE).unwrap();
    parent.kill().unwrap();
    assert_eq!(dies.recv_timeout(PATIENCE), Err(RecvError::Closed), "{method:?}");
    assert_eq!(lives.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut), "{method:?}");
    assert!(parent.join().is_err());
    let other = Pid::from_raw(i32::try_from(other).unwrap()).unwrap();
    rustix::process::kill_process(other, Signal::KILL).unwrap();
    assert_eq!(lives.recv_timeout(PATIENCE), Err(RecvError::Closed));
}

fn a_child_waits_for_the_end_of_its_parent() {
    with_orphans(|| METHODS.into_iter().for_each(wait_for_the_end_of_a_parent));
}

fn wait_for_the_end_of_a_parent(method: Method) {
    let (tell, told) = pipe::<bool>().unwrap();
    let parent = mp::fork(|| -> () {
        let watch = |tell: Sender<bool>| {
            let parent = parent_process().unwrap().unwrap();
            tell.send(&parent.is_alive()).unwrap();
            tell.send(&parent.wait_timeout(PATIENCE).unwrap()).unwrap();
            tell.send(&parent_process().unwrap().unwrap().is_alive()).unwrap();
        };
        let _child = Process::new().method(method).start(watch, tell).unwrap();
        hang()
    })
    .unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "{method:?}: alive");
    parent.kill().unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "{method:?}: it has ended");
    assert_eq!(told.recv_timeout(PATIENCE), Ok(false));
    assert_eq!(told.recv_timeout(PATIENCE), Err(RecvError::Closed));
    assert!(parent.join().is_err());
}

fn an_interrupt_of_the_group_ends_all() {
    with_orphans(|| METHODS.into_iter().for_each(an_interrupt_ends_all));
}

fn an_interrupt_ends_all(method: Method) {
    let (held, ends) = pipe::<u8>().unwrap();
    let parent = mp::fork_with(held, |held| -> () {
        setpgid(None, None).unwrap();
        let child = start_holder(Process::new().method(method), &held);
        held.send(&2).unwrap();
        drop((held, &child));
        hang()
    })
    .unwrap();
    let said = [ends.recv_timeout(PATIENCE), ends.recv_timeout(PATIENCE)];
    assert!(said.contains(&Ok(1)) && said.contains(&Ok(2)), "{said:?}");
    let group = Pid::from_raw(i32::try_from(parent.pid()).unwrap()).unwrap();
    assert_ne!(group, getpgrp());
    kill_process_group(group, Signal::INT).unwrap();
    assert_eq!(parent.join(), Err(ExitError::Signaled(2)));
    assert_eq!(ends.recv_timeout(PATIENCE), Err(RecvError::Closed), "{method:?}");
}
