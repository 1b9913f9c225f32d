//! `keygen`, and which key files are used.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::process::{Command, Stdio};

use manager_rt::Manager;
use mp_sys::testing::eventually;
use rustix::fs::OFlags;

use crate::program::{KEY, Place, Server, mp_manager, run, set_mode};

fn keygen(path: &str) -> crate::program::Output {
    run(&mut mp_manager(["keygen", path]))
}

#[test]
fn a_key_file_is_random_and_its_owners_only() {
    let place = Place::new();
    let mut keys = Vec::new();
    for (name, umask) in [("a", "0022"), ("b", "0777"), ("c", "0000")] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask $0; exec \"$1\" keygen \"$2\"", umask, env!("CARGO_BIN_EXE_mp-manager")]);
        run(shell.arg(place.path(name))).printed("");
        assert_eq!(fs::metadata(place.path(name)).unwrap().mode() & 0o7777, 0o600, "umask {umask}");
        keys.push(fs::read_to_string(place.path(name)).unwrap());
    }
    for key in &keys {
        let digits = key.strip_suffix('\n').unwrap();
        assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key}");
    }
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[2] != keys[0]);
}

#[test]
fn what_exists_is_never_replaced() {
    let place = Place::new();
    keygen(&place.text("key")).refused(1, &[&place.text("key"), "exists already"]);
    assert_eq!(fs::read_to_string(place.path("key")).unwrap(), KEY);
    // A link that leads nowhere is not followed.
    std::os::unix::fs::symlink(place.path("target"), place.path("link")).unwrap();
    keygen(&place.text("link")).refused(1, &[&place.text("link"), "exists already"]);
    assert!(!place.path("target").exists());
    let nowhere = place.text("no/such/folder");
    keygen(&nowhere).refused(1, &[&nowhere, "No such file"]);
}

#[test]
fn a_key_file_in_the_current_folder_works() {
    let place = Place::new();
    run(mp_manager(["keygen", "here"]).current_dir(place.path(""))).printed("");
    assert!(place.path("here").exists());
}

#[test]
fn a_made_key_opens_a_server() {
    let place = Place::new();
    fs::remove_file(place.path("key")).unwrap();
    keygen(&place.text("key")).printed("");
    let server = place.serve();
    for at in [0, 1] {
        server
            .run_at(at, ["rm", "x"])
            .refused(4, &["\"x\"", &server.addresses[at], "no object has this name"]);
    }
}

