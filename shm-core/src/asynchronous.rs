//! Waiting for words in shared memory without blocking a thread of a runtime.
//!
//! No event loop can watch a word. So a thread of the runtime's own blocking pool sleeps on all words of its tasks at once,
//! by futex_waitv(2), and wakes the tasks whose words have changed. `docs/design/async.md` compares this with other ways.
//!
//! | part | what it is |
//! |---|---|
//! | [`Wait`] | what a future holds while it waits |
//! | [`hub`] | what the tasks of one runtime wait for |
//! | [`lane`] | a thread that watches up to 127 words; it ends with the runtime, or a second after its last task |
//! | [`tasks`] | the queue of a word |
//!
//! # Why no wake-up is lost
//! 1. *Between the processes.* The queue of a word counts as one of the word's sleepers before the thread looks at the word,
//!    and the kernel looks at it once more when the thread falls asleep. So it follows the rules of [`mp_sys::adaptive`].
//! 2. *From the thread to the tasks.* The thread keeps what each word held. After each sleep, it compares all of its words,
//!    not only the one that woke it. A task looks first, and then enters the queue with what it has seen.
//! 3. *Events* call all tasks of a queue. A task that enters a queue whose thread has seen another value is called at once.
//! 4. *Semaphores* call the first task only, since one wake-up stands for one permit. When it leaves, with a permit or
//!    because it was cancelled, the next task looks. A task behind the first one needs no look of its own: whatever changes
//!    later, the first one is called.
//! 5. *What nobody needs.* If a queue is empty and its wake-up is not used, the thread or the leaving task wakes a waiter of
//!    another process.
//!
//! A thread looks for dead processes once in a slice. It makes no promise as a watcher ([`mp_sys::adaptive::Watch`]), so the
//! blocking waiters of other processes find two watchers among themselves, as if there were no tasks.

mod bell;
mod hub;
mod lane;
mod runtimes;
mod tasks;
mod turn;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use mp_sys::adaptive::Signal;
use mp_sys::deadline::Deadline;

use crate::asynchronous::turn::Turn;
use crate::error::RuntimeError;

/// What tasks wait for. It keeps the memory of its word.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// Returns the signal with the word. It is always the same one.
    fn signal(&self) -> &Signal;

    /// Looks for dead processes, if it is this process's turn. Returns whether the tasks should look then, although the word
    /// may be unchanged.
    fn look(&self) -> bool {
        false
    }
}

/// Which tasks of a queue look when the word has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// All of them.
    All,
    /// The one that came first.
    OneByOne,
}

/// What a future holds while it waits for a word. Dropping it ends the wait.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    turn: Option<Turn>,
}

impl Wait {
    /// Waits until the task should look again. It keeps its place in the queue from one call to the next. `seen` is what the
    /// word held when the task looked.
    pub(crate) async fn until_called(
        &mut self,
        signal: &Signal,
        order: Order,
        seen: u32,
        make: impl FnOnce() -> Arc<dyn Source>,
    ) -> Result<(), RuntimeError> {
        let turn = match self.turn.take().filter(|turn| !turn.is_over()) {
            Some(turn) => turn,
            None => Turn::enter(signal, order, seen, make)?,
        };
        let turn = self.turn.insert(turn);
        poll_fn(|cx| turn.poll(cx)).await;
        Ok(())
    }
}

/// Waits for a while. It needs no timer of the runtime.
pub(crate) async fn pause(duration: Duration) -> Result<(), RuntimeError> {
    let turn = Turn::until(Deadline::after(duration))?;
    poll_fn(|cx| turn.poll(cx)).await;
    Ok(())
}
