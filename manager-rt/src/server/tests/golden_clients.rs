//! Clients of all versions, as they were recorded.
//!
//! Each file `tests/golden/client-N.txt` contains what a client of version N sent over a connection, and what it
//! received. It is repeated byte by byte. A file is never changed: `UPDATE_GOLDEN=1` records that of the newest version if
//! there is none yet.
//!
//! | line | meaning |
//! |---|---|
//! | `> bytes`, `< bytes` | a step of the handshake that the client sends, receives; `..` is any byte |
//! | `> proof`, `< proof` | a proof of the key, which depends on the versions that the server offers |
//! | `> Call 3 read 2: bytes` | a frame that the client sends: its kind, the number of the call, how many answers it read, its body |
//! | `< Reply 3: bytes` | a frame that the client receives |
//!
//! `{name}` stands for a number that the server chose, such as an id.

mod record;
mod script;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use mp_sys::handshake::{Connecting, Next};

use self::script::{Names, from_hex, hex};
use super::Running;
use crate::proto::version::{NEWEST, OLDEST};
use crate::server::Server;
use crate::tests::plain_client::stream_to;
use crate::wire::frame::{FrameKind, HEAD_BYTES, Head, terms_of};

const KEY: &[u8] = b"the key of golden clients";
/// The nonce of the server.
const LISTENING: [u8; 32] = [7; 32];
/// The nonce of the client, apart from its offer.
const CONNECTING: [u8; 32] = [9; 32];

fn path(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/client-{version}.txt"))
}

fn server() -> Running {
    Running::start(Server::builder().key(KEY).not_random(LISTENING))
}

/// Returns the name of the kind of a frame.
fn kind_of(name: &str) -> FrameKind {
    let kinds = [FrameKind::Call, FrameKind::Transaction, FrameKind::Notice, FrameKind::Reply];
    let kinds = kinds.into_iter().chain([FrameKind::Fault, FrameKind::Welcome]);
    kinds.into_iter().find(|kind| format!("{kind:?}") == name).unwrap()
}

/// Reads one frame.
fn frame(stream: &mut UnixStream) -> (Head, Vec<u8>) {
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head).unwrap();
    let head = Head::of(&head).unwrap();
    let mut body = vec![0; usize::try_from(head.body_len).unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

/// Repeats what a client of this version sent, and returns the first line whose bytes differ, with the bytes.
fn replay(version: u16, script: &str) -> Option<String> {
    let server = server();
    let mut stream = stream_to(&server.path);
    let terms = terms_of(version, KEY);
    let (mut side, _) = Connecting::new(terms, CONNECTING);
    let mut proof = Vec::new();
    let mut names = Names::new();
    for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (direction, what) = line.split_once(' ').unwrap();
        let received = match (direction, what.split_once(": ")) {
            (">", None) => {
                let bytes = if what == "proof" { std::mem::take(&mut proof) } else { from_hex(what) };
                stream.write_all(&bytes).unwrap();
                continue;
            }
            (">", Some((head, body))) => {
                let [kind, call, _, read] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                let numbers = (call.parse().unwrap(), read.parse().unwrap());
                send(&mut stream, kind_of(kind), numbers, &script::fill(body, &names));
                continue;
            }
            (_, None) => {
                let mut bytes = vec![0; side.missing()];
                stream.read_exact(&mut bytes).unwrap();
                match side.hear(terms, &bytes) {
                    Next::Say(bytes) => proof = bytes,
                    Next::Agree(_) => assert_eq!(side.agreed().map_or(3, |agreed| agreed.version), version),
                    other => panic!("{other:?}"),
                }
                let is_equal = what == "proof" || script::is_like(what, &hex(&bytes));
                (!is_equal).then(|| hex(&bytes))
            }
            (_, Some((head, body))) => {
                let (received, bytes) = frame(&mut stream);
                let received = format!("{:?} {}", received.kind, received.call);
                let is_equal = received == head && script::compare(body, &bytes, &mut names);
                (!is_equal).then(|| format!("{received}: {}", hex(&bytes)))
            }
        };
        if let Some(received) = received {
            return Some(format!("{line}\n  {received}"));
        }
    }
    None
}

fn send(stream: &mut UnixStream, kind: FrameKind, (call, read): (u64, u64), body: &[u8]) {
    let body_len = u32::try_from(body.len()).unwrap();
    let head = Head { body_len, kind, cpu: 0, call, read };
    stream.write_all(&[&head.to_bytes()[..], body].concat()).unwrap();
}

#[test]
fn every_recorded_client_gets_the_answers_that_it_got() {
    for version in OLDEST..=NEWEST {
        if !path(version).exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path(version), record::record(version)).unwrap();
        }
        let script = std::fs::read_to_string(path(version)).expect("each version has a recorded client");
        assert_eq!(replay(version, &script), None, "a client of version {version} is answered otherwise");
    }
}

#[test]
fn a_script_with_another_answer_is_not_accepted() {
    let script = std::fs::read_to_string(path(3)).unwrap();
    let replies: Vec<_> = script.lines().filter(|line| line.starts_with("< Reply")).collect();
    for reply in [replies[0], replies[replies.len() - 1]] {
        let wrong = script.replacen(&format!("{reply}\n"), &format!("{reply} 00\n"), 1);
        assert!(replay(3, &wrong).is_some(), "{reply}");
    }
}
