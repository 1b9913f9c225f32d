//! Servers that outlive the program that started them: starters that race and are killed, and what ends such a server.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use manager_rt::{CallError, ConnectError, Manager, ManagerBuilder, StartError};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, Random, ended, eventually, hang, kill, spawn, succeeded, tests};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getsid, kill_process_group, set_child_subreaper, setsid,
    waitid,
};

use crate::fixture::Place;

tests! {
    many_starters_get_one_server_while_some_are_killed,
    a_starter_that_is_killed_at_any_time_leaves_a_path_that_can_be_used,
    a_server_is_apart_from_its_starter,
    an_idle_server_ends_and_is_started_again,
    a_server_that_outlives_its_starter_ends_with_sigterm,
    what_cannot_be_used_is_an_error,
    a_server_that_does_not_serve_in_time_is_ended,
}

/// The server of a starter that was killed may begin to serve after the test is over, on a busy machine. Then it has no client, and ends by
/// itself.
const LATE: Duration = Duration::from_secs(12);

fn builder(path: &Path) -> ManagerBuilder {
    Manager::builder().path(path).key("key").timeout(PATIENCE)
}

/// Lets this process reap the servers whose starters have ended.
fn adopt_orphans() {
    set_child_subreaper(Some(getpid())).unwrap();
}

/// Reaps every process that a test has left, which all end soon.
pub(crate) fn reap_all() {
    eventually("all processes have ended", || {
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(error) => return error == Errno::CHILD,
            }
        }
    });
}

/// Ends the server at a path, and waits until nothing of it is left.
pub(crate) fn end(manager: &Manager, folder: &Path) {
    let ended = manager.shutdown();
    assert!(matches!(ended, Ok(()) | Err(CallError::OutcomeUnknown)), "{ended:?}");
    reap_all();
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "no file is left");
}

fn many_starters_get_one_server_while_some_are_killed() {
    adopt_orphans();
    let mut random = Random::new();
    for is_stale in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manager.sock");
        if is_stale {
            drop(UnixListener::bind(&path).unwrap());
        }
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let starters: Vec<ChildProcess> = (0..16)
            .map(|_| {
                spawn(|| {
                    let manager = builder(&path).idle_end(LATE).connect_or_start().unwrap();
                    manager.named("starters").value(&0_u32).unwrap().fetch_add(1).unwrap();
                    let server = Place::of(&manager).server.as_raw_pid();
                    assert_eq!(rustix::io::write(&writing, &server.to_ne_bytes()), Ok(4));
                })
            })
            .collect();
        drop(writing);
        let (killed, spared) = starters.split_at(8);
        for starter in killed {
            random.pause(10_000_000);
            let _may_have_ended = starter.signal(Signal::KILL.as_raw());
        }
        spared.iter().for_each(succeeded);
        for starter in killed {
            let _either = ended(starter);
        }
        let (mut servers, mut server) = (BTreeSet::new(), [0; 4]);
        while rustix::io::read(&reading, &mut server) == Ok(4) {
            servers.insert(i32::from_ne_bytes(server));
        }
        assert_eq!(servers.len(), 1, "one server: {servers:?}");
        let manager = builder(&path).connect_or_start().unwrap();
        assert!(servers.contains(&Place::of(&manager).server.as_raw_pid()));
        let count = manager.named("starters").value(&0_u32).unwrap().get().unwrap();
        assert!((8..=16).contains(&count), "{count}");
        end(&manager, folder.path());
    }
}

fn a_starter_that_is_killed_at_any_time_leaves_a_path_that_can_be_used() {
    adopt_orphans();
    let mut random = Random::new();
    for _ in 0..15 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manager.sock");
        let starter = spawn(|| {
            builder(&path).idle_end(LATE).connect_or_start().unwrap();
            hang();
        });
        random.pause(40_000_000);
        kill(&starter);
        let manager = builder(&path).connect_or_start().unwrap();
        manager.named("one").value(&1_u8).unwrap();
        let again = builder(&path).connect_or_start().unwrap();
        assert_eq!(again.names(), Ok(vec!["one".to_owned()]), "the server is the same");
        drop(again);
        end(&manager, folder.path());
    }
}

