//! The example `tiers` prints every figure, and its pictures show them. The tests do not look at how long anything takes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "tally/command.rs"]
#[expect(dead_code, reason = "most of it is for the example `tally`")]
mod command;
#[path = "../examples/tiers/measure.rs"]
#[expect(dead_code, reason = "it is the example's main that measures")]
mod measure;
#[path = "../examples/tiers/picture.rs"]
mod picture;
#[path = "tally/plain.rs"]
#[expect(dead_code, reason = "it is for the example `tally`")]
mod plain;
#[path = "../examples/tiers/svg.rs"]
mod svg;

use std::process::Command;

use serde_json::Value;

use crate::command::{program, run};

/// The means of each work, in the order of the tiers.
const WAYS: [(&str, &[(&str, &str)]); 3] = [
    (
        "adding to a shared counter",
        &[
            ("shared memory", "RawValue::fetch_add"),
            ("shared memory", "Value::update"),
            ("kernel objects", "duplex, there and back"),
            ("server process", "manager::Value::fetch_add"),
        ],
    ),
    ("handing over 64 B", HANDED_OVER),
    ("handing over 1 MiB", HANDED_OVER),
];
const HANDED_OVER: &[(&str, &str)] = &[
    ("shared memory", "Array and Event"),
    ("kernel objects", "Queue"),
    ("server process", "manager::Queue"),
];

#[test]
fn every_work_is_measured_in_every_tier() {
    let output = run(Command::new(program("tiers")).arg("--json"));
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
    let object: Value = serde_json::from_str(&output.stdout).unwrap();
    let rows = object["rows"].as_array().unwrap();
    let found: Vec<_> =
        rows.iter().map(|row| ["work", "tier", "how"].map(|key| row[key].as_str().unwrap())).collect();
    let expected: Vec<_> =
        WAYS.iter().flat_map(|(work, ways)| ways.iter().map(|(tier, how)| [*work, *tier, *how])).collect();
    assert_eq!(found, expected);
    for row in rows {
        assert!(row["nanoseconds"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn bars_are_printed_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiers.svg");
    let output = run(Command::new(program("tiers")).arg("--svg").arg(&file));
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
    let svg = std::fs::read_to_string(&file).unwrap();
    for (work, ways) in WAYS {
        assert!(output.stdout.contains(work) && svg.contains(work), "{output:?}");
        for (tier, how) in ways {
            assert!(
                output.stdout.lines().any(|line| line.contains(tier) && line.contains(how)),
                "{output:?}"
            );
            assert!(svg.lines().any(|line| line.contains(tier) && line.contains(how)), "{svg}");
        }
    }
}

#[test]
fn a_picture_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(Command::new(program("tiers")).arg("--svg").arg(folder.path()));
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{output:?}");
    assert!(output.stderr.contains("cannot be written"), "{output:?}");
    let output = run(Command::new(program("tiers")).arg("--nothing"));
    assert_eq!(output.code, Some(2), "{output:?}");
}
