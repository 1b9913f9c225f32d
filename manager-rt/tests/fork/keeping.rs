//! Files in which servers keep their objects: others' files in the same folder, two servers, and writers that outlive
//! their server.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::Duration;

use manager_rt::limits::SNAPSHOTS_WAITING_MAX;
use manager_rt::{CallError, Fault, Manager, Server, SnapshotError, StartError};
use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::testing::{eventually, is_in_state, spawn, succeeded, tests};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};

use crate::fixture::Place;
use crate::outliving::reap_all;

tests! {
    files_of_others_in_the_folder_stay_as_they_are,
    two_servers_never_keep_one_file,
    a_file_that_a_server_has_never_read_is_not_replaced,
    a_server_that_could_never_keep_its_objects_does_not_start,
    a_writer_that_outlives_its_server_is_never_overtaken,
    a_writer_of_the_kept_file_ends_with_its_server,
    a_snapshot_without_time_fails_and_the_server_goes_on,
    a_writer_that_hangs_is_killed_when_its_time_is_over,
    a_writer_of_another_file_does_not_delay_the_end,
    a_writer_of_an_older_state_does_not_delay_the_end,
    those_that_wait_for_a_snapshot_at_the_end_are_told,
}

pub(crate) fn not_saved(errno: Errno) -> CallError {
    CallError::Fault(Fault::NotSaved { errno: errno.raw_os_error() })
}

pub(crate) fn keeping(file: &Path) -> Result<Manager, StartError> {
    Manager::builder().keep(file).start()
}

fn files_of_others_in_the_folder_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["one.new", "one.lock", "link.new"] {
        fs::write(at(name), "precious").unwrap();
        fs::hard_link(at(name), at(&format!("{name}.linked"))).unwrap();
    }
    fs::create_dir(at("real")).unwrap();
    symlink("real/two", at("link")).unwrap();
    let count = || fs::read_dir(folder.path()).unwrap().count();
    let before = count();
    let manager = Manager::start().unwrap();
    manager.named("value").value(&1_u8).unwrap();
    for _ in 0..2 {
        manager.snapshot(at("one")).unwrap();
        manager.snapshot(at("link")).unwrap();
    }
    assert_eq!(manager.snapshot(at("real")).unwrap_err().error, not_saved(Errno::ISDIR));
    manager.shutdown().unwrap();
    for name in ["one.new", "one.lock", "link.new"] {
        for name in [name.to_owned(), format!("{name}.linked")] {
            assert_eq!(fs::read_to_string(at(&name)).unwrap(), "precious", "{name}");
        }
    }
    assert!(at("link").symlink_metadata().unwrap().is_symlink());
    for name in ["one", "real/two"] {
        assert_eq!(at(name).symlink_metadata().unwrap().mode() & 0o777, 0o600);
        let manager = Manager::builder().restore(at(name)).start().unwrap();
        assert_eq!(manager.names(), Ok(vec!["value".to_owned()]));
        manager.shutdown().unwrap();
    }
    assert_eq!((count(), fs::read_dir(at("real")).unwrap().count()), (before + 1, 1));
}

fn two_servers_never_keep_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    symlink(&file, &link).unwrap();
    let first = keeping(&file).unwrap();
    first.named("value").value(&1_u8).unwrap();
    let Err(StartError::Restore(text)) = keeping(&link) else { panic!("another server keeps the file") };
    assert!(text.contains(link.to_str().unwrap()) && text.contains("another server keeps"), "{text}");
    let other = Manager::start().unwrap();
    other.named("other").value(&2_u8).unwrap();
    assert_eq!(other.snapshot(&link).unwrap_err().error, not_saved(Errno::BUSY));
    first.snapshot(&link).unwrap();
    first.shutdown().unwrap();
    let second = keeping(&link).unwrap();
    assert_eq!(second.names(), Ok(vec!["value".to_owned()]));
    other.shutdown().unwrap();
    second.shutdown().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside the file");
}

/// Its folder comes after the start, with a mount, for example.
fn a_file_that_a_server_has_never_read_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    let file = kept.join("file");
    let late = keeping(&file).unwrap();
    late.named("late").value(&1_u8).unwrap();
    fs::create_dir(&kept).unwrap();
    let other = Manager::start().unwrap();
    other.named("value").value(&1_u8).unwrap();
    other.snapshot(&file).unwrap();
    other.shutdown().unwrap();
    assert_eq!(late.snapshot(&file).unwrap_err().error, not_saved(Errno::EXIST));
    assert_eq!(late.shutdown(), Err(not_saved(Errno::EXIST)));
    let next = keeping(&file).unwrap();
    assert_eq!(next.names(), Ok(vec!["value".to_owned()]));
    next.shutdown().unwrap();
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 1, "nothing is left beside the file");
}

fn a_server_that_could_never_keep_its_objects_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "text").unwrap();
    symlink("loop", at("loop")).unwrap();
    for path in [at("file").join("inner"), at("loop"), at(&"n".repeat(250)), folder.path().to_owned()] {
        let Err(StartError::Restore(text)) = keeping(&path) else { panic!("{} is kept", path.display()) };
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
}

