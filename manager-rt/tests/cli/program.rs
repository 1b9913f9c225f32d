//! `mp-manager` as a user runs it, with a deadline for everything.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use manager_rt::Manager;
use tempfile::TempDir;

/// Enough for a debug build on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A key of enough bytes for other hosts.
pub(crate) const KEY: &str = "a key that has at least 32 bytes";

/// Returns the program, without the variables that it reads.
pub(crate) fn mp_manager<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mp-manager"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["MP_MANAGER", "MP_MANAGER_KEY_FILE", "NOTIFY_SOCKET"] {
        command.env_remove(variable);
    }
    command
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Fails unless the program succeeded and printed only this.
    #[track_caller]
    pub(crate) fn printed(&self, expected: &str) {
        assert_eq!(
            (self.code, self.stdout.as_str(), self.stderr.as_str()),
            (Some(0), expected, ""),
            "{self:?}"
        );
    }

    /// Fails unless the program failed with this exit code, and one line on stderr that contains all of these texts.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, texts: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.stderr.starts_with("mp-manager: ") && self.stderr.ends_with('\n'), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        for text in texts {
            assert!(self.stderr.contains(text), "{text} is missing in {self:?}");
        }
    }
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pipes = [read_aside(child.stdout.take().unwrap()), read_aside(child.stderr.take().unwrap())];
    let status = ended(&mut child);
    let [stdout, stderr] = pipes.map(|pipe| String::from_utf8(pipe.recv_timeout(DEADLINE).unwrap()).unwrap());
    Output { code: status.code(), stdout, stderr }
}

/// Waits for the end of a child, and kills it at the deadline.
#[track_caller]
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("still running after {DEADLINE:?}");
        }
        thread::yield_now();
    }
}

fn read_aside(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    let reader = thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        // The test may have given up.
        drop(sender.send(bytes));
    });
    drop(reader.unwrap());
    receiver
}

/// A folder with a key file.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write_key("key", KEY);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a path as an argument.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Lets a command write its errors to a file here, which [`errors`](Self::errors) returns.
    pub(crate) fn keep_errors(&self, command: &mut Command) {
        command.stderr(fs::File::create(self.path("errors")).unwrap());
    }

    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(self.path("errors")).unwrap()
    }

    pub(crate) fn write_key(&self, name: &str, key: &str) {
        fs::write(self.path(name), key).unwrap();
        set_mode(&self.path(name), 0o600);
    }

    /// Starts a server with the key, at `sock` in this folder and at a port.
    pub(crate) fn serve(self) -> Server {
        let (socket, key) = (self.text("sock"), self.text("key"));
        let command = mp_manager(["serve", "--socket", &socket, "--tcp", "127.0.0.1:0", "--key-file", &key]);
        Server::start(self, command)
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A running server. It is killed when this is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    /// The addresses that it printed.
    pub(crate) addresses: Vec<String>,
    pub(crate) place: Place,
}

impl Server {
    pub(crate) fn start(place: Place, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, line) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let reader = thread::Builder::new().name("stdout".to_owned());
        // It ends with the server.
        drop(
            reader
                .spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)))
                .unwrap(),
        );
        let line = line.recv_timeout(DEADLINE).unwrap();
        let addresses = line.strip_prefix("listening at ").unwrap().split(' ').map(str::to_owned).collect();
        Self { child, addresses, place }
    }

    /// Runs a command of a client at one of the addresses, with the right key.
    pub(crate) fn run_at<A: AsRef<OsStr>>(
        &self,
        at: usize,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        let mut command = mp_manager(arguments);
        command.env("MP_MANAGER", &self.addresses[at]).env("MP_MANAGER_KEY_FILE", self.place.path("key"));
        run(&mut command)
    }

    /// Does the same at the socket in the file system.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.run_at(0, arguments)
    }

    /// Connects as a program does.
    pub(crate) fn manager(&self) -> Manager {
        Manager::builder().key(KEY).connect(&self.addresses[0]).unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end, and fails unless it ended well and left no socket behind.
    #[track_caller]
    pub(crate) fn ends_well(mut self) -> Place {
        assert_eq!(ended(&mut self.child).code(), Some(0));
        assert!(!self.place.path("sock").exists());
        assert!(!self.place.path("sock.lock").exists());
        std::mem::replace(&mut self.place, Place { folder: tempfile::tempdir().unwrap() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // This fails if it has already ended, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal by the shell's own command, because the standard library can only kill.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", "kill -\"$1\" \"$0\"", &pid.to_string(), name]).status();
    assert!(sent.unwrap().success());
}
