//! The program that starts the manager, or uses one that runs already.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mp::manager::{JoinableQueue, Manager, ObjectError};

use crate::{ENDINGS, PAUSE, Range, TASKS, builder, is_out_of_reach, say};

/// How long the workers may take to see that the queue is closed.
const PARTING: Duration = Duration::from_secs(5);
/// How long a manager that runs already may be out of reach.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often progress is reported.
const REPORT: Duration = Duration::from_secs(1);

pub(crate) fn run(listen: &str, key_file: Option<&Path>, below: u64, tasks: u64) -> Result<()> {
    // A URL is the address of a manager.
    let is_own = !listen.contains("://");
    let (manager, address) = if is_own { start(listen, key_file)? } else { connect(listen, key_file)? };
    let queue = manager.named(TASKS).joinable_queue::<Range>()?;
    let endings = manager.named(ENDINGS).dict::<u8, u64>()?;
    let width = below.div_ceil(tasks).max(1);
    let ranges = (0..tasks).map(|task| Range { from: task * width, to: below.min((task + 1) * width) });
    let ranges: Vec<Range> = ranges.filter(|range| range.from < range.to).collect();
    queue.put_many(&ranges)?;
    say(&format!("serving {} tasks at {address}", ranges.len()))?;

    let started = Instant::now();
    let mut cut: Option<Instant> = None;
    loop {
        match left(&queue) {
            Ok(0) => break,
            Ok(count) => {
                cut = None;
                say(&format!("{count} tasks are not done yet"))?;
            }
            // A Redis that is restarted comes back with its objects. The manager of this program does not.
            Err(ObjectError::Call(error)) if !is_own && is_out_of_reach(&error) => {
                if cut.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    bail!("{address} is out of reach: {error}");
                }
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let failed = queue.failed()?.len();
    if failed > 0 {
        bail!("{failed} tasks were handed out in vain too often");
    }
    let mut counts = (&mut endings.iter()).collect::<Result<Vec<_>, _>>()?;
    counts.sort_unstable();
    let primes: u64 = counts.iter().map(|(_, count)| count).sum();
    for (digit, count) in counts {
        say(&format!("{count} of them end in {digit}"))?;
    }
    say(&format!("{primes} primes below {below}, in {:.1} s", started.elapsed().as_secs_f64()))?;
    part(&manager, is_own, &queue)
}

/// Waits until all tasks are done, and returns how many are not, if that takes long.
fn left(queue: &JoinableQueue<Range>) -> Result<usize, ObjectError> {
    if queue.join_timeout(REPORT)? { Ok(0) } else { queue.unfinished() }
}

fn start(listen: &str, key_file: Option<&Path>) -> Result<(Manager, String)> {
    // A worker that is cut off holds tasks until it counts as lost. That should not take long here.
    let builder = builder(key_file)?.tcp(format!("{listen}?lost_after=2s"));
    let manager = builder.start().with_context(|| format!("cannot serve at {listen}"))?;
    let address = manager.tcp_address().context("the manager does not listen")?.to_string();
    Ok((manager, address))
}

fn connect(url: &str, key_file: Option<&Path>) -> Result<(Manager, String)> {
    let manager = builder(key_file)?.connect(url)?;
    let address = manager.address().context("the manager has no address")?;
    Ok((manager, address))
}

/// Lets the workers end, and then the manager, if it was started for them. Otherwise only the objects end.
fn part(manager: &Manager, is_own: bool, queue: &JoinableQueue<Range>) -> Result<()> {
    queue.close()?;
    let late = Instant::now() + PARTING;
    while manager.info()?.clients > 1 && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(20));
    }
    if is_own {
        return Ok(manager.shutdown()?);
    }
    [TASKS, ENDINGS].iter().try_for_each(|name| manager.remove(name))?;
    Ok(())
}
