//! The example `tally` counts exactly, whichever process is killed: its program against a plain count, and its unit tests.
//!
//! Its modules are compiled in here because `cargo test` either runs an example's own tests or builds the program that the
//! tests below need, but not both. The programs run in separate processes, so nothing here forks.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "tally/command.rs"]
mod command;
#[path = "tally/forest.rs"]
mod forest;
#[path = "tally/plain.rs"]
mod plain;

#[path = "../examples/tally/count.rs"]
mod count;
#[path = "../examples/tally/crew.rs"]
mod crew;
#[path = "../examples/tally/ledger.rs"]
mod ledger;
#[path = "../examples/tally/parent.rs"]
#[expect(dead_code, reason = "it is the example's main that counts")]
mod parent;
#[path = "../examples/tally/plan.rs"]
mod plan;
#[path = "../examples/tally/ranking.rs"]
mod ranking;
#[path = "../examples/tally/read.rs"]
mod read;
#[path = "../examples/tally/report.rs"]
mod report;
#[path = "../examples/tally/share.rs"]
mod share;
#[path = "../examples/tally/total.rs"]
mod total;
#[path = "../examples/tally/walk.rs"]
mod walk;
#[path = "../examples/tally/words.rs"]
mod words;
#[path = "../examples/tally/work.rs"]
mod work;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::command::{Report, Running, is_manager, kill, program, report, run, runs, tally};
use crate::forest::{RANGE_BYTES, plant, plant_files, plant_one, publish};
use crate::plain::{Plain, ranking_of_folder};

/// One worker and several, in peace and with kills.
const WAYS: [&[&str]; 4] = [
    &["--workers", "1"],
    &["--workers", "3"],
    &["--workers", "1", "--kill", "20"],
    &["--workers", "3", "--kill", "20"],
];

/// The user id that has no rights, by convention.
const NOBODY: u32 = 65534;
/// Runs with kills, one after the other.
const RUNS: usize = 20;

fn kills_of(way: &[&str]) -> u64 {
    if way.contains(&"--kill") { 20 } else { 0 }
}

#[test]
fn the_workspace_counts_like_a_plain_count() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for way in WAYS {
        // A file may be edited meanwhile, so a changed tree is counted again.
        let same = (0..10).any(|_| {
            let before = Plain::of_folder(root);
            let report = report(way, &[root]);
            assert_eq!(report.killed, kills_of(way));
            let is_equal = report.plain == before;
            assert!(is_equal || before != Plain::of_folder(root), "{way:?}: {report:?} is not {before:?}");
            is_equal
        });
        assert!(same, "the workspace changes all the time");
    }
}

#[test]
fn a_tree_with_a_large_file_counts_the_same_whoever_is_killed() {
    assert_eq!(RANGE_BYTES as u64, walk::RANGE_BYTES);
    let root = plant();
    let expected = Plain::of_folder(root.path());
    assert!(expected.files == 12 && expected.bytes > 58_000_000, "{expected:?}");
    for way in WAYS {
        let report = report(way, &[root.path()]);
        assert_eq!(report.plain, expected, "{way:?}");
        assert_eq!(report.killed, kills_of(way), "{way:?}");
        assert!(report.redone <= report.killed, "a worker has one task at a time: {report:?}");
        assert_eq!(report.unreadable, [""; 0]);
    }
}

#[test]
fn all_kills_happen_during_the_work_even_with_one_small_file() {
    let root = plant_one(b"one tiny file\n");
    for workers in ["1", "4", "256"] {
        let report = report(&["--workers", workers, "--kill", "20"], &[root.path()]);
        assert!(report.redone > 0, "the tasks of the dead were handed out again: {report:?}");
        assert_eq!((report.killed, report.plain), (20, Plain::of_folder(root.path())), "{workers} workers");
    }
}

