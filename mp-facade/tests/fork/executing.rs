//! The program's file, for the methods that execute it: replaced, of another build, another program, or not permitted.
//!
//! A test that changes the file runs in a copy of this test program. It makes the copy and starts it with the same test,
//! which finds a word in its environment.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use mp::{
    Child, ChildError, ExitError, Lock, Method, NameError, Process, Receiver, RecvError, Refusal, Semaphore,
    Sender, StartError, Value, pipe,
};
use mp_sys::testing::mounts::{Exec, cover, enter_new_namespace, permit_exec, uncover};
use mp_sys::testing::{
    PATIENCE, forbid_exec, forbid_linking_descriptors, forbid_unshare, forbid_wiping, skip, tests,
};

use crate::METHODS;
use crate::processes::with_orphans;

tests! {
    a_program_that_was_replaced_runs_as_it_was,
    another_build_runs_nothing,
    another_program_does_not_run_the_worker,
    a_file_that_is_no_program,
    a_file_system_without_programs,
    a_system_without_proc,
    names_without_proc_or_without_their_folder,
    a_sandbox_without_exec,
    a_sandbox_without_pages_that_a_fork_wipes,
}

/// The methods that execute the program.
const EXECUTING: [Method; 2] = [Method::Spawn, Method::ForkServer];
/// The environment variable that is set in the copy.
const IN_COPY: &str = "MP_TEST_IN_COPY";

fn say(tell: Sender<u8>) -> u8 {
    tell.send(&1).unwrap();
    7
}

/// Starts a worker, and returns the receiver of its messages, which ends when no such worker is left.
fn start(method: Method) -> (Result<Child<u8>, StartError>, Receiver<u8>) {
    let (tell, told) = pipe::<u8>().unwrap();
    (Process::new().method(method).start(say, tell), told)
}

#[track_caller]
fn works(method: Method) {
    let (child, told) = start(method);
    assert_eq!(child.unwrap().join_timeout(PATIENCE), Ok(Some(7)), "{method:?}");
    assert_eq!(told.recv(), Ok(1));
}

/// Checks that the worker ran nowhere.
#[track_caller]
fn was_not_run(told: &Receiver<u8>) {
    assert_eq!(told.recv_timeout(PATIENCE), Err(RecvError::Closed));
    assert!(mp::active_children().is_empty());
}

#[track_caller]
fn is_not_executable(method: Method) {
    let (refused, told) = start(method);
    let refused = refused.unwrap_err();
    assert!(matches!(refused, StartError::NotExecutable(_)), "{method:?}: {refused:?}");
    let text = refused.to_string();
    assert!(text.starts_with("the program cannot be executed again: "), "{text}");
    was_not_run(&told);
}

fn own_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Runs this test in a copy of the program in the folder. Returns `true` in the copy, and `false` when the copy has ended.
fn is_copy(test: &str, folder: &Path) -> bool {
    if std::env::var_os(IN_COPY).is_some() {
        return true;
    }
    let copy = folder.join("copy");
    std::fs::copy(own_program(), &copy).unwrap();
    let status = Command::new(copy).args(["--exact", test]).env(IN_COPY, "1").status().unwrap();
    assert!(status.success(), "in the copy: {status}");
    false
}

/// Runs in a separate process, with mounts that only it sees.
fn with_own_mounts(test: impl FnOnce()) {
    let child = mp::fork(|| {
        enter_new_namespace()?;
        test();
        with_orphans(mp::release_unused_memory);
        Ok::<(), String>(())
    });
    if let Err(why) = child.unwrap().join().unwrap() {
        skip(why);
    }
}

