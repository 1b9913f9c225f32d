//! The commands of the guide's page, as a user types them.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use crate::command::{program, run};

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no curl");
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/prefork.md");
    let page = fs::read_to_string(page).unwrap();
    let mut blocks = page.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    // The first one builds the program, as was done for this test.
    assert!(blocks.next().unwrap().contains("--example prefork"));
    let commands = blocks.next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    // An address of this test's own, on which nobody else takes the port that is free now.
    let [_, a, b, c] = mp::current_process().pid().to_be_bytes();
    let free = TcpListener::bind((Ipv4Addr::new(127, a | 128, b, c), 0)).unwrap().local_addr().unwrap();
    assert!(commands.contains("127.0.0.1:8080"));
    let commands = commands.replace("127.0.0.1:8080", &free.to_string());

    let program = program("prefork");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let mut shell = Command::new("sh");
    let output = run(shell.args(["-e", "-c", &commands]).env("PATH", path).current_dir(folder.path()));
    assert_eq!(output.code, Some(0), "{output:?}");
    let shown = &output.stdout;
    for expected in ["\nhit 1\n", "visit 1\n", "visit 2\n", "\"sessions\":1", "\"records\":1"] {
        assert!(shown.contains(expected), "{expected} is missing in {output:?}");
    }
    assert_eq!(
        fs::metadata(folder.path().join("access.log")).unwrap().len(),
        crate::limits::RECORD_BYTES as u64
    );
}