#[test]
fn every_word_of_a_tree_counts_the_same_whoever_is_killed() {
    let root = plant();
    let expected = ranking_of_folder(root.path());
    assert!(expected.len() > 1000 && expected.iter().any(|(word, _)| word.len() > 16), "{}", expected.len());
    for way in WAYS {
        let report = report(&[way, &["--top", "1000000"]].concat(), &[root.path()]);
        assert!(report.top.as_ref() == Some(&expected), "{way:?}");
        assert_eq!(report.killed, kills_of(way), "{way:?}");
    }
}

/// The words are in a private Redis, in which nothing is left.
#[cfg(feature = "redis")]
#[test]
fn words_are_exact_in_redis_too() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let mut start = Command::new("redis-server");
    start.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket).arg("--dir").arg(folder.path());
    let mut server = Running::start(&mut start).unwrap();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(server.is_running(), "Redis has ended");
        thread::yield_now();
    }
    let root = plant_files(20, b"The quick brown fox jumps over the lazy dog, and THE dog sleeps.\n");
    let expected = &ranking_of_folder(root.path())[..4];
    let url = format!("redis+unix://{}?ns=words", socket.display());
    for kills in ["0", "20"] {
        let way = ["--workers", "3", "--kill", kills, "--top", "4", "--manager", &url];
        let report = report(&way, &[root.path()]);
        assert_eq!(report.top.as_deref(), Some(expected), "{kills} kills");
    }
    let left = Command::new("redis-cli").arg("-s").arg(&socket).arg("keys").arg("*:o:*").output().unwrap();
    assert_eq!(String::from_utf8(left.stdout).unwrap().trim(), "");
}

#[test]
fn words_are_exact_in_every_run_with_kills() {
    let root = plant_files(20, b"The quick brown fox jumps over the lazy dog, and THE dog sleeps.\n");
    let expected = &ranking_of_folder(root.path())[..4];
    let names: Vec<&str> = expected.iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(names, ["the", "dog", "and", "brown"], "most frequent first, then by word");
    let mut redone = 0;
    for run in 0..RUNS {
        let report = report(&["--workers", "3", "--kill", "30", "--top", "4"], &[root.path()]);
        assert_eq!((report.killed, report.top.as_deref()), (30, Some(expected)), "run {run}");
        redone += report.redone;
    }
    assert!(redone > 0, "tasks came again");
}

#[test]
fn a_manager_that_somebody_kills_is_an_error_that_says_so() {
    let root = plant_files(8, b"three words here\n");
    let arguments = ["--json", "--workers", "2", "--kill", "10000", "--top", "1"];
    let mut running = Running::start(&mut tally(&arguments, &[root.path()])).unwrap();
    let mut manager = None;
    while manager.is_none() && running.is_running() {
        manager = running.children().into_iter().find(|child| is_manager(*child));
    }
    kill(manager.unwrap());
    let output = running.finish();
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{output:?}");
    assert!(output.stderr.starts_with("error: the words cannot be counted: "), "{output:?}");
}

#[test]
fn an_empty_tree_needs_no_kills() {
    let root = plant_files(0, b"");
    let report = report(&["--kill", "20", "--top", "5"], &[root.path()]);
    assert_eq!((report.killed, report.redone, report.plain), (0, 0, Plain::default()));
    assert_eq!(report.top, Some(Vec::new()));
}

#[test]
fn workers_that_somebody_else_kills_are_replaced_too() {
    let root = plant_files(30, b"three words here\n");
    // Its own kills make it last long enough for those from here.
    let mut running =
        Running::start(&mut tally(&["--json", "--workers", "3", "--kill", "200"], &[root.path()])).unwrap();
    let mut killed = 0;
    while killed < 5 && running.is_running() {
        if let Some(worker) = running.children().first() {
            kill(*worker);
            killed += 1;
        }
    }
    assert!(killed > 0, "it was over before a worker was seen");
    let report = Report::of(&running.finish());
    assert_eq!((report.killed, report.plain), (200, Plain::of_folder(root.path())));
}

