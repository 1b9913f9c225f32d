//! A separate RabbitMQ with ports and a folder of its own, and the crate `lapin` on connections of its own.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use futures_core::Stream;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Where Debian has it. The program in the path is a wrapper.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Runs the server until its input ends. The server and its name service have sessions of their own.
const GUARD: &str = r#"
"$0" 2>&1 < /dev/null &
read -r end
pkill -KILL -s $$ beam.smp
wait
epmd -port "$ERL_EPMD_PORT" -kill > /dev/null 2>&1
rm -rf "$HOME"
"#;
/// The mode of messages that RabbitMQ writes to its disk.
const PERSISTENT: u8 = 2;

/// Whether RabbitMQ is installed.
pub(crate) fn has_rabbitmq() -> bool {
    Path::new(SERVER).exists()
}

/// A server. It ends with this value, or with this process.
pub(super) struct RabbitMq {
    guard: Child,
    port: u16,
    _folder: TempDir,
}

impl RabbitMq {
    pub(super) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // They are free again by the time that the server listens.
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = [0; 3];
        for (port, listener) in ports.iter_mut().zip(&listeners) {
            *port = listener.as_ref().map_err(|error| anyhow!("no port: {error}"))?.local_addr()?.port();
        }
        drop(listeners);
        let [port, dist, epmd] = ports;
        let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        file("rabbitmq.conf", &format!("listeners.tcp.default = 127.0.0.1:{port}\n"))?;
        file("plugins", "[].")?;
        file("environment", "")?;
        let mut command = Command::new("setsid");
        command.args(["--wait", "sh", "-c", GUARD, SERVER]).env("HOME", folder.path());
        for (name, value) in [
            ("RABBITMQ_NODENAME", format!("bench{dist}@localhost")),
            ("RABBITMQ_DIST_PORT", dist.to_string()),
            ("ERL_EPMD_PORT", epmd.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ] {
            command.env(name, value);
        }
        for (name, place) in [
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "plugins"),
            ("RABBITMQ_CONF_ENV_FILE", "environment"),
        ] {
            command.env(name, folder.path().join(place));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guard = command.spawn().context("RabbitMQ cannot be started")?;
        let output = guard.stdout.take().context("no output")?;
        let rabbit = Self { guard, port, _folder: folder };
        for line in BufReader::new(output).lines() {
            if line?.contains("completed with") {
                return Ok(rabbit);
            }
        }
        bail!("RabbitMQ did not start")
    }

    pub(super) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.port)
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ended = self.guard.wait();
    }
}

/// The crate `lapin` as its examples use it, with a connection for each direction.
pub(super) struct Bare {
    runtime: Runtime,
    publishes: Channel,
    takes: Channel,
    queue: &'static str,
    consumer: Option<Consumer>,
    _connections: [Connection; 2],
}

impl Bare {
    /// Declares a queue of a type, and consumes from it if the server is to send its messages at once.
    pub(super) fn new(url: &str, queue: &'static str, kind: &str, consumes: bool) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (connections, publishes, takes, consumer) = runtime.block_on(async {
            let connect = || Connection::connect(url, ConnectionProperties::default());
            let connections = [connect().await?, connect().await?];
            let (publishes, takes) =
                (connections[0].create_channel().await?, connections[1].create_channel().await?);
            publishes.confirm_select(ConfirmSelectOptions::default()).await?;
            takes.basic_qos(1, BasicQosOptions::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            takes.queue_declare(queue.into(), durable, arguments).await?;
            let mut consumer = None;
            if consumes {
                let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
                consumer = Some(takes.basic_consume(queue.into(), "".into(), options, none).await?);
            }
            anyhow::Ok((connections, publishes, takes, consumer))
        })?;
        Ok(Self { runtime, publishes, takes, queue, consumer, _connections: connections })
    }

    /// Puts a message, waits for its confirmation, takes it and acknowledges it.
    pub(super) fn pass(&mut self, message: &[u8]) -> Result<()> {
        let Self { runtime, publishes, takes, queue, consumer, .. } = self;
        runtime.block_on(async {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let put = publishes.basic_publish("".into(), (*queue).into(), options, message, properties);
            if put.await?.await? != Confirmation::Ack(None) {
                bail!("a message was refused");
            }
            let acker = match consumer {
                Some(consumer) => {
                    let next = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *consumer).poll_next(cx));
                    next.await.context("no more messages")??.acker
                }
                None => {
                    let got = takes.basic_get((*queue).into(), BasicGetOptions::default()).await?;
                    got.context("no message")?.delivery.acker
                }
            };
            acker.ack(BasicAckOptions::default()).await?;
            Ok(())
        })
    }
}
