//! The parent of one run: replaces dead workers, kills some if asked to, waits for the queue, and adds up the results.
//!
//! The parent looks only at the results, and at how workers end. The queue hands out the task of a dead worker again, and a
//! committed result stays committed, so each item is counted exactly once. So are its words; see [`ranking`](crate::ranking).
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use mp::manager::Manager;

use crate::crew::{Crew, End};
use crate::ledger::{Ledger, View};
use crate::plan::{HasNewTask, KillPlan};
use crate::ranking::{Ranked, Ranking};
use crate::share::Shared;
use crate::total::{Tiers, Totals};
use crate::walk::Tree;

/// How long the parent waits for the queue before it looks at its workers: the progress bar moves this often.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many workers may fail one after the other, with no item finished in between, before the run fails. Also how many
/// workers may fail with one item before it is given up.
const FAILURES_MAX: u32 = 10;

/// The settings of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    /// The most processes that work at the same time.
    pub(crate) workers: usize,
    /// The number of workers to kill.
    pub(crate) kills: u32,
    /// How many words to rank, if any.
    pub(crate) top: Option<u32>,
    /// The address of the manager in which they are counted, if it is not started for that.
    pub(crate) manager: Option<&'a str>,
}

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) totals: Totals,
    pub(crate) tiers: Tiers,
    /// Present if words were ranked.
    pub(crate) ranked: Option<Ranked>,
    /// The number of workers that `--kill` ended.
    pub(crate) killed: u32,
    /// The number of processes that worked at the same time.
    pub(crate) workers: usize,
    pub(crate) elapsed: Duration,
}

/// Counts the whole tree.
pub(crate) fn count(tree: &Tree, order: Order<'_>, bar: &ProgressBar) -> Result<Run> {
    let Order { workers, kills, top, manager } = order;
    let items = tree.items.len();
    let start = Instant::now();
    // The kills do not count as failures of an item, even if all of them hit the same one.
    let deliveries = 1_u32.saturating_add(kills).saturating_add(FAILURES_MAX);
    let mut shared = Shared::new(items, deliveries)?;
    let ranking = || manager.map_or_else(|| Ranking::start(Manager::builder()), Ranking::connect);
    shared.ranking = top.map(|_| ranking()).transpose()?;
    let mut parent = Parent {
        tree,
        shared: &shared,
        ledger: Ledger::new(tree, &shared),
        workers: workers.min(items),
        crew: Crew::default(),
        plan: KillPlan::new(items, kills),
        failures: 0,
        deliveries_at_kill: 0,
    };
    parent.run(bar)?;
    let elapsed = start.elapsed();
    let Parent { crew, plan, workers, .. } = parent;
    crew.dismiss();
    shared.give_up_failed()?;
    let (totals, tiers) = (Totals::sum(tree, &shared)?, Tiers::sum(&shared)?);
    let ranked = match (shared.ranking.take(), top) {
        (Some(ranking), Some(top)) => {
            let ranked = ranking.read(usize::try_from(top)?)?;
            ranking.close()?;
            Some(ranked)
        }
        _ => None,
    };
    Ok(Run { totals, tiers, ranked, killed: plan.done(), workers, elapsed })
}

struct Parent<'a> {
    tree: &'a Tree,
    shared: &'a Shared,
    ledger: Ledger<'a>,
    /// At most so many live at the same time.
    workers: usize,
    crew: Crew,
    plan: KillPlan,
    /// The number of failures in a row.
    failures: u32,
    /// Tasks that were handed out before the newest kill.
    deliveries_at_kill: u64,
}

impl Parent<'_> {
    fn run(&mut self, bar: &ProgressBar) -> Result<()> {
        self.shared.release(self.plan.released());
        let mut pause = Duration::ZERO;
        while !self.join(pause)? {
            while let Some(end) = self.crew.take_ended()? {
                self.bury(end)?;
            }
            let view = self.ledger.look()?;
            if view.progressed {
                self.failures = 0;
            }
            bar.set_position(view.bytes);
            self.start_workers(&view)?;
            let is_new = view.deliveries > self.deliveries_at_kill;
            let has_new_task = if is_new { HasNewTask::Yes } else { HasNewTask::No };
            pause = if self.plan.is_due(view.finished, has_new_task, view.idle) {
                self.deliveries_at_kill = view.deliveries;
                self.kill_one()?;
                Duration::ZERO
            } else if self.plan.has_more() {
                self.plan.pause()
            } else {
                LOOK_EVERY
            };
        }
        Ok(())
    }

    /// Waits for all tasks, and returns whether they are finished. The wait also makes the queue look for tasks of dead
    /// workers.
    fn join(&self, timeout: Duration) -> Result<bool> {
        self.shared.tasks.join_timeout(timeout).context("the queue of the work fails")
    }

    /// Starts as many workers as are missing, if there is work for them.
    fn start_workers(&mut self, view: &View) -> Result<()> {
        // If all results are there, the queue still waits for a task whose worker died before it could say that it is done.
        let unfinished = (self.shared.items() - view.finished).max(1);
        for _ in self.crew.len()..self.workers.min(unfinished) {
            match self.crew.start(self.tree, self.shared) {
                Ok(()) => {}
                // Fewer suffice.
                Err(_) if self.crew.len() > 0 => break,
                Err(error) => return Err(error).context("no worker could be started"),
            }
        }
        Ok(())
    }

    fn kill_one(&mut self) -> Result<()> {
        // With no other work to wait for, the worker lives for a random time. If it ends by itself, so much the better.
        self.crew.wait(self.plan.pause());
        let victim = self.plan.victim(self.crew.len());
        let end = self.crew.kill(victim)?;
        self.bury(end)
    }

    fn bury(&mut self, end: End) -> Result<()> {
        self.ledger.note_end();
        match end {
            End::Finished => {}
            End::Killed => {
                self.plan.record_kill();
                self.shared.release(self.plan.released());
            }
            End::Hopeless(reason) => bail!("{reason}"),
            End::Failed(reason) => {
                self.failures += 1;
                if self.failures > FAILURES_MAX {
                    bail!("{} workers failed in a row, the last one: {reason}", self.failures);
                }
            }
        }
        Ok(())
    }
}
