//! A private Redis server.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mp_sys::testing::eventually;

/// A server that ends with this value. It listens at a socket in a folder of its own, and at no port.
pub(crate) struct Server {
    process: Child,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server with these additional arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let process = run(&folder, &arguments);
        let server = Self { process, folder, arguments };
        server.wait();
        server
    }

    /// Kills the server, and starts it again with what it had written.
    pub(crate) fn restart(&mut self) {
        self.restart_after(|_| {});
    }

    /// Kills the server, and starts it again after a change of what it had written to its folder.
    pub(crate) fn restart_after(&mut self, change: impl FnOnce(&Path)) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        drop(std::fs::remove_file(self.socket()));
        change(self.folder.path());
        self.process = run(&self.folder, &self.arguments);
        self.wait();
    }

    fn wait(&self) {
        // It may still read what it had written.
        let serves = || !self.cli(&["ping"]).starts_with("LOADING");
        eventually("Redis serves", || UnixStream::connect(self.socket()).is_ok() && serves());
    }

    /// Returns the id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the folder with what it writes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Returns the URL of a namespace.
    pub(crate) fn url(&self, namespace: &str) -> String {
        format!("redis+unix://{}?ns={namespace}", self.socket().display())
    }

    /// Runs a command by the client of Redis, and returns what it prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn run(folder: &tempfile::TempDir, arguments: &[String]) -> Child {
    // It ends with the thread of the test, even if that is killed.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(["--port", "0", "--save", "", "--appendonly", "yes"])
        .arg("--unixsocket")
        .arg(folder.path().join("socket"))
        .arg("--dir")
        .arg(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
