//! Checks what the compiler reports about programs that cannot work: this library's notes name a way that works.
//!
//! Each program is a binary of a crate outside the workspace. Only the text of this library's own notes is compared, because
//! the rest of an error belongs to the compiler.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "user_crate/user_crate.rs"] // a folder, so that cargo takes it for no test of its own
mod user_crate;

use self::user_crate::{run_cargo, user_crate, workspace};

/// Returns whether a program that depends on the facade compiles, and the compiler's output with single blanks.
fn check(source: &str) -> (bool, String) {
    let facade = workspace().join("mp-facade");
    let folder = user_crate(&format!("mp = {{ package = \"mp-facade\", path = {facade:?} }}"), source);
    let output = run_cargo(folder.path(), &["check", "--quiet", "--color", "never"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let words: Vec<&str> = said.split_whitespace().filter(|word| *word != "|").collect();
    (output.status.success(), words.join(" "))
}

/// Checks that the program does not compile, and that the compiler shows all notes.
#[track_caller]
fn refused(source: &str, notes: &[&str]) {
    let (compiles, said) = check(source);
    assert!(!compiles, "this compiles:\n{source}");
    for note in notes {
        assert!(said.contains(note), "the compiler does not say `{note}`, but:\n{said}");
    }
}

#[track_caller]
fn compiles(source: &str) {
    let (compiles, said) = check(source);
    assert!(compiles, "{said}");
}

#[test]
fn a_string_in_shared_memory() {
    let notes = [
        "`String` cannot be in shared memory",
        "integers, floats, `bool`, `char`, arrays of numbers, and `#[repr(C)]` structs that derive bytemuck's `Pod` and `Zeroable`",
        "use a queue, a pipe or a manager for `String`, if serde can encode it",
    ];
    refused("fn main() { let _ = mp::Value::new(String::from(\"no\")); }", &notes);
    refused("fn main() { let _ = mp::Array::from_slice(&[String::from(\"no\")]); }", &notes);
    refused("fn main() { let _ = mp::RawArray::<String>::zeroed(1); }", &notes);
    refused("fn main() { let _ = mp::RwLock::new(String::from(\"no\")); }", &notes);
}

#[test]
fn a_struct_that_derives_nothing_in_shared_memory() {
    let source = "#[derive(Clone, Copy)]\nstruct Point { x: u32 }\nfn main() { let _ = mp::RawValue::new(Point { x: 1 }).unwrap().load().x; }";
    refused(source, &["`Point` cannot be in shared memory", "derive bytemuck's `Pod` and `Zeroable`"]);
}

#[test]
fn a_closure_that_never_returns() {
    let notes = [
        "a child process cannot return `!`",
        "if the closure never returns, give it a return type: `|| -> () { ... }`",
    ];
    refused("fn main() { let _ = mp::fork(|| loop { std::thread::park() }); }", &notes);
    refused("fn main() { let _ = mp::fork(|| panic!(\"no\")); }", &notes);
    refused("fn main() { let _ = mp::fork_with((), |()| panic!(\"no\")); }", &notes);
    refused("fn main() { let _ = mp::Process::new().fork(|| panic!(\"no\")); }", &notes);
    compiles("fn main() { let _ = mp::fork(|| -> () { loop { std::thread::park() } }); }");
}

#[test]
fn a_result_that_cannot_be_sent() {
    let source = "fn main() {\n    let lock = mp::Lock::new().unwrap();\n    let _ = mp::fork(|| lock.lock().unwrap());\n}";
    refused(
        source,
        &[
            "a child process cannot return `mp::LockGuard<'_>`",
            "guards, permits, tasks, `Child` and `Listener` cannot leave",
        ],
    );
    let in_a_scope = "fn main() { let _ = mp::scope(|s| { \
                      s.fork(|| std::sync::mpsc::channel::<u8>().1)?; Ok::<_, Box<dyn std::error::Error>>(()) }); }";
    refused(in_a_scope, &["a child process cannot return `std::sync::mpsc::Receiver<u8>`"]);
    let spawned = "fn worker((): ()) -> std::sync::mpsc::Receiver<u8> { std::sync::mpsc::channel().1 }\n\
                   fn main() { let _ = mp::spawn(worker, ()); }";
    refused(spawned, &["a child process cannot return `std::sync::mpsc::Receiver<u8>`"]);
}

#[test]
fn arguments_that_do_not_fit() {
    let source = "fn worker(_: String) {}\nfn main() { let _ = mp::spawn(worker, b'x'); }";
    let notes = [
        "`u8` cannot be passed to a worker that takes `String`",
        "pass the argument itself or a reference to it, or in a tuple either for each part",
    ];
    refused(source, &notes);
    compiles("fn worker(_: String) {}\nfn main() { let _ = mp::spawn(worker, \"a borrowed form\"); }");
}

#[test]
fn a_condition_without_a_guard() {
    let source = "fn main() {\n    let (lock, condition) = (mp::Lock::new().unwrap(), mp::Condition::new().unwrap());\n    \
                  let _ = condition.wait(lock.lock());\n}";
    refused(
        source,
        &["a condition cannot wait with", "pass the guard that `lock` returned, without its `Result`"],
    );
}

/// The documentation of `LockError` names this way, because the compiler's error is only about lifetimes.
#[test]
fn a_question_mark_behind_lock() {
    let program = |lock: &str| {
        format!(
            "fn double(value: &mp::Value<u32>) -> Result<u32, Box<dyn std::error::Error>> {{\n    \
             Ok(*value.{lock}? * 2)\n}}\nfn main() {{ let _ = double(&mp::Value::new(1).unwrap()); }}"
        )
    };
    refused(&program("lock()"), &["lifetime may not live long enough"]);
    compiles(&program("lock().map_err(mp::LockError::discard)"));
}
