//! Taking items and tasks: each is delivered over a channel of its own, and acknowledged there.
//!
//! A call first asks for an item, and consumes only if there is none. Whoever consumes gets one item, and no second one in advance: RabbitMQ
//! would withhold that from others, and count it as delivered when the channel closes. A channel that was consumed on is closed in the end.
//!
//! An acknowledgement has no answer. So a task is done once RabbitMQ has answered the next question on its channel.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicQosOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{Instant, sleep, timeout_at};

use super::broker::{Broker, end_of, short};
use super::frame::{Answer, Nanos, Refusal};
use super::keeper::lock;
use super::link::{answered, close};
use crate::engine::stored::head_of;
use crate::limits::{FAILED_TASKS_MAX, PAGE_BYTES, PAGE_ITEMS_MAX};

/// How long a call that waits goes on while RabbitMQ cannot be reached.
const OUTAGE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long such a call waits before it tries again.
const PAUSE: Duration = Duration::from_millis(100);
/// The header with the number of earlier deliveries, which replicated queues count.
const DELIVERIES: &str = "x-delivery-count";

/// Something that was delivered and is not acknowledged. If it is dropped, its channel closes, and it returns to its queue.
#[derive(Debug)]
pub(super) struct Held {
    channel: Channel,
    delivery: Delivery,
    /// Whether no other call may use the channel once this is acknowledged: it was consumed on, or has more.
    keeps_channel: bool,
}

impl Held {
    /// Returns the item, and does not keep it.
    pub(super) fn take_item(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.delivery.data)
    }

    /// Returns how often the item was delivered, including this time.
    pub(super) fn deliveries(&self) -> u32 {
        let headers = self.delivery.properties.headers().as_ref();
        let earlier = match headers.and_then(|headers| headers.inner().get(DELIVERIES)) {
            Some(AMQPValue::LongLongInt(count)) => u32::try_from(*count).unwrap_or(u32::MAX),
            Some(AMQPValue::LongInt(count)) => u32::try_from(*count).unwrap_or(u32::MAX),
            _ => u32::from(self.delivery.redelivered),
        };
        earlier.saturating_add(1)
    }

    /// Says that the item was taken, or returns it to its queue. Does not find out whether RabbitMQ has received that.
    ///
    /// # Errors
    /// [`Refusal::NotOwned`] if RabbitMQ has already given it to others.
    async fn end(&self, is_done: bool) -> Result<(), Refusal> {
        let acker = &self.delivery.acker;
        if !acker.usable() {
            return Err(Refusal::NotOwned);
        }
        let said = if is_done {
            acker.ack(BasicAckOptions::default()).await
        } else {
            acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await
        };
        match said {
            Ok(true) => Ok(()),
            // The channel was lost before.
            Ok(false) => Err(Refusal::NotOwned),
            Err(_) => Err(Refusal::Unsure),
        }
    }
}

impl Broker {
    /// Takes an item, or at most so many of those that there are now. Waits for the first one.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was taken.
    pub(super) async fn get(&self, queue: &str, max: Option<u64>, wait: Nanos) -> Result<Vec<Held>, Refusal> {
        let (end, name) = (end_of(wait), short(queue)?);
        let mut outage: Option<Instant> = None;
        let first = loop {
            match self.get_once(&name, wait, end).await {
                Err(Refusal::Gone | Refusal::NotReached(_)) => {}
                outcome => break outcome?,
            }
            // What was delivered over a lost connection returns to the queue.
            let over = *outage.get_or_insert_with(|| {
                let most = Instant::now().checked_add(OUTAGE_TIME_MAX);
                end.into_iter().chain(most).min().unwrap_or_else(Instant::now)
            });
            if Instant::now() >= over {
                return Err(Refusal::Gone);
            }
            let waiting = self.waits();
            sleep(PAUSE).await;
            drop(waiting);
        };
        let mut taken = vec![first];
        let most = max.unwrap_or(1).min(PAGE_ITEMS_MAX);
        self.get_more(&name, &mut taken, usize::try_from(most).unwrap_or(usize::MAX), PAGE_BYTES).await;
        Ok(taken)
    }

    async fn get_once(
        &self,
        queue: &ShortString,
        wait: Nanos,
        end: Option<Instant>,
    ) -> Result<Held, Refusal> {
        let channel = self.consume.channel().await?;
        if let Some(delivery) = get_now(&channel, queue).await? {
            return Ok(Held { channel, delivery, keeps_channel: false });
        }
        if wait == 0 {
            self.consume.give_back(channel);
            return Err(Refusal::Empty);
        }
        let _waiting = self.waits();
        let (options, any) = (BasicConsumeOptions::default(), ShortString::default());
        let consumed = channel.basic_consume(queue.clone(), any, options, FieldTable::default());
        let mut consumer = answered(consumed).await?;
        let delivered = match end {
            None => next(&mut consumer).await,
            Some(end) => match timeout_at(end, next(&mut consumer)).await {
                Ok(delivered) => delivered,
                Err(_) => {
                    // An item may be on its way. After this, none comes.
                    answered(channel.basic_cancel(consumer.tag(), BasicCancelOptions::default())).await?;
                    match timeout_at(Instant::now(), next(&mut consumer)).await {
                        Ok(Some(Ok(delivery))) => Some(Ok(delivery)),
                        _ => {
                            drop(consumer);
                            close(&channel).await?;
                            return Err(Refusal::Empty);
                        }
                    }
                }
            },
        };
        match delivered {
            // A channel that was lost may still have something that others get as well.
            Some(Ok(delivery)) if delivery.acker.usable() => {
                // Without an answer: the acknowledgement comes after it on the same channel.
                let nowait = BasicCancelOptions { nowait: true };
                answered(channel.basic_cancel(consumer.tag(), nowait)).await?;
                Ok(Held { channel, delivery, keeps_channel: true })
            }
            // The connection was lost, or somebody removed the queue. The next attempt finds out which.
            _ => Err(Refusal::Gone),
        }
    }

