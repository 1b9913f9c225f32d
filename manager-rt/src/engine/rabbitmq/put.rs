//! Putting an item: a publication that RabbitMQ confirms.
//!
//! | RabbitMQ says | meaning |
//! |---|---|
//! | ack | the item is on the disk of the node, or of the majority |
//! | return, then ack | the queue does not exist |
//! | nack | the queue is full, if it has a limit |
//! | nothing in time, or the connection breaks | unknown |

use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Confirmation};
use tokio::time::{Instant, sleep, timeout};

use super::broker::{Broker, end_of, short};
use super::frame::{Answer, Nanos, Refusal};
use super::link::{ANSWER_TIME_MAX, refusal};

/// How long a producer waits before it tries a full queue again: first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// The delivery mode of items that RabbitMQ writes to its disk.
const PERSISTENT: u8 = 2;

impl Broker {
    /// Puts an item. Waits while the queue is full, and while RabbitMQ takes nothing.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) async fn put(
        &self,
        queue: &str,
        has_limit: bool,
        wait: Nanos,
        item: &[u8],
    ) -> Result<Answer, Refusal> {
        let (end, name, id) = (end_of(wait), short(queue)?, short(self.next_message())?);
        let (mut pause, mut waiting) = (PAUSES.0, None);
        loop {
            let is_put = if self.publish.is_blocked() {
                false
            } else {
                self.publish(&name, &id, has_limit, item).await?
            };
            if is_put {
                return Ok(Answer::Done);
            }
            if wait == 0 || end.is_some_and(|end| Instant::now() >= end) {
                return Err(Refusal::Full);
            }
            waiting.get_or_insert_with(|| self.waits());
            sleep(end.map_or(pause, |end| pause.min(end.saturating_duration_since(Instant::now())))).await;
            pause = pause.saturating_mul(2).min(PAUSES.1);
        }
    }

    /// Publishes an item. Returns `false` if there is no room.
    async fn publish(
        &self,
        queue: &ShortString,
        id: &ShortString,
        has_limit: bool,
        item: &[u8],
    ) -> Result<bool, Refusal> {
        let channel = self.publish.channel().await?;
        let properties =
            BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(id.clone());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let published = async {
            let exchange = ShortString::default();
            channel.basic_publish(exchange, queue.clone(), options, item, properties).await?.await
        };
        let confirmed = match timeout(ANSWER_TIME_MAX, published).await {
            Err(_) => return Err(Refusal::Unsure),
            // A refusal of the channel says that nothing was done. Any other error can hide a confirmation.
            Ok(Err(error)) => {
                return Err(match refusal(&error) {
                    refusal @ (Refusal::TooLong | Refusal::Forbidden) => refusal,
                    _ => Refusal::Unsure,
                });
            }
            Ok(Ok(confirmed)) => confirmed,
        };
        let outcome = outcome_of(&confirmed, has_limit);
        self.publish.give_back(channel);
        outcome
    }
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
}
