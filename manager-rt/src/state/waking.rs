//! Waking callers that get the same answer, in steps.

use crate::proto::{Answer, Payload, Reply};
use crate::state::context::Core;
use crate::state::waiters::{Line, Want};
use crate::state::work::Waking;

impl Core {
    /// Gives the same answer to all waiters in a line. Afterwards the line is empty. If they are many, the answers
    /// follow in later steps.
    pub(super) fn answer_all(&mut self, line: &mut Line, answer: &Answer<Payload>) {
        if !line.is_empty() {
            // Others that wait to be woken come first.
            let is_next = self.work.waking.is_empty();
            let waking = Waking { line: std::mem::take(line), answer: answer.clone() };
            self.work.waking.push_back(waking);
            if is_next {
                self.wake();
            }
        }
    }

    /// Continues to wake callers as far as the step allows.
    pub(super) fn wake(&mut self) {
        while let Some(mut waking) = self.work.waking.pop_front() {
            while !self.work.is_over()
                && let Some(waiter) = self.next_of(&mut waking.line)
            {
                if let Want::Room(items) = waiter.want {
                    self.let_go_all(items);
                }
                let answer = waking.answer.clone();
                if let Ok(Reply::Count(index)) = &mut waking.answer {
                    // The callers at a barrier get the positions in which they arrived.
                    *index = index.saturating_add(1);
                }
                self.answer(waiter.client, waiter.call, answer);
            }
            if !waking.line.is_empty() {
                self.work.waking.push_front(waking);
                return;
            }
        }
    }
}
