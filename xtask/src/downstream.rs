//! `cargo xtask downstream`: checks that the libraries build and work for others.
//!
//! A build of the workspace hides faults that users run into: it unites the features of all members, it has a lock
//! file, and it reads files that no package contains. So here the libraries are used as by outside users:
//!
//! 1. `cargo package` packs each library, and the packages are unpacked beside each other.
//! 2. A workspace of small programs depends on the unpacked packages, by name and version. The programs are those under
//!    `xtask/downstream`. Each is built and run with every set of features ([`sets`]), in a call of cargo of its own, which
//!    unites no features of other programs.
//! 3. That happens once with the newest version of each dependency, as for a user without a lock file. With the lowest
//!    version that each library accepts, it happens for fewer sets: each feature by itself, and all of them. A version
//!    that is too low fails where a feature uses it, whatever else is enabled.
//! 4. The compiler of the declared `rust-version` checks the libraries, if there is one ([`msrv`]).
//!
//! Lowering versions needs an unstable option of cargo. The option only writes the lock file; the build itself uses
//! nothing unstable. No registry has the packages, so a table of patches points at them; the step fails if the lock
//! file names any other source.

mod consumers;
mod msrv;
mod program;
mod sets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use cargo_metadata::Package;

use self::consumers::Consumer;
use crate::workspace::{Cargo, Output, Workspace};

/// The programs, and the package that each of them uses.
const PROGRAMS: [(&str, &str); 5] = [
    ("mp-sys", include_str!("../downstream/mp-sys.rs")),
    ("shm-core", include_str!("../downstream/shm-core.rs")),
    ("kernel-ipc", include_str!("../downstream/kernel-ipc.rs")),
    ("manager-rt", include_str!("../downstream/manager-rt.rs")),
    ("mp-facade", include_str!("../downstream/mp-facade.rs")),
];
/// What cargo prints if a registry does not answer, in contrast to versions that do not fit.
const NO_REGISTRY: [&str; 4] =
    ["network error", "failed to download", "unable to update", "you may need to run with network"];

/// Which versions of the dependencies a build uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    Newest,
    Lowest,
}

impl Versions {
    const fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Lowest => "lowest",
        }
    }
}

pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    Ok(if passes(workspace)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns whether all programs build and work.
pub(crate) fn passes(workspace: &Workspace) -> Result<bool> {
    let consumers = consumers(workspace)?;
    let folder = workspace.target().join("downstream");
    if !pack(workspace, &consumers, &folder)? {
        return Ok(false);
    }
    for versions in [Versions::Newest, Versions::Lowest] {
        if !all_work(workspace, &consumers, &folder, versions)? {
            return Ok(false);
        }
    }
    let libraries: Vec<&Package> = consumers.iter().map(|consumer| consumer.library).collect();
    msrv::passes(workspace, &libraries, &folder.join("msrv"))
}

/// Each published library with its program. A library without a program is an error, so that none is forgotten.
fn consumers(workspace: &Workspace) -> Result<Vec<Consumer<'_>>> {
    let libraries = workspace.packages().iter().filter(|package| package.publish.is_none());
    let with_program = libraries.map(|library| {
        let program = PROGRAMS.iter().find(|(name, _)| *name == library.name.as_str());
        let (_, program) = program
            .with_context(|| format!("`{}` has no program in xtask/src/downstream.rs", library.name))?;
        Ok(Consumer { library, program })
    });
    with_program.collect()
}

