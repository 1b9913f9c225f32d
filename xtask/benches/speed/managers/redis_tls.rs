//! `GET` from Redis over TLS, by `redis-benchmark` with one connection, one operation at a time.
//!
//! The certificate is made for each run. Both sides agree on TLS 1.3 and, as OpenSSL prefers, on AES-256-GCM.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use mp_sys::deadline::Deadline;
use tempfile::TempDir;

use super::redis::{START_TIMEOUT, nanos_of};
use crate::children::Crowd;
use crate::row::Setup;

/// Whether `openssl` can make a certificate, and Redis was built with TLS.
pub(crate) fn has_tls() -> bool {
    let help = Command::new("redis-benchmark").arg("--help").stdin(Stdio::null()).output();
    let knows_tls = |help: Output| String::from_utf8_lossy(&help.stdout).contains("--tls");
    let has_openssl = quiet("openssl").arg("version").status().is_ok_and(|status| status.success());
    has_openssl && help.is_ok_and(knows_tls)
}

fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A server, which runs on the CPU of member 1 of the row's processes.
pub(super) struct RedisOverTls {
    certificate: PathBuf,
    port: u16,
    // It ends before its folder is removed.
    _server: Crowd,
    _folder: TempDir,
}

impl RedisOverTls {
    pub(super) fn start(setup: &Setup) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        let mut openssl = quiet("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-subj", "/CN=localhost", "-keyout"]).arg(&key);
        ensure!(openssl.arg("-out").arg(&certificate).status()?.success(), "openssl made no certificate");
        // It is free again by the time that the server listens.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Crowd::peer(setup, || {
            let mut command = quiet("redis-server");
            command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", "0"]);
            command.args(["--tls-auth-clients", "no", "--tls-port", &port.to_string(), "--tls-cert-file"]);
            command.arg(&certificate).arg("--tls-key-file").arg(&key).arg("--tls-ca-cert-file");
            command.arg(&certificate).arg("--dir").arg(folder.path());
            Err(command.exec()).context("redis-server cannot be executed")
        })?;
        let deadline = Deadline::after(START_TIMEOUT);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(!deadline.has_passed(), "redis-server does not listen");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let redis = Self { certificate, port, _server: server, _folder: folder };
        redis.benchmark("set", 1)?;
        Ok(redis)
    }

    /// Returns nanoseconds for each of so many operations.
    pub(super) fn benchmark(&self, test: &str, operations: u64) -> Result<f64> {
        let mut command = Command::new("redis-benchmark");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "--tls", "--cacert"]);
        command.arg(&self.certificate).args(["-c", "1", "-d", "8", "-t", test, "--csv"]);
        let output = command.args(["-n", &operations.to_string()]).stdin(Stdio::null()).output()?;
        nanos_of(test, output)
    }
}
