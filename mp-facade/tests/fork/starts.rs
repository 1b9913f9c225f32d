//! When a child starts, when the start is refused, and what happens to output.

use std::io::{Read, Seek, Write};

use mp::{ForkError, Lock, Process, Value};
use mp_sys::memory::make_memfd;
use mp_sys::testing::tests;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::METHODS;

tests! {
    refused_beside_another_thread,
    refused_while_a_guard_is_held,
    output_is_printed_once_and_not_lost,
    no_descriptor_left,
    many_children_at_once,
    a_file_size_limit_kills_nobody,
    a_file_size_limit_is_named_by_everything,
    no_descriptor_is_inherited_by_accident,
    a_payload_that_panics_again,
}

fn refused_beside_another_thread() {
    std::thread::scope(|scope| {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        std::thread::Builder::new().spawn_scoped(scope, move || held.recv()).unwrap();
        assert_eq!(mp::fork(|| ()).unwrap_err(), ForkError::OtherThreads(1));
        drop(hold);
    });
    assert_eq!(mp::fork(|| 1).unwrap().join(), Ok(1));
}

fn refused_while_a_guard_is_held() {
    let value = Value::new(1).unwrap();
    let lock = Lock::new().unwrap();
    let (guard, held) = (value.lock().unwrap(), lock.lock().unwrap());
    let refused = mp::fork(|| ()).unwrap_err();
    assert_eq!(refused, ForkError::GuardHeld(2));
    assert_eq!(refused.to_string(), "fork while the calling thread holds 2 lock(s): drop the guards first");
    drop(guard);
    assert_eq!(mp::fork(|| ()).unwrap_err(), ForkError::GuardHeld(1));
    drop(held);
    assert_eq!(mp::fork(|| 1).unwrap().join(), Ok(1));
}

/// Both processes must not write what is in stdout's buffer at the fork, and a child's output must be written at its end.
#[expect(clippy::print_stdout, reason = "the case")]
fn output_is_printed_once_and_not_lost() {
    let mut file = std::fs::File::from(make_memfd().unwrap());
    let kept = rustix::io::dup(rustix::stdio::stdout()).unwrap();
    std::io::stdout().flush().unwrap();
    rustix::stdio::dup2_stdout(&file).unwrap();
    print!("before ");
    let child = mp::fork(|| print!("child ")).unwrap();
    child.join().unwrap();
    print!("after");
    std::io::stdout().flush().unwrap();
    rustix::stdio::dup2_stdout(&kept).unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before child after");
}

fn no_descriptor_left() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: limit.maximum }).unwrap();
    let refused = mp::fork(|| ()).map(|child| child.pid());
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(refused, Err(ForkError::OutOfDescriptors));
    assert_eq!(mp::fork(|| 1).unwrap().join(), Ok(1));
}

fn many_children_at_once() {
    let children: Vec<mp::Child<usize>> = (0..200).map(|n| mp::fork(|| n * n).unwrap()).collect();
    for (n, child) in children.iter().enumerate() {
        assert_eq!(child.join(), Ok(n * n));
    }
}

/// Writing beyond RLIMIT_FSIZE raises SIGXFSZ, which kills the process, so the library never writes beyond it.
fn a_file_size_limit_kills_nobody() {
    let limit = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(1 << 20), maximum: limit.maximum }).unwrap();
    let children: Vec<mp::Child<u32>> = (0..10).map(|n| mp::fork(|| n).unwrap()).collect();
    for (n, child) in (0..).zip(&children) {
        assert_eq!(child.join(), Ok(n));
    }
    let large = mp::fork(|| "x".repeat(1 << 20)).unwrap();
    assert!(matches!(large.join(), Err(mp::ExitError::NoSpaceForResult { .. })));
    let fits = mp::fork(|| "x".repeat(1 << 19)).unwrap();
    assert_eq!(fits.join().map(|text| text.len()), Ok(1 << 19));
    setrlimit(Resource::Fsize, limit).unwrap();
    assert_eq!(mp::fork(|| 5).unwrap().join(), Ok(5));
}

/// Each operation that needs a file returns the limit that it has met, at every limit from 0 on.
fn a_file_size_limit_is_named_by_everything() {
    use mp::{Array, Queue, manager::Manager, named, pipe};
    let unlimited = getrlimit(Resource::Fsize);
    let long = vec![1_u8; 1 << 20];
    let length = |bytes: Vec<u8>| bytes.len();
    // A small message or argument needs no file.
    for limit in [0, 8, 15, 16, 4095] {
        setrlimit(Resource::Fsize, Rlimit { current: Some(limit), maximum: unlimited.maximum }).unwrap();
        let (tx, rx) = pipe::<Vec<u8>>().unwrap();
        let mut said = vec![
            Value::new(1).map(drop).unwrap_err().to_string(),
            Array::<u8>::zeroed(4 << 20).map(drop).unwrap_err().to_string(),
            Queue::<u8>::new().map(drop).unwrap_err().to_string(),
            Value::create("fsize", 1_u8).map(drop).unwrap_err().to_string(),
            tx.send(&long).unwrap_err().to_string(),
            Process::new().start(length, &long).unwrap_err().to_string(),
        ];
        match Manager::start() {
            Err(error) => said.push(error.to_string()),
            // Long values travel through a stream.
            Ok(manager) => {
                let values = manager.dict::<u8, Vec<u8>>().unwrap();
                values.insert(&1, &long).unwrap();
                assert_eq!(values.get(&1).as_ref(), Ok(&Some(long.clone())), "{limit}");
                drop(values);
                manager.shutdown().unwrap();
            }
        }
        for method in METHODS {
            let small = Process::new().method(method).start(length, vec![1; 3]);
            match small {
                Err(error) if limit < 16 => said.push(error.to_string()),
                // It has room for a header, and for no value.
                other => said.push(
                    other
                        .unwrap()
                        .join()
                        .map_or_else(|error| error.to_string(), |len| format!("{len} RLIMIT_FSIZE")),
                ),
            }
        }
        setrlimit(Resource::Fsize, unlimited).unwrap();
        for text in said {
            assert!(text.contains("RLIMIT_FSIZE"), "{limit}: {text}");
        }
        tx.send(&vec![1]).unwrap();
        assert_eq!(rx.recv(), Ok(vec![1]));
        assert!(named::names().iter().all(|name| name != "fsize"));
    }
    mp::release_unused_memory();
}

/// Each generation has as many descriptors as the one before, and the handle of its child.
fn no_descriptor_is_inherited_by_accident() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    mp::fork(|| ()).unwrap().join().unwrap();
    let here = count();
    let there = mp::fork(count).unwrap().join().unwrap();
    assert_eq!(there, here);
}

fn a_payload_that_panics_again() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::panic_any(Self);
        }
    }
    std::panic::set_hook(Box::new(|_| {}));
    let child = mp::fork(|| -> () { std::panic::panic_any(Bomb) }).unwrap();
    assert!(child.join().is_err(), "the child ended, and did not go on in this test's frames");
}
