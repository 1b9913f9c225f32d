//! Snapshots of real servers: what is restored, servers and their children that are killed, and disks that are full.

use std::path::{Path, PathBuf};
use std::time::Duration;

use manager_rt::{CallError, Dict, Fault, List, Lock, Manager, Server, SnapshotError, StartError};
use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::testing::leaks::children_of;
use mp_sys::testing::{
    Random, eventually, is_in_state, mounts, skip, spawn, succeeded, succeeded_with_work, tests,
};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getpid, getrlimit, kill_process,
    set_child_subreaper, setrlimit, waitid,
};

use crate::fixture::Place;
use crate::outliving::reap_all;

tests! {
    proxies_inside_containers_work_after_a_restart,
    a_snapshot_shows_one_moment_while_others_write,
    a_server_that_is_killed_while_it_saves_leaves_a_complete_file,
    a_full_disk_is_an_error_and_the_file_stays,
    a_limit_for_files_is_an_error_and_the_server_goes_on,
    a_server_that_cannot_save_at_its_end_says_so,
    a_file_that_cannot_be_restored_is_an_error_that_names_it,
    a_server_keeps_its_objects_from_one_life_to_the_next,
    an_idle_server_that_cannot_save_goes_on,
    calls_are_answered_while_a_snapshot_is_written,
}

fn file_in(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("manager.snapshot")
}

fn restored(file: &Path) -> Manager {
    Manager::builder().restore(file).start().unwrap()
}

fn proxies_inside_containers_work_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(&folder);
    let manager = Manager::start().unwrap();
    let (words, lock) = (manager.list::<String>().unwrap(), manager.lock().unwrap());
    words.push("hello").unwrap();
    let root = manager.named("root").dict::<String, (List<String>, Lock)>().unwrap();
    root.insert("first", &(words.clone(), lock.clone())).unwrap();
    let guard = lock.lock().unwrap();
    let token = guard.token();
    let tasks = manager.named("tasks").joinable_queue::<List<String>>().unwrap();
    tasks.put(&words).unwrap();
    let task = tasks.get().unwrap();
    manager.snapshot(&file).unwrap();
    // What comes later is not in it.
    words.push("late").unwrap();
    task.done().unwrap();
    drop(guard);
    manager.shutdown().unwrap();

    let manager = restored(&file);
    let root: Dict<String, (List<String>, Lock)> = manager.named("root").dict().unwrap();
    let (words, lock) = root.get("first").unwrap().unwrap();
    assert_eq!(words.to_vec().unwrap(), ["hello"]);
    let guard = lock.lock().unwrap_err().into_guard().expect("the last holder did not release it");
    assert!(guard.token() > token);
    drop(guard);
    let tasks = manager.named("tasks").joinable_queue::<List<String>>().unwrap();
    let task = tasks.get().unwrap();
    assert_eq!(task.to_vec().unwrap(), ["hello"], "the task was in work");
    task.done().unwrap();
    tasks.join().unwrap();
    manager.shutdown().unwrap();
}

/// Two values always have the same sum, and so have they in every snapshot.
fn a_snapshot_shows_one_moment_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::start().unwrap();
    let [one, other] = ["one", "other"].map(|name| manager.named(name).value(&0_i64).unwrap());
    let over = manager.event().unwrap();
    // So that saving takes a while.
    let list = manager.named("list").list::<u64>().unwrap();
    list.extend(&vec![1; 50_000]).unwrap();
    let writer = spawn(|| {
        while !over.is_set().unwrap() {
            manager
                .transaction(|t| {
                    (t.on(&one).fetch_add(1), t.on(&list).push(&7_u64), t.on(&other).fetch_add(-1))
                })
                .unwrap();
        }
    });
    let files: Vec<_> = (0..5).map(|number| folder.path().join(format!("{number}"))).collect();
    for file in &files {
        let before = one.get().unwrap();
        eventually("the writer writes", || one.get().unwrap() > before);
        manager.snapshot(file).unwrap();
    }
    over.set().unwrap();
    succeeded(&writer);
    let mut newest = 0;
    for file in &files {
        let saved = restored(file);
        let [one, other] =
            ["one", "other"].map(|name| saved.named(name).value(&0_i64).unwrap().get().unwrap());
        let len = saved.named("list").list::<u64>().unwrap().len().unwrap();
        assert_eq!((one + other, len), (0, 50_000 + usize::try_from(one).unwrap()));
        assert!(one > newest, "the snapshots are in order");
        newest = one;
        saved.shutdown().unwrap();
    }
    manager.shutdown().unwrap();
}