#[test]
fn workers_that_always_fail_are_an_error_and_no_endless_loop() {
    let root = plant_files(8, b"three words here\n");
    let mut running =
        Running::start(&mut tally(&["--json", "--workers", "8", "--kill", "10000"], &[root.path()])).unwrap();
    while running.is_running() {
        running.children().into_iter().for_each(kill);
    }
    let output = running.finish();
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""), "{output:?}");
    let reason = "error: 11 workers failed in a row, the last one: the child was ended by signal 9 (SIGKILL)";
    assert_eq!(output.stderr.trim_end(), reason);
}

#[test]
fn workers_do_not_outlive_their_parent() {
    let root = plant_files(8, b"three words here\n");
    // Held back by kills that never come, they would wait for ever.
    let mut running =
        Running::start(&mut tally(&["--workers", "4", "--kill", "10000"], &[root.path()])).unwrap();
    let mut workers = Vec::new();
    while workers.len() < 2 && running.is_running() {
        workers = running.children();
    }
    assert!(workers.len() >= 2);
    running.kill();
    // The pipes end when the last of them does.
    let output = running.finish();
    assert_eq!((output.code, output.stdout.as_str()), (None, ""), "{output:?}");
    while workers.iter().any(|worker| runs(*worker)) {
        thread::yield_now();
    }
}

#[test]
fn unreadable_files_are_listed_and_not_counted() {
    let root = tempfile::tempdir().unwrap();
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let [folder, small, large] = ["closed", "closed.txt", "large"].map(|name| root.path().join(name));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("inside"), b"never seen").unwrap();
    fs::write(&small, b"closed").unwrap();
    fs::write(&large, b"closed").unwrap();
    fs::File::options().write(true).open(&large).unwrap().set_len(2 * RANGE_BYTES as u64 + 1).unwrap();
    fs::write(root.path().join("open.txt"), b"an open file\n").unwrap();
    [&folder, &small, &large].into_iter().for_each(|path| set_mode(path, 0));
    set_mode(root.path(), 0o755);

    // Root can read everything, so root runs it as `nobody`. It uses a copy, since the build may be where only root may look.
    let elsewhere = tempfile::tempdir().unwrap();
    set_mode(elsewhere.path(), 0o755);
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut command = if is_root {
        let mut command = Command::new(publish(&program("tally"), elsewhere.path()));
        command.uid(NOBODY).gid(NOBODY);
        command
    } else {
        Command::new(program("tally"))
    };
    command.args(["--json", "--workers", "2", "--kill", "5"]).arg(root.path());
    let started = Running::start(&mut command);
    let output = started.map(Running::finish);
    // Otherwise the folder could not be removed.
    set_mode(&folder, 0o755);
    let output = match output {
        Err(error) if is_root && error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("SKIPPED: the user nobody may not look into {}", elsewhere.path().display());
            return;
        }
        output => output.unwrap(),
    };

    let report = Report::of(&output);
    let mut expected = Plain::default();
    expected.add_text(b"an open file\n");
    assert_eq!(report.plain, expected);
    assert_eq!(report.killed, 5);
    let listed = [folder, small, large].map(|path| path.to_str().unwrap().to_owned());
    assert_eq!(report.unreadable, listed);
}

#[test]
fn paths_on_the_command_line_count_whatever_their_names() {
    let root = tempfile::tempdir().unwrap();
    let [skipped, file, link_to_file, link_to_folder, nothing] =
        ["target", "target/file", "link-to-file", "link-to-folder", "socket"]
            .map(|name| root.path().join(name));
    fs::create_dir(&skipped).unwrap();
    fs::write(&file, b"some text\n").unwrap();
    symlink(&file, &link_to_file).unwrap();
    symlink(&skipped, &link_to_folder).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&nothing).unwrap());

    let files = |paths: &[&Path]| report(&[], paths).plain.files;
    assert_eq!(files(&[root.path()]), 0, "below a PATH, the folder is left out and links are not followed");
    assert_eq!(files(&[&skipped]), 1);
    assert_eq!(files(&[&file]), 1);
    assert_eq!(files(&[&link_to_file]), 1);
    assert_eq!(files(&[&link_to_folder]), 1);
    assert_eq!(files(&[&nothing]), 0);
    assert_eq!(files(&[&file, &skipped]), 2, "what is named twice counts twice");

    let here = run(tally(&["--json"], &[]).current_dir(&skipped));
    assert_eq!(Report::of(&here).plain.files, 1, "without a PATH, it is the current folder");
}

