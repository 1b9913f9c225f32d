//! Checks what the compiler reports about programs that cannot work: this library's notes name a way that works.
//!
//! Each program is a binary of a crate outside the workspace. Only the text of this library's own notes is compared, because
//! the rest of an error belongs to the compiler.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate that depends on the facade, with one program.
struct Program {
    folder: tempfile::TempDir,
}

impl Program {
    fn new(source: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let facade = workspace().join("mp-facade");
        // cargo identifies a crate by its name in the target folder, so it would confuse two crates with the same name.
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        let name = format!("program-{:x}", hasher.finish());
        let manifest = format!(
            "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
             mp = {{ package = \"mp-facade\", path = {facade:?} }}\n"
        );
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/main.rs"), source).unwrap();
        // The same versions as here, so that nothing has to be fetched.
        fs::copy(workspace().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        Self { folder }
    }

    /// Returns whether the program compiles, and the compiler's output with single blanks.
    fn check(&self) -> (bool, String) {
        let output = Command::new(env!("CARGO"))
            .args(["check", "--offline", "--quiet", "--color", "never"])
            .current_dir(self.folder.path())
            .env("CARGO_TARGET_DIR", workspace().join("target/downstream"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let words: Vec<&str> = said.split_whitespace().filter(|word| *word != "|").collect();
        (output.status.success(), words.join(" "))
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Checks that the program does not compile, and that the compiler shows all notes.
#[track_caller]
fn refused(source: &str, notes: &[&str]) {
    let (compiles, said) = Program::new(source).check();
    assert!(!compiles, "this compiles:\n{source}");
    for note in notes {
        assert!(said.contains(note), "the compiler does not say `{note}`, but:\n{said}");
    }
}

#[track_caller]
fn compiles(source: &str) {
    let (compiles, said) = Program::new(source).check();
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
