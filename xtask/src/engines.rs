//! `cargo xtask engines`: runs the tests of engines against those of another Debian.
//!
//! apt finds the packages and what they need in a folder of its own, as if nothing were installed, and they are only unpacked. Their programs run
//! with the libraries and the loader beside them, so the machine keeps its own, and nobody has to be root. Tests find the programs by their
//! usual names, in a folder that comes first in `PATH`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::workspace::{Cargo, Output, Workspace};

/// The releases of Debian by number.
const RELEASES: &[(u32, &str)] = &[(12, "bookworm"), (13, "trixie"), (14, "forky")];
const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The folders that apt needs.
const APT_FOLDERS: [&str; 4] = [
    "etc/apt/apt.conf.d",
    "etc/apt/preferences.d",
    "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial",
];

/// The options of `engines`.
#[derive(Args)]
pub(crate) struct Options {
    /// The number of the release of Debian whose engines are tested.
    #[arg(long, value_name = "NUMBER", default_value_t = 13)]
    debian: u32,
    /// Test only the engine with this name.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Where to download from.
    #[arg(long, value_name = "URL", default_value = MIRROR)]
    mirror: String,
}

/// An engine of Debian.
struct Engine {
    name: &'static str,
    packages: &'static [&'static str],
    /// The names by which tests call its programs, and the programs.
    programs: &'static [(&'static str, &'static str)],
    /// The calls of cargo that test it.
    suites: &'static [&'static str],
}

const REDIS_SUITES: &[&str] = &[
    "test --locked --package manager-rt --all-features --no-fail-fast --test redis",
    "test --locked --package xtask --test histories -- redis",
];

const ENGINES: &[Engine] = &[
    Engine {
        name: "redis",
        packages: &["redis-server", "redis-tools"],
        programs: &[("redis-server", "redis-server"), ("redis-cli", "redis-cli")],
        suites: REDIS_SUITES,
    },
    Engine {
        name: "valkey",
        packages: &["valkey-server", "valkey-tools"],
        programs: &[("redis-server", "valkey-server"), ("redis-cli", "valkey-cli")],
        suites: REDIS_SUITES,
    },
];

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let (_, release) = RELEASES
        .iter()
        .find(|(number, _)| *number == options.debian)
        .with_context(|| format!("Debian {} has no name here", options.debian))?;
    let engines: Vec<_> = ENGINES
        .iter()
        .filter(|engine| options.only.as_ref().is_none_or(|only| engine.name == only))
        .collect();
    ensure!(!engines.is_empty(), "there is no such engine");
    let folder = workspace.target().join("engines").join(release);
    let packages: Vec<_> = engines.iter().flat_map(|engine| engine.packages).copied().collect();
    let root = unpack(&folder, release, &options.mirror, &packages)?;
    let mut passed = true;
    let mut lines = Vec::new();
    for engine in engines {
        let programs = link(&folder, &root, engine)?;
        let (first, _) = engine.programs.first().context("an engine has a program")?;
        let version = output_of(Command::new(programs.join(first)).arg("--version"))?;
        println!("==> {}: {}", engine.name, version.trim());
        let path = std::env::var("PATH").unwrap_or_default();
        for suite in engine.suites {
            let call = Cargo::new(suite).variable("PATH", format!("{}:{path}", programs.display()));
            let succeeded = call.succeeds(workspace)?;
            passed &= succeeded;
            lines.push(format!("{}  {}  {suite}", engine.name, if succeeded { "ok" } else { "FAILED" }));
        }
    }
    println!("==> engines of Debian {}\n{}", options.debian, lines.join("\n"));
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Downloads packages and what they need, and unpacks them. Returns the folder that is like the root of such a machine.
fn unpack(folder: &Path, release: &str, mirror: &str, packages: &[&str]) -> Result<PathBuf> {
    let (apt, root) = (folder.join("apt"), folder.join("root"));
    for name in APT_FOLDERS {
        fs::create_dir_all(apt.join(name))?;
    }
    fs::create_dir_all(&root)?;
    let (status, sources) = (apt.join("status"), apt.join("sources.list"));
    fs::write(&status, "")?;
    fs::write(&sources, format!("deb [signed-by={KEYRING}] {mirror} {release} main\n"))?;
    let apt_get = |arguments: &[&str]| {
        let settings = [
            format!("Dir={}", apt.display()),
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            "APT::Sandbox::User=".to_owned(),
            "Debug::NoLocking=true".to_owned(),
        ];
        let mut command = Command::new("apt-get");
        command.args(settings.iter().flat_map(|setting| ["-o", setting])).args(arguments);
        output_of(&mut command)
    };
    println!("==> engines: {} of {release}", packages.join(", "));
    apt_get(&["update"])?;
    apt_get(&[&["install", "--yes", "--download-only"], packages].concat())?;
    let archives = apt.join("var/cache/apt/archives");
    for entry in fs::read_dir(&archives)? {
        let archive = entry?.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            output_of(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&root))?;
        }
    }
    Ok(root)
}