/// Packs the libraries and unpacks them into `folder/packages`.
fn pack(workspace: &Workspace, consumers: &[Consumer<'_>], folder: &Path) -> Result<bool> {
    // Without cargo's own check of the packages, which builds each with its default features: more is built below.
    // What the workspace was built with is on this machine, so no registry is needed.
    let package = Cargo::new("package --no-verify --allow-dirty --offline")
        .arguments(consumers.iter().flat_map(|consumer| ["--package", consumer.library.name.as_str()]))
        .arguments(["--target-dir", &folder.to_string_lossy()]);
    println!("==> downstream: {package}");
    let output = package.output(workspace)?;
    if !output.success {
        println!("{}", output.text);
        return Ok(false);
    }
    let packages = folder.join("packages");
    // A file that the package has lost must not remain here from the last run.
    if packages.exists() {
        fs::remove_dir_all(&packages).with_context(|| format!("cannot empty {}", packages.display()))?;
    }
    fs::create_dir_all(&packages).with_context(|| format!("cannot make {}", packages.display()))?;
    for Consumer { library, .. } in consumers {
        let archive = folder.join("package").join(format!("{}-{}.crate", library.name, library.version));
        // All packages carry the same old time, so cargo would not see that a file changed: hence `--touch`.
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--gzip", "--touch", "--file"])
            .arg(&archive)
            .arg("--directory")
            .arg(&packages);
        let output = Output::of(&mut tar).context("tar did not start")?;
        if !output.success {
            bail!("tar does not unpack {}: {}", archive.display(), output.text);
        }
    }
    Ok(true)
}

fn all_work(
    workspace: &Workspace,
    consumers: &[Consumer<'_>],
    folder: &Path,
    versions: Versions,
) -> Result<bool> {
    let place = folder.join(versions.name());
    consumers::write(&place, &folder.join("packages"), consumers, versions == Versions::Lowest)?;
    match lock(workspace, &place, versions)? {
        Locked::Yes => {}
        Locked::No => return Ok(false),
        Locked::Unreachable(why) => {
            println!("downstream: {}: skipped: {why}", versions.name());
            return Ok(true);
        }
    }
    let names: Vec<&str> = consumers.iter().map(|consumer| consumer.library.name.as_str()).collect();
    let text = fs::read_to_string(place.join("Cargo.lock")).context("cargo wrote no lock file")?;
    if let Some(name) = names.iter().find(|name| !is_ours_alone(&text, name)) {
        println!("downstream: {}: the lock file does not take `{name}` from its package", versions.name());
        return Ok(false);
    }
    for consumer in consumers {
        let features = &consumer.library.features;
        let sets = match versions {
            Versions::Newest => sets::of(features).map_err(|count| {
                anyhow::anyhow!("`{}` has {count} features for users: too many sets", consumer.library.name)
            })?,
            Versions::Lowest => sets::each(features),
        };
        for set in sets {
            if !works(workspace, consumer, &set, folder, versions)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Builds and runs a program with one set of features.
fn works(
    workspace: &Workspace,
    consumer: &Consumer<'_>,
    set: &[String],
    folder: &Path,
    versions: Versions,
) -> Result<bool> {
    // Both versions build into one folder, so what they share is built once.
    let target = folder.join("target");
    let build = build(consumer, set, &folder.join(versions.name()), &target);
    println!("==> downstream: {}: {build}", versions.name());
    if !build.succeeds(workspace)? {
        return Ok(false);
    }
    let binary = target.join("debug").join(consumer.name());
    match program::run(&binary)? {
        Ok(()) => Ok(true),
        Err(why) => {
            println!("downstream: {}: {why}", binary.display());
            Ok(false)
        }
    }
}

fn build(consumer: &Consumer<'_>, set: &[String], place: &Path, target: &Path) -> Cargo {
    let build = Cargo::new("build --quiet --locked")
        .arguments(["--manifest-path".to_owned(), manifest(place)])
        .arguments(["--target-dir", &target.to_string_lossy()])
        .arguments(["--package", &consumer.name()]);
    if set.is_empty() {
        return build;
    }
    build.arguments(["--features".to_owned(), consumers::own_features(set)])
}

fn manifest(place: &Path) -> String {
    place.join("Cargo.toml").to_string_lossy().into_owned()
}

/// How a lock file was written.
#[derive(Debug, PartialEq, Eq)]
enum Locked {
    Yes,
    No,
    /// No registry answers, and what is on this machine is not enough.
    Unreachable(String),
}

fn lock(workspace: &Workspace, place: &Path, versions: Versions) -> Result<Locked> {
    let old: PathBuf = place.join("Cargo.lock");
    if old.exists() {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    let plain = || {
        Cargo::new("generate-lockfile --manifest-path")
            .arguments([manifest(place)])
            // A registry that does not answer is given up soon, and not after several waits.
            .variable("CARGO_NET_RETRY", "1")
            .variable("CARGO_HTTP_TIMEOUT", "20")
    };
    let call = match versions {
        Versions::Newest => plain(),
        Versions::Lowest => plain().arguments(["-Zdirect-minimal-versions"]).variable("RUSTC_BOOTSTRAP", "1"),
    };
    println!("==> downstream: {}: {call}", versions.name());
    let output = call.output(workspace)?;
    if output.success {
        return Ok(Locked::Yes);
    }
    println!("{}", output.text);
    if !NO_REGISTRY.iter().any(|words| output.text.contains(words)) {
        return Ok(Locked::No);
    }
    // The newest versions that were downloaded before are a good substitute. For the lowest versions there is none.
    if versions == Versions::Newest && plain().arguments(["--offline"]).output(workspace)?.success {
        println!("downstream: newest: no registry answers: these are the newest versions on this machine");
        return Ok(Locked::Yes);
    }
    Ok(Locked::Unreachable("no registry answers".to_owned()))
}

/// Whether a lock file has exactly one package of this name, and has it from a path.
fn is_ours_alone(lock: &str, name: &str) -> bool {
    let line = format!("name = \"{name}\"");
    let mut found = lock.split("[[package]]").filter(|package| package.lines().any(|other| other == line));
    let first = found.next();
    found.next().is_none()
        && first.is_some_and(|package| !package.lines().any(|line| line.starts_with("source = ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_our_name_from_elsewhere_is_noticed() {
        let ours = "version = 4\n\n[[package]]\nname = \"shm-core\"\nversion = \"0.1.0\"\n";
        let theirs =
            "[[package]]\nname = \"shm-core\"\nversion = \"0.1.9\"\nsource = \"registry+https://example\"\n";
        let other =
            "[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry+https://example\"\n";
        assert!(is_ours_alone(&format!("{ours}\n{other}"), "shm-core"));
        assert!(!is_ours_alone(theirs, "shm-core"));
        assert!(!is_ours_alone(&format!("{ours}\n{theirs}"), "shm-core"));
        assert!(!is_ours_alone(other, "shm-core"));
    }
}
