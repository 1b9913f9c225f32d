//! Programs that meet a server while it saves its objects for the last time.

use std::fs;
use std::path::Path;
use std::time::Duration;

use manager_rt::{CallError, ConnectError, Fault, Manager, ManagerBuilder, ReachError};
use mp_sys::deadline::Deadline;
use mp_sys::testing::{PATIENCE, eventually, spawn, succeeded, tests};
use rustix::process::{Signal, getpid, kill_process, set_child_subreaper};

use crate::fixture::Place;
use crate::keeping::stop_child_of;
use crate::outliving::reap_all;

tests! {
    whoever_meets_a_server_that_ends_is_told_and_a_starter_waits_for_the_next_one,
}

fn keeping(path: &Path, file: &Path) -> ManagerBuilder {
    Manager::builder().path(path).keep(file).timeout(PATIENCE)
}

fn whoever_meets_a_server_that_ends_is_told_and_a_starter_waits_for_the_next_one() {
    set_child_subreaper(Some(getpid())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("manager.sock"), folder.path().join("file"));
    let first = keeping(&path, &file).connect_or_start().unwrap();
    let server = Place::of(&first).server;
    first.named("list").list::<Vec<u8>>().unwrap().extend(&vec![vec![1; 100_000]; 200]).unwrap();
    // The server waits for the process that writes this one, and then saves.
    let (saver, writer) = loop {
        let saver = spawn(|| drop(first.snapshot(&file)));
        let is_over = || matches!(saver.wait(Deadline::after(Duration::ZERO)), Ok(Some(_)));
        match stop_child_of(server, is_over) {
            Some(writer) => break (saver, writer),
            None => succeeded(&saver),
        }
    };
    let address = first.address().unwrap();
    let ending = spawn(|| first.shutdown().unwrap());
    eventually("it refuses", || match Manager::connect(&address) {
        Ok(_) => false,
        Err(ReachError::Connect { error, .. }) => {
            assert_eq!(error, ConnectError::Refused(Fault::Ending));
            true
        }
        Err(error) => panic!("{error}"),
    });
    // A forked child has no connection yet.
    succeeded(&spawn(|| assert_eq!(first.names(), Err(CallError::ServerGone))));
    let starter = spawn(|| {
        let next = keeping(&path, &file).connect_or_start().unwrap();
        assert_eq!(next.named("list").list::<Vec<u8>>().unwrap().len(), Ok(200));
    });
    kill_process(writer, Signal::CONT).unwrap();
    [saver, ending, starter].iter().for_each(succeeded);
    let next = keeping(&path, &file).connect_or_start().unwrap();
    assert_eq!(next.names(), Ok(vec!["list".to_owned()]));
    let ended = next.shutdown();
    assert!(matches!(ended, Ok(()) | Err(CallError::OutcomeUnknown)), "{ended:?}");
    reap_all();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}