fn a_program_that_was_replaced_runs_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    if !is_copy("a_program_that_was_replaced_runs_as_it_was", folder.path()) {
        return;
    }
    let program = own_program();
    let other = folder.path().join("other");
    std::fs::copy("/bin/true", &other).unwrap();
    std::fs::rename(&other, &program).unwrap();
    EXECUTING.into_iter().for_each(works);
    std::fs::remove_file(&program).unwrap();
    EXECUTING.into_iter().for_each(works);
    mp::release_unused_memory();
    // The server that starts now never saw the file under its name.
    EXECUTING.into_iter().for_each(works);
    mp::release_unused_memory();
}

/// The same code at the same places, so that only the id shows that it is another build.
fn other_build(folder: &Path) -> PathBuf {
    let mut bytes = std::fs::read(own_program()).unwrap();
    // The header of the note, with the length of the id left out.
    let is_note = |note: &[u8]| {
        note.starts_with(&[4, 0, 0, 0])
            && note.get(5..) == Some(&[0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0][..])
    };
    let notes: Vec<usize> =
        bytes.windows(16).enumerate().filter(|(_, note)| is_note(note)).map(|(at, _)| at).collect();
    // A program without an id is identified by its file, and this is another one.
    for at in notes {
        bytes[at + 16] ^= 1;
    }
    let path = folder.join("other_build");
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// Lets /proc/self/exe lead to another file, which no system does.
fn with_program(other: &Path, test: impl FnOnce()) {
    let proc = Path::new("/proc");
    cover(proc).unwrap();
    std::fs::create_dir("/proc/self").unwrap();
    symlink(other, "/proc/self/exe").unwrap();
    test();
    uncover(proc).unwrap();
}

fn another_build_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let other = other_build(folder.path());
    with_own_mounts(|| {
        with_program(&other, || {
            let (child, told) = start(Method::Spawn);
            let child = child.unwrap();
            assert_eq!(child.join_timeout(PATIENCE), Err(ExitError::NotRun(Refusal::OtherImage)));
            let text = "the child did not run its worker: the child is of another build of the program";
            assert_eq!(child.join().unwrap_err().to_string(), text);
            was_not_run(&told);
            for _ in 0..2 {
                let (refused, told) = start(Method::ForkServer);
                assert_eq!(refused.unwrap_err(), StartError::ServerRefused(Refusal::OtherImage));
                was_not_run(&told);
            }
        });
        METHODS.into_iter().for_each(works);
    });
}

fn another_program_does_not_run_the_worker() {
    with_own_mounts(|| {
        with_program(Path::new("/bin/true"), || {
            let (child, told) = start(Method::Spawn);
            assert_eq!(child.unwrap().join_timeout(PATIENCE), Err(ExitError::Exited(0)));
            was_not_run(&told);
            let (refused, told) = start(Method::ForkServer);
            assert_eq!(refused.unwrap_err(), StartError::ServerLost);
            was_not_run(&told);
        });
        METHODS.into_iter().for_each(works);
    });
}

fn a_file_that_is_no_program() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "no program\n").unwrap();
    with_own_mounts(|| {
        // First, nobody may execute it, not even root. Then it has no format that the kernel knows.
        with_program(&text, || EXECUTING.into_iter().for_each(is_not_executable));
        std::fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        with_program(&text, || EXECUTING.into_iter().for_each(is_not_executable));
        METHODS.into_iter().for_each(works);
    });
}

fn a_file_system_without_programs() {
    let folder = tempfile::tempdir().unwrap();
    if std::env::var_os(IN_COPY).is_some() {
        let mounted = own_program().parent().unwrap().to_path_buf();
        for exec in [Exec::Forbidden, Exec::Permitted, Exec::Forbidden, Exec::Permitted] {
            permit_exec(&mounted, exec).unwrap();
            match exec {
                Exec::Forbidden => {
                    EXECUTING.into_iter().for_each(is_not_executable);
                    works(Method::Fork);
                }
                Exec::Permitted => METHODS.into_iter().for_each(works),
            }
            mp::release_unused_memory();
        }
        return;
    }
    with_own_mounts(|| {
        cover(folder.path()).unwrap();
        assert!(!is_copy("a_file_system_without_programs", folder.path()));
        uncover(folder.path()).unwrap();
    });
}

