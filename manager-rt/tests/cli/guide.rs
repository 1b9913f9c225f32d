//! The commands of the guide's page, as a user types them.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::program::run;

#[test]
fn the_commands_of_the_guide_do_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/mp-manager.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    // The first one installs the program.
    let (install, commands): (Vec<_>, Vec<_>) = blocks.partition(|block| block.contains("cargo install"));
    assert_eq!(install.len(), 1);
    let commands = commands.concat();
    // A port that is free now; nobody else takes such ports on purpose.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert!(commands.contains("127.0.0.1:7000"));
    let commands = commands.replace("127.0.0.1:7000", &format!("127.0.0.1:{port}"));
    // If a command fails, the server must not outlive the test.
    let commands = format!("trap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{commands}\nwait\n");

    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_mp-manager")).parent().unwrap().display().to_string();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    let output = run(shell.args(["-e", "-c", &commands]).env("PATH", path).current_dir(folder.path()));
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
    // What the page shows below its commands.
    let shown = page.split("```text\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let shown: Vec<&str> = shown.filter(|block| !block.contains('…')).collect();
    assert!(!shown.is_empty());
    for block in shown {
        assert!(output.stdout.contains(block), "{block} is missing in {output:?}");
    }
    assert!(!folder.path().join("jobs.sock").exists());
}
