//! The parent of one run: starts workers, gives the items of dead ones to others, kills some if asked to, adds up.
//!
//! Whatever a worker does, the parent looks only at its state words and at how it ended. It takes items back when the
//! worker is dead and reaped, so nobody can write them any more, and an item that was committed before stays committed:
//! each item is counted exactly once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use crate::crew::{Crew, End};
use crate::ledger::{Ledger, View};
use crate::plan::KillPlan;
use crate::share::Shared;
use crate::total::Totals;
use crate::walk::Tree;

/// How long the parent waits for one worker before it looks at all of them: the progress bar moves this often.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Workers that may fail one after the other, without any item finished in between: a fault that comes back.
const FAILURES_MAX: u32 = 10;

/// What a run found.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) totals: Totals,
    /// Workers that `--kill` ended.
    pub(crate) killed: u32,
    /// Items that were handed out again.
    pub(crate) redone: u64,
    /// Processes that worked at the same time.
    pub(crate) workers: usize,
    pub(crate) elapsed: Duration,
}

/// Counts the whole tree.
pub(crate) fn count(tree: &Tree, workers: usize, kills: u32, bar: &ProgressBar) -> Result<Run> {
    let items = tree.items.len();
    let shared = Shared::new(items).with_context(|| format!("no shared memory for {items} items"))?;
    let start = Instant::now();
    let mut parent = Parent {
        tree,
        shared: &shared,
        ledger: Ledger::new(tree, &shared),
        workers: workers.min(items),
        crew: Crew::default(),
        plan: KillPlan::new(items, kills),
        failures: 0,
        redone: 0,
    };
    parent.run(bar)?;
    let elapsed = start.elapsed();
    let Parent { crew, plan, redone, workers, .. } = parent;
    crew.dismiss();
    let totals = Totals::sum(tree, &shared)?;
    Ok(Run { totals, killed: plan.done(), redone, workers, elapsed })
}

struct Parent<'a> {
    tree: &'a Tree,
    shared: &'a Shared,
    ledger: Ledger<'a>,
    /// At most so many live at the same time.
    workers: usize,
    crew: Crew,
    plan: KillPlan,
    /// In a row.
    failures: u32,
    redone: u64,
}

impl Parent<'_> {
    fn run(&mut self, bar: &ProgressBar) -> Result<()> {
        self.shared.release(self.plan.released());
        loop {
            // First the dead, so that what they had is free when the items are looked at.
            while let Some((number, end)) = self.crew.take_ended()? {
                self.bury(number, end)?;
            }
            let view = self.ledger.look()?;
            if view.progressed {
                self.failures = 0;
            }
            bar.set_position(view.bytes);
            if view.finished == self.shared.items() {
                return Ok(());
            }
            self.start_workers(&view)?;
            if self.plan.is_due(view.finished, view.idle) {
                self.kill_one()?;
                continue;
            }
            self.crew.wait(if self.plan.has_more() { self.plan.pause() } else { LOOK_EVERY });
        }
    }

    /// Starts as many workers as are missing and have something to do.
    fn start_workers(&mut self, view: &View) -> Result<()> {
        for _ in 0..view.free.min(self.workers.saturating_sub(self.crew.len())) {
            match self.crew.start(self.tree, self.shared) {
                Ok(()) => {}
                // Fewer do as well.
                Err(_) if self.crew.len() > 0 => break,
                Err(error) => return Err(error).context("no worker could be started"),
            }
        }
        if self.crew.len() == 0 {
            bail!("{} items have no worker, and none is free", self.shared.items() - view.finished);
        }
        Ok(())
    }

    fn kill_one(&mut self) -> Result<()> {
        // With no other work to wait for, the worker lives for a random time. If it ends by itself, so much the better.
        self.crew.wait(self.plan.pause());
        let victim = self.plan.victim(self.crew.len());
        let (number, end) = self.crew.kill(victim)?;
        self.bury(number, end)
    }

    fn bury(&mut self, number: u32, end: End) -> Result<()> {
        self.redone += self.ledger.take_back(number)?;
        match end {
            End::Finished => {}
            End::Killed => {
                self.plan.record_kill();
                self.shared.release(self.plan.released());
            }
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
