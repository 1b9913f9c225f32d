//! A crate outside the workspace, as a user has it: shared by the tests that build one.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Makes a crate with one dependency and a `main`, in its own folder.
pub(crate) fn user_crate(dependency: &str, main: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    // All share one target folder, where cargo knows a program by its name.
    let mut hasher = DefaultHasher::new();
    (dependency, main).hash(&mut hasher);
    let name = format!("downstream-{:x}", hasher.finish());
    let manifest = format!(
        "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependency}\n"
    );
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/main.rs"), main).unwrap();
    // The same versions as in the workspace, so that nothing has to be downloaded.
    fs::copy(workspace().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    folder
}

pub(crate) fn run_cargo(folder: &Path, arguments: &[&str]) -> Output {
    let target = workspace().join("target/downstream");
    Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap()
}
