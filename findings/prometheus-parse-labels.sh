#!/usr/bin/env bash
# The crate `prometheus-parse` changes or drops samples whose label values contain a comma, `=`, `}`, `"` or a backslash.
#
# Expected: the text format of Prometheus allows any characters in a label value, with \\, \" and \n as escapes, colons in the
#   names of metrics, empty braces, and spaces between tokens. A parser returns each such sample, or an error.
# Happens: labels are split at every comma and `=`, before quotes are looked at. A value with a comma is cut there, a label
#   whose value has a `=` is left out, escapes stay as they are, and a sample with `}` in a value, with a colon in its name, or
#   with empty braces, is not returned at all. Nothing is reported. A scraped command line (`worker --shards=4`) loses its label.
# Follows from: prometheus-parse 0.2.5. Way out: none for such labels; another parser.
# Seen (prometheus-parse 0.2.5, rustc 1.95.0):
#   held{name="jobs",program="worker --shards=4"} 3   -> held {name=jobs} 3
#   held{name="a,b",program="worker"} 3               -> held {name=a,program=worker} 3
#   held{name="set{1}",program="worker"} 3            -> nothing
#   held{name="say \"hi\"",program="worker"} 3        -> held {name=say \"hi\,program=worker} 3
#   job:held:sum{name="jobs"} 3                       -> nothing
#   held{} 3                                          -> nothing
#   held{name="jobs",program="worker"} 3              -> held {name=jobs,program=worker} 3
# Run by hand: findings/prometheus-parse-labels.sh. Needs cargo and a registry. Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
export CARGO_TARGET_DIR="$dir/target"

cat > Cargo.toml <<'END'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[dependencies]
prometheus-parse = "=0.2.5"
[profile.dev]
debug = false
END
mkdir src
cat > src/main.rs <<'END'
use prometheus_parse::{Scrape, Value};
use std::process::ExitCode;

/// The samples that are found in one line, in one line.
fn parsed(line: &str) -> String {
    let scrape = Scrape::parse(std::iter::once(Ok(line.to_owned()))).expect("a parsed line");
    let samples = scrape.samples.iter().map(|sample| {
        let mut labels: Vec<String> = sample.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        labels.sort();
        let Value::Untyped(value) = sample.value else { panic!("another type") };
        format!("{} {{{}}} {value}", sample.metric, labels.join(","))
    });
    samples.reduce(|all, one| all + " and " + &one).unwrap_or("nothing".to_owned())
}

fn main() -> ExitCode {
    let cases = [
        (r#"held{name="jobs",program="worker --shards=4"} 3"#, "held {name=jobs} 3"),
        (r#"held{name="a,b",program="worker"} 3"#, "held {name=a,program=worker} 3"),
        (r#"held{name="set{1}",program="worker"} 3"#, "nothing"),
        (r#"held{name="say \"hi\"",program="worker"} 3"#, r#"held {name=say \"hi\,program=worker} 3"#),
        (r#"job:held:sum{name="jobs"} 3"#, "nothing"),
        ("held{} 3", "nothing"),
        (r#"held{name="jobs",program="worker"} 3"#, "held {name=jobs,program=worker} 3"),
    ];
    let mut as_seen = true;
    for (line, seen) in cases {
        let found = parsed(line);
        println!("{line:<49} -> {found}");
        as_seen &= found == seen;
    }
    if as_seen { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
END

rustc --version
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2
"$CARGO_TARGET_DIR/debug/probe"
