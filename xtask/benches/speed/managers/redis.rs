//! A separate Redis on a local socket, without anything on disk; the smallest client; and `redis-benchmark`.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mp_sys::deadline::Deadline;
use tempfile::TempDir;

use crate::children::Crowd;
use crate::row::Setup;

pub(super) const START_TIMEOUT: Duration = Duration::from_secs(10);
const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$8\r\nkey:0001\r\n$8\r\nvalue001\r\n";
const SET_ANSWER: &[u8] = b"+OK\r\n";
pub(super) const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$8\r\nkey:0001\r\n";
pub(super) const GET_ANSWER: &[u8] = b"$8\r\nvalue001\r\n";

/// Whether Redis is installed.
pub(crate) fn has_redis() -> bool {
    let runs = |program: &str| {
        let status =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    runs("redis-server") && runs("redis-benchmark")
}

/// A server, which runs on the CPU of member 1 of the row's processes.
pub(super) struct Redis {
    socket: PathBuf,
    port: u16,
    // It ends before its folder is removed.
    _server: Crowd,
    _folder: TempDir,
}

impl Redis {
    pub(super) fn start(setup: &Setup) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("redis.sock");
        // It is free again by the time that the server listens.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Crowd::peer(setup, || {
            let options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--unixsocket"];
            let mut command = Command::new("redis-server");
            command.args(options).arg(&socket).arg("--dir").arg(folder.path());
            command.arg("--port").arg(port.to_string());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Err(command.exec()).context("redis-server cannot be executed")
        })?;
        let deadline = Deadline::after(START_TIMEOUT);
        while UnixStream::connect(&socket).is_err() {
            ensure!(!deadline.has_passed(), "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { socket, port, _server: server, _folder: folder })
    }

    /// The port at which it listens on loopback.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes a client, and sets a value at the key that it reads.
    pub(super) fn client(&self, spins: bool) -> Result<RedisClient> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_nonblocking(spins)?;
        let mut client = RedisClient { stream };
        client.set()?;
        Ok(client)
    }

    /// Runs `redis-benchmark` with 50 connections, 16 operations at a time, and values of 8 bytes; returns nanoseconds
    /// per operation.
    pub(super) fn benchmark(&self, test: &str, operations: u64) -> Result<f64> {
        let mut command = Command::new("redis-benchmark");
        command.args(["-c", "50", "-P", "16", "-d", "8", "-t", test, "--csv", "-s"]).arg(&self.socket);
        let output = command.args(["-n", &operations.to_string()]).stdin(Stdio::null()).output()?;
        nanos_of(test, output)
    }
}

/// Reads nanoseconds per operation from what `redis-benchmark --csv` has printed.
pub(super) fn nanos_of(test: &str, output: Output) -> Result<f64> {
    ensure!(output.status.success(), "redis-benchmark failed: {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    let name = format!("\"{}\"", test.to_uppercase());
    let line = text.lines().find(|line| line.starts_with(&name)).context("no line about that test")?;
    let rate = line.split(',').nth(1).context("no rate")?.trim_matches('"');
    Ok(1e9 / rate.parse::<f64>()?)
}

/// One connection.
pub(super) struct RedisClient {
    stream: UnixStream,
}

impl RedisClient {
    #[inline]
    pub(super) fn set(&mut self) -> Result<()> {
        self.ask(SET, SET_ANSWER)
    }

    #[inline]
    pub(super) fn get(&mut self) -> Result<()> {
        self.ask(GET, GET_ANSWER)
    }

    fn ask(&mut self, request: &[u8], expected: &[u8]) -> Result<()> {
        self.stream.write_all(request)?;
        let mut answer = [0; 64];
        loop {
            match self.stream.read(&mut answer) {
                Ok(len) if answer[..len] == *expected => return Ok(()),
                Ok(len) => bail!("Redis answers {:?}", String::from_utf8_lossy(&answer[..len])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
