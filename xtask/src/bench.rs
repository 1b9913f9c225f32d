//! `cargo xtask bench`, `crash` and `fuzz`, which build and run three targets of this package.
//!
//! A binary cannot use dev-dependencies, and this package may depend on the library crates only as dev-dependencies. So
//! `benches/speed`, `tests/crash` and `tests/fuzz.rs`, each with its own `main`, do the work, and these commands build
//! and run them. With `--json`, nothing else may appear on stdout; cargo reports on stderr, and this code prints
//! nothing.

use clap::Args;

use crate::workspace::Cargo;

/// The options of `cargo xtask bench`, which it passes on.
#[derive(Args, Default)]
pub(crate) struct BenchOptions {
    /// Make few and short runs: they show that everything works, not how fast it is.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also draw the ratios into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<String>,
    /// Measure only the common operations that the README compares with other libraries, and draw the picture into this file.
    #[arg(long, value_name = "FILE", conflicts_with = "rows")]
    pub(crate) peers: Option<String>,
    /// The rows to measure (default: all).
    #[arg(value_name = "ROW")]
    pub(crate) rows: Vec<String>,
}

/// The options of `cargo xtask crash`, which it passes on.
#[derive(Args, Default)]
pub(crate) struct CrashOptions {
    /// Kill many times in each cell instead of a few times.
    #[arg(long)]
    pub(crate) long: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// The cells to run (default: all).
    #[arg(value_name = "CELL")]
    pub(crate) cells: Vec<String>,
}

/// The options of `cargo xtask fuzz`, which it passes on.
#[derive(Args, Default)]
pub(crate) struct FuzzOptions {
    /// The time for each entry, in seconds.
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<u64>,
    /// Build without optimization, as tests are built: for a first look, with fewer inputs.
    #[arg(long)]
    pub(crate) debug: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// The entries to run (default: all).
    #[arg(value_name = "ENTRY")]
    pub(crate) entries: Vec<String>,
}

impl BenchOptions {
    pub(crate) fn command(&self) -> Cargo {
        // Quick figures mean nothing, so they need no optimization, and CI needs the other build anyway.
        Cargo::new("bench --package xtask --bench speed --locked")
            .arguments(self.quick.then_some(["--profile", "dev"]).into_iter().flatten())
            .arguments(["--"])
            .arguments(self.quick.then_some("--quick"))
            .arguments(self.json.then_some("--json"))
            .arguments(self.svg.iter().flat_map(|file| ["--svg", file]))
            .arguments(self.peers.iter().flat_map(|file| ["--peers", file]))
            .arguments(&self.rows)
    }
}

impl CrashOptions {
    pub(crate) fn command(&self) -> Cargo {
        // Without `--matrix`, the same binary serves `cargo test` with a list of short tests.
        Cargo::new("test --package xtask --release --locked --features crash-points --test crash -- --matrix")
            .arguments(self.long.then_some("--long"))
            .arguments(self.json.then_some("--json"))
            .arguments(&self.cells)
    }
}

impl FuzzOptions {
    pub(crate) fn command(&self) -> Cargo {
        Cargo::new("test --package xtask --locked")
            .arguments((!self.debug).then_some("--release"))
            .arguments(["--test", "fuzz", "--", "--run"])
            .arguments(self.seconds.iter().flat_map(|seconds| ["--seconds".to_owned(), seconds.to_string()]))
            .arguments(self.json.then_some("--json"))
            .arguments(&self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_passed_on() {
        let bench = BenchOptions {
            quick: true,
            json: true,
            svg: Some("ratios.svg".to_owned()),
            peers: Some("peers.svg".to_owned()),
            rows: vec!["value_lock_increment".to_owned()],
        };
        let expected = "cargo bench --package xtask --bench speed --locked --profile dev -- --quick --json \
                        --svg ratios.svg --peers peers.svg value_lock_increment";
        assert_eq!(bench.command().to_string(), expected);
        let crash = CrashOptions { long: true, json: false, cells: vec!["value:mid_set".to_owned()] };
        let fuzz =
            FuzzOptions { seconds: Some(3), json: true, entries: vec!["ring".to_owned()], debug: false };
        assert!(
            fuzz.command().to_string().ends_with("--release --test fuzz -- --run --seconds 3 --json ring")
        );
        let unoptimized = FuzzOptions { debug: true, ..fuzz }.command().to_string();
        assert!(unoptimized.contains("--locked --test fuzz -- --run"), "{unoptimized}");
        assert!(crash.command().to_string().ends_with("--test crash -- --matrix --long value:mid_set"));
    }

    /// The picture, its table and the recorded run belong together.
    #[test]
    fn the_picture_in_the_readme_is_of_the_recorded_run() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let read = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
        let picture = read("docs/benchmarks/peers.svg");
        let run: serde_json::Value = serde_json::from_str(&read("docs/benchmarks/peers.json")).expect("JSON");
        assert!(read("README.md").contains("(docs/benchmarks/peers.svg)"));
        assert!(picture.contains(run["processor"].as_str().expect("a processor")));
        let rows = run["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 7); // two of them are one operation
        for (row, who, unit) in [(0, "ours", "ns"), (2, "ours", "µs"), (6, "ours", "µs")] {
            let figure = rows[row][who].as_f64().expect("a figure");
            let shown = if figure < 10.0 { format!("{figure:.1}") } else { format!("{figure:.0}") };
            assert!(picture.contains(&format!("mp: {shown} {unit}<")), "{shown}");
        }
    }

    #[test]
    fn only_given_options_are_passed_on() {
        assert!(BenchOptions::default().command().to_string().ends_with("speed --locked --"));
        assert!(CrashOptions::default().command().to_string().ends_with("-- --matrix"));
        assert!(FuzzOptions::default().command().to_string().ends_with("-- --run"));
    }
}
