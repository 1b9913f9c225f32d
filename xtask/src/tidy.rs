//! `cargo xtask tidy`: checks the rules of this workspace that no compiler or linter checks.
//!
//! Each file under `tidy/` is one family of rules: functions from text (or from cargo's metadata) to findings. They
//! read no file, so their tests can show both what they must find and what they must ignore. This file reads the tree.
//! A finding is printed as `path:line: message` and fails the command.

mod aliases;
mod arrows;
mod caps;
mod census;
mod descriptors;
mod examples;
mod front;
mod guide;
mod imports;
mod layout;
mod manifests;
mod markdown;
mod order;
mod rows;
mod safety;
mod signatures;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::Workspace;

/// The options of `cargo xtask tidy`.
#[derive(Args)]
pub(crate) struct Options {
    /// Print where `unsafe` appears, file by file, instead of checking.
    #[arg(long)]
    census: bool,
}

/// One breach of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

/// A file of the workspace. Its path starts at the root and is separated by `/`.
struct TextFile {
    path: String,
    text: String,
}

/// A Rust file that parses.
struct RustFile {
    path: String,
    text: String,
    syntax: syn::File,
}

/// Every file that a rule checks.
#[derive(Default)]
struct Tree {
    rust: Vec<RustFile>,
    markdown: Vec<TextFile>,
    /// All paths of files and folders, for links.
    paths: Vec<String>,
    /// Files that could not be parsed, as findings.
    broken: Vec<Finding>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    if options.census {
        let tree = Tree::read(workspace)?;
        print!("{}", census::table(&tree.rust));
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if passes(workspace)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints all findings; returns whether there are none.
pub(crate) fn passes(workspace: &Workspace) -> Result<bool> {
    let tree = Tree::read(workspace)?;
    let mut findings = check(workspace, &tree)?;
    findings.sort();
    findings.dedup();
    for Finding { path, line, message } in &findings {
        println!("{path}:{line}: {message}");
    }
    let files = tree.rust.len() + tree.markdown.len();
    match findings.len() {
        0 => println!("tidy: {files} files, no findings"),
        count => println!("tidy: {files} files, {count} findings"),
    }
    Ok(findings.is_empty())
}

fn check(workspace: &Workspace, tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = tree.broken.clone();
    for package in workspace.packages() {
        let path = workspace.relative(package.manifest_path.as_std_path());
        let manifest = read(package.manifest_path.as_std_path(), path)?;
        let folder = manifest.path.trim_end_matches("Cargo.toml");
        findings.extend(arrows::check(&arrows::Crate::from_package(package), &manifest));
        findings.extend(manifests::inherits_lints(&manifest));
        if package.publish.is_none() {
            findings.extend(manifests::has_readme(&manifest.path, tree.has(&format!("{folder}README.md"))));
        }
    }
    let root = read(&workspace.root().join("Cargo.toml"), "Cargo.toml".to_owned())?;
    findings.extend(manifests::dependencies_say_why(&root));

    findings.extend(census::check(&tree.rust));
    let note = tree.markdown.iter().find(|file| file.path == safety::NOTE);
    findings.extend(safety::check_note(&tree.rust, note));
    for file in &tree.rust {
        findings.extend(safety::check_comments(file));
        findings.extend(layout::check(file));
        findings.extend(descriptors::check(file));
        findings.extend(examples::check(file));
    }
    findings.extend(layout::check_exemptions(&tree.rust));
    findings.extend(aliases::check(&tree.rust));
    findings.extend(order::check(&tree.rust));
    for krate in signatures::CRATES {
        let source = format!("{krate}/src/");
        let files: Vec<_> = tree.rust.iter().filter(|file| file.path.starts_with(&source)).collect();
        findings.extend(signatures::check(&files));
    }
    for file in &tree.markdown {
        findings.extend(markdown::check(file, |path| tree.has(path)));
    }
    findings.extend(tables(workspace, tree)?);
    findings.extend(front_page(tree)?);
    Ok(findings)
}

/// Findings about the front page of `mp`.
fn front_page(tree: &Tree) -> Result<Vec<Finding>> {
    let markdown = |path: &str| {
        let found = tree.markdown.iter().find(|file| file.path == path);
        found.with_context(|| format!("there is no {path}"))
    };
    let facade = tree.rust.iter().find(|file| file.path == front::FACADE);
    let facade = facade.with_context(|| format!("there is no {}", front::FACADE))?;
    let pages: Vec<_> = tree.markdown.iter().filter(|file| file.path.starts_with(front::FOLDER)).collect();
    let mut findings = front::names_all(facade, &pages);
    findings.extend(front::same_table(markdown(front::READMES.0)?, markdown(front::READMES.1)?));
    Ok(findings)
}

/// Checks the tables that must be complete.
fn tables(workspace: &Workspace, tree: &Tree) -> Result<Vec<Finding>> {
    let page = |path: &str| read(&workspace.root().join(path), path.to_owned());
    let mut findings = rows::of_python(&page(rows::NAMES)?, &page(rows::FROM_PYTHON)?);
    let on_forks = page(rows::ON_FORKS)?;
    for (path, is_of_managers) in rows::CRATES {
        let krate = tree.rust.iter().find(|file| file.path == path);
        let krate = krate.with_context(|| format!("there is no {path}"))?;
        findings.extend(rows::of_forks(krate, is_of_managers, &on_forks));
    }
    let engines = tree.rust.iter().find(|file| file.path == caps::CAPS);
    let engines = engines.with_context(|| format!("there is no {}", caps::CAPS))?;
    let tests: Vec<_> = tree.rust.iter().filter(|file| file.path.starts_with(caps::TESTS)).collect();
    findings.extend(caps::check(engines, &tests, &page(caps::PAGE)?));
    findings.extend(of_guide(tree)?);
    Ok(findings)
}

/// Checks the rows of the guide.
fn of_guide(tree: &Tree) -> Result<Vec<Finding>> {
    let page = |path: &str| {
        let found = tree.markdown.iter().find(|file| file.path == path);
        found.with_context(|| format!("there is no {path}"))
    };
    let mut findings = Vec::new();
    for file in &tree.rust {
        let pages: Vec<_> =
            guide::pages_for(&file.path).iter().map(|path| page(path)).collect::<Result<_>>()?;
        findings.extend(guide::errors(file, &pages));
        if guide::LIMITS.contains(&file.path.as_str()) {
            findings.extend(guide::limits(file, page(guide::PAGE)?));
        }
    }
    Ok(findings)
}

fn read(absolute: &Path, path: String) -> Result<TextFile> {
    let text = fs::read_to_string(absolute).with_context(|| format!("cannot read {path}"))?;
    Ok(TextFile { path, text })
}

impl Tree {
    fn read(workspace: &Workspace) -> Result<Self> {
        let mut tree = Self::default();
        tree.walk(workspace, workspace.root())?;
        tree.rust.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// Adds what is in `folder`, except symbolic links, hidden files and build products.
    fn walk(&mut self, workspace: &Workspace, folder: &Path) -> Result<()> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("cannot list {}", workspace.relative(folder)))?;
        for entry in entries {
            let entry = entry?;
            let (kind, absolute, name) = (entry.file_type()?, entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            let path = workspace.relative(&absolute);
            if kind.is_dir() {
                self.walk(workspace, &absolute)?;
            } else if kind.is_file() && name.ends_with(".rs") {
                self.add_rust(read(&absolute, path.clone())?);
            } else if kind.is_file() && name.ends_with(".md") {
                self.markdown.push(read(&absolute, path.clone())?);
            }
            self.paths.push(path);
        }
        Ok(())
    }

    fn add_rust(&mut self, file: TextFile) {
        match syn::parse_file(&file.text) {
            Ok(syntax) => self.rust.push(RustFile { path: file.path, text: file.text, syntax }),
            Err(error) => {
                let line = error.span().start().line;
                self.broken.push(Finding::new(&file.path, line, format!("does not parse: {error}")));
            }
        }
    }

    fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|known| known == path)
    }
}

/// Sources for the tests of the rules.
#[cfg(test)]
mod fixture {
    use super::{Finding, RustFile, TextFile};

    pub(super) fn rust(path: &str, text: &str) -> RustFile {
        let syntax = syn::parse_file(text).expect("a fixture is valid Rust");
        RustFile { path: path.to_owned(), text: text.to_owned(), syntax }
    }

    pub(super) fn text(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_owned(), text: text.to_owned() }
    }

    /// What `lines` returns if there are no findings.
    pub(super) const NOWHERE: [usize; 0] = [];

    /// The lines of the findings, in order.
    pub(super) fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }
}
