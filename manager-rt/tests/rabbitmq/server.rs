//! A private RabbitMQ server.

use std::io::Read;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::ready::readable_later;

/// How long a server may take to start, on a busy machine too.
const START_TIME_MAX: Duration = Duration::from_secs(240);
/// Runs the server until the test does not hold its input any more, however the test has ended. The server and its name service have
/// sessions of their own. What it wrote stays if the test says so.
const GUARD: &str = r#"
{ /usr/lib/rabbitmq/bin/rabbitmq-server 2>&1 < /dev/null; echo ended; } &
read -r how
pkill -KILL -s $$ beam.smp
wait
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  epmd -port "$ERL_EPMD_PORT" -kill > /dev/null 2>&1 && break
done
[ "$how" = keep ] || rm -rf "$HOME"
"#;

/// A server that ends with this value, or with its test. It listens at ports of its own, and writes to a folder of its own.
pub(crate) struct Server {
    guard: Child,
    folder: Option<tempfile::TempDir>,
    port: u16,
    others: [u16; 2],
}

/// Returns the server that all tests of this program share. It ends with the program.
pub(crate) fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// Returns a namespace that no other test has.
pub(crate) fn namespace() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts a server with more settings.
    pub(crate) fn start_with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Nobody else is likely to get the same port before the server has it.
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [port, dist, epmd] = listeners.each_ref().map(|one| one.local_addr().unwrap().port());
        drop(listeners);
        std::fs::write(
            folder.path().join("rabbitmq.conf"),
            format!("listeners.tcp.default = 127.0.0.1:{port}\n{settings}"),
        )
        .unwrap();
        std::fs::write(folder.path().join("plugins"), "[].").unwrap();
        std::fs::write(folder.path().join("environment"), "").unwrap();
        let others = [dist, epmd];
        let guard = run(folder.path(), others);
        Self { guard, folder: Some(folder), port, others }
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Kills the server.
    pub(crate) fn kill(&mut self) {
        std::io::Write::write_all(self.guard.stdin.as_mut().unwrap(), b"keep\n").unwrap();
        self.guard.wait().unwrap();
    }

    /// Kills the server, and starts it again with what it had written.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts the server again after it was killed.
    pub(crate) fn start_again(&mut self) {
        self.guard = run(self.folder(), self.others);
    }

    /// Returns the process id of the server.
    pub(crate) fn process(&self) -> u32 {
        let found =
            Command::new("pgrep").args(["-s", &self.guard.id().to_string(), "beam.smp"]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().trim().parse().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address of a namespace.
    pub(crate) fn url(&self, namespace: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}?ns={namespace}", self.port)
    }

    /// Returns `true` once RabbitMQ has noted this replicated queue of a namespace on its disk. That is seconds after it was made: a
    /// RabbitMQ that is killed earlier does not find its items again.
    pub(crate) fn has_noted(&self, namespace: &str, queue: &str) -> bool {
        let node = format!("test{}@localhost", self.others[0]);
        let names = self.folder().join("mnesia").join(&node).join("quorum").join(&node).join("names.dets");
        let (bytes, name) = (std::fs::read(names).unwrap_or_default(), format!("{namespace}/{queue}"));
        bytes.windows(name.len()).any(|part| part == name.as_bytes())
    }

    /// Runs a command of the server's own tool.
    pub(crate) fn control(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl");
        let output = surrounded(&mut command, self.folder(), self.others).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn surrounded<'c>(command: &'c mut Command, folder: &Path, [dist, epmd]: [u16; 2]) -> &'c mut Command {
    command
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", format!("test{dist}@localhost"))
        .env("RABBITMQ_DIST_PORT", dist.to_string())
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder.join("log"))
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("environment"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+sbwt none")
}

/// Starts the server, and waits until it serves.
fn run(folder: &Path, others: [u16; 2]) -> Child {
    let mut command = Command::new("setsid");
    command.args(["--wait", "sh", "-c", GUARD]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut guard = surrounded(&mut command, folder, others).spawn().unwrap();
    let (mut said, mut output) = (String::new(), guard.stdout.take().unwrap());
    let deadline = Deadline::after(START_TIME_MAX);
    while !said.contains("completed with") {
        assert!(!said.contains("ended"), "rabbitmq-server is not installed, or did not start: {said}");
        assert!(!readable_later(&[output.as_fd()], deadline).unwrap().is_empty(), "{said}");
        let mut bytes = [0; 4096];
        let count = output.read(&mut bytes).unwrap();
        assert!(count > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    guard
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }
}