fn a_system_without_proc() {
    with_own_mounts(|| {
        let proc = Path::new("/proc");
        cover(proc).unwrap();
        EXECUTING.into_iter().for_each(is_not_executable);
        works(Method::Fork);
        uncover(proc).unwrap();
        METHODS.into_iter().for_each(works);
        // Nor unshare(2): threads cannot be counted.
        cover(proc).unwrap();
        if forbid_unshare().is_ok() {
            let (refused, told) = start(Method::Fork);
            let is_unknown = matches!(refused, Err(StartError::Fork(mp::ForkError::ThreadsUnknown(_))));
            assert!(is_unknown, "{refused:?}");
            was_not_run(&told);
            uncover(proc).unwrap();
            works(Method::Fork);
        }
    });
}

fn names_without_proc_or_without_their_folder() {
    with_own_mounts(|| {
        let name = format!("without-proc-{}", mp::current_process().pid());
        let create = || Value::create(&name, 7).map(drop);
        cover(Path::new("/proc")).unwrap();
        // The kernel may give the name without it.
        let named = Value::create(&name, 7);
        match &named {
            Ok(value) => assert_eq!(Value::<i32>::open(&name).unwrap().get(), value.get()),
            Err(error) => assert_eq!(*error, NameError::NoProc),
        }
        drop(named);
        forbid_linking_descriptors().unwrap();
        assert_eq!(create(), Err(NameError::NoProc));
        uncover(Path::new("/proc")).unwrap();
        assert_eq!(create(), Ok(()));
        cover(Path::new("/dev")).unwrap();
        assert_eq!(create(), Err(NameError::NoFolder));
        uncover(Path::new("/dev")).unwrap();
        assert_eq!(create(), Ok(()));
    });
}

fn a_sandbox_without_exec() {
    let child = mp::fork(|| {
        // A server that was there before goes on.
        works(Method::ForkServer);
        forbid_exec()?;
        works(Method::Fork);
        works(Method::ForkServer);
        is_not_executable(Method::Spawn);
        with_orphans(mp::release_unused_memory);
        EXECUTING.into_iter().for_each(is_not_executable);
        works(Method::Fork);
        Ok::<(), String>(())
    });
    if let Err(why) = child.unwrap().join().unwrap() {
        skip(why);
    }
    METHODS.into_iter().for_each(works);
    mp::release_unused_memory();
}

/// Returns whether forked children are recognised, in a process whose first look finds no page that a fork wipes.
fn knows_its_forks(lock: Lock) -> bool {
    let permits = Semaphore::new(1).unwrap();
    let _permit = permits.acquire();
    let sibling = mp::fork(|| 1).unwrap();
    let child = mp::fork(|| {
        // The permit and the child of its parent are not its own.
        let is_taken = permits.try_acquire().is_err();
        let grandchild = mp::fork(|| sibling.join() == Err::<i32, _>(ChildError::NotParent.into())).unwrap();
        let _held = lock.lock().unwrap();
        is_taken && sibling.join() == Err(ChildError::NotParent.into()) && grandchild.join().unwrap()
    });
    child.unwrap().join().unwrap() && sibling.join() == Ok(1) && lock.lock().is_ok()
}

fn a_sandbox_without_pages_that_a_fork_wipes() {
    let child = mp::fork(|| {
        forbid_wiping()?;
        let lock = Lock::new().unwrap();
        // This process has already looked. A program that it executes looks for the first time.
        for method in EXECUTING {
            let worker = Process::new().method(method).start(knows_its_forks, &lock).unwrap();
            assert_eq!(worker.join(), Ok(true), "{method:?}");
        }
        with_orphans(mp::release_unused_memory);
        Ok::<(), String>(())
    });
    if let Err(why) = child.unwrap().join().unwrap() {
        skip(why);
    }
}
