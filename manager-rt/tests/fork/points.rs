//! Servers that outlive their starters, and their snapshots, with a process that is killed at every step (feature
//! `crash-points`).

use std::path::Path;

use manager_rt::{CallError, Fault, Manager};
use mp_sys::crash;
use mp_sys::testing::{PATIENCE, ended, spawn, tests};
use rustix::process::{Signal, getpid, set_child_subreaper};

use crate::outliving::end;

tests! {
    a_process_that_writes_a_snapshot_is_killed_at_every_step,
    those_that_start_a_server_are_killed_at_every_step,
    a_process_that_saves_at_the_end_is_killed_at_every_step,
}

fn restored(file: &Path) -> Manager {
    Manager::builder().restore(file).start().unwrap()
}

fn a_process_that_writes_a_snapshot_is_killed_at_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manager.snapshot");
    let first = Manager::start().unwrap();
    first.named("value").value(&1_u8).unwrap();
    first.snapshot(&file).unwrap();
    first.shutdown().unwrap();
    for step in 1.. {
        // The server, and then the process that it forks to write.
        crash::descendant_dies_at(2, step);
        let manager = restored(&file);
        crash::die_at(0);
        let value = manager.named("value").value(&0_u8).unwrap();
        value.set(&2).unwrap();
        let outcome = manager.snapshot(&file);
        let saved = restored(&file);
        let found = saved.named("value").value(&0_u8).unwrap().get().unwrap();
        saved.shutdown().unwrap();
        if outcome.is_ok() {
            assert!(step > 5, "there are steps at which it is killed");
            assert_eq!(found, 2);
            manager.shutdown().unwrap();
            break;
        }
        let error = outcome.unwrap_err().error;
        let killed = -Signal::KILL.as_raw();
        assert_eq!(error, CallError::Fault(Fault::NotSaved { errno: killed }));
        // After the last step, nobody hears that the file is new.
        assert!(matches!(found, 1 | 2), "{found}");
        value.set(&1).unwrap();
        manager.snapshot(&file).unwrap();
        manager.shutdown().unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

/// More steps than there are. The server then saves by itself.
fn a_process_that_saves_at_the_end_is_killed_at_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manager.snapshot");
    for step in 1..12_u32 {
        // The server, and then the process that it forks to write.
        crash::descendant_dies_at(2, step.into());
        let manager = Manager::builder().keep(&file).start().unwrap();
        crash::die_at(0);
        assert_eq!(manager.named("value").value(&0_u32).unwrap().fetch_add(1).unwrap() + 1, step);
        manager.shutdown().unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

/// Kills the starter, and the process in between, at each of their steps.
fn those_that_start_a_server_are_killed_at_every_step() {
    set_child_subreaper(Some(getpid())).unwrap();
    for starts in [0, 1] {
        for step in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("manager.sock");
            let builder = || Manager::builder().path(&path).timeout(PATIENCE);
            let (reading, writing) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            let starter = spawn(|| {
                crash::descendant_dies_at(starts, step);
                let started = builder().connect_or_start();
                crash::die_at(0);
                rustix::io::write(&writing, &[u8::from(started.is_ok())]).unwrap();
            });
            let _either = ended(&starter);
            drop(writing);
            let mut told = [0];
            let is_over = rustix::io::read(&reading, &mut told) == Ok(1) && told == [1];
            let manager = builder().connect_or_start().unwrap();
            assert_eq!(manager.names(), Ok(vec![]));
            end(&manager, folder.path());
            if is_over {
                assert!(step > 3, "there are steps at which it is killed");
                break;
            }
        }
    }
}