/// Stops the process that a server has forked. Returns `None` if it was over before.
pub(crate) fn stop_child_of(server: Pid, is_over: impl Fn() -> bool) -> Option<Pid> {
    while !is_over() {
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap();
        let Some(child) = children.split_whitespace().next() else { continue };
        let child = Pid::from_raw(child.parse().unwrap()).unwrap();
        if kill_process(child, Signal::STOP).is_err() {
            return None;
        }
        let has_ended = || is_in_state(child, 'Z') || !Path::new(&format!("/proc/{child}")).exists();
        eventually("it is stopped", || is_in_state(child, 'T') || has_ended());
        return is_in_state(child, 'T').then_some(child);
    }
    None
}

/// What it writes is older than what the next server would save.
fn a_writer_that_outlives_its_server_is_never_overtaken() {
    set_child_subreaper(Some(getpid())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    loop {
        // It does not keep its objects in the file.
        let first = Manager::start().unwrap();
        let server = Place::of(&first);
        let list = first.named("list").list::<Vec<u8>>().unwrap();
        list.clear().unwrap();
        list.extend(&vec![vec![1; 100_000]; 200]).unwrap();
        let saver = spawn(|| drop(first.snapshot(&file)));
        let stopped = stop_child_of(server.server, || {
            matches!(saver.wait(Deadline::after(Duration::ZERO)), Ok(Some(_)))
        });
        server.signal(Signal::KILL);
        let Some(writer) = stopped else {
            succeeded(&saver);
            continue;
        };
        let Err(StartError::Restore(text)) = keeping(&file) else { panic!("it still writes") };
        assert!(text.contains("another server keeps"), "{text}");
        kill_process(writer, Signal::CONT).unwrap();
        // If it was stopped at its very beginning, it still had copies of the server's connections.
        succeeded(&saver);
        break;
    }
    let second = keeping(&file).unwrap();
    assert_eq!(
        second.named("list").list::<Vec<u8>>().unwrap().len(),
        Ok(200),
        "it has what was written last"
    );
    second.shutdown().unwrap();
    reap_all();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

/// Even one that is stopped, which would keep the next server from its file for ever.
fn a_writer_of_the_kept_file_ends_with_its_server() {
    set_child_subreaper(Some(getpid())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let first = keeping(&file).unwrap();
    let server = Place::of(&first);
    first.named("list").list::<Vec<u8>>().unwrap().extend(&vec![vec![1; 100_000]; 200]).unwrap();
    let value = first.named("value").value(&1_u8).unwrap();
    first.snapshot(&file).unwrap();
    value.set(&2).unwrap();
    let is_new = |entry: std::io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".mp-new"))
    };
    let (saver, writer) = loop {
        let saver = spawn(|| drop(first.snapshot(&file)));
        let is_over = || matches!(saver.wait(Deadline::after(Duration::ZERO)), Ok(Some(_)));
        // From then on, it writes, and is more than a copy of the server.
        while !is_over() && !fs::read_dir(folder.path()).unwrap().any(is_new) {}
        match stop_child_of(server.server, is_over) {
            Some(writer) => break (saver, writer),
            None => succeeded(&saver),
        }
    };
    server.signal(Signal::KILL);
    let second = keeping(&file).unwrap();
    succeeded(&saver);
    eventually("the writer has ended", || {
        is_in_state(writer, 'Z') || !Path::new(&format!("/proc/{writer}")).exists()
    });
    assert_eq!(second.named("value").value(&0_u8).unwrap().get(), Ok(1), "it was not written to its end");
    second.shutdown().unwrap();
    reap_all();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

/// Starts a server in a child of this process, whose snapshots may take so long.
fn serve_with(time: Duration, folder: &Path) -> (ChildProcess, Manager) {
    let path = folder.join("manager.sock");
    let server = spawn(|| Server::builder().save_time_max(time).bind(&path).unwrap().serve().unwrap());
    let address = format!("mp+unix:{}", path.display());
    eventually("the server serves", || Manager::connect(&address).is_ok());
    (server, Manager::connect(&address).unwrap())
}

fn a_snapshot_without_time_fails_and_the_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (server, manager) = serve_with(Duration::ZERO, folder.path());
    manager.named("value").value(&1_u8).unwrap();
    for _ in 0..3 {
        let late = manager.snapshot(folder.path().join("file")).unwrap_err();
        assert_eq!(late.error, not_saved(Errno::TIMEDOUT));
        assert_eq!(manager.names(), Ok(vec!["value".to_owned()]));
    }
    manager.shutdown().unwrap();
    succeeded(&server);
    assert!(!folder.path().join("file").exists());
}

