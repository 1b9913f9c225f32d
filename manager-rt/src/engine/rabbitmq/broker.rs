//! [`Broker`]: what a keeper does for its owner.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use tokio::time::timeout;

use super::definition::{Definition, Names, UNDEFINED};
use super::frame::{Answer, Ask, Nanos, Refusal, items_in};
use super::keeper::Order;
use super::link::{ANSWER_TIME_MAX, Link, Role, answered, refusal, refused};
use super::take::Held;
use super::{HEARTBEAT, NotReached};
use crate::address::RabbitMqUrl;
use crate::limits::FAILED_TASKS_MAX;

/// A queue of items is never to drop one because it was delivered often, but some versions of RabbitMQ do that by default.
const DELIVERIES_MAX: i64 = 1_000_000_000;

/// RabbitMQ, as a keeper knows it.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) names: Names,
    pub(super) publish: Link,
    pub(super) consume: Link,
    /// The tasks that the owner holds.
    pub(super) leases: Mutex<HashMap<u64, Held>>,
    next_lease: AtomicU64,
    /// How many calls wait.
    waiting: AtomicU64,
    /// What the ids of this keeper's messages begin with.
    session: u64,
    next_message: AtomicU64,
}

/// A call that waits, until it is dropped.
#[derive(Debug)]
pub(super) struct WaitingCall<'a>(&'a AtomicU64);

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Broker {
    pub(super) fn new(order: &Order) -> Option<Self> {
        let (url, _) = RabbitMqUrl::parse(&order.url).ok()?;
        let whole = url.with_password(order.key.as_bytes(), u16::try_from(HEARTBEAT.as_secs()).ok()?)?;
        let link = |role| Link::new(&url, whole.clone(), role, order.connect_time);
        Some(Self {
            names: Names { namespace: url.namespace().to_owned() },
            publish: link(Role::Publish),
            consume: link(Role::Consume),
            leases: Mutex::default(),
            // A lease of an earlier keeper of the same process is not one of this keeper.
            next_lease: AtomicU64::new(u64::from(order.serial) << 32),
            waiting: AtomicU64::new(0),
            session: super::random().ok()?,
            next_message: AtomicU64::new(0),
        })
    }

    /// Does what needs no more than an answer.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn run(&self, ask: Ask, items: &[u8]) -> Result<Answer, Refusal> {
        match ask {
            Ask::Connect => self.connect().await.map(|()| Answer::Done).map_err(Refusal::NotReached),
            Ask::Define(definition) => self.define(definition).await,
            Ask::Find { id } => self.find(id).await.map(|definition| Answer::Defined(definition, false)),
            Ask::Remove { id } => self.remove(id).await,
            Ask::Put { queue, has_limit, wait, lens } => {
                self.put(&queue, has_limit, wait, &items_in(items, &lens)?).await
            }
            Ask::Len { queue } => self.len(&queue).await,
            Ask::Waiting => Ok(Answer::Count(self.waiting.load(Ordering::Relaxed))),
            Ask::Get { .. }
            | Ask::Failed { .. }
            | Ask::FailedHeads { .. }
            | Ask::Settle { .. }
            | Ask::Taken => Err(Refusal::Protocol),
        }
    }

    async fn connect(&self) -> Result<(), NotReached> {
        self.consume.connect().await?;
        self.publish.connect().await
    }

    /// Closes both connections.
    pub(super) async fn close(&self) {
        self.publish.close().await;
        self.consume.close().await;
    }

    pub(super) fn waits(&self) -> WaitingCall<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingCall(&self.waiting)
    }

    pub(super) fn next_lease(&self) -> u64 {
        self.next_lease.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the id of the next message, which no other message has.
    pub(super) fn next_message(&self) -> String {
        format!("{:016x}.{:x}", self.session, self.next_message.fetch_add(1, Ordering::Relaxed))
    }

    /// Finds a queue, or makes it if there is none.
    async fn define(&self, wanted: Definition) -> Result<Answer, Refusal> {
        let channel = self.consume.channel().await?;
        let definition = match self.register(&channel, wanted.id, &wanted.text(), false).await {
            Ok(()) => {
                self.consume.give_back(channel);
                wanted.clone()
            }
            Err(Refusal::Protocol) => self.find(wanted.id).await?,
            Err(refusal) => return Err(refusal),
        };
        let is_new = definition == wanted;
        self.make(&definition).await?;
        Ok(Answer::Defined(definition, is_new))
    }

    /// Declares the register of a queue. Fails with [`Refusal::Protocol`] if it has another definition.
    async fn register(&self, channel: &Channel, id: u64, text: &str, passive: bool) -> Result<(), Refusal> {
        let (name, arguments) = (short(self.names.register(id))?, register(text));
        let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
        answered(channel.exchange_declare(name, ExchangeKind::Direct, options, arguments)).await
    }

    /// Returns the definition of a queue.
    async fn find(&self, id: u64) -> Result<Definition, Refusal> {
        let channel = self.consume.channel().await?;
        // Otherwise the next step would make it.
        self.register(&channel, id, UNDEFINED, true).await?;
        let (name, options) = (
            short(self.names.register(id))?,
            ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() },
        );
        let declared =
            channel.exchange_declare(name.clone(), ExchangeKind::Direct, options, register(UNDEFINED));
        match timeout(ANSWER_TIME_MAX, declared).await {
            Err(_) => Err(Refusal::Gone),
            Ok(Err(error)) => match refused(&error) {
                Some((406, text)) => Definition::in_refusal(id, text).ok_or(Refusal::Protocol),
                _ => Err(refusal(&error)),
            },
            // It was removed between the two steps.
            Ok(Ok(())) => {
                answered(channel.exchange_delete(name, ExchangeDeleteOptions::default())).await?;
                Err(Refusal::Unknown)
            }
        }
    }

    /// Declares the queues of a definition. They have the same arguments each time, since these come from the definition.
    async fn make(&self, definition: &Definition) -> Result<(), Refusal> {
        let channel = self.consume.channel().await?;
        if definition.has_tasks {
            let mut arguments = FieldTable::default();
            insert(&mut arguments, "x-queue-type", text("classic"));
            insert(&mut arguments, "x-max-length", number(FAILED_TASKS_MAX));
            declare(&channel, self.names.failed(definition.id), arguments).await?;
        }
        declare(&channel, self.names.queue(definition), self.arguments(definition)).await?;
        self.consume.give_back(channel);
        Ok(())
    }

    fn arguments(&self, definition: &Definition) -> FieldTable {
        let mut arguments = FieldTable::default();
        let mut set = |name, value| insert(&mut arguments, name, value);
        set("x-queue-type", text(if definition.is_quorum { "quorum" } else { "classic" }));
        set("x-overflow", text("reject-publish"));
        if definition.capacity > 0 {
            set("x-max-length", number(definition.capacity));
        }
        if definition.has_tasks {
            // The limit is that of the deliveries after the first one.
            set("x-delivery-limit", number(definition.max_deliveries.saturating_sub(1)));
            set("x-dead-letter-exchange", text(""));
            set("x-dead-letter-routing-key", text(&self.names.failed(definition.id)));
            set("x-dead-letter-strategy", text("at-least-once"));
        } else if definition.is_quorum {
            set("x-delivery-limit", number(DELIVERIES_MAX));
        }
        arguments
    }

    /// Removes a queue.
    async fn remove(&self, id: u64) -> Result<Answer, Refusal> {
        let definition = self.find(id).await?;
        let channel = self.consume.channel().await?;
        // Without conditions, which RabbitMQ does not know for each type of queue.
        let mut names = vec![self.names.queue(&definition)];
        if definition.has_tasks {
            names.push(self.names.failed(id));
        }
        for name in names {
            answered(channel.queue_delete(short(name)?, QueueDeleteOptions::default())).await?;
        }
        let register = short(self.names.register(id))?;
        answered(channel.exchange_delete(register, ExchangeDeleteOptions::default())).await?;
        self.consume.give_back(channel);
        Ok(Answer::Done)
    }

    /// Returns how many items nobody has taken.
    async fn len(&self, queue: &str) -> Result<Answer, Refusal> {
        let channel = self.consume.channel().await?;
        let options = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(short(queue)?, options, FieldTable::default());
        let count = answered(declared).await?.message_count();
        self.consume.give_back(channel);
        Ok(Answer::Count(count.into()))
    }
}

