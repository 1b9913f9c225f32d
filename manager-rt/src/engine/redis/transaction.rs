//! Transactions: several scripts inside one.
//!
//! A script that Redis runs is a function, so the script of a transaction contains those of its operations as functions. They get the keys and
//! arguments of each operation, and a `redis.call` that notes [how to undo](super::undo) what they do. If one is refused, all is undone. Redis
//! serves nobody else meanwhile, and whoever was woken by an operation that was undone has nothing to read, and goes on waiting.
//!
//! Redis keeps the text of each script that it has seen. Which scripts a transaction contains depends on its kinds of operations, and not on
//! their number or order, so programs need few of them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use redis::Value as Item;

use super::answer::answer_of;
use super::command::{Command, Keys};
use super::script::{Compiled, Script, compile_bare};
use super::undo::UNDO;
use super::words::{Words, packed};
use crate::backend::CallError;
use crate::proto::{ConditionOp, EventOp, Fault, JoinableQueueOp, ListOp, Op, Payload, QueueOp, Raw, Reply};

/// How many texts of transactions a process keeps.
const KNOWN_MAX: usize = 64;

/// Runs the operations. The arguments of each are the number of its script, the numbers of its keys and arguments, and these.
const RUN: &str = r"
local own, answers, at = {call = call, pcall = call}, {}, 1
local function run()
  while at <= #ARGV do
    local script, keys, arguments = tonumber(ARGV[at]), {}, {}
    local key_count, count = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    at = at + 3
    for i = 1, key_count do keys[i] = ARGV[at + i - 1] end
    at = at + key_count
    for i = 1, count do arguments[i] = ARGV[at + i - 1] end
    at = at + count
    local answer = scripts[script](own, keys, arguments)
    local number = type(answer) == 'table' and answer[1] or answer
    if type(number) == 'number' and number < 0 then return answer end
    answers[#answers + 1] = answer
  end
end
local ran, refused = pcall(run)
if not ran then
  undo()
  error(refused)
end
if refused then
  undo()
  return {0, refused}
end
keep()
return {1, answers}
";

/// The texts that this process has made, by the scripts inside.
static KNOWN: LazyLock<Mutex<HashMap<Vec<&'static str>, Arc<Compiled>>>> = LazyLock::new(Mutex::default);

/// Operations that happen as one.
#[derive(Debug)]
pub(super) struct Transaction {
    compiled: Arc<Compiled>,
    /// The beginning of the names of keys that were removed.
    removed: String,
    steps: Vec<(Words, Command)>,
}

impl Transaction {
    pub(super) fn new(keys: &Keys, commands: Vec<Command>) -> Self {
        let mut scripts: Vec<&'static Script> = commands.iter().map(Command::script).collect();
        scripts.sort_by_key(|script| &*script.compiled().hash);
        scripts.dedup_by_key(|script| &*script.compiled().hash);
        let steps = commands.into_iter().map(|command| {
            let is_its = |script: &&Script| std::ptr::eq::<Script>(*script, command.script());
            let number = scripts.iter().position(is_its).map_or(0, |at| at.saturating_add(1));
            let mut head = Words::new();
            for number in [number, command.keys().len(), command.arguments().len()] {
                head.add(&[number.to_string().as_bytes()]);
            }
            (head, command)
        });
        let steps = steps.collect();
        Self { compiled: compiled(&scripts), removed: keys.of("removed:"), steps }
    }

    /// Returns the command that runs the operations, by the name of the script or with its text.
    pub(super) fn packed(&self, with_text: bool) -> Vec<u8> {
        let mut start = Words::new();
        let (name, script) =
            if with_text { ("EVAL", &self.compiled.text) } else { ("EVALSHA", &self.compiled.hash) };
        for word in [name, script, "1", &self.removed] {
            start.add(&[word.as_bytes()]);
        }
        let steps = self.steps.iter().flat_map(|(head, command)| [head, command.keys(), command.arguments()]);
        packed(&std::iter::once(&start).chain(steps).collect::<Vec<_>>())
    }
}

fn compiled(scripts: &[&'static Script]) -> Arc<Compiled> {
    let hashes: Vec<&'static str> = scripts.iter().map(|script| &*script.compiled().hash).collect();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(&hashes) {
        return Arc::clone(found);
    }
    if known.len() >= KNOWN_MAX {
        known.clear();
    }
    let mut parts = vec![UNDO, "local scripts = {\n"];
    for script in scripts {
        parts.extend(["function(redis, KEYS, ARGV)\n", &script.compiled().text, "\nend,\n"]);
    }
    parts.extend(["}\n", RUN]);
    let compiled = Arc::new(compile_bare(&parts));
    known.insert(hashes, Arc::clone(&compiled));
    compiled
}

/// Returns the answers to the operations, or why one of them was refused.
///
/// # Errors
/// [`CallError::Protocol`].
pub(super) fn answers_in(item: Item) -> Result<Result<Vec<Reply<Payload>>, Fault>, CallError> {
    let Item::Array(pair) = item else { return Err(CallError::Protocol) };
    match <[Item; 2]>::try_from(pair) {
        Ok([Item::Int(1), Item::Array(answers)]) => {
            let replies: Result<Vec<_>, _> = answers.into_iter().map(answer_of).collect();
            Ok(replies?.into_iter().collect())
        }
        Ok([Item::Int(0), refused]) => Ok(Err(answer_of(refused)?.err().ok_or(CallError::Protocol)?)),
        _ => Err(CallError::Protocol),
    }
}

/// Returns `true` if an operation may be part of a transaction: it neither waits nor takes something for a session.
pub(super) const fn may_be_part(op: &Op<Raw<'_>>) -> bool {
    match op {
        Op::List(op) => !matches!(op, ListOp::Exchange { .. }),
        Op::Dict(_) | Op::Namespace(_) | Op::Value(_) | Op::Array(_) => true,
        Op::Queue(op) => !matches!(op, QueueOp::Close),
        Op::JoinableQueue(op) => {
            !matches!(op, JoinableQueueOp::Close | JoinableQueueOp::Join | JoinableQueueOp::Get)
        }
        Op::Event(op) => !matches!(op, EventOp::Wait),
        Op::Condition(op) => matches!(op, ConditionOp::Waiting),
        Op::Manager(_) | Op::Lock(_) | Op::Semaphore(_) | Op::Barrier(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_refusals() {
        let answers = Item::Array(vec![Item::Int(0), Item::Array(vec![Item::Int(2), Item::Int(7)])]);
        let all = Item::Array(vec![Item::Int(1), answers]);
        assert_eq!(answers_in(all), Ok(Ok(vec![Reply::Done, Reply::Count(7)])));
        let refused = Item::Array(vec![Item::Int(0), Item::Array(vec![Item::Int(-29)])]);
        assert_eq!(answers_in(refused), Ok(Err(Fault::Full)));
        for wrong in [
            Item::Int(1),
            Item::Array(vec![]),
            Item::Array(vec![Item::Int(1), Item::Int(1)]),
            Item::Array(vec![Item::Int(0), Item::Int(0)]),
        ] {
            assert_eq!(answers_in(wrong), Err(CallError::Protocol));
        }
    }
}
