//! A client of Redis for keys and values of any length, one request after the other or many at once.
//!
//! It does what common clients do: it encodes each command into one buffer, writes it, sleeps in `read`, and reads into a
//! buffer of its own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// More than the longest answer of these rows.
const BUFFER_BYTES: usize = 256 << 10;

pub(super) struct Client {
    stream: UnixStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
    /// The part of the buffer that was read and not used yet.
    from: usize,
    to: usize,
}

impl Client {
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).context("redis-server does not listen")?;
        Ok(Self { stream, request: Vec::new(), buffer: vec![0; BUFFER_BYTES], from: 0, to: 0 })
    }

    /// Appends a command to the request.
    pub(super) fn queue_set(&mut self, key: &[u8], value: &[u8]) {
        self.request.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
        self.argument(key);
        self.argument(value);
    }

    /// Appends a command to the request.
    pub(super) fn queue_get(&mut self, key: &[u8]) {
        self.request.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
        self.argument(key);
    }

    fn argument(&mut self, bytes: &[u8]) {
        let _infallible = write!(self.request, "${}\r\n", bytes.len());
        self.request.extend_from_slice(bytes);
        self.request.extend_from_slice(b"\r\n");
    }

    /// Writes all commands of the request.
    pub(super) fn write(&mut self) -> Result<()> {
        self.stream.write_all(&self.request)?;
        self.request.clear();
        Ok(())
    }

    /// Reads the answer to a `SET`.
    pub(super) fn answer_to_set(&mut self) -> Result<()> {
        let line = self.line()?;
        ensure!(line == *b"+OK", "Redis answers {:?}", String::from_utf8_lossy(line));
        Ok(())
    }

    /// Reads the answer to a `GET`, and returns a copy of the value, as a client does.
    pub(super) fn answer_to_get(&mut self) -> Result<Vec<u8>> {
        let line = self.line()?;
        let len = line.strip_prefix(b"$").and_then(|len| std::str::from_utf8(len).ok()?.parse().ok());
        let Some(len) = len else { bail!("Redis answers {:?}", String::from_utf8_lossy(line)) };
        let len: usize = len;
        while self.to - self.from < len + 2 {
            self.fill()?;
        }
        let value = self.buffer[self.from..self.from + len].to_vec();
        self.from += len + 2;
        Ok(value)
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.queue_set(key, value);
        self.write()?;
        self.answer_to_set()
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Result<Vec<u8>> {
        self.queue_get(key);
        self.write()?;
        self.answer_to_get()
    }

    /// Reads one line, without its end.
    fn line(&mut self) -> Result<&[u8]> {
        loop {
            let unread = &self.buffer[self.from..self.to];
            if let Some(len) = unread.windows(2).position(|end| end == b"\r\n") {
                let start = self.from;
                self.from += len + 2;
                return Ok(&self.buffer[start..start + len]);
            }
            self.fill()?;
        }
    }

    /// Reads what is there, and waits if that is nothing.
    fn fill(&mut self) -> Result<()> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.to == self.buffer.len() {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let len = self.stream.read(&mut self.buffer[self.to..])?;
        ensure!(len > 0, "redis-server has closed the connection");
        self.to += len;
        Ok(())
    }
}
