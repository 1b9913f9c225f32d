//! A keeper's side of one socket of its owner: answers one question after another.
//!
//! The owner says that it has read what it was given. Only then the keeper acknowledges it. If the socket ends before, the item or task returns
//! to its queue.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::broker::Broker;
use super::frame::{Answer, Ask, LENGTHS_BYTES, Numbered, lengths, lengths_of};
use super::keeper::lock;
use super::take::Held;

/// How long an owner that does not need the keeper any more may take to read what it was given.
const READ_TIME_MAX: Duration = Duration::from_secs(1);
/// About how many bytes of items one frame has.
const FRAME_BYTES: usize = 1 << 20;
/// The most items in one frame, so that its head is not too long.
const FRAME_ITEMS_MAX: usize = 4_096;

/// Answers until the owner closes the socket, or ends.
pub(super) async fn talk(broker: Arc<Broker>, stream: UnixStream, is_over: watch::Receiver<bool>) {
    let (reader, writer) = stream.into_split();
    let mut talk = Talk { broker, reader: BufReader::new(reader), writer, is_over };
    while talk.turn().await.is_some() {}
}

struct Talk {
    broker: Arc<Broker>,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    is_over: watch::Receiver<bool>,
}

impl Talk {
    /// Answers one question. Returns `None` if there are no more.
    async fn turn(&mut self) -> Option<()> {
        let (ask, items) = {
            let over = over(&mut self.is_over);
            unless(receive(&mut self.reader), over).await??
        };
        let Numbered { number, body: ask } = ask;
        match ask {
            Ask::Get { queue, max, wait } => {
                let has_tasks = max.is_none();
                let broker = Arc::clone(&self.broker);
                match self.unless_given_up(broker.get(&queue, max.or(Some(1)), wait)).await? {
                    Ok(taken) if has_tasks => self.hand_out_task(number, taken).await,
                    Ok(taken) => self.hand_out(number, taken, true).await,
                    Err(refusal) => self.say(number, Answer::Refused(refusal), &[]).await,
                }
            }
            Ask::Failed { queue, take } => {
                let broker = Arc::clone(&self.broker);
                match self.unless_given_up(broker.failed(&queue, take)).await? {
                    Ok(found) => self.hand_out(number, found, take).await,
                    Err(refusal) => self.say(number, Answer::Refused(refusal), &[]).await,
                }
            }
            Ask::FailedHeads { queue, bytes } => {
                let broker = Arc::clone(&self.broker);
                match self.unless_given_up(broker.failed_heads(&queue, bytes)).await? {
                    Ok(found) => self.hand_out(number, found, false).await,
                    Err(refusal) => self.say(number, Answer::Refused(refusal), &[]).await,
                }
            }
            // A lease ends even if nobody waits for the answer.
            Ask::Settle { lease, is_done } => {
                let settled = self.broker.settle(lease, is_done).await;
                self.say(number, settled.unwrap_or_else(Answer::Refused), &[]).await
            }
            // It says so twice, which is of no use.
            Ask::Taken => Some(()),
            ask => {
                let broker = Arc::clone(&self.broker);
                let answer = self.unless_given_up(broker.run(ask, &items)).await?;
                self.say(number, answer.unwrap_or_else(Answer::Refused), &[]).await
            }
        }
    }

    /// Runs something until the owner closes the socket, or ends.
    async fn unless_given_up<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let (reader, is_over) = (&mut self.reader, &mut self.is_over);
        // The owner says nothing before it has the answer, so this is the end.
        let closed = async {
            let end = reader.fill_buf().await;
            tracing::trace!(is_error = end.is_err(), "a call was given up");
        };
        unless(work, async {
            let neither = unless(closed, over(is_over)).await;
            tracing::trace!(?neither, "nobody waits for an answer");
        })
        .await
    }

    /// Hands out items, and acknowledges them if they are removed.
    async fn hand_out(&mut self, number: u64, mut taken: Vec<Held>, removes: bool) -> Option<()> {
        let mut rest = taken.iter_mut().peekable();
        let mut is_first = true;
        while is_first || rest.peek().is_some() {
            is_first = false;
            let (mut lens, mut items) = (Vec::new(), Vec::new());
            while lens.len() < FRAME_ITEMS_MAX
                && items.len() < FRAME_BYTES
                && let Some(held) = rest.next()
            {
                let item = held.take_item();
                lens.push(u64::try_from(item.len()).ok()?);
                items.extend_from_slice(&item);
            }
            let has_more = rest.peek().is_some();
            self.say(number, Answer::Items { lens, has_more }, &items).await?;
        }
        drop(rest);
        if taken.is_empty() {
            return Some(());
        }
        let was_read = self.was_read().await;
        let broker = Arc::clone(&self.broker);
        if was_read && removes {
            broker.were_read(taken).await;
        } else if removes {
            broker.requeue(taken).await;
        }
        was_read.then_some(())
    }

    /// Hands out a task. The owner's other threads may end its lease before this one hears that it was read.
    async fn hand_out_task(&mut self, number: u64, mut taken: Vec<Held>) -> Option<()> {
        let mut held = taken.pop()?;
        let (task, deliveries, lease) = (held.take_item(), held.deliveries(), self.broker.next_lease());
        lock(&self.broker.leases).insert(lease, held);
        let said = self.say(number, Answer::Task { lease, deliveries }, &task).await;
        if said.is_some() && self.was_read().await {
            return Some(());
        }
        let unread = lock(&self.broker.leases).remove(&lease);
        self.broker.requeue(unread.into_iter().collect()).await;
        None
    }

    /// Returns `true` once the owner has read what it was given.
    async fn was_read(&mut self) -> bool {
        let (reader, is_over) = (&mut self.reader, &mut self.is_over);
        let late = async {
            over(is_over).await;
            tokio::time::sleep(READ_TIME_MAX).await;
        };
        let said = unless(receive(reader), late).await.flatten();
        matches!(said, Some((Numbered { body: Ask::Taken, .. }, _)))
    }

    async fn say(&mut self, number: u64, body: Answer, items: &[u8]) -> Option<()> {
        let head = postcard::to_stdvec(&Numbered { number, body }).ok()?;
        let mut frame = lengths(head.len(), items.len())?.to_vec();
        frame.extend_from_slice(&head);
        self.writer.write_all(&frame).await.ok()?;
        self.writer.write_all(items).await.ok()
    }
}

/// Receives a question, and the items in it.
async fn receive(reader: &mut BufReader<OwnedReadHalf>) -> Option<(Numbered<Ask>, Vec<u8>)> {
    let mut bytes = [0; LENGTHS_BYTES];
    reader.read_exact(&mut bytes).await.ok()?;
    let (head, items) = lengths_of(bytes)?;
    let (mut head, mut items) = (vec![0; head], vec![0; items]);
    reader.read_exact(&mut head).await.ok()?;
    reader.read_exact(&mut items).await.ok()?;
    Some((postcard::from_bytes(&head).ok()?, items))
}

/// Waits until the owner has ended, or does not need the keeper any more.
async fn over(is_over: &mut watch::Receiver<bool>) {
    // An error means that the thread that watches the owner has ended.
    let seen = is_over.wait_for(|is_over| *is_over).await;
    tracing::trace!(is_error = seen.is_err(), "the owner has ended");
}

/// Runs something until something else ends. Returns `None` if that was earlier.
pub(super) async fn unless<T>(work: impl Future<Output = T>, end: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut end) = (pin!(work), pin!(end));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}
