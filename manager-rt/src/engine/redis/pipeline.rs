//! Several operations that are sent together.

use redis::Value as Item;

use super::answer::answer_of;
use super::command::Command;
use super::link::Link;
use super::refusal::{failed, is_full, refused};
use crate::backend::CallError;
use crate::proto::{Answer, Payload};

/// The most operations that are sent together, since nobody else is served until Redis has done them.
pub(super) const OPERATIONS_AT_ONCE_MAX: usize = 128;

impl Link {
    /// Runs several scripts, one after another.
    ///
    /// Redis runs at most [`OPERATIONS_AT_ONCE_MAX`] of them in one of its transactions. So it cannot forget a script
    /// between its first use, which contains its text, and the next.
    ///
    /// # Errors
    /// [`CallError`], but not the fault of a single operation. It is [`CallError::OutcomeUnknown`] if some operations may
    /// have been done.
    pub(super) fn run_all(&self, commands: &[Command]) -> Result<Vec<Answer<Payload>>, CallError> {
        let mut answers = Vec::with_capacity(commands.len());
        for portion in commands.chunks(OPERATIONS_AT_ONCE_MAX) {
            let is_first = answers.is_empty();
            // Earlier portions were done, whatever becomes of this one.
            let failed_here = |error| if is_first { error } else { CallError::OutcomeUnknown };
            // The answers before the last are those of MULTI and of what is queued.
            let outcome = self.converse(&packed(portion), portion.len().saturating_add(2));
            let items = match outcome.map_err(failed_here)? {
                Ok(Item::Array(items)) => items,
                Ok(_) => return Err(CallError::Protocol),
                // With a full memory, Redis takes no transaction, not even one that only removes. It did nothing of this one.
                Err(error) if is_full(&error) => {
                    for command in portion {
                        let is_first = answers.is_empty();
                        let failed_here = |error| if is_first { error } else { CallError::OutcomeUnknown };
                        answers.push(self.run(command).map_err(failed_here)?);
                    }
                    continue;
                }
                Err(error) => return Err(failed_here(refused(&error))),
            };
            for item in items {
                answers.push(match item {
                    // Operations beside this one were done.
                    Item::ServerError(error) => {
                        failed(&error.into()).map_err(|_| CallError::OutcomeUnknown)?
                    }
                    item => answer_of(item)?,
                });
            }
        }
        Ok(answers)
    }
}

/// Encodes a transaction of Redis. The first use of each script contains its text.
fn packed(portion: &[Command]) -> Vec<u8> {
    let mut sent = redis::cmd("MULTI").get_packed_command();
    for (at, command) in portion.iter().enumerate() {
        let mut earlier = portion.iter().take(at);
        let is_known = earlier.any(|earlier| std::ptr::eq(earlier.script(), command.script()));
        sent.extend(command.packed(!is_known));
    }
    redis::cmd("EXEC").write_packed_command(&mut sent);
    sent
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use redis::IntoConnectionInfo;

    use super::*;
    use crate::engine::redis::command::Keys;
    use crate::engine::redis::link::ANSWER_TIME_MAX;
    use crate::engine::redis::tls::Trust;
    use crate::proto::{Kind, ObjectId};

    crate::engine::redis::script::scripts! {
        NOTHING = "return {0}";
    }

    /// Accepts one client, and answers each of its transactions with one of these texts, then ends.
    fn answer(listener: &TcpListener, answers: &[String]) {
        let (mut client, _) = listener.accept().unwrap();
        let mut greeting = [0; 1024];
        assert!(client.read(&mut greeting).unwrap() > 0);
        client.write_all(b"-NOPERM\r\n").unwrap();
        for answer in answers {
            let mut read = Vec::new();
            while !read.ends_with(b"EXEC\r\n") {
                let mut more = [0; 65_536];
                let count = client.read(&mut more).unwrap();
                assert!(count > 0);
                read.extend(&more[..count]);
            }
            client.write_all(answer.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_failure_after_the_first_portion_leaves_the_outcome_unknown() {
        let count = OPERATIONS_AT_ONCE_MAX;
        let done =
            format!("+OK\r\n{}*{count}\r\n{}", "+QUEUED\r\n".repeat(count), "*1\r\n:0\r\n".repeat(count));
        let refused = "-MISCONF no disk\r\n".repeat(count + 2);
        let half = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*1\r\n:0\r\n-BUSY\r\n".to_owned();
        for (answers, commands, expected) in [
            (vec![refused.clone()], count, CallError::ServerGone),
            (vec![done.clone(), refused], count * 2, CallError::OutcomeUnknown),
            (vec![done.clone()], count * 2, CallError::OutcomeUnknown),
            (vec![half], 2, CallError::OutcomeUnknown),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("redis://{}", listener.local_addr().unwrap());
            std::thread::scope(|scope| {
                // The listener ends with its thread, so no second connection waits for an answer.
                scope.spawn(move || answer(&listener, &answers));
                let link = Link::new(url.into_connection_info().unwrap(), Trust::default(), ANSWER_TIME_MAX);
                let keys = Keys::new("test");
                let command = || Command::on(&NOTHING, &keys, ObjectId(1), Kind::List);
                let commands: Vec<_> = (0..commands).map(|_| command()).collect();
                assert_eq!(link.run_all(&commands), Err(expected));
            });
        }
    }
}