fn a_server_that_is_killed_while_it_saves_leaves_a_complete_file() {
    // The process that writes goes on, and nobody else would wait for it.
    set_child_subreaper(Some(getpid())).unwrap();
    let mut random = Random::new();
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(&folder);
    let mut saved = 0_u64;
    let busy = CallError::Fault(Fault::NotSaved { errno: rustix::io::Errno::BUSY.raw_os_error() });
    for _ in 0..15 {
        let builder = Manager::builder();
        let manager = if saved == 0 { builder } else { builder.restore(&file) }.start().unwrap();
        let place = Place::of(&manager);
        let value = manager.named("value").value(&0_u64).unwrap();
        let found = value.get().unwrap();
        assert!(found >= saved, "nothing that was saved is lost: {found}, {saved}");
        let list = manager.named("list").list::<u64>().unwrap();
        if list.is_empty().unwrap() {
            list.extend(&vec![1; 20_000]).unwrap();
        }
        assert_eq!(list.len().unwrap(), 20_000);
        value.set(&(found + 1)).unwrap();
        // As long as the writer that the last server left is at work, nobody else writes.
        eventually("it is saved", || match manager.snapshot(&file) {
            Err(SnapshotError { error, .. }) if error == busy => false,
            outcome => outcome.is_ok(),
        });
        saved = found + 1;
        value.set(&(found + 2)).unwrap();
        let saver = spawn(|| drop(manager.snapshot(&file)));
        random.pause(10_000_000);
        place.signal(Signal::KILL);
        succeeded(&saver);
        eventually("the server is dead", || manager.shutdown().is_err());
        drop(manager);
        place.is_gone();
    }
    reap_all();
}

fn a_full_disk_is_an_error_and_the_file_stays() {
    if let Err(reason) = mounts::enter_new_namespace() {
        skip(&reason);
    }
    let folder = tempfile::tempdir().unwrap();
    mounts::cover_with(folder.path(), c"size=1m").unwrap();
    let file = file_in(&folder);
    let manager = Manager::start().unwrap();
    let list = manager.named("list").list::<Vec<u8>>().unwrap();
    list.push(&vec![1; 100_000]).unwrap();
    manager.snapshot(&file).unwrap();
    let before = std::fs::read(&file).unwrap();
    list.extend(&vec![vec![2; 100_000]; 20]).unwrap();
    let SnapshotError { path, error } = manager.snapshot(&file).unwrap_err();
    let errno = rustix::io::Errno::NOSPC.raw_os_error();
    assert_eq!((path, error), (file.clone(), CallError::Fault(Fault::NotSaved { errno })));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "what was written is removed");
    list.clear().unwrap();
    manager.snapshot(&file).unwrap();
    manager.shutdown().unwrap();
    mounts::uncover(folder.path()).unwrap();
}

