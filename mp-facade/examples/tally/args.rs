//! The command line.

use std::num::NonZero;
use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::Parser;

/// The most workers: each takes two file descriptors of the parent, whose usual limit is 1024.
pub(crate) const WORKERS_MAX: u16 = 256;
/// The most kills: each costs a fork, and up to 100 ms until the queue hands the task out again.
pub(crate) const KILLS_MAX: u32 = 10_000;
/// The most words that are printed: a few hundred MB of text do not contain more different ones.
pub(crate) const TOP_MAX: u32 = 1_000_000;

/// Counts files, bytes, lines, words and letters of whole folders with several processes, any of which may be killed.
///
/// A line ends with a newline byte, a word is a run of ASCII letters, letters count in either case. Only regular files count.
/// Symbolic links are not followed, and folders named `.git` and `target` are left out, except for a PATH itself. A PATH that
/// is given twice counts twice. A file counts up to the size that it had when it was found; bytes that it has lost since then
/// do not count. Unreadable files are listed, and do not count at all.
#[derive(Debug, Parser)]
#[command(name = "tally")]
pub(crate) struct Args {
    /// Files and folders to count.
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) paths: Vec<PathBuf>,
    /// The number of processes that count at the same time [default: one for each processor].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(WORKERS_MAX)))]
    workers: Option<u16>,
    /// Kill a random worker with SIGKILL, N times; the counts stay exact.
    #[arg(long, value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(..=i64::from(KILLS_MAX)))]
    pub(crate) kill: u32,
    /// Print the K most frequent words, in small letters, which are counted in the dict of a manager, a separate process.
    /// Runs of more than 64 letters do not count as words here. If a file becomes unreadable in the middle, its words up to
    /// there count.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=i64::from(TOP_MAX)))]
    pub(crate) top: Option<u32>,
    /// Count the words in the manager at this address, such as `redis://host?ns=tally`, instead of one that is started for them. What
    /// they need there is removed at the end.
    #[arg(long, value_name = "URL", requires = "top")]
    pub(crate) manager: Option<String>,
    /// Also measure a single worker. All measured runs come after one that warms the file cache.
    #[arg(long)]
    pub(crate) compare: bool,
    /// Print one JSON object instead of tables; a comparison then goes to stderr.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    /// The number of workers asked for.
    pub(crate) fn workers(&self) -> usize {
        let processors = || available_parallelism().map_or(1, NonZero::get).min(usize::from(WORKERS_MAX));
        self.workers.map_or_else(processors, usize::from)
    }
}
