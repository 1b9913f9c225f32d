//! Which functions can be workers, how they can end, and the state of their process.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;

use mp::{ExitError, Lock, StartError};
use mp_sys::testing::hang;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn twice(number: u64) -> u64 {
    2 * number
}

fn in_text<T: Debug>(value: T) -> String {
    format!("{value:?}")
}

fn text_of<T: Debug + Serialize + DeserializeOwned>(value: T) -> String {
    mp::spawn(in_text::<T>, value).unwrap().join().unwrap()
}

#[test]
fn functions_generic_ones_and_closures_that_capture_nothing() {
    assert_eq!(mp::spawn(twice, 21).unwrap().join(), Ok(42));
    assert_eq!(text_of(Some(1_u8)), "Some(1)");
    assert_eq!(text_of(("a".to_owned(), 2.5)), r#"("a", 2.5)"#);
    assert_eq!(text_of(BTreeMap::from([(1, vec![()])])), "{1: [()]}");
    assert_eq!(mp::spawn(|n: i32| -n, 5).unwrap().join(), Ok(-5));
    assert_eq!(mp::spawn(|()| (), ()).unwrap().join(), Ok(()));
}

fn fails(how: String) -> Result<u32, String> {
    std::panic::set_hook(Box::new(|_| {}));
    match how.as_str() {
        "error" => Err(how),
        "panic" => panic!("on {}", "purpose"),
        "large panic" => panic!("{}", "x".repeat(mp::PANIC_MESSAGE_BYTES_MAX + 1)),
        "exit" => leave(),
        _ => hang(),
    }
}

#[expect(clippy::exit, reason = "the case")]
fn leave() -> ! {
    std::process::exit(125)
}

#[test]
fn every_way_to_end() {
    let end = |how: &str| mp::spawn(fails, how.to_owned()).unwrap().join();
    assert_eq!(end("error"), Ok(Err("error".to_owned())));
    assert_eq!(end("panic"), Err(ExitError::Panicked("on purpose".to_owned())));
    assert_eq!(end("large panic"), Err(ExitError::Panicked("x".repeat(mp::PANIC_MESSAGE_BYTES_MAX))));
    assert_eq!(end("exit"), Err(ExitError::Exited(125)));
    let child = mp::spawn(fails, String::new()).unwrap();
    assert_eq!((child.is_alive(), child.try_join()), (Ok(true), Ok(None)));
    child.terminate().unwrap();
    assert_eq!(child.join(), Err(ExitError::Signaled(15)));
}

/// Arguments, descriptors, threads and stdin.
fn surroundings((): ()) -> (Vec<String>, Vec<String>, usize) {
    let files = fs::read_dir("/proc/self/fd").unwrap().map(|file| file.unwrap().path());
    let targets = files.filter_map(|file| Some(fs::read_link(file).ok()?.display().to_string()));
    let threads = fs::read_dir("/proc/self/task").unwrap().count();
    (std::env::args().collect(), targets.collect(), threads)
}

#[test]
fn the_child_begins_afresh() {
    let _bystander = mp::pipe::<u8>().unwrap();
    let lock = Lock::new().unwrap();
    let guard = lock.lock().unwrap();
    let (arguments, files, threads) = mp::spawn(surroundings, ()).unwrap().join().unwrap();
    drop(guard);
    assert!(arguments[0].contains(": mp "), "{arguments:?}");
    assert_eq!(arguments[1..], std::env::args().skip(1).collect::<Vec<_>>());
    assert!(!files.iter().any(|file| file.starts_with("socket:")), "{files:?}");
    assert_eq!((threads, files[0].as_str()), (1, "/dev/null"));
}

fn sum_of_both_halves(numbers: Vec<u64>) -> u64 {
    if numbers.len() < 2 {
        return numbers.iter().sum();
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    let children = [left, right].map(|half| mp::spawn(sum_of_both_halves, half.to_vec()).unwrap());
    children.map(|child| child.join().unwrap()).iter().sum()
}

#[test]
fn a_spawned_child_spawns_and_forks() {
    assert_eq!(mp::spawn(sum_of_both_halves, vec![1, 2, 3, 4]).unwrap().join(), Ok(10));
    assert_eq!(mp::spawn(|n: u8| mp::fork(|| n + 1).unwrap().join().unwrap(), 1).unwrap().join(), Ok(2));
}

#[test]
fn many_threads_spawn_at_once() {
    std::thread::scope(|scope| {
        for number in 0..8 {
            let spawn = move || assert_eq!(mp::spawn(twice, number).unwrap().join(), Ok(2 * number));
            std::thread::Builder::new().spawn_scoped(scope, spawn).unwrap();
        }
    });
}

/// A `#[test]` is never on the main thread.
#[test]
fn any_thread_can_start_a_child_that_dies_with_the_process() {
    let process = mp::Process::new().die_with_parent(true);
    assert_eq!(process.start(twice, 1).unwrap().join(), Ok(2));
}

#[test]
fn errors_say_what_to_do() {
    let texts = [StartError::NotInProgram, StartError::Name].map(|error| error.to_string());
    assert_eq!(texts[0], "the worker is in a shared library: start a function of the program that calls it");
    assert_eq!(texts[1], "a process's name has at most 64 bytes, and no zero byte");
}