async fn declare(channel: &Channel, name: String, arguments: FieldTable) -> Result<(), Refusal> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    answered(channel.queue_declare(short(name)?, options, arguments)).await.map(drop)
}

/// Returns the arguments of a register.
fn register(definition: &str) -> FieldTable {
    let mut arguments = FieldTable::default();
    insert(&mut arguments, "alternate-exchange", text(definition));
    arguments
}

fn insert(arguments: &mut FieldTable, name: &str, value: AMQPValue) {
    arguments.insert(name.into(), value);
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn number(number: impl TryInto<i64>) -> AMQPValue {
    AMQPValue::LongLongInt(number.try_into().unwrap_or(i64::MAX))
}

/// Returns a name in the form of the protocol.
///
/// # Errors
/// [`Refusal::Protocol`] if it is too long. No name is.
pub(super) fn short(name: impl Into<String>) -> Result<ShortString, Refusal> {
    ShortString::try_new(name.into()).map_err(|_| Refusal::Protocol)
}

/// Returns when a wait ends, or `None` for never.
pub(super) fn end_of(wait: Nanos) -> Option<tokio::time::Instant> {
    match wait {
        u64::MAX => None,
        nanos => tokio::time::Instant::now().checked_add(Duration::from_nanos(nanos)),
    }
}
