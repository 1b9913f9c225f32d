//! The place and the contents of the workspace, and calls of cargo.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use cargo_metadata::{MetadataCommand, Package};

/// The workspace as `cargo metadata` describes it, without external crates.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    packages: Vec<Package>,
}

impl Workspace {
    /// Asks cargo about the workspace that this binary was started from.
    pub(crate) fn load() -> Result<Self> {
        // Cargo sets the variable at run time too. The compiled-in value would be wrong if two checkouts share a target
        // folder.
        let package =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let metadata = MetadataCommand::new()
            .current_dir(Path::new(&package))
            .no_deps()
            .exec()
            .context("`cargo metadata` does not understand the workspace")?;
        Ok(Self {
            root: metadata.workspace_root.clone().into_std_path_buf(),
            target: metadata.target_directory.clone().into_std_path_buf(),
            packages: metadata.packages,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that cargo builds into.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// `path` as findings show it: relative to the root of the workspace, with `/` on every platform.
    pub(crate) fn relative(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        parts.join("/")
    }
}

/// The output of a program, and whether it succeeded.
pub(crate) struct Output {
    pub(crate) success: bool,
    /// Its standard output, followed by its standard error.
    pub(crate) text: String,
}

impl Output {
    /// Runs `command` to its end.
    pub(crate) fn of(command: &mut Command) -> io::Result<Self> {
        let output = command.output()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(Self { success: output.status.success(), text })
    }
}

/// One call of cargo in the root of the workspace. Its `Display` can be pasted into a shell there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cargo {
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
}

impl Cargo {
    /// Makes a call with the arguments in `line`, which are separated by spaces.
    pub(crate) fn new(line: &str) -> Self {
        Self { arguments: line.split_whitespace().map(str::to_owned).collect(), variables: Vec::new() }
    }

    pub(crate) fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn command(&self, workspace: &Workspace) -> Command {
        // The cargo that runs this binary, not the one that `PATH` may find: a toolchain override must hold for every
        // step.
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        command.current_dir(workspace.root()).args(&self.arguments).envs(variables);
        command
    }

    /// Runs it with this process's standard streams. Returns `Ok(false)` if it ran and failed.
    pub(crate) fn succeeds(&self, workspace: &Workspace) -> Result<bool> {
        let status = self.command(workspace).status().with_context(|| format!("`{self}` did not start"))?;
        Ok(status.success())
    }

    /// Runs it to its end, and returns its output instead of printing it.
    pub(crate) fn output(&self, workspace: &Workspace) -> Result<Output> {
        Output::of(&mut self.command(workspace)).with_context(|| format!("`{self}` did not start"))
    }

    /// Runs it with this process's standard streams, and returns its exit code. Prints nothing itself.
    pub(crate) fn pass_through(&self, workspace: &Workspace) -> Result<ExitCode> {
        let status = self.command(workspace).status().with_context(|| format!("`{self}` did not start"))?;
        // No code means that a signal ended it.
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }
}

impl fmt::Display for Cargo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.variables {
            write!(f, "{name}=\"{value}\" ")?;
        }
        f.write_str("cargo")?;
        for argument in &self.arguments {
            if argument.contains(['*', ' ', '\'']) {
                write!(f, " {argument:?}")?;
            } else {
                write!(f, " {argument}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_shown_as_a_shell_accepts_it() {
        let cargo = Cargo::new("doc --no-deps").arguments(["a b"]).variable("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(cargo.to_string(), "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps \"a b\"");
    }
}
