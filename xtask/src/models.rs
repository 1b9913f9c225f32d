//! `cargo xtask models`: runs the protocols between processes in every order of their steps.
//!
//! `loom` runs a model once for each order that the memory model allows, with a limited number of preemptions. (A
//! preemption is a switch away from a thread that could go on.) The models are modules named `models` beside the
//! protocols, under `cfg(mp_loom)`; `docs/design/models.md` describes what they show.
//!
//! They are built into a separate folder: a different `RUSTFLAGS` would discard what every other command has built.

use std::path::Path;

use clap::Args;

use crate::workspace::Cargo;

/// The packages that have models.
const PACKAGES: [&str; 3] = ["mp-sys", "shm-core", "kernel-ipc"];
/// Enough to find every mistake that was made on purpose, and those that were not.
const PREEMPTIONS: u8 = 2;

/// The options of `cargo xtask models`.
#[derive(Args)]
pub(crate) struct ModelsOptions {
    /// The most switches away from a thread that could go on; each additional one takes several times as long.
    #[arg(long, value_name = "N", default_value_t = PREEMPTIONS)]
    preemptions: u8,
    /// The models to run, by name or by a part of their names; `models::` runs all.
    #[arg(value_name = "MODEL", default_value = "models::")]
    model: String,
}

impl Default for ModelsOptions {
    fn default() -> Self {
        Self { preemptions: PREEMPTIONS, model: "models::".to_owned() }
    }
}

impl ModelsOptions {
    /// The call of cargo. `target` is the folder that cargo builds into.
    pub(crate) fn command(&self, target: &Path) -> Cargo {
        call("test --release --lib --locked", target)
            .arguments([&self.model])
            .variable("LOOM_MAX_PREEMPTIONS", self.preemptions.to_string())
    }
}

/// Lints the models and the code below them: a lint sees only the code that is compiled. In the profile for tests, the
/// library is compiled with its unit tests, and the models are among them.
pub(crate) fn clippy(target: &Path) -> Cargo {
    call("clippy --lib --profile test --all-features --locked", target).arguments(["--", "-D", "warnings"])
}

fn call(line: &str, target: &Path) -> Cargo {
    Cargo::new(line)
        .arguments(PACKAGES.iter().flat_map(|package| ["--package", package]))
        .arguments(["--target-dir".to_owned(), target.join("loom").to_string_lossy().into_owned()])
        .variable("RUSTFLAGS", "--cfg mp_loom")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_built_into_a_separate_folder() {
        let options = ModelsOptions { preemptions: 4, model: "condition::models".to_owned() };
        let expected = "RUSTFLAGS=\"--cfg mp_loom\" LOOM_MAX_PREEMPTIONS=\"4\" cargo test --release --lib --locked \
                        --package mp-sys --package shm-core --package kernel-ipc --target-dir \
                        built/loom condition::models";
        assert_eq!(options.command(Path::new("built")).to_string(), expected);
        assert!(clippy(Path::new("built")).to_string().contains("--target-dir built/loom -- -D warnings"));
    }
}
