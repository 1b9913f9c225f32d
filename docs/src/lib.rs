//! The guide of `mp`: its pages for rustdoc, and its code blocks as documentation tests.
#![cfg_attr(all(doc, not(doctest)), doc = include_str!(concat!(env!("OUT_DIR"), "/guide.md")))]
#![forbid(unsafe_code)]

// `cargo test --package mp-docs --doc` runs the code blocks of every Markdown file that a user reads. A block that forks is marked
// `standalone_crate`: it becomes a program of its own with one thread, while merged doctests share a process with two threads, where
// `mp::fork` refuses.
//
// `cargo doc` makes a page of each file, beside those of the crates. Links between files do not lead anywhere there, so `build.rs`
// rewrites them.

/// Includes a Markdown file: the original for its code blocks, or the copy with links for rustdoc.
macro_rules! page {
    ($name:ident, $path:literal) => {
        #[cfg(doctest)]
        #[doc = include_str!($path)]
        pub mod $name {}
        #[cfg(all(doc, not(doctest)))]
        #[doc = include_str!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".md"))]
        pub mod $name {}
    };
}

/// The front pages, whose code blocks are run.
#[cfg(doctest)]
mod readmes {
    #[doc = include_str!("../../README.md")]
    pub mod readme {}
    #[doc = include_str!("../guide/README.md")]
    pub mod guide {}
}

page!(fork, "../FORK.md");
page!(getting_started, "../guide/getting-started.md");
page!(objects, "../guide/objects.md");
page!(synchronizing, "../guide/synchronizing.md");
page!(processes, "../guide/processes.md");
page!(inherit, "../guide/inherit.md");
page!(pipes, "../guide/pipes.md");
page!(queues, "../guide/queues.md");
page!(exactly_once, "../guide/exactly-once.md");
page!(async_programs, "../guide/async.md");
page!(pools, "../guide/pools.md");
page!(supervising, "../guide/supervising.md");
page!(prefork, "../guide/prefork.md");
page!(signals, "../guide/signals.md");
page!(managers, "../guide/managers.md");
page!(hosts, "../guide/hosts.md");
page!(mp_manager, "../guide/mp-manager.md");
page!(redis, "../guide/redis.md");
page!(rabbitmq, "../guide/rabbitmq.md");
page!(crashes, "../guide/crashes.md");
page!(limits, "../guide/limits.md");
page!(coming_from_python, "../guide/coming-from-python.md");
