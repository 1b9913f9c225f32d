#!/usr/bin/env bash
# The PID in a lock file of the crate `fslock` is not the holder's: a dead holder's digits follow it, or it is missing.
#
# Expected: while `lock_with_pid` is held, the file holds the holder's PID and nothing else: it "writes this process's
#   PID into the file, which will be erased on unlock"; the example in its documentation checks that there are only digits.
# Happens: (1) `lock_with_pid` overwrites what is there. After a holder that was killed, whose PID had more digits, the
#   rest of that PID follows on a line of its own. Only `try_lock_with_pid` empties the file first.
#   (2) `unlock` unlocks first and then empties the file. The next holder has written its PID in between, so the file
#   of a held lock is empty, for as long as that holder keeps it. (strace only makes the order of (2) certain.)
# Follows from: fslock 0.2.1 on Unix.
# Seen (fslock 0.2.1, rustc 1.95.0, strace 6.1):
#   (1) lock_with_pid "PID\n03\n", try_lock_with_pid "PID\n"   (PID stands for the script's own, 5 digits)
#   (2) the next holder: own PID at first: true, "" (2 s later, still holding)
# Run by hand: findings/fslock-pid-file.sh. Needs cargo, a registry and strace; PIDs below 1,000,000 for (1).
#   Exits with 1 if this has changed.
set -euo pipefail

dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
export CARGO_TARGET_DIR="$dir/target"

cat > Cargo.toml <<'END'
[package]
name = "probe"
version = "0.0.0"
edition = "2021"
[dependencies]
fslock = "=0.2.1"
END
mkdir src
cat > src/main.rs <<'END'
use std::{env, fs, io::stdin, process, thread, time::Duration};

fn content() -> String {
    fs::read_to_string("lock").expect("the lock file")
}

fn main() {
    let mut file = fslock::LockFile::open("lock").expect("the lock file");
    match env::args().nth(1).as_deref() {
        Some("lock") => file.lock_with_pid().expect("the lock"),
        Some("try") => assert!(file.try_lock_with_pid().expect("the lock")),
        Some("old holder") => {
            file.lock_with_pid().expect("the lock");
            fs::write("held", "").expect("a mark");
            stdin().read_line(&mut String::new()).expect("the word to unlock");
            return file.unlock().expect("an unlock");
        }
        _ => {
            file.lock_with_pid().expect("the lock");
            print!("own PID at first: {}, ", content() == format!("{}\n", process::id()));
            thread::sleep(Duration::from_secs(2));
        }
    }
    println!("{:?}", content().replace(&process::id().to_string(), "PID"));
}
END

rustc --version
strace --version | head -n 1
cargo build --quiet
cargo tree --quiet --depth 1 --prefix none | tail -n +2
probe="$CARGO_TARGET_DIR/debug/probe"

echo 4194303 > lock # the PID of a holder that was killed; the largest that Linux hands out
blocking=$("$probe" lock)
echo 4194303 > lock
trying=$("$probe" try)
echo "(1) lock_with_pid $blocking, try_lock_with_pid $trying"

mkfifo word
strace -o trace -e trace=ftruncate -e inject=ftruncate:delay_enter=1000000 "$probe" 'old holder' < word &
exec 3> word
until [ -e held ]; do sleep 0.05; done
"$probe" 'next holder' > next &
sleep 0.5 # until the next holder waits for the lock
echo unlock >&3
wait
echo "(2) the next holder: $(cat next)"

[[ $blocking == '"PID\n'*'\n"' && $blocking != '"PID\n"' && $trying == '"PID\n"' ]]
[[ $(cat next) == 'own PID at first: true, ""' ]]