fn a_writer_that_hangs_is_killed_when_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let (server, manager) = serve_with(Duration::from_secs(5), folder.path());
    let list = manager.named("list").list::<Vec<u8>>().unwrap();
    list.extend(&vec![vec![1; 100_000]; 200]).unwrap();
    let errno = manager.named("errno").value(&0_i32).unwrap();
    let process = Pid::from_raw(server.id().cast_signed()).unwrap();
    loop {
        errno.set(&0).unwrap();
        let saver = spawn(|| match manager.snapshot(&file) {
            Err(SnapshotError { error: CallError::Fault(Fault::NotSaved { errno: cause }), .. }) => {
                errno.set(&cause).unwrap();
            }
            outcome => outcome.unwrap(),
        });
        let stopped =
            stop_child_of(process, || matches!(saver.wait(Deadline::after(Duration::ZERO)), Ok(Some(_))));
        succeeded(&saver);
        if let Some(writer) = stopped {
            eventually("it is killed", || !Path::new(&format!("/proc/{writer}")).exists());
            break;
        }
    }
    assert_eq!(errno.get(), Ok(Errno::TIMEDOUT.raw_os_error()));
    list.clear().unwrap();
    eventually("the server goes on", || manager.snapshot(&file).is_ok());
    manager.shutdown().unwrap();
    succeeded(&server);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

fn a_writer_of_another_file_does_not_delay_the_end() {
    set_child_subreaper(Some(getpid())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (file, other) = (folder.path().join("file"), folder.path().join("other"));
    let manager = keeping(&file).unwrap();
    let server = Place::of(&manager).server;
    manager.named("list").list::<Vec<u8>>().unwrap().extend(&vec![vec![1; 100_000]; 200]).unwrap();
    let (saver, writer) = loop {
        let saver = spawn(|| drop(manager.snapshot(&other)));
        let is_over = || matches!(saver.wait(Deadline::after(Duration::ZERO)), Ok(Some(_)));
        match stop_child_of(server, is_over) {
            Some(writer) => break (saver, writer),
            None => succeeded(&saver),
        }
    };
    manager.shutdown().unwrap();
    assert!(is_in_state(writer, 'T'), "it is as it was");
    kill_process(writer, Signal::CONT).unwrap();
    succeeded(&saver);
    reap_all();
    for file in [file, other] {
        let manager = Manager::builder().restore(file).start().unwrap();
        assert_eq!(manager.named("list").list::<Vec<u8>>().unwrap().len(), Ok(200));
        manager.shutdown().unwrap();
    }
    assert!(!folder.path().join(".file.mp-lock").exists(), "the server removes its own");
}

fn a_writer_of_an_older_state_does_not_delay_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (file, path) = (folder.path().join("file"), folder.path().join("manager.sock"));
    let every = Duration::from_millis(1);
    let server = spawn(|| {
        Server::builder().keep(&file).keep_every(every).bind(&path).unwrap().serve().unwrap();
    });
    let address = format!("mp+unix:{}", path.display());
    eventually("the server serves", || Manager::connect(&address).is_ok());
    let manager = Manager::connect(&address).unwrap();
    manager.named("list").list::<Vec<u8>>().unwrap().extend(&vec![vec![1; 100_000]; 200]).unwrap();
    let value = manager.named("value").value(&0_u64).unwrap();
    let process = Pid::from_raw(server.id().cast_signed()).unwrap();
    let change = || value.fetch_add(1).unwrap() == u64::MAX;
    while stop_child_of(process, change).is_none() {}
    value.set(&7).unwrap();
    manager.shutdown().unwrap();
    succeeded(&server);
    let manager = keeping(&file).unwrap();
    assert_eq!(manager.named("value").value(&0_u64).unwrap().get(), Ok(7));
    manager.shutdown().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

fn those_that_wait_for_a_snapshot_at_the_end_are_told() {
    set_child_subreaper(Some(getpid())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::start().unwrap();
    let server = Place::of(&manager).server;
    manager.named("list").list::<Vec<u8>>().unwrap().extend(&vec![vec![1; 100_000]; 200]).unwrap();
    let (saver, writer) = loop {
        let saver = spawn(|| drop(manager.snapshot(folder.path().join("first"))));
        let is_over = || matches!(saver.wait(Deadline::after(Duration::ZERO)), Ok(Some(_)));
        match stop_child_of(server, is_over) {
            Some(writer) => break (saver, writer),
            None => succeeded(&saver),
        }
    };
    let is_full = manager.event().unwrap();
    let waiting = spawn(|| {
        // One of these calls is one too many, so the others wait from then on.
        let ask = |number: usize| manager.snapshot(folder.path().join(number.to_string())).unwrap_err().error;
        std::thread::scope(|scope| {
            let ask = |number| match ask(number) {
                CallError::Fault(Fault::TooMany { .. }) => is_full.set().unwrap(),
                error => assert_eq!(error, not_saved(Errno::CANCELED)),
            };
            for number in 0..SNAPSHOTS_WAITING_MAX {
                std::thread::Builder::new().spawn_scoped(scope, move || ask(number)).unwrap();
            }
        });
    });
    assert!(is_full.wait_timeout(Duration::from_secs(60)).unwrap());
    manager.shutdown().unwrap();
    succeeded(&waiting);
    kill_process(writer, Signal::CONT).unwrap();
    succeeded(&saver);
    reap_all();
}