    /// Takes more items over one channel, as long as there are some. What was taken before stays taken if that fails.
    async fn get_more(&self, queue: &ShortString, taken: &mut Vec<Held>, most: usize, bytes_max: usize) {
        let (before, mut bytes) =
            (taken.len(), taken.iter().map(|held| held.delivery.data.len()).sum::<usize>());
        if before >= most || bytes >= bytes_max {
            return;
        }
        let Ok(channel) = self.consume.channel().await else { return };
        while taken.len() < most && bytes < bytes_max {
            match get_now(&channel, queue).await {
                Ok(Some(delivery)) => {
                    bytes = bytes.saturating_add(delivery.data.len());
                    taken.push(Held { channel: channel.clone(), delivery, keeps_channel: true });
                }
                Ok(None) => break,
                // They return to the queue with their channel.
                Err(_) => return taken.truncate(before),
            }
        }
        match taken.get_mut(before..).and_then(<[Held]>::last_mut) {
            Some(last) => last.keeps_channel = false,
            None => self.consume.give_back(channel),
        }
    }

    /// Acknowledges items that the owner has read. It does not wait for that.
    pub(super) async fn were_read(&self, taken: Vec<Held>) {
        for held in taken {
            let ended = held.end(true).await;
            tracing::trace!(?ended, "an item was read");
            self.release(held);
        }
    }

    /// Returns items or tasks to their queue.
    pub(super) async fn requeue(&self, taken: Vec<Held>) {
        for held in taken {
            let ended = held.end(false).await;
            tracing::trace!(?ended, "an item was not read");
            self.release(held);
        }
    }

    /// Gives up a channel whose item is acknowledged.
    fn release(&self, held: Held) {
        // Otherwise the channel closes with the last item on it.
        if !held.keeps_channel {
            self.consume.give_back(held.channel);
        }
    }

    /// Ends the lease of a task.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn settle(&self, lease: u64, is_done: bool) -> Result<Answer, Refusal> {
        let held = lock(&self.leases).remove(&lease).ok_or(Refusal::NotOwned)?;
        held.end(is_done).await?;
        // RabbitMQ does one thing after another on a channel.
        let answer = if held.keeps_channel {
            close(&held.channel).await
        } else {
            answered(held.channel.basic_qos(1, BasicQosOptions::default())).await
        };
        answer.map_err(|_| Refusal::Unsure)?;
        self.release(held);
        Ok(Answer::Done)
    }

    /// Returns the failed tasks: all, if they are only looked at, or some that are then removed. Those that are looked at return when
    /// they are dropped.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn failed(&self, queue: &str, take: bool) -> Result<Vec<Held>, Refusal> {
        let (name, mut found) = (short(queue)?, Vec::new());
        if take {
            let most = usize::try_from(PAGE_ITEMS_MAX).unwrap_or(usize::MAX);
            self.get_more(&name, &mut found, most, PAGE_BYTES).await;
            return Ok(found);
        }
        self.look_at_all(&name, &mut found, usize::MAX).await?;
        Ok(found)
    }

    /// Returns so many bytes of each failed task, and keeps no more of any, so that the memory for that has a bound.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn failed_heads(&self, queue: &str, bytes: u64) -> Result<Vec<Held>, Refusal> {
        let (name, mut found) = (short(queue)?, Vec::new());
        self.look_at_all(&name, &mut found, usize::try_from(bytes).unwrap_or(usize::MAX)).await?;
        Ok(found)
    }

    async fn look_at_all(
        &self,
        queue: &ShortString,
        found: &mut Vec<Held>,
        bytes: usize,
    ) -> Result<(), Refusal> {
        let channel = self.consume.channel().await?;
        while found.len() < FAILED_TASKS_MAX
            && let Some(mut delivery) = get_now(&channel, queue).await?
        {
            if bytes < usize::MAX {
                delivery.data = head_of(&delivery.data, bytes);
            }
            found.push(Held { channel: channel.clone(), delivery, keeps_channel: true });
        }
        Ok(())
    }
}

async fn get_now(channel: &Channel, queue: &ShortString) -> Result<Option<Delivery>, Refusal> {
    let got = answered(channel.basic_get(queue.clone(), BasicGetOptions::default())).await?;
    Ok(got.map(|message| message.delivery))
}

/// Waits for the next delivery. Returns `None` if there will be none.
async fn next(consumer: &mut Consumer) -> Option<lapin::Result<Delivery>> {
    poll_fn(|context| Pin::new(&mut *consumer).poll_next(context)).await
}
