//! The program that works on the tasks of a manager, wherever that is.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mp::manager::proto::Fault;
use mp::manager::{GetError, Manager, ObjectError, ReachError, TransactionError};

use crate::{ENDINGS, PAUSE, Range, TASKS, builder, is_out_of_reach, say};

/// A worker reports each time that it has done so many tasks.
const REPORT: u64 = 50;

/// What a worker has done.
#[derive(Debug, Default)]
struct Done {
    tasks: u64,
    /// How often the manager was out of reach.
    cuts: u64,
}

pub(crate) fn run(address: &str, key_file: Option<&Path>, patience: Duration) -> Result<()> {
    let manager = connect(address, key_file, patience)?;
    let queue = manager.named(TASKS).joinable_queue::<Range>()?;
    let endings = manager.named(ENDINGS).dict::<u8, u64>()?;
    say(&format!("working for {address}"))?;
    let mut done = Done::default();
    // Since when the manager is out of reach.
    let mut cut: Option<Instant> = None;
    loop {
        let step = match queue.get() {
            Ok(task) => {
                let found = endings_of_primes(*task);
                // Both or neither happen. If this is cut off before, the task comes back to this worker or another one.
                manager.transaction(|t| {
                    (t.on(&endings).add_many(found.iter().map(|(d, n)| (d, *n))), t.done(task))
                })
            }
            Err(GetError::Closed) => break,
            Err(GetError::Object(error)) => Err(TransactionError::Object(error)),
            Err(error) => return Err(error.into()),
        };
        match step {
            Ok(_) => {
                done.tasks += 1;
                if done.tasks.is_multiple_of(REPORT) {
                    say(&format!("{} tasks done", done.tasks))?;
                }
            }
            Err(TransactionError::Object(ObjectError::Call(error))) if is_out_of_reach(&error) => {
                done.cuts += 1;
                if cut.get_or_insert_with(Instant::now).elapsed() > patience {
                    bail!("{address} is out of reach: {error}");
                }
                say(&format!("out of reach: {error}"))?;
                thread::sleep(PAUSE);
                continue;
            }
            // This worker counted as lost in the meantime, and the task is another one's.
            Err(TransactionError::Refused(Fault::NotOwned)) => {}
            Err(error) => return Err(error.into()),
        }
        cut = None;
    }
    say(&format!("done: {} tasks, out of reach {} times", done.tasks, done.cuts))
}

/// Connects, and tries again while nobody is there.
fn connect(address: &str, key_file: Option<&Path>, patience: Duration) -> Result<Manager> {
    let began = Instant::now();
    loop {
        match builder(key_file)?.connect(address) {
            Ok(manager) => return Ok(manager),
            Err(ReachError::Connect { .. }) if began.elapsed() < patience => thread::sleep(PAUSE),
            Err(error) => return Err(error).context(address.to_owned()),
        }
    }
}

/// Returns how many primes of a range end in each digit.
fn endings_of_primes(range: Range) -> BTreeMap<u8, u64> {
    let mut found = BTreeMap::new();
    for number in (range.from.max(2)..range.to).filter(|number| is_prime(*number)) {
        *found.entry((number % 10) as u8).or_default() += 1;
    }
    found
}

fn is_prime(number: u64) -> bool {
    (2..).take_while(|factor| factor * factor <= number).all(|factor| !number.is_multiple_of(factor))
}
