//! [`Link`]: one of the two connections of a keeper, and its channels.
//!
//! RabbitMQ stops reading from a connection that publishes while it has no memory or disk. So items are put over one connection, and taken
//! and acknowledged over another. A channel is used by one call at a time, because any refusal ends it, and returns to RabbitMQ's queues
//! what was delivered over it.
//!
//! The client of AMQP could restore connections by itself, but would hide that deliveries were lost. So a lost connection is replaced
//! here, by the next call that needs it.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use lapin::options::{BasicQosOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Connection, ConnectionProperties, ConnectionStatus, Error, ErrorKind};
use tokio::time::{sleep, timeout};

use super::NotReached;
#[cfg(feature = "rabbitmq-tls")]
use super::encrypted;
use super::frame::{CHANNELS_MAX, Refusal};
use super::keeper::lock;
use crate::address::RabbitMqUrl;

/// How long RabbitMQ may take for an answer that has nothing to wait for.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// How long nobody takes anything after a lost connection was replaced. RabbitMQ may have been restarted, and its replicated queues
/// have no leaders at first: what takes an item then gets no answer, and the item is withheld for about a minute.
const ELECTION_TIME: Duration = Duration::from_secs(2);
/// How many channels wait for the next call at most.
const IDLE_MAX: usize = 64;
/// How many new channels are looked at to find one with a number up to [`CHANNELS_MAX`]. RabbitMQ allows 2,047 by default, and the client of
/// AMQP gives each channel the next number.
const NUMBERS_TRIED: usize = 64;
/// The code of an end without a reason.
const REPLY_SUCCESS: u16 = 200;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Items are put, and confirmed.
    Publish,
    /// Items are taken and acknowledged, and everything else.
    Consume,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    url: String,
    /// The file with the certificates of the trusted authorities, if connections are encrypted.
    #[cfg(feature = "rabbitmq-tls")]
    trust: Option<Option<String>>,
    role: Role,
    connect_time: Duration,
    connection: tokio::sync::Mutex<Option<Connection>>,
    /// The state of the newest connection.
    status: Mutex<Option<ConnectionStatus>>,
    /// Channels that no call uses.
    idle: Mutex<Vec<Channel>>,
}

impl Link {
    /// Makes one that is not connected. `whole` is the URL with the password.
    pub(super) fn new(url: &RabbitMqUrl, whole: String, role: Role, connect_time: Duration) -> Self {
        #[cfg(not(feature = "rabbitmq-tls"))]
        let _ = url;
        let (connection, status, idle) = Default::default();
        Self {
            url: whole,
            #[cfg(feature = "rabbitmq-tls")]
            trust: url.is_encrypted().then(|| url.authorities().map(str::to_owned)),
            role,
            connect_time,
            connection,
            status,
            idle,
        }
    }

    /// Connects, unless there is a connection.
    ///
    /// # Errors
    /// [`NotReached`].
    pub(super) async fn connect(&self) -> Result<(), NotReached> {
        let mut connection = self.connection.lock().await;
        self.renew(&mut connection).await
    }

    async fn renew(&self, connection: &mut Option<Connection>) -> Result<(), NotReached> {
        if connection.as_ref().is_some_and(|connection| connection.status().connected()) {
            return Ok(());
        }
        *connection = None;
        lock(&self.idle).clear();
        let name = match self.role {
            Role::Publish => "mp: put",
            Role::Consume => "mp: get",
        };
        // It does not recover by itself.
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let made = timeout(self.connect_time, self.open(properties)).await;
        let made = made.unwrap_or(Err(NotReached::TimedOut))?;
        let earlier = lock(&self.status).replace(made.status().clone());
        if earlier.is_some() && self.role == Role::Consume {
            sleep(ELECTION_TIME).await;
        }
        *connection = Some(made);
        Ok(())
    }

    async fn open(&self, properties: ConnectionProperties) -> Result<Connection, NotReached> {
        #[cfg(feature = "rabbitmq-tls")]
        if let Some(authorities) = &self.trust {
            return encrypted::connect(&self.url, authorities.as_deref(), properties).await;
        }
        let made = Connection::connect(&self.url, properties).await;
        made.map_err(|error| not_reached(&error))
    }

