//! A user's crate outside the workspace: it depends on one tier, and compiles only that tier and `mp-sys`.
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

#[path = "user_crate/user_crate.rs"] // a folder, so that cargo takes it for no test of its own
mod user_crate;

use std::fs;
use std::path::{Path, PathBuf};

use self::user_crate::{run_cargo, user_crate, workspace};

/// Runs cargo in the folder; returns what it printed on stdout.
fn cargo(folder: &Path, arguments: &[&str]) -> String {
    let output = run_cargo(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}:\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the workspace's crates that the user's crate compiles.
fn own_crates(folder: &Path) -> Vec<String> {
    let tree = cargo(folder, &["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let ours = ["mp-sys", "shm-core", "kernel-ipc", "manager-rt", "mp-facade"];
    let mut found: Vec<String> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| ours.contains(name))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn shm_core_alone() {
    let path = workspace().join("shm-core");
    let main = "fn main() {\n    let value = shm_core::Value::new(41_u32).unwrap();\n    \
                value.update(|n| n + 1).unwrap();\n    println!(\"{}\", value.get().unwrap());\n}\n";
    let user = user_crate(&format!("shm-core = {{ path = {path:?} }}"), main);
    assert_eq!(cargo(user.path(), &["run", "--quiet"]), "42\n");
    assert_eq!(own_crates(user.path()), ["mp-sys", "shm-core"]);
}

#[test]
fn kernel_ipc_alone() {
    let path = workspace().join("kernel-ipc");
    let main = "fn main() {\n    let (tx, rx) = kernel_ipc::pipe::<u32>().unwrap();\n    \
                let queue = kernel_ipc::JoinableQueue::new().unwrap();\n    queue.put(&42_u32).unwrap();\n    \
                tx.send(&queue.get().unwrap().done()).unwrap();\n    queue.join().unwrap();\n    \
                println!(\"{}\", rx.recv().unwrap());\n}\n";
    let user = user_crate(&format!("kernel-ipc = {{ path = {path:?} }}"), main);
    assert_eq!(cargo(user.path(), &["run", "--quiet"]), "42\n");
    assert_eq!(own_crates(user.path()), ["kernel-ipc", "mp-sys"]);
}

#[test]
fn manager_rt_alone() {
    let path = workspace().join("manager-rt");
    // The server is this same program, started again: a crate outside the workspace needs no extra line for it.
    let main = "fn main() {\n    let manager = manager_rt::Manager::start().unwrap();\n    \
                let words = manager.dict::<String, u64>().unwrap();\n    \
                words.fetch_add(&\"word\".to_owned(), 41).unwrap();\n    \
                let other = manager_rt::Manager::connect(&manager.address().unwrap()).unwrap();\n    \
                other.named(\"one\").value(&1_u64).unwrap();\n    \
                let one = manager.named(\"one\").value(&0_u64).unwrap().get().unwrap();\n    \
                println!(\"{}\", words.fetch_add(&\"word\".to_owned(), one).unwrap() + one);\n    \
                manager.shutdown().unwrap();\n}\n";
    let user = user_crate(&format!("manager-rt = {{ path = {path:?} }}"), main);
    assert_eq!(cargo(user.path(), &["run", "--quiet"]), "42\n");
    assert_eq!(own_crates(user.path()), ["manager-rt", "mp-sys"]);
}

#[test]
fn a_program_that_only_connects_compiles_no_server() {
    let path = workspace().join("manager-rt");
    let main = "fn main() {\n    let gone = manager_rt::Manager::connect(\"mp+unix:/nowhere/socket\");\n    \
                println!(\"{}\", gone.is_err());\n}\n";
    let user = user_crate(&format!("manager-rt = {{ path = {path:?}, default-features = false }}"), main);
    assert_eq!(cargo(user.path(), &["run", "--quiet"]), "true\n");
    let tree = cargo(user.path(), &["tree", "--prefix", "none"]);
    assert!(!tree.contains("mio v"), "{tree}");
    let starts = "fn main() {\n    let _ = manager_rt::Manager::start();\n}\n";
    let user = user_crate(&format!("manager-rt = {{ path = {path:?}, default-features = false }}"), starts);
    assert!(!run_cargo(user.path(), &["check", "--quiet"]).status.success());
}

#[test]
fn the_facade_without_tiers_starts_processes_only() {
    let path = workspace().join("mp-facade");
    let main = "fn main() {\n    println!(\"{}\", mp::fork(|| 6 * 7).unwrap().join().unwrap());\n}\n";
    let dependency = format!("mp = {{ package = \"mp-facade\", path = {path:?}, default-features = false }}");
    let user = user_crate(&dependency, main);
    assert_eq!(cargo(user.path(), &["run", "--quiet"]), "42\n");
    assert_eq!(own_crates(user.path()), ["mp-facade", "mp-sys"]);
}

#[test]
fn the_facade_with_one_tier_compiles_that_tier_only() {
    let path = workspace().join("mp-facade");
    let tiers = [
        ("shm", "shm-core"),
        ("ipc", "kernel-ipc"),
        ("manager", "manager-rt"),
        ("manager-client", "manager-rt"),
    ];
    for (feature, tier) in tiers {
        let dependency = format!(
            "mp = {{ package = \"mp-facade\", path = {path:?}, default-features = false, features = [{feature:?}] }}"
        );
        let user = user_crate(&dependency, "fn main() {}\n");
        let mut expected = ["mp-facade", "mp-sys", tier];
        expected.sort_unstable();
        assert_eq!(own_crates(user.path()), expected, "{feature}");
    }
}

#[test]
fn the_facade_with_its_default_features() {
    let path = workspace().join("mp-facade");
    let main = "fn main() {\n    let total = mp::RawValue::new(0_u32).unwrap();\n    \
                mp::fork(|| total.fetch_add(42)).unwrap().join().unwrap();\n    \
                let manager = mp::manager::Manager::in_process().unwrap();\n    \
                let sum = manager.value(&u64::from(total.load())).unwrap();\n    \
                println!(\"{}\", sum.get().unwrap());\n}\n";
    let user = user_crate(&format!("mp = {{ package = \"mp-facade\", path = {path:?} }}"), main);
    assert_eq!(cargo(user.path(), &["run", "--quiet"]), "42\n");
    assert_eq!(own_crates(user.path()), ["kernel-ipc", "manager-rt", "mp-facade", "mp-sys", "shm-core"]);
}

/// Makes a copy of `mp-sys` that counts as another version.
fn other_mp_sys(folder: &Path) -> PathBuf {
    let manifest = fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let (before, rest) = manifest.split_once("members = [").unwrap();
    let (_, after) = rest.split_once(']').unwrap();
    let alone = format!("{before}members = [\"mp-sys\"]{after}");
    let version = alone.lines().find(|line| line.starts_with("version = ")).unwrap();
    fs::write(folder.join("Cargo.toml"), alone.replacen(version, "version = \"0.0.7\"", 1)).unwrap();
    let copy = folder.join("mp-sys");
    fs::create_dir_all(copy.join("src")).unwrap();
    for file in ["Cargo.toml", "build.rs", "src/lib.rs"] {
        fs::copy(workspace().join("mp-sys").join(file), copy.join(file)).unwrap();
    }
    // A test target that a manifest names must exist.
    fs::create_dir_all(copy.join("tests/process")).unwrap();
    fs::write(copy.join("tests/process/main.rs"), "fn main() {}\n").unwrap();
    copy
}

/// Each copy would know only its own guards, and would permit a fork that copies a guard of the other.
#[test]
fn two_versions_in_one_program_do_not_build() {
    let folder = tempfile::tempdir().unwrap();
    let other = other_mp_sys(folder.path());
    let (shm, own) = (workspace().join("shm-core"), workspace().join("mp-sys"));
    let alone =
        user_crate(&format!("other = {{ package = \"mp-sys\", path = {other:?} }}"), "fn main() {}\n");
    cargo(alone.path(), &["tree"]);
    for ours in [format!("shm-core = {{ path = {shm:?} }}"), format!("mp-sys = {{ path = {own:?} }}")] {
        let both = format!("{ours}\nother = {{ package = \"mp-sys\", path = {other:?} }}");
        let user = user_crate(&both, "fn main() {}\n");
        let refused = run_cargo(user.path(), &["tree"]);
        let message = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success());
        assert!(message.contains("links"), "{message}");
    }
}
