//! The guide's code, compiled and run.
//!
//! Every Markdown file that a user reads is included below, so that `cargo test --package mp-docs --doc` runs its code
//! blocks as doctests. A block that forks is marked `standalone_crate`: it becomes a program of its own with one thread,
//! where merged doctests share a process with two, and `mp::fork` refuses there.
//!
//! The modules exist for doctests only: links between the files are made for readers of the repository.
#![forbid(unsafe_code)]

/// Includes a Markdown file for its code blocks.
#[cfg(doctest)]
macro_rules! page {
    ($name:ident, $path:literal) => {
        #[doc = include_str!($path)]
        pub mod $name {}
    };
}

#[cfg(doctest)]
page!(readme, "../../README.md");
#[cfg(doctest)]
page!(fork, "../FORK.md");
#[cfg(doctest)]
page!(guide, "../guide/README.md");
#[cfg(doctest)]
page!(getting_started, "../guide/getting-started.md");
#[cfg(doctest)]
page!(objects, "../guide/objects.md");
#[cfg(doctest)]
page!(processes, "../guide/processes.md");
#[cfg(doctest)]
page!(inherit, "../guide/inherit.md");
#[cfg(doctest)]
page!(pipes, "../guide/pipes.md");
#[cfg(doctest)]
page!(queues, "../guide/queues.md");
#[cfg(doctest)]
page!(exactly_once, "../guide/exactly-once.md");
#[cfg(doctest)]
page!(async_programs, "../guide/async.md");
#[cfg(doctest)]
page!(supervising, "../guide/supervising.md");
#[cfg(doctest)]
page!(signals, "../guide/signals.md");
#[cfg(doctest)]
page!(managers, "../guide/managers.md");
#[cfg(doctest)]
page!(crashes, "../guide/crashes.md");
#[cfg(doctest)]
page!(limits, "../guide/limits.md");
#[cfg(doctest)]
page!(coming_from_python, "../guide/coming-from-python.md");
