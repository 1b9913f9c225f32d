//! Where servers are started: folders that cannot be used, folders that containers share, and paths of other servers.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::process::Command;
use std::time::Duration;

use manager_rt::{ConnectError, Manager, ReachError, StartError};
use mp_sys::testing::{PATIENCE, hang, kill, skip, spawn, spawn_in_new_pid_namespace, succeeded, tests};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};

use crate::fixture::{Place, with_manager};

tests! {
    a_manager_starts_wherever_the_folder_for_temporary_files_is_said_to_be,
    a_server_of_another_pid_namespace_keeps_its_folder,
    managers_start_at_the_same_time_in_two_pid_namespaces,
    a_stopped_server_with_a_full_queue_delays_no_other,
    a_path_has_one_server,
}

/// The variable that tells the program below that it is the executed one.
const IS_EXECUTED: &str = "MP_TEST_STARTS";

fn a_manager_starts_wherever_the_folder_for_temporary_files_is_said_to_be() {
    if std::env::var_os(IS_EXECUTED).is_some() {
        with_manager(|manager| assert_eq!(manager.value(&1_u8).unwrap().get(), Ok(1)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let long = folder.path().join("x".repeat(100));
    let bytes = folder.path().join(OsString::from_vec(vec![0xff]));
    [&long, &bytes].iter().for_each(|path| std::fs::create_dir(path).unwrap());
    let missing = folder.path().join("missing");
    let values: [&OsStr; 8] = [
        "".as_ref(),
        ".".as_ref(),
        "relative/folder".as_ref(),
        long.as_ref(),
        bytes.as_ref(),
        missing.as_ref(),
        "/proc".as_ref(),
        folder.path().as_ref(),
    ];
    for value in values {
        for variable in ["TMPDIR", "XDG_RUNTIME_DIR"] {
            let program = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "a_manager_starts_wherever_the_folder_for_temporary_files_is_said_to_be"])
                .env_remove("XDG_RUNTIME_DIR")
                .env(IS_EXECUTED, "")
                .env(variable, value)
                .output()
                .unwrap();
            assert!(program.status.success(), "{variable}={value:?}: {program:?}");
        }
    }
}

/// In the other namespace, this process has no id. Its server looks as it does before it listens.
fn a_server_of_another_pid_namespace_keeps_its_folder() {
    with_manager(|manager| {
        let place = Place::of(manager);
        let elsewhere = tempfile::tempdir_in(place.folder().parent().unwrap()).unwrap();
        let hidden = elsewhere.path().join("socket");
        std::fs::rename(&place.socket, &hidden).unwrap();
        let child = match spawn_in_new_pid_namespace(|| Manager::start().unwrap().shutdown().unwrap()) {
            Ok(child) => child,
            Err(reason) => {
                std::fs::rename(&hidden, &place.socket).unwrap();
                skip(&reason)
            }
        };
        succeeded(&child);
        std::fs::rename(&hidden, &place.socket).unwrap();
        assert_eq!(Manager::connect(&manager.address().unwrap()).unwrap().names(), Ok(vec![]));
    });
}

fn managers_start_at_the_same_time_in_two_pid_namespaces() {
    let starts = || (0..20).for_each(|_| Manager::start().unwrap().shutdown().unwrap());
    let outside = spawn(starts);
    let inside = spawn_in_new_pid_namespace(starts);
    succeeded(&outside);
    match inside {
        Ok(inside) => succeeded(&inside),
        Err(reason) => skip(&reason),
    }
}

/// The server has lost its parent, and cannot notice that. Its folder belongs to nobody but the server.
fn a_stopped_server_with_a_full_queue_delays_no_other() {
    set_child_subreaper(Some(getpid())).unwrap();
    let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let parent = spawn(|| {
        let manager = Manager::start().unwrap();
        rustix::io::write(&writing, manager.address().unwrap().as_bytes()).unwrap();
        hang();
    });
    let mut address = [0; 200];
    let len = rustix::io::read(&reading, &mut address).unwrap();
    let address = String::from_utf8(address[..len].to_vec()).unwrap();
    let place = Place::at(&address);
    place.signal(Signal::STOP);
    kill(&parent);
    let mut waiting = Vec::new();
    let path = SocketAddrUnix::new(&place.socket).unwrap();
    let is_full = loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        match connect(&socket, &path) {
            Ok(()) if waiting.len() < 8_192 => waiting.push(socket),
            outcome => break outcome == Err(rustix::io::Errno::AGAIN),
        }
    };
    assert!(is_full, "the queue is never full");
    // This start sweeps.
    with_manager(|manager| assert_eq!(manager.names(), Ok(vec![])));
    assert!(place.folder().exists(), "the server lives");
    let late = Manager::builder().timeout(Duration::from_millis(100)).connect(&address);
    assert!(matches!(late, Err(ReachError::Connect { error: ConnectError::TimedOut, .. })), "{late:?}");
    let second = Manager::builder().path(&place.socket).start();
    assert!(matches!(second, Err(StartError::Bind(_))), "{second:?}");
    drop(waiting);
    place.signal(Signal::KILL);
    assert!(waitid(WaitId::Pid(place.server), WaitIdOptions::EXITED).unwrap().is_some());
    with_manager(|_| assert!(!place.folder().exists(), "the next start sweeps it"));
}

/// Many processes start a server at one path, where a killed one has left its socket, again and again.
fn a_path_has_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manager.sock");
    for _ in 0..10 {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (held, hold) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let starters = [(); 4].map(|()| {
            spawn(|| {
                let started = Manager::builder().path(&path).key("key").timeout(PATIENCE).start();
                rustix::io::write(&writing, &[u8::from(started.is_ok())]).unwrap();
                assert!(matches!(&started, Ok(_) | Err(StartError::Bind(_))), "{started:?}");
                // The server stays until all have tried.
                assert_eq!(rustix::io::read(&held, &mut [0]), Ok(1));
                started.map_or(Ok(()), |manager| manager.shutdown()).unwrap();
            })
        });
        let mut results = [0; 4];
        results.iter_mut().for_each(|result| {
            assert_eq!(rustix::io::read(&reading, std::slice::from_mut(result)), Ok(1));
        });
        assert_eq!(rustix::io::write(&hold, &[0; 4]), Ok(4));
        starters.iter().for_each(succeeded);
        assert_eq!(results.iter().sum::<u8>(), 1, "one server listens");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
    }
}