/// The server has no terminal, and no descriptor of its starter, whose signals do not reach it.
fn a_server_is_apart_from_its_starter() {
    adopt_orphans();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    // A program may have such descriptors from its own starter.
    let (leaking, _other) = pipe_with(PipeFlags::empty()).unwrap();
    let leaked = std::fs::read_link(format!("/proc/self/fd/{}", leaking.as_raw_fd())).unwrap();
    let starter = spawn(|| {
        setsid().unwrap();
        let _manager = builder(&path).connect_or_start().unwrap();
        assert_eq!(rustix::io::write(&writing, &[1]), Ok(1));
        hang();
    });
    assert_eq!(rustix::io::read(&reading, &mut [0]), Ok(1));
    let manager = builder(&path).connect_or_start().unwrap();
    let server = Place::of(&manager).server;
    assert_eq!(getsid(Some(server)), Ok(server), "it leads a session");
    let of_server = |what: &str| format!("/proc/{server}/{what}");
    for standard in 0..3 {
        assert_eq!(std::fs::read_link(of_server(&format!("fd/{standard}"))).unwrap(), Path::new("/dev/null"));
    }
    assert_eq!(std::fs::read_link(of_server("cwd")).unwrap(), Path::new("/"));
    let open = std::fs::read_dir(of_server("fd")).unwrap();
    let files: Vec<_> = open.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok()).collect();
    assert!(!files.contains(&leaked), "{files:?}");
    // The terminal is closed, or Ctrl-C is pressed in it.
    let group = Pid::from_raw(starter.id().cast_signed()).unwrap();
    for signal in [Signal::INT, Signal::HUP, Signal::KILL] {
        let _may_have_ended = kill_process_group(group, signal);
    }
    let _either = ended(&starter);
    manager.named("one").value(&1_u8).unwrap();
    end(&manager, folder.path());
}

fn an_idle_server_ends_and_is_started_again() {
    adopt_orphans();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    let idle = || builder(&path).idle_end(Duration::from_millis(1));
    let manager = idle().connect_or_start().unwrap();
    manager.named("one").value(&1_u8).unwrap();
    let second = idle().connect_or_start().unwrap();
    drop(manager);
    assert_eq!(second.names(), Ok(vec!["one".to_owned()]), "a client is connected");
    drop(second);
    eventually("the idle server has ended", || !path.exists());
    reap_all();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
    // Servers end while others connect.
    for _ in 0..20 {
        let manager = idle().connect_or_start().unwrap();
        manager.value(&1_u8).unwrap();
    }
    end(&idle().connect_or_start().unwrap(), folder.path());
}

fn a_server_that_outlives_its_starter_ends_with_sigterm() {
    adopt_orphans();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    for signal in [Signal::TERM, Signal::INT] {
        let manager = builder(&path).connect_or_start().unwrap();
        Place::of(&manager).signal(Signal::HUP);
        manager.names().unwrap();
        Place::of(&manager).signal(signal);
        eventually("the server is gone", || manager.names().is_err());
        reap_all();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
    }
}

/// It hangs while it restores its objects.
fn a_server_that_does_not_serve_in_time_is_ended() {
    adopt_orphans();
    let folder = tempfile::tempdir().unwrap();
    let (path, pipe) = (folder.path().join("manager.sock"), folder.path().join("pipe"));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let late = builder(&path).restore(&pipe).timeout(Duration::from_millis(500)).connect_or_start();
    assert!(matches!(late, Err(StartError::TimedOut)), "{late:?}");
    // Nobody has opened the other side of the pipe, so the server cannot have ended by itself.
    reap_all();
    std::fs::remove_file(&pipe).unwrap();
    let manager = builder(&path).connect_or_start().unwrap();
    manager.named("one").value(&1_u8).unwrap();
    end(&manager, folder.path());
}

fn what_cannot_be_used_is_an_error() {
    adopt_orphans();
    assert!(matches!(Manager::builder().connect_or_start(), Err(StartError::NoPath)));
    let folder = tempfile::tempdir().unwrap();
    let missing = builder(&folder.path().join("missing/manager.sock")).connect_or_start();
    assert!(matches!(missing, Err(StartError::Bind(_))), "{missing:?}");
    let file = folder.path().join("file");
    std::fs::write(&file, "text").unwrap();
    let no_socket = builder(&file).connect_or_start();
    assert!(matches!(no_socket, Err(StartError::Bind(_))), "{no_socket:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
    let path = folder.path().join("manager.sock");
    // A server that says nothing is not replaced.
    let silent = UnixListener::bind(&path).unwrap();
    let late = builder(&path).timeout(Duration::from_millis(50)).connect_or_start();
    assert!(matches!(late, Err(StartError::TimedOut)), "{late:?}");
    drop(silent);
    let manager = builder(&path).connect_or_start().unwrap();
    let other = builder(&path).key("other").connect_or_start();
    assert!(matches!(other, Err(StartError::Connect(ConnectError::Unauthorised))), "{other:?}");
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(folder.path().join("file.lock")).unwrap_or_default();
    end(&manager, folder.path());
}