    /// Returns `true` if RabbitMQ has said that it takes no more items at present.
    pub(super) fn is_blocked(&self) -> bool {
        lock(&self.status).as_ref().is_some_and(|status| status.connected() && status.blocked())
    }

    /// Returns a channel for one call. Connects if there is no connection.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was done.
    pub(super) async fn channel(&self) -> Result<Channel, Refusal> {
        loop {
            let idle = lock(&self.idle).pop();
            match idle {
                Some(channel) if channel.status().connected() => return Ok(channel),
                Some(_) => {}
                None => break,
            }
        }
        for _ in 0..NUMBERS_TRIED {
            let channel = {
                let mut connection = self.connection.lock().await;
                self.renew(&mut connection).await.map_err(Refusal::NotReached)?;
                let connection = connection.as_ref().ok_or(Refusal::Gone)?;
                answered(connection.create_channel()).await?
            };
            if u64::from(channel.id()) > CHANNELS_MAX {
                // The numbers go on from the last one, and begin again at 1. So this says nothing about how many are in use.
                close(&channel).await?;
                continue;
            }
            match self.role {
                Role::Publish => answered(channel.confirm_select(ConfirmSelectOptions::default())).await?,
                // What is delivered in advance would be withheld from others, and counted as delivered.
                Role::Consume => answered(channel.basic_qos(1, BasicQosOptions::default())).await?,
            }
            return Ok(channel);
        }
        Err(Refusal::TooMany)
    }

    /// Keeps a channel for the next call. There must be nothing under way on it.
    pub(super) fn give_back(&self, channel: Channel) {
        let mut idle = lock(&self.idle);
        if channel.status().connected() && idle.len() < IDLE_MAX {
            idle.push(channel);
        }
    }

    /// Closes the connection. What was not acknowledged returns to its queue.
    pub(super) async fn close(&self) {
        lock(&self.idle).clear();
        let last = self.connection.lock().await.take();
        if let Some(connection) = last {
            let closed = connection.close(REPLY_SUCCESS, ShortString::default()).await;
            tracing::trace!(?closed, "a connection is closed");
        }
    }
}

/// Closes a channel. What was not acknowledged on it returns to its queue.
///
/// # Errors
/// [`Refusal`].
pub(super) async fn close(channel: &Channel) -> Result<(), Refusal> {
    answered(channel.close(REPLY_SUCCESS, ShortString::default())).await
}

/// Waits for an answer.
///
/// # Errors
/// [`Refusal`]; [`Refusal::Gone`] if there is none in time.
pub(super) async fn answered<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Refusal> {
    match timeout(ANSWER_TIME_MAX, answer).await {
        Ok(answer) => answer.map_err(|error| refusal(&error)),
        Err(_) => Err(Refusal::Gone),
    }
}

/// Returns the code and the text of a refusal.
pub(super) fn refused(error: &Error) -> Option<(u16, &str)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().as_str())),
        _ => None,
    }
}

/// Returns what an error means for a call that changes nothing, or cannot have changed anything.
pub(super) fn refusal(error: &Error) -> Refusal {
    tracing::debug!(%error, "RabbitMQ did not do something");
    match (error.kind(), refused(error)) {
        (ErrorKind::ChannelsLimitReached, _) => Refusal::TooMany,
        // Queues of a node that is down are not found either.
        (_, Some((404, text))) if text.contains("NOT_FOUND - no ") => Refusal::Unknown,
        (_, Some((403, _))) => Refusal::Forbidden,
        (_, Some((406, text))) if text.contains("max size") => Refusal::TooLong,
        (_, Some((406, _))) => Refusal::Protocol,
        _ => Refusal::Gone,
    }
}

/// Returns why there is no connection.
pub(super) fn not_reached(error: &Error) -> NotReached {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, InvalidData, UnexpectedEof};
    tracing::debug!(%error, "RabbitMQ was not reached");
    match (error.kind(), refused(error)) {
        (_, Some((403, _))) => NotReached::Unauthorised,
        (_, Some((530, _))) => NotReached::NoVirtualHost,
        (_, Some((320 | 541, _))) => NotReached::Closed,
        (ErrorKind::IOError(error), _) => match error.kind() {
            ConnectionAborted | ConnectionReset | InvalidData | UnexpectedEof => NotReached::Protocol,
            _ => NotReached::NotFound,
        },
        _ => NotReached::Protocol,
    }
}
