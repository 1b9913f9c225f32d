//! A workspace of programs that use the libraries as outside users do: from the packages, by name and version.
//!
//! Each library gets one program. The program's own features pass on to those of the library, so one manifest serves
//! every set. Each set is built in its own call of cargo, which unites the features of that program only.
//!
//! The programs have no dependencies of their own. A dependency on serde would enable features that a library forgot to
//! require.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Package};

/// The member that only limits the versions that cargo selects, and is never built.
const MINIMUMS: &str = "minimums";

/// A library, and the program that uses it.
pub(super) struct Consumer<'a> {
    pub(super) library: &'a Package,
    pub(super) program: &'static str,
}

impl Consumer<'_> {
    /// The name of the program's package.
    pub(super) fn name(&self) -> String {
        format!("uses-{}", self.library.name)
    }

    fn manifest(&self) -> String {
        let Package { name, version, features, .. } = self.library;
        let mut text = package(&self.name());
        let _ = writeln!(
            text,
            "[dependencies]\n{name} = {{ version = \"{version}\", default-features = false }}\n"
        );
        text.push_str("[features]\n");
        for (feature, enabled) in features {
            // What the library's feature enables is enabled in the program too.
            let enabled = enabled.iter().filter(|other| features.contains_key(*other));
            let own = enabled.map(|other| own_feature(other).to_owned());
            let all: Vec<String> = std::iter::once(format!("{name}/{feature}")).chain(own).collect();
            let _ = writeln!(text, "{} = {all:?}", own_feature(feature));
        }
        text
    }
}

/// The name of a library's feature in the programs: a feature named `default` would be enabled by itself.
fn own_feature(feature: &str) -> &str {
    if feature == "default" { "by-default" } else { feature }
}

/// The value of `--features` that enables this set of a library's features.
pub(super) fn own_features(set: &[String]) -> String {
    set.iter().map(|feature| own_feature(feature)).collect::<Vec<_>>().join(",")
}

/// Writes the workspace into `folder`; `packages` holds the unpacked libraries.
pub(super) fn write(
    folder: &Path,
    packages: &Path,
    consumers: &[Consumer<'_>],
    minimums: bool,
) -> Result<()> {
    let mut members: Vec<String> = consumers.iter().map(Consumer::name).collect();
    for consumer in consumers {
        member(folder, &consumer.name(), &consumer.manifest(), consumer.program)?;
    }
    if minimums {
        let libraries: Vec<&Package> = consumers.iter().map(|consumer| consumer.library).collect();
        let manifest = package(MINIMUMS) + &requirements(&libraries);
        member(folder, MINIMUMS, &manifest, "fn main() {}\n")?;
        members.push(MINIMUMS.to_owned());
    }
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n\n");
    // Without debug information, which nobody reads here, the programs are linked in half the time.
    text.push_str("[profile.dev]\ndebug = false\nincremental = false\n\n[patch.crates-io]\n");
    for Consumer { library, .. } in consumers {
        let path = packages.join(format!("{}-{}", library.name, library.version));
        let _ = writeln!(text, "{} = {{ path = {path:?} }}", library.name);
    }
    write_file(&folder.join("Cargo.toml"), &text)
}

fn package(name: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\n\n")
}

/// What the libraries require of other crates, as requirements of one package: cargo lowers only direct dependencies.
fn requirements(libraries: &[&Package]) -> String {
    let is_ours = |name: &str| libraries.iter().any(|library| library.name.as_str() == name);
    let all = libraries.iter().flat_map(|library| &library.dependencies);
    let mut lines: Vec<String> = all
        .filter(|dependency| dependency.kind == DependencyKind::Normal && dependency.target.is_none())
        .filter(|dependency| !is_ours(&dependency.name))
        .map(|dependency| {
            format!("{} = {{ version = \"{}\", default-features = false }}", dependency.name, dependency.req)
        })
        .collect();
    lines.sort();
    lines.dedup();
    format!("[dependencies]\n{}\n", lines.join("\n"))
}

fn member(folder: &Path, name: &str, manifest: &str, program: &str) -> Result<()> {
    write_file(&folder.join(name).join("Cargo.toml"), manifest)?;
    write_file(&folder.join(name).join("src/main.rs"), program)
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Cargo rebuilds a file that was written again.
    if fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
