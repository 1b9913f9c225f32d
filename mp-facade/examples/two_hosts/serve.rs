//! The program that starts the manager.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mp::manager::{JoinableQueue, Manager};

use crate::{ENDINGS, Range, TASKS, say};

/// How long the workers may take to see that the queue is closed.
const PARTING: Duration = Duration::from_secs(5);
/// How often progress is reported.
const REPORT: Duration = Duration::from_secs(1);

pub(crate) fn run(listen: &str, key_file: &Path, below: u64, tasks: u64) -> Result<()> {
    let builder = Manager::builder().key_file(key_file).context(key_file.display().to_string())?;
    // A worker that is cut off holds tasks until it counts as lost. That should not take long here.
    let builder = builder.tcp(format!("{listen}?lost_after=2s"));
    let manager = builder.start().with_context(|| format!("cannot serve at {listen}"))?;
    let address = manager.tcp_address().context("the manager does not listen")?;
    let queue = manager.named(TASKS).joinable_queue::<Range>()?;
    let endings = manager.named(ENDINGS).dict::<u8, u64>()?;
    let width = below.div_ceil(tasks).max(1);
    let ranges = (0..tasks).map(|task| Range { from: task * width, to: below.min((task + 1) * width) });
    let ranges: Vec<Range> = ranges.filter(|range| range.from < range.to).collect();
    queue.put_many(&ranges)?;
    say(&format!("serving {} tasks at {address}", ranges.len()))?;

    let started = Instant::now();
    while !queue.join_timeout(REPORT)? {
        say(&format!("{} tasks are not done yet", queue.unfinished()?))?;
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
    part(&manager, &queue)
}

/// Lets the workers end, and then the manager.
fn part(manager: &Manager, queue: &JoinableQueue<Range>) -> Result<()> {
    queue.close()?;
    let late = Instant::now() + PARTING;
    while manager.info()?.clients > 1 && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(manager.shutdown()?)
}
