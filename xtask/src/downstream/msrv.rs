//! Checks the oldest compiler that the manifests promise.
//!
//! A compiler of that version checks the libraries, if the machine has one: from rustup, or as `cargo-1.88` and
//! `rustc-1.88`, as some distributions name theirs. This step installs none. Without one, it prints that it was
//! skipped, and two weaker checks remain: no dependency in the lock file may require a newer compiler, which is checked
//! here, and no code may use a newer function of the standard library, for which clippy has a lint
//! (`incompatible_msrv`).

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::semver::Version;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::workspace::{Output, Workspace};

pub(super) fn passes(workspace: &Workspace, libraries: &[&Package], target: &Path) -> Result<bool> {
    let Some(promised) = libraries.iter().filter_map(|library| library.rust_version.as_ref()).max() else {
        println!("downstream: msrv: no library names a version of the compiler");
        return Ok(false);
    };
    let metadata = MetadataCommand::new()
        .current_dir(workspace.root())
        .other_options(["--locked".to_owned()])
        .exec()
        .context("`cargo metadata` does not understand the workspace")?;
    let newer = newer(&metadata, libraries, promised);
    for package in &newer {
        println!("downstream: msrv: {package}, but the manifests promise {promised}");
    }
    if !newer.is_empty() {
        return Ok(false);
    }
    let Some(mut cargo) = cargo_of(promised) else {
        println!(
            "downstream: msrv: skipped: this machine has no compiler of version {promised}; only the versions that the \
             dependencies declare were compared"
        );
        return Ok(true);
    };
    cargo.current_dir(workspace.root()).args(["check", "--locked", "--target-dir"]).arg(target);
    cargo.args(libraries.iter().flat_map(|library| ["--package", library.name.as_str()]));
    println!("==> downstream: msrv: {cargo:?}");
    Ok(cargo.status().context("an older cargo did not start")?.success())
}

/// The dependencies of the libraries, except for tests, that require a newer compiler than `promised`.
fn newer(metadata: &Metadata, libraries: &[&Package], promised: &Version) -> Vec<String> {
    let packages: HashMap<&PackageId, &Package> =
        metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let nodes: HashMap<&PackageId, _> =
        metadata.resolve.iter().flat_map(|resolve| &resolve.nodes).map(|node| (&node.id, node)).collect();
    let mut open: Vec<&PackageId> = libraries.iter().map(|library| &library.id).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let shipped = dependencies.filter(|dependency| {
            let mut kinds = dependency.dep_kinds.iter();
            // Dependencies of the models are not for users.
            kinds.any(|kind| {
                kind.kind != DependencyKind::Development
                    && kind.target.as_ref().is_none_or(|target| !target.to_string().contains("loom"))
            })
        });
        open.extend(shipped.map(|dependency| &dependency.pkg));
    }
    let asks = seen.into_iter().filter_map(|id| packages.get(id));
    let too_much = asks.filter_map(|package| {
        let asked = package.rust_version.as_ref().filter(|asked| *asked > promised)?;
        Some(format!("{} {} requires {asked}", package.name, package.version))
    });
    too_much.collect()
}

/// A call of cargo of this version.
fn cargo_of(version: &Version) -> Option<Command> {
    let short = format!("{}.{}", version.major, version.minor);
    let listed = Output::of(Command::new("rustup").args(["toolchain", "list"])).ok();
    let toolchain = listed.as_ref().and_then(|listed| toolchain(&listed.text, &short));
    if let Some(toolchain) = toolchain {
        let mut cargo = Command::new("rustup");
        cargo.args(["run", toolchain, "cargo"]);
        return Some(cargo);
    }
    let name = format!("cargo-{short}");
    let is_there = Output::of(Command::new(&name).arg("--version")).is_ok_and(|output| output.success);
    is_there.then(|| {
        let mut cargo = Command::new(&name);
        cargo.env("RUSTC", format!("rustc-{short}"));
        cargo
    })
}

/// The toolchain in rustup's list of a version like `1.88`.
fn toolchain<'list>(list: &'list str, short: &str) -> Option<&'list str> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let is_it = |name: &&str| name.strip_prefix(short).is_some_and(|rest| rest.starts_with(['.', '-']));
    names.into_iter().find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolchain_is_found_by_its_version() {
        let list = "stable-x86_64-unknown-linux-gnu (active, default)\n1.8.0-x86_64-unknown-linux-gnu\n\
                    1.88.0-x86_64-unknown-linux-gnu\n";
        assert_eq!(toolchain(list, "1.88"), Some("1.88.0-x86_64-unknown-linux-gnu"));
        assert_eq!(toolchain(list, "1.8"), Some("1.8.0-x86_64-unknown-linux-gnu"));
        assert_eq!(toolchain(list, "1.89"), None);
    }
}