/// Makes a folder with the programs of an engine under the names by which tests call them.
fn link(folder: &Path, root: &Path, engine: &Engine) -> Result<PathBuf> {
    let programs = folder.join(engine.name);
    fs::create_dir_all(&programs)?;
    let loader = ["usr/lib64", "usr/lib", "lib64", "lib"]
        .iter()
        .find_map(|name| entry_in(&root.join(name), |name| name.starts_with("ld-linux")))
        .context("the unpacked packages contain no loader")?;
    let libraries = entry_in(&root.join("usr/lib"), |name| name.ends_with("-linux-gnu"))
        .context("the unpacked packages contain no libraries")?;
    for (name, program) in engine.programs {
        let program = root.join("usr/bin").join(program);
        ensure!(program.exists(), "{} was not unpacked", program.display());
        let file = programs.join(name);
        let text = format!(
            "#!/bin/sh\nexec '{}' --library-path '{}' '{}' \"$@\"\n",
            loader.display(),
            libraries.display(),
            program.display()
        );
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(programs)
}

/// Returns an entry of a folder by its name.
fn entry_in(folder: &Path, is_it: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.flatten();
    names
        .map(|entry| entry.path())
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&is_it))
}

/// Runs a program to its end, and returns what it printed.
fn output_of(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = Output::of(command).with_context(|| format!("`{name}` did not start"))?;
    if !output.success {
        bail!("`{name}` failed: {}", output.text);
    }
    Ok(output.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_run_with_the_libraries_beside_them() {
        let kept = tempfile::tempdir().unwrap();
        let folder = kept.path();
        let root = folder.join("root");
        for name in ["usr/bin", "usr/lib/any-linux-gnu", "usr/lib64"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["usr/bin/redis-server", "usr/bin/redis-cli", "usr/lib64/ld-linux-any.so.2"] {
            fs::write(root.join(name), "").unwrap();
        }
        let engine = &ENGINES[0];
        let programs = link(folder, &root, engine).unwrap();
        let text = fs::read_to_string(programs.join("redis-server")).unwrap();
        let place = |name: &str| format!("'{}'", root.join(name).display());
        let words =
            ["usr/lib64/ld-linux-any.so.2", "usr/lib/any-linux-gnu", "usr/bin/redis-server"].map(place);
        assert_eq!(
            text,
            format!("#!/bin/sh\nexec {} --library-path {} {} \"$@\"\n", words[0], words[1], words[2])
        );
        fs::remove_file(root.join("usr/bin/redis-cli")).unwrap();
        assert!(link(folder, &root, engine).is_err(), "a program is missing");
    }

    #[test]
    fn suites_name_targets_that_exist() {
        for suite in ENGINES.iter().flat_map(|engine| engine.suites) {
            let words: Vec<_> = suite.split(' ').collect();
            let after = |name| words.iter().skip_while(|word| **word != name).nth(1).unwrap();
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            let file = target.join(after("--package")).join("tests").join(after("--test")).join("main.rs");
            assert!(file.exists(), "{}", file.display());
        }
    }
}
