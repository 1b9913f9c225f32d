//! Unfinished handshakes on the listening side.

use std::os::fd::AsFd;
use std::sync::Arc;

use interprocess::os::unix::uds_local_socket::Stream;
use mp_sys::OsError;
use mp_sys::deadline::Deadline;
use mp_sys::handoff::{Heard, hear, is_same_user, nonce, say};
use mp_sys::handshake::{Listening, Next, STEP_BYTES_MAX, Terms};
use mp_sys::socket::Endpoint;

use crate::limits::HANDSHAKE_TIME_MAX;

/// A peer that has connected and whose handshake is not finished.
#[derive(Debug)]
pub(super) struct HalfDone {
    stream: Arc<Stream>,
    side: Listening,
    deadline: Deadline,
}

/// The state of a handshake.
#[derive(Debug)]
pub(super) enum Progress {
    Going,
    /// The peer was refused, went away, or took too long.
    Over,
    /// The handshake is done. This is the listener's end; the peer has the other one.
    Done(Endpoint),
}

impl HalfDone {
    /// Begins the handshake on a stream. Returns `None` for a process of another user, which gets no answer.
    pub(super) fn begin(stream: Stream) -> Result<Option<Self>, OsError> {
        if !is_same_user(stream.as_fd()) {
            tracing::debug!("a process of another user tried to connect");
            return Ok(None);
        }
        let deadline = Deadline::after(HANDSHAKE_TIME_MAX);
        Ok(Some(Self { stream: Arc::new(stream), side: Listening::new(nonce()?), deadline }))
    }

    pub(super) fn stream(&self) -> Arc<Stream> {
        Arc::clone(&self.stream)
    }

    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Continues the handshake as far as possible without waiting.
    pub(super) fn go_on(&mut self, terms: Terms<'_>) -> Progress {
        loop {
            let mut bytes = [0; STEP_BYTES_MAX];
            let next = match hear(self.stream.as_fd(), &mut bytes) {
                // A listener expects no descriptor; one that arrives is closed.
                Ok(Heard::Bytes(len, _)) => self.side.hear(terms, bytes.get(..len).unwrap_or_default()),
                Ok(Heard::Nothing) if self.deadline.has_passed() => return Progress::Over,
                Ok(Heard::Nothing) => return Progress::Going,
                Ok(Heard::End) | Err(_) => return Progress::Over,
            };
            match next {
                Next::Wait => {}
                Next::Say(bytes) => {
                    if say(self.stream.as_fd(), &bytes, None).is_err() {
                        return Progress::Over;
                    }
                }
                Next::Refuse(bytes, refusal) => {
                    let told = say(self.stream.as_fd(), &bytes, None);
                    tracing::debug!(?refusal, ?told, "a peer is refused");
                    return Progress::Over;
                }
                Next::Agree(bytes) => return self.hand_over(&bytes),
            }
        }
    }

    fn hand_over(&self, verdict: &[u8]) -> Progress {
        let handed = Endpoint::pair().and_then(|(ours, theirs)| {
            say(self.stream.as_fd(), verdict, Some(theirs.as_fd()))?;
            Ok(ours)
        });
        match handed {
            Ok(ours) => Progress::Done(ours),
            Err(error) => {
                tracing::debug!(%error, "a connection could not be handed over");
                Progress::Over
            }
        }
    }
}
