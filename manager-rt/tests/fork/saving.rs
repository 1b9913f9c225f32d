//! When a server saves the objects that it keeps, and who hears of it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use manager_rt::{Manager, Server};
use mp_sys::child::Ended;
use mp_sys::testing::{Argument, FSYNC, ended, eventually, refuse, skip, spawn, succeeded, tests};
use rustix::io::Errno;

use crate::keeping::{keeping, not_saved};

tests! {
    a_started_server_saves_at_intervals,
    clients_that_ask_again_and_again_do_not_prevent_the_saves_at_intervals,
    whoever_ends_a_server_hears_whether_it_has_saved,
    the_file_and_then_its_folder_are_written_through_to_the_disk,
    a_report_says_when_the_objects_were_saved_and_how_often_they_could_not_be,
}

fn a_report_says_when_the_objects_were_saved_and_how_often_they_could_not_be() {
    let folder = tempfile::tempdir().unwrap();
    let (inner, file) = (folder.path().join("inner"), folder.path().join("inner/file"));
    let manager = Manager::builder().keep(&file).keep_every(Duration::from_millis(1)).start().unwrap();
    let saves =
        || manager.report().map(|report| (report.server.failed_saves, report.server.last_save)).unwrap();
    assert_eq!(saves(), (0, None), "nothing has changed");
    let value = manager.named("value").value(&1_u8).unwrap();
    eventually("a save has failed", || saves().0 > 0);
    assert_eq!(saves().1, None);
    fs::create_dir(&inner).unwrap();
    value.set(&2).unwrap();
    eventually("a save has not failed", || saves().1.is_some());
    manager.shutdown().unwrap();
}

/// Not only the program that has started it, which learns it from the end of the process.
fn whoever_ends_a_server_hears_whether_it_has_saved() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let of_another = |manager: &Manager| {
        let address = manager.address().unwrap();
        move || Manager::connect(&address).unwrap().shutdown()
    };
    let manager = keeping(&file).unwrap();
    let shutdown = of_another(&manager);
    let saved = spawn(|| {
        manager.named("value").value(&1_u8).unwrap();
        assert_eq!(shutdown(), Ok(()));
        assert!(file.exists(), "it is saved by now");
    });
    succeeded(&saved);
    // The server answers before it ends.
    let _ended = manager.shutdown();
    let manager = keeping(&folder.path().join("missing/file")).unwrap();
    let shutdown = of_another(&manager);
    succeeded(&spawn(|| assert_eq!(shutdown(), Err(not_saved(Errno::NOENT)))));
    let _ended = manager.shutdown();
}

fn a_started_server_saves_at_intervals() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let manager = Manager::builder().keep(&file).keep_every(Duration::from_millis(1)).start().unwrap();
    manager.named("value").value(&1_u8).unwrap();
    eventually("it is saved", || file.exists());
    manager.shutdown().unwrap();
}

/// So many snapshots of another file are asked for that one is always in work, and others wait.
fn clients_that_ask_again_and_again_do_not_prevent_the_saves_at_intervals() {
    let folder = tempfile::tempdir().unwrap();
    let (file, other) = (folder.path().join("file"), folder.path().join("other"));
    let manager = Manager::builder().keep(&file).keep_every(Duration::from_millis(1)).start().unwrap();
    manager.named("list").list::<Vec<u8>>().unwrap().extend(&vec![vec![1; 100_000]; 20]).unwrap();
    let is_over = manager.event().unwrap();
    let asking = spawn(|| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let ask = || while !is_over.is_set().unwrap() && manager.snapshot(&other).is_ok() {};
                std::thread::Builder::new().spawn_scoped(scope, ask).unwrap();
            }
        });
    });
    eventually("they ask", || other.exists());
    let value = manager.named("value").value(&1_u8).unwrap();
    drop(fs::remove_file(&file));
    value.set(&2).unwrap();
    eventually("it is saved at an interval", || file.exists());
    is_over.set().unwrap();
    succeeded(&asking);
    manager.shutdown().unwrap();
}

/// More than such a server has.
const DESCRIPTORS: u32 = 24;

/// A server ends whose fsync(2) of the descriptor with this number fails, and that of its children. Returns whether it has
/// saved, and whether the file is a new one.
fn end_without_fsync_of(number: u32) -> (bool, bool) {
    let folder = tempfile::tempdir().unwrap();
    let (file, socket) = (folder.path().join("file"), folder.path().join("socket"));
    let save = || {
        let server = Server::builder().keep(&file).bind(&socket).unwrap();
        server.stopper().stop();
        server
    };
    save().serve().unwrap();
    let before = fs::metadata(&file).unwrap().ino();
    // As long as it has this name, no new file gets its number.
    fs::hard_link(&file, folder.path().join("before")).unwrap();
    let child = spawn(|| {
        let server = save();
        refuse(FSYNC, &[Argument::Is(0, number)], Errno::IO.raw_os_error()).unwrap();
        if server.serve().is_ok() {
            fs::write(folder.path().join("saved"), "").unwrap();
        }
    });
    succeeded(&child);
    (folder.path().join("saved").exists(), fs::metadata(&file).unwrap().ino() != before)
}

/// One of the descriptors is that of the new file, and one is that of the folder.
fn the_file_and_then_its_folder_are_written_through_to_the_disk() {
    if ended(&spawn(|| refuse(FSYNC, &[Argument::Is(0, 0)], Errno::IO.raw_os_error()).unwrap()))
        != Ended::Exited(0)
    {
        skip("the kernel has no filters of system calls");
    }
    let outcomes: Vec<_> = (3..3 + DESCRIPTORS).map(end_without_fsync_of).collect();
    let count = |outcome| outcomes.iter().filter(|other| **other == outcome).count();
    assert_eq!(count((false, false)), 1, "the file, before it has its name: {outcomes:?}");
    assert_eq!(count((false, true)), 1, "the folder, after that: {outcomes:?}");
    assert_eq!(count((true, true)), outcomes.len() - 2, "{outcomes:?}");
}