/// Writing beyond RLIMIT_FSIZE raises SIGXFSZ, which kills the process that writes: a copy of the server, or the server itself if
/// it has other threads, or ends.
fn a_limit_for_files_is_an_error_and_the_server_goes_on() {
    let limit = Rlimit { current: Some(1 << 20), maximum: getrlimit(Resource::Fsize).maximum };
    setrlimit(Resource::Fsize, limit).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, path) = (file_in(&folder), folder.path().join("manager.sock"));
    let too_long = CallError::Fault(Fault::NotSaved { errno: rustix::io::Errno::FBIG.raw_os_error() });
    let check = |manager: &Manager| {
        let list = manager.named("list").list::<Vec<u8>>().unwrap();
        list.push(&vec![1; 500_000]).unwrap();
        manager.snapshot(&file).unwrap();
        let before = std::fs::read(&file).unwrap();
        list.push(&vec![2; 600_000]).unwrap();
        assert_eq!(manager.snapshot(&file).unwrap_err().error, too_long);
        assert_eq!(list.len(), Ok(2), "the server goes on");
        assert_eq!(std::fs::read(&file).unwrap(), before);
    };
    let manager = Manager::builder().keep(&file).start().unwrap();
    check(&manager);
    assert_eq!(manager.shutdown(), Err(too_long));
    let server = spawn(|| {
        let (end, until) = std::sync::mpsc::channel::<()>();
        let waits = std::thread::Builder::new().spawn(move || until.recv().unwrap_err()).unwrap();
        Server::bind(&path).unwrap().serve().unwrap();
        drop(end);
        waits.join().unwrap();
    });
    let address = format!("mp+unix:{}", path.display());
    eventually("the server serves", || Manager::connect(&address).is_ok());
    let manager = Manager::connect(&address).unwrap();
    check(&manager);
    manager.shutdown().unwrap();
    succeeded(&server);
}

fn a_server_that_cannot_save_at_its_end_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::builder().keep(folder.path().join("missing/file")).start().unwrap();
    manager.named("value").value(&1_u8).unwrap();
    let errno = rustix::io::Errno::NOENT.raw_os_error();
    assert_eq!(manager.shutdown(), Err(CallError::Fault(Fault::NotSaved { errno })));
}

fn a_file_that_cannot_be_restored_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(&folder);
    let manager = Manager::start().unwrap();
    manager.named("value").value(&1_u8).unwrap();
    let missing = manager.snapshot(folder.path().join("missing/file")).unwrap_err();
    assert!(missing.to_string().contains("missing/file"), "{missing}");
    manager.snapshot(&file).unwrap();
    manager.shutdown().unwrap();
    let good = std::fs::read(&file).unwrap();
    let mut damaged = good.clone();
    damaged[30] ^= 1;
    let contents = [good[..good.len() - 1].to_vec(), damaged, b"text".to_vec(), Vec::new()];
    for content in contents {
        std::fs::write(&file, content).unwrap();
        for builder in [Manager::builder().restore(&file), Manager::builder().keep(&file)] {
            let Err(StartError::Restore(text)) = builder.start() else { panic!("it was restored") };
            assert!(text.contains(file.to_str().unwrap()), "{text}");
        }
    }
    std::fs::remove_file(&file).unwrap();
    let missing = Manager::builder().restore(&file).start();
    assert!(matches!(missing, Err(StartError::Restore(_))), "{missing:?}");
}

fn a_server_keeps_its_objects_from_one_life_to_the_next() {
    set_child_subreaper(Some(getpid())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, path) = (file_in(&folder), folder.path().join("manager.sock"));
    let count = |manager: &Manager| manager.named("lives").value(&0_u32).unwrap().fetch_add(1).unwrap();
    for life in 0..3 {
        let manager = Manager::builder().keep(&file).start().unwrap();
        assert_eq!(count(&manager), life);
        manager.shutdown().unwrap();
    }
    let shared = || Manager::builder().path(&path).keep(&file).idle_end(Duration::from_millis(1));
    let reap = || {
        eventually("the server has ended", || !path.exists());
        assert!(waitid(WaitId::All, WaitIdOptions::EXITED).unwrap().is_some());
    };
    for life in 3..5 {
        assert_eq!(count(&shared().connect_or_start().unwrap()), life);
        reap();
    }
    for signal in [Signal::TERM, Signal::INT] {
        let manager = shared().connect_or_start().unwrap();
        count(&manager);
        Place::of(&manager).signal(signal);
        reap();
    }
    let manager = restored(&file);
    assert_eq!(count(&manager), 7);
    manager.shutdown().unwrap();
}