#[test]
fn bad_arguments_are_refused_before_anything_is_counted() {
    let root = plant_one(b"text");
    let absent = root.path().join("absent");
    let cases: [(&[&str], &[&Path], &str); 7] = [
        (&["--top", "0"], &[root.path()], "0 is not in 1..=1000000"),
        (&["--top", "1000001"], &[root.path()], "1000001 is not in 1..=1000000"),
        (&[], &[root.path(), &absent], "absent: No such file or directory"),
        (&["--json"], &[&root.path().join("0").join("below a file")], "Not a directory"),
        (&["--workers", "0"], &[root.path()], "0 is not in 1..=256"),
        (&["--workers", "257"], &[root.path()], "257 is not in 1..=256"),
        (&["--kill", "10001"], &[root.path()], "10001 is not in 0..=10000"),
    ];
    for (arguments, paths, reason) in cases {
        let output = run(&mut tally(arguments, paths));
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{output:?}");
        assert!(output.stderr.starts_with("error: ") && output.stderr.contains(reason), "{output:?}");
    }
}

#[test]
fn a_comparison_does_not_disturb_the_object() {
    let root = plant_files(5, b"some text\n");
    let output = run(&mut tally(&["--json", "--compare", "--kill", "3", "--top", "1"], &[root.path()]));
    let report = Report::of(&output);
    assert_eq!((report.killed, report.plain), (3, Plain::of_folder(root.path())));
    assert!(output.stderr.contains("speed-up: ") && !output.stderr.contains("differ"), "{output:?}");
}

#[test]
fn the_tables_show_the_numbers() {
    let root = plant_files(5, b"some text\n");
    let output =
        run(&mut tally(&["--compare", "--workers", "2", "--kill", "7", "--top", "9"], &[root.path()]));
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "no bar without a terminal: {output:?}");
    let row = |name: &str| {
        let line = output.stdout.lines().find(|line| line.contains(name)).unwrap();
        line.split(['│', '┆']).map(str::trim).filter(|cell| !cell.is_empty()).nth(1).unwrap().to_owned()
    };
    let names = ["files", "bytes", "lines", "words", "workers", "killed", "unreadable"];
    assert_eq!(names.map(row), ["5", "50", "5", "10", "2", "7", "0"]);
    let tiers = [
        "shared memory: 5 results, each committed once, in 1,220 bytes\n",
        "kernel objects: 5 tasks in a queue, handed out ",
        " of these again; 0 put aside\n",
    ];
    let words =
        "server process: 10 words in a dict, 2 different ones, added by 5 transactions\n 5 some\n 5 text\n";
    for part in [" files/s, ", " MB/s: 2 workers in ", "speed-up: ", words].into_iter().chain(tiers) {
        assert!(output.stdout.contains(part), "{part} in {}", output.stdout);
    }
}

#[test]
fn the_small_examples_show_what_they_promise() {
    let counter = run(&mut Command::new(program("counter")));
    assert_eq!(counter.code, Some(0), "{counter:?}");
    assert!(counter.stdout.ends_with("together they counted to 4000\n"), "{counter:?}");

    let inherit = run(&mut Command::new(program("inherit")));
    assert_eq!(inherit.code, Some(0), "{inherit:?}");
    let seen: Vec<_> = inherit.stdout.lines().filter_map(|line| Some(&line[line.find('[')?..])).collect();
    let seen: Vec<_> =
        seen.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected =
        ["[1] 1", "[1] 1", "[1, 10] 11", "[1, 10] 11", "[1, 10, 100] 111", "[1, 10] 111", "[1] 111"];
    assert_eq!(seen, expected);
}
