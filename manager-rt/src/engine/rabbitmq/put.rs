//! Putting items: publications that RabbitMQ confirms.
//!
//! | RabbitMQ says | meaning |
//! |---|---|
//! | ack | the item is on the disk of the node, or of the majority |
//! | return, then ack | the queue does not exist |
//! | nack | the queue is full, if it has a limit |
//! | nothing in time, or the connection breaks | unknown |
//!
//! Several items are on their way together, and their confirmations are awaited together. But the items of a queue with a limit are put one
//! after another: RabbitMQ could refuse one and then accept the next, so their order would change.

use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::time::{Instant, sleep, timeout};

use super::broker::{Broker, end_of, short};
use super::frame::{Answer, Nanos, Refusal};
use super::link::{ANSWER_TIME_MAX, refusal};

/// How long a producer waits before it tries a full queue again: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// The delivery mode of items that RabbitMQ writes to its disk.
const PERSISTENT: u8 = 2;

impl Broker {
    /// Puts items. Waits while the queue is full, and while RabbitMQ takes nothing.
    ///
    /// # Errors
    /// [`Refusal`]; [`Refusal::Unsure`] if only some of the items were put.
    pub(super) async fn put(
        &self,
        queue: &str,
        has_limit: bool,
        wait: Nanos,
        items: &[&[u8]],
    ) -> Result<Answer, Refusal> {
        let (end, name) = (end_of(wait), short(queue)?);
        let at_once = if has_limit { 1 } else { items.len().max(1) };
        for (turn, some) in items.chunks(at_once).enumerate() {
            let put = self.put_together(&name, has_limit, (wait, end), some).await;
            put.map_err(|refusal| if turn == 0 { refusal } else { Refusal::Unsure })?;
        }
        Ok(Answer::Done)
    }

    /// Puts items that are on their way together, and are refused together.
    async fn put_together(
        &self,
        queue: &ShortString,
        has_limit: bool,
        (wait, end): (Nanos, Option<Instant>),
        items: &[&[u8]],
    ) -> Result<(), Refusal> {
        let ids: Vec<_> = items.iter().map(|_| short(self.next_message())).collect::<Result<_, _>>()?;
        let (mut pause, mut waiting) = (PAUSES.0, None);
        loop {
            if !self.publish.is_blocked() && self.publish(queue, &ids, has_limit, items).await? {
                return Ok(());
            }
            if wait == 0 || end.is_some_and(|end| Instant::now() >= end) {
                return Err(Refusal::Full);
            }
            waiting.get_or_insert_with(|| self.waits());
            sleep(end.map_or(pause, |end| pause.min(end.saturating_duration_since(Instant::now())))).await;
            pause = pause.saturating_mul(2).min(PAUSES.1);
        }
    }

    /// Publishes items. Returns `false` if there is no room.
    async fn publish(
        &self,
        queue: &ShortString,
        ids: &[ShortString],
        has_limit: bool,
        items: &[&[u8]],
    ) -> Result<bool, Refusal> {
        let channel = self.publish.channel().await?;
        let published = async {
            let mut confirms = Vec::with_capacity(items.len());
            for (item, id) in items.iter().zip(ids) {
                confirms.push(publish_one(&channel, queue, id, item).await?);
            }
            let mut confirmed = Vec::with_capacity(items.len());
            for confirm in confirms {
                confirmed.push(confirm.await?);
            }
            Ok(confirmed)
        };
        let confirmed = match timeout(ANSWER_TIME_MAX, published).await {
            Err(_) => return Err(Refusal::Unsure),
            // A refusal of the channel says that nothing was done, if it was about one item. Any other error can hide a confirmation.
            Ok(Err(error)) => {
                return Err(match refusal(&error) {
                    refusal @ (Refusal::TooLong | Refusal::Forbidden) if items.len() == 1 => refusal,
                    _ => Refusal::Unsure,
                });
            }
            Ok(Ok(confirmed)) => confirmed,
        };
        let outcome = outcome_of_all(&confirmed, has_limit);
        self.publish.give_back(channel);
        outcome
    }
}

async fn publish_one(
    channel: &Channel,
    queue: &ShortString,
    id: &ShortString,
    item: &[u8],
) -> lapin::Result<PublisherConfirm> {
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(id.clone());
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish(ShortString::default(), queue.clone(), options, item, properties).await
}

/// Returns whether items were put.
fn outcome_of_all(confirmed: &[Confirmation], has_limit: bool) -> Result<bool, Refusal> {
    let mut outcomes = confirmed.iter().map(|confirmed| outcome_of(confirmed, has_limit));
    let first = outcomes.next().unwrap_or(Ok(true));
    // Otherwise, some were put, and others were not.
    if outcomes.all(|outcome| outcome == first) { first } else { Err(Refusal::Unsure) }
}

/// Returns whether an item was put.
fn outcome_of(confirmed: &Confirmation, has_limit: bool) -> Result<bool, Refusal> {
    match confirmed {
        Confirmation::Ack(None) => Ok(true),
        Confirmation::Ack(Some(BasicReturnMessage { .. })) => Err(Refusal::Unknown),
        Confirmation::Nack(_) if has_limit => Ok(false),
        Confirmation::Nack(_) | Confirmation::NotRequested => Err(Refusal::Unsure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_means_what_rabbitmq_means() {
        for (confirmed, has_limit, expected) in [
            (Confirmation::Ack(None), false, Ok(true)),
            (Confirmation::Nack(None), true, Ok(false)),
            (Confirmation::Nack(None), false, Err(Refusal::Unsure)),
            (Confirmation::NotRequested, true, Err(Refusal::Unsure)),
        ] {
            assert_eq!(outcome_of(&confirmed, has_limit), expected, "{confirmed:?}");
        }
    }

    #[test]
    fn items_of_which_some_were_put_are_unsure() {
        let (ack, nack) = (|| Confirmation::Ack(None), || Confirmation::Nack(None));
        for (confirmed, expected) in [
            (vec![], Ok(true)),
            (vec![ack(), ack()], Ok(true)),
            (vec![nack(), nack()], Ok(false)),
            (vec![ack(), nack()], Err(Refusal::Unsure)),
        ] {
            assert_eq!(outcome_of_all(&confirmed, true), expected, "{confirmed:?}");
        }
    }
}