#[test]
fn a_key_file_that_others_can_use_is_refused_by_both_sides() {
    let server = Place::new().serve();
    let path = server.place.path("open");
    let name = server.place.text("open");
    fs::write(&path, KEY).unwrap();
    for mode in [0o660, 0o604, 0o610, 0o602, 0o666, 0o4660] {
        set_mode(&path, mode);
        let client =
            run(&mut mp_manager(["shutdown", "--address", &server.addresses[0], "--key-file", &name]));
        let other = server.place.text("other");
        let serve = run(&mut mp_manager(["serve", "--socket", &other, "--key-file", &name]));
        for output in [client, serve] {
            output.refused(1, &[&name, &format!("{mode:04o}"), "chmod 600"]);
        }
    }
    for mode in [0o600, 0o400, 0o700] {
        set_mode(&path, mode);
        let output =
            run(&mut mp_manager(["rm", "x", "--address", &server.addresses[0], "--key-file", &name]));
        assert_eq!(output.code, Some(4), "{mode:o} {output:?}");
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let place = Place::new();
    let read = |name: &str| {
        let arguments = ["rm", "x", "--address", "mp+unix:/nowhere", "--key-file", &place.text(name)];
        run(&mut mp_manager(arguments))
    };
    read("missing").refused(1, &[&place.text("missing"), "no such file", "keygen"]);
    for (name, key, why) in [("empty", "", "empty"), ("blank", "\r\n\n", "empty")] {
        place.write_key(name, key);
        read(name).refused(1, &[&place.text(name), why]);
    }
    let limit = manager_rt::limits::KEY_BYTES_MAX;
    for (more, end, code) in [(0, "", 3), (0, "\r\n", 3), (1, "", 1), (100_000, "", 1)] {
        place.write_key("long", &format!("{}{end}", "k".repeat(limit + more)));
        assert_eq!(read("long").code, Some(code), "{more}");
    }
    read("long").refused(1, &["at most 2048 bytes"]);
    read("").refused(1, &[&place.text(""), "mode"]);
}

#[test]
fn a_key_can_come_from_a_pipe() {
    let server = Place::new().serve();
    let mut shell = Command::new("bash");
    let rm = "\"$0\" rm x --address \"$1\" --key-file <(printf %s \"$2\")";
    let output = run(shell.args(["-c", rm, env!("CARGO_BIN_EXE_mp-manager"), &server.addresses[1], KEY]));
    output.refused(4, &["no object has this name"]);
}

#[test]
fn keys_are_replaced_at_a_signal_while_clients_stay_connected() {
    let new = &KEY.to_uppercase();
    let place = Place::new();
    place.write_key("old", KEY);
    let (socket, key, old) = (place.text("sock"), place.text("key"), place.text("old"));
    let tcp = ["--tcp", "127.0.0.1:0", "--key-file", &key, "--accept-key-file", &old];
    let mut command = mp_manager(["serve", "--socket", &socket].into_iter().chain(tcp));
    place.keep_errors(&mut command);
    let server = Server::start(place, command);
    let connects = |at: usize, key: &str| Manager::builder().key(key).connect(&server.addresses[at]).is_ok();
    let stays = Manager::builder().key(KEY).connect(&server.addresses[1]).unwrap();
    stays.named("x").value(&1_u8).unwrap();
    assert!(connects(0, KEY) && connects(1, KEY) && !connects(0, new) && !connects(1, new));

    server.place.write_key("key", new);
    server.signal("HUP");
    eventually("the new key is accepted", || connects(1, new));
    assert!(connects(0, new) && connects(0, KEY) && connects(1, KEY), "the old key is accepted as well");

    server.place.write_key("old", new);
    server.signal("HUP");
    eventually("the old key is no longer accepted", || !connects(1, KEY));
    assert!(!connects(0, KEY));
    assert_eq!(stays.named("x").value(&0_u8).unwrap().get(), Ok(1), "its connection stays");

    set_mode(&server.place.path("key"), 0o644);
    server.signal("HUP");
    eventually("the file is refused", || server.place.errors().contains("stay as they are"));
    assert!(server.place.errors().contains("chmod 600"), "{}", server.place.errors());
    server.place.write_key("key", "a short key");
    server.signal("HUP");
    eventually("the key is refused", || server.place.errors().contains("11 bytes"));
    assert_eq!(server.place.errors().lines().count(), 2, "{}", server.place.errors());
    assert!(connects(0, new) && connects(1, new) && !connects(1, KEY));
    server.signal("TERM");
    server.ends_well();
}

#[test]
fn a_signal_while_the_first_keys_are_read_lets_them_be_read_again() {
    let new = KEY.to_uppercase();
    let place = Place::new();
    let fifo = place.path("fifo");
    run(Command::new("mkfifo").args(["-m", "600"]).arg(&fifo)).printed("");
    // It can be opened for writing without waiting once somebody reads it.
    let open = || {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        fs::File::options().write(true).custom_flags(flags).open(&fifo)
    };
    let reader_comes = || {
        let opened = RefCell::new(None);
        eventually("the key is read", || {
            opened.replace(open().ok());
            opened.borrow().is_some()
        });
        opened.into_inner().unwrap()
    };
    let mut command =
        mp_manager(["serve", "--socket", &place.text("sock"), "--key-file", &place.text("fifo")]);
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let server = Server { child, addresses: vec![format!("mp+unix:{}", place.text("sock"))], place };
    let mut writer = reader_comes();
    server.signal("HUP");
    writer.write_all(KEY.as_bytes()).unwrap();
    drop(writer);
    // Otherwise, what is written next might be part of the first key.
    eventually("the key is read to its end", || server.place.path("sock").exists());
    reader_comes().write_all(new.as_bytes()).unwrap();
    let connects = |key: &str| Manager::builder().key(key).connect(&server.addresses[0]).is_ok();
    eventually("the new key is accepted", || connects(&new));
    assert!(!connects(KEY));
    server.signal("TERM");
    server.ends_well();
}
