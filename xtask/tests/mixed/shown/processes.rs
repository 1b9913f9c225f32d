//! Processes, as shown by their parents, their children and themselves.

use mp::{Group, Key, Method, Pool, Process, active_children, current_process, parent_process};
use mp_sys::testing::{eventually, hang};

use super::Seen;

pub(super) fn states(seen: &mut Seen) {
    let long = "n".repeat(mp::NAME_BYTES_MAX);
    seen.look(&Process::new(), "Process", "Spawn");
    let process = Process::new().method(Method::ForkServer).daemon(true).die_with_parent(true).name(&*long);
    seen.look_for(&process, "Process", &["ForkServer", "nnn…", ", daemon", ", dies with its parent"]);

    let child = Process::new().name("worker").fork(|| hang()).map(|child: mp::Child<()>| child).unwrap();
    let pid = child.pid();
    seen.look(&child, "Child", &format!("process {pid} \"worker\", running"));
    let active = active_children();
    let [same] = &*active else { panic!("one child: {active:?}") };
    seen.look(same, "ActiveChild", &format!("process {pid} \"worker\", running"));
    child.kill().unwrap();
    let ended = format!("Child(process {pid} \"worker\", ended)");
    eventually("it has ended", || format!("{child:?}") == ended);
    seen.look(same, "ActiveChild", &format!("process {pid} \"worker\", ended"));
    // `Debug` has not reaped it.
    assert!(child.join().is_err());
    seen.look(&child, "Child", &format!("process {pid} \"worker\", ended"));

    let me = current_process();
    seen.look_for(&me, "CurrentProcess", &[&me.pid().to_string()]);
    let parent = mp::fork(|| {
        let parent = parent_process().unwrap().unwrap();
        Seen::default().look(&parent, "ParentProcess", &format!("{}, running", parent.pid()));
        Seen::default().look_for(&current_process(), "CurrentProcess", &["\"Process-"]);
    });
    parent.unwrap().join().unwrap();
    seen.0.insert("ParentProcess".to_owned());

    let started = mp::scope(|scope| -> Result<(), mp::ExitError> {
        seen.look(scope, "Scope", "0 started");
        let child = scope.fork(|| ()).unwrap();
        seen.look(scope, "Scope", "1 started");
        child.join()
    });
    started.unwrap();
    pools(seen);
    groups(seen);
    seen.look(&Key::default(), "Key", "none");
    seen.look(&Key::from("secret"), "Key", "..");
}

fn pools(seen: &mut Seen) {
    let builder = Pool::builder().workers(2).method(Method::Fork);
    seen.look_for(&builder, "PoolBuilder", &["Fork", "2 workers"]);
    let pool = builder.start(|n: u32| n).unwrap();
    seen.look(&pool, "Pool", "2 of 2 workers");
    let mut iter = pool.map_iter([1, 2]);
    seen.look(&iter, "MapIter", "0 taken, 0 submitted");
    assert_eq!(iter.next(), Some(Ok(Ok(1))));
    seen.look(&iter, "MapIter", "1 taken, 2 submitted");
    seen.look(&pool.map_unordered([1_u32]), "Unordered", "0 taken, 0 submitted");
    seen.look_for(&pool.submit(1).unwrap(), "Job", &["Job("]);
    drop(iter);
    pool.close().unwrap();
    let pool =
        Pool::builder().workers(1).method(Method::Fork).crashes(1).start(|_: u32| -> () { hang() }).unwrap();
    for child in active_children() {
        child.kill().unwrap();
    }
    assert!(pool.map([1]).is_err());
    seen.look_for(&pool, "Pool", &["ended: Crashes"]);
}

fn groups(seen: &mut Seen) {
    let kind = "k".repeat(1000);
    let mut shown = Seen::default();
    let mut group = Group::new().unwrap();
    seen.look(&group, "Group", "0 of 0 workers, 0 kinds");
    let start = |slot: &mp::Slot| {
        shown.look_for(slot, "Slot", &["kkk…", " 0"]);
        shown.look(&slot.ready(), "Ready", "");
        Process::new().fork(|| -> () { hang() })
    };
    group.keep(&kind, 1, start).unwrap();
    group.begin_stop().unwrap();
    seen.look(&group, "Group", "0 of 0 workers, 1 kinds, stopping");
    drop(group);
    seen.0.extend(shown.0);
}
