//! Arguments, help, completions, and the output as such.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use crate::program::{Output, Place, ended, mp_manager, run};

const COMMANDS: [&str; 11] =
    ["serve", "keygen", "ls", "top", "inspect", "get", "set", "rm", "snapshot", "shutdown", "completions"];

/// Fails unless clap refused the arguments and named this.
#[track_caller]
fn misused(output: &Output, text: &str) {
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{output:?}");
    assert!(output.stderr.contains(text), "{output:?}");
}

#[test]
fn every_command_has_help_of_at_most_100_columns() {
    let all = run(&mut mp_manager(["--help"]));
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""));
    for text in COMMANDS.into_iter().chain(["Exit codes:", "mp+tcp://"]) {
        assert!(all.stdout.contains(text), "{text} is missing in {}", all.stdout);
    }
    for command in COMMANDS {
        let help = run(&mut mp_manager([command, "--help"]));
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        assert!(help.stdout.contains("Usage: mp-manager"), "{help:?}");
        for line in help.stdout.lines().chain(all.stdout.lines()) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
    run(&mut mp_manager(["--version"])).printed(&format!("mp-manager {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_arguments_are_explained() {
    let place = Place::new();
    let socket = place.text("sock");
    let of = |arguments: &[&str]| run(&mut mp_manager(arguments));
    misused(&of(&[]), "Usage: mp-manager");
    misused(&of(&["lss"]), "lss");
    misused(&of(&["rm"]), "<NAME>");
    misused(&of(&["rm", "x"]), "--address");
    misused(&of(&["serve"]), "--socket");
    misused(&of(&["serve", "--socket", &socket, "--keep-every", "1min"]), "--keep <FILE>");
    misused(&of(&["snapshot", "--address", "mp+unix:/x"]), "<FILE>");
    misused(&of(&["serve", "--socket", &socket, "--tcp", "127.0.0.1:0"]), "--key-file");
    misused(&of(&["serve", "--socket", &socket, "--memory", "1 mb"]), "512MiB");
    misused(&of(&["serve", "--socket", &socket, "--clients", "0"]), "0 is not in 1..");
    misused(&of(&["completions", "dos"]), "bash");
    let key = place.text("key");
    of(&["serve", "--socket", &socket, "--key-file", &key, "--tcp", "7000"]).refused(2, &["--tcp", "7000"]);
    of(&["serve", "--socket", &format!("/{}", "x".repeat(107))]).refused(2, &["--socket", "107 bytes"]);
    place.write_key("short", "short");
    let short = place.text("short");
    of(&["serve", "--socket", &socket, "--key-file", &short, "--tcp", "127.0.0.1:0"])
        .refused(2, &["5 bytes", "keygen"]);
    assert!(!place.path("sock").exists());
}

#[test]
fn text_that_is_no_utf_8_is_a_wrong_argument_and_fine_in_the_name_of_a_file() {
    let place = Place::new();
    let bad = OsStr::from_bytes(b"caf\xe9");
    misused(&run(mp_manager(["rm", "--address", "mp+unix:/x"]).arg(bad)), "UTF-8");
    misused(&run(mp_manager(["rm", "x", "--address"]).arg(bad)), "UTF-8");
    misused(&run(mp_manager(["rm", "x"]).env("MP_MANAGER", bad)), "UTF-8");
    misused(&run(mp_manager(["serve", "--socket"]).arg(place.path("").join(bad))), "UTF-8");
    let file = place.path("").join(bad);
    run(mp_manager(["keygen"]).arg(&file)).printed("");
    assert!(file.exists());
    let again = run(mp_manager(["keygen"]).arg(&file));
    again.refused(1, &["exists already"]);
}

#[test]
fn completions_are_understood_by_bash() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&mut mp_manager(["completions", shell]));
        assert_eq!((script.code, script.stderr.as_str()), (Some(0), ""));
        for command in COMMANDS {
            assert!(script.stdout.contains(command), "{shell}: {command}");
        }
        if shell == "bash" {
            run(Command::new("bash").args(["-n", "-c", &script.stdout])).printed("");
            // What a user gets who presses the tabulator key after `mp-manager shu`.
            let complete = "eval \"$0\"; COMP_WORDS=(mp-manager shu); COMP_CWORD=1
                $(complete -p mp-manager | sed 's/.*-F \\([^ ]*\\).*/\\1/') mp-manager shu mp-manager
                echo \"${COMPREPLY[@]}\"";
            run(Command::new("bash").args(["-c", complete, &script.stdout])).printed("shutdown\n");
        }
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is_one() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child =
        mp_manager(["completions", "bash"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(ended(&mut child).code(), Some(0));
    assert_eq!(std::io::read_to_string(child.stderr.take().unwrap()).unwrap(), "");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = mp_manager(["completions", "bash"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(ended(&mut child).code(), Some(1));
    let stderr = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(stderr.contains("cannot be written: No space"), "{stderr}");
}
