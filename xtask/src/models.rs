//! `cargo xtask models`: the protocols between processes, in every order of their steps.
//!
//! `loom` runs a model once for each order that the memory model allows, with at most so many preemptions: switches away
//! from a thread that could go on. The models lie beside the protocols, as modules `models` under `cfg(loom)`; what they
//! show is in `docs/design/models.md`.
//!
//! They are built into a folder of their own: another `RUSTFLAGS` would throw away what every other command has built.

use std::path::Path;

use clap::Args;

use crate::workspace::Cargo;

/// The packages that have models.
const PACKAGES: [&str; 3] = ["mp-sys", "shm-core", "kernel-ipc"];
/// Enough for every mistake that was made on purpose, and for those that were not.
const PREEMPTIONS: u8 = 2;

/// What `cargo xtask models` takes.
#[derive(Args)]
pub(crate) struct ModelsOptions {
    /// The most switches away from a thread that could go on. Each one more takes several times as long.
    #[arg(long, value_name = "N", default_value_t = PREEMPTIONS)]
    preemptions: u8,
    /// The models to run, by name or by a part of their names; all without.
    #[arg(value_name = "MODEL", default_value = "models::")]
    model: String,
}

impl Default for ModelsOptions {
    fn default() -> Self {
        Self { preemptions: PREEMPTIONS, model: "models::".to_owned() }
    }
}

impl ModelsOptions {
    /// `target` is the folder that cargo builds into.
    pub(crate) fn command(&self, target: &Path) -> Cargo {
        call("test --release --lib --locked", target)
            .arguments([&self.model])
            .variable("LOOM_MAX_PREEMPTIONS", self.preemptions.to_string())
    }
}

/// A lint sees only the code that is compiled: here, the models and what they stand on.
pub(crate) fn clippy(target: &Path) -> Cargo {
    call("clippy --all-targets --all-features --locked", target).arguments(["--", "-D", "warnings"])
}

fn call(line: &str, target: &Path) -> Cargo {
    Cargo::new(line)
        .arguments(PACKAGES.iter().flat_map(|package| ["--package", package]))
        .arguments(["--target-dir".to_owned(), target.join("loom").to_string_lossy().into_owned()])
        .variable("RUSTFLAGS", "--cfg loom")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_built_apart() {
        let options = ModelsOptions { preemptions: 4, model: "condition::models".to_owned() };
        let expected = "RUSTFLAGS=\"--cfg loom\" LOOM_MAX_PREEMPTIONS=\"4\" cargo test --release --lib --locked \
                        --package mp-sys --package shm-core --package kernel-ipc --target-dir \
                        built/loom condition::models";
        assert_eq!(options.command(Path::new("built")).to_string(), expected);
        assert!(clippy(Path::new("built")).to_string().contains("--target-dir built/loom -- -D warnings"));
    }
}