fn an_idle_server_that_cannot_save_goes_on() {
    set_child_subreaper(Some(getpid())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let (file, path) = (kept.join("manager.snapshot"), folder.path().join("manager.sock"));
    let shared = || Manager::builder().path(&path).keep(&file).idle_end(Duration::from_millis(1));
    let manager = shared().connect_or_start().unwrap();
    manager.named("value").value(&1_u8).unwrap();
    drop(manager);
    for _ in 0..50 {
        let manager = shared().connect_or_start().unwrap();
        assert_eq!(manager.names(), Ok(vec!["value".to_owned()]), "the server is the same");
    }
    std::fs::create_dir(&kept).unwrap();
    eventually("the server has ended", || !path.exists());
    assert!(waitid(WaitId::All, WaitIdOptions::EXITED).unwrap().is_some());
    let manager = restored(&file);
    assert_eq!(manager.names(), Ok(vec!["value".to_owned()]));
    manager.shutdown().unwrap();
}

/// Begins a snapshot, and stops the process that writes it. Returns the caller of the snapshot, and that process.
fn begin_and_stop(manager: &Manager, file: &Path) -> (ChildProcess, Pid) {
    let server = u32::try_from(Place::of(manager).server.as_raw_pid()).unwrap();
    for _ in 0..20 {
        let saver = spawn(|| manager.snapshot(file).unwrap());
        let has_ended = || saver.wait(Deadline::after(Duration::ZERO)).unwrap().is_some();
        eventually("a process writes the snapshot", || !children_of(server).is_empty() || has_ended());
        let writer = children_of(server).first().and_then(|pid| Pid::from_raw(i32::try_from(*pid).ok()?));
        if let Some(writer) = writer
            && kill_process(writer, Signal::STOP).is_ok()
        {
            eventually("it is stopped or has ended", || is_in_state(writer, 'T') || has_ended());
            if is_in_state(writer, 'T') {
                return (saver, writer);
            }
        }
        // This process was too slow.
        succeeded(&saver);
    }
    panic!("each of 20 snapshots was written before its writer could be stopped");
}

/// The process that writes is stopped meanwhile, so the snapshot surely takes longer than the calls.
fn calls_are_answered_while_a_snapshot_is_written() {
    const ENTRIES: u64 = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let file = file_in(&folder);
    let manager = Manager::start().unwrap();
    let dict = manager.named("dict").dict::<u64, u64>().unwrap();
    for from in (0..ENTRIES).step_by(4_000) {
        let keys: Vec<u64> = (from..from + 4_000).collect();
        dict.extend(keys.iter().map(|key| (key, key))).unwrap();
    }
    let (saver, writer) = begin_and_stop(&manager, &file);
    for key in 0..1_000 {
        assert_eq!(dict.get(&key), Ok(Some(key)));
        dict.insert(&key, &0).unwrap();
        dict.insert(&(ENTRIES + key), &key).unwrap();
    }
    assert!(is_in_state(writer, 'T'), "the snapshot is not written yet");
    kill_process(writer, Signal::CONT).unwrap();
    succeeded_with_work(&saver);
    manager.shutdown().unwrap();
    let manager = restored(&file);
    let dict = manager.named("dict").dict::<u64, u64>().unwrap();
    assert_eq!(dict.len(), Ok(usize::try_from(ENTRIES).unwrap()), "what came later is not in it");
    for key in [0, 999, ENTRIES - 1] {
        assert_eq!(dict.get(&key), Ok(Some(key)), "it has the values of its moment");
    }
    manager.shutdown().unwrap();
}
