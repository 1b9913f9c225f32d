//! A shared library that contains this library, as a plugin may: what it starts, and how its functions are started.
//!
//! The user's program is a folder outside the workspace with a `main` and a library beside it, which `main` loads by
//! dlopen(3). So the functions of the library are in no program, and their code is not where a child would look for it.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// Both describe the result of a start in the same way.
const SAY: &str = r#"
fn say<R: std::fmt::Debug>(started: Result<mp::Child<R>, mp::StartError>) -> String
where
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    match started {
        Ok(child) => format!("{:?}", child.join()),
        Err(error) => format!("{error:?}"),
    }
}

const METHODS: [mp::Method; 3] = [mp::Method::Fork, mp::Method::Spawn, mp::Method::ForkServer];
"#;

const LIBRARY: &str = r#"
fn of_the_library(n: u32) -> u32 {
    10 * n
}

/// Starts the library's own worker, with the library's own copy of `mp`.
#[unsafe(no_mangle)]
pub extern "C" fn start_own() {
    for method in METHODS {
        println!("library {method:?}: {}", say(mp::Process::new().method(method).start(of_the_library, 1)));
    }
    println!("library fork: {:?}", mp::fork(|| of_the_library(2)).unwrap().join());
    mp::release_unused_memory();
}

/// The library's worker, for a program to start.
#[unsafe(no_mangle)]
pub extern "C" fn worker() -> *const () {
    of_the_library as fn(u32) -> u32 as *const ()
}
"#;

const MAIN: &str = r#"
use std::ffi::{CStr, CString, c_char, c_int, c_void};

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

fn symbol(name: &CStr) -> *mut c_void {
    let program = std::env::current_exe().unwrap();
    let path = CString::new(program.with_file_name("libplugin.so").to_str().unwrap()).unwrap();
    let library = unsafe { dlopen(path.as_ptr(), 2) };
    assert!(!library.is_null(), "the library is not loaded");
    let symbol = unsafe { dlsym(library, name.as_ptr()) };
    assert!(!symbol.is_null());
    symbol
}

fn of_the_program(n: u32) -> u32 {
    n + 1
}

/// Does what the error recommends: a function of the program loads the library and calls it.
fn through_the_program(n: u32) -> u32 {
    let worker: extern "C" fn() -> fn(u32) -> u32 = unsafe { std::mem::transmute(symbol(c"worker")) };
    worker()(n)
}

fn main() {
    let start_own: extern "C" fn() = unsafe { std::mem::transmute(symbol(c"start_own")) };
    start_own();
    let worker: extern "C" fn() -> fn(u32) -> u32 = unsafe { std::mem::transmute(symbol(c"worker")) };
    for method in METHODS {
        let process = || mp::Process::new().method(method);
        println!("program {method:?}: {}", say(process().start(worker(), 1)));
        println!("own {method:?}: {}", say(process().start(of_the_program, 1)));
        println!("through {method:?}: {}", say(process().start(through_the_program, 1)));
    }
    mp::release_unused_memory();
}
"#;

const SAID: &str = "\
library Fork: Ok(10)
library Spawn: NotInProgram
library ForkServer: NotInProgram
library fork: Ok(20)
program Fork: Ok(10)
own Fork: Ok(2)
through Fork: Ok(10)
program Spawn: NotInProgram
own Spawn: Ok(2)
through Spawn: Ok(10)
program ForkServer: NotInProgram
own ForkServer: Ok(2)
through ForkServer: Ok(10)
";

fn manifest(name: &str, rest: &str) -> String {
    let facade = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("mp-facade");
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n{rest}\n[dependencies]\n\
         mp = {{ package = \"mp-facade\", path = {facade:?}, default-features = false }}\nserde = \"1.0\"\n"
    )
}

#[test]
fn a_worker_in_a_shared_library_is_refused_and_one_in_the_program_runs() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let members = "[workspace]\nmembers = [\"plugin\"]\n";
    write("Cargo.toml", &format!("{members}\n{}", manifest("program", "")));
    write("src/main.rs", &format!("{MAIN}{SAY}"));
    write("plugin/Cargo.toml", &manifest("plugin", "[lib]\ncrate-type = [\"cdylib\"]\n"));
    write("plugin/src/lib.rs", &format!("{LIBRARY}{SAY}"));
    // The same versions as in the workspace, so that nothing has to be downloaded.
    fs::copy(workspace.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    let cargo = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .arg("--offline")
            .current_dir(folder.path())
            .env("CARGO_TARGET_DIR", workspace.join("target/downstream"))
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo {arguments:?}:\n{stderr}");
        String::from_utf8(output.stdout).unwrap()
    };
    cargo(&["build", "--quiet", "--workspace"]);
    assert_eq!(cargo(&["run", "--quiet"]), SAID);
}
