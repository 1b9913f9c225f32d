//! A background process: it does the jobs that workers leave in the queue.
//!
//! On SIGTERM it finishes the job in its hand. If the whole server ends, the parent closes the queue instead, and this process
//! ends when no job is left.
//!
//! A job that fails is no reason to end: it returns to the queue, is tried again, and is put aside after its last try. The log
//! may be on a disk that is full, and the server goes on. There is no pause between two tries, because requests would have to
//! wait for the jobs before them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mp::{GetError, Task};

use crate::limits::{FAILED_KEPT_MAX, STOP_MAX};
use crate::records::Job;
use crate::shared::Shared;
use crate::signals::Signals;
use crate::stderr::log;
use crate::table::{Field, Row, State, Total};

/// How often it looks whether it was asked to end, if there is no job.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs a background process, in a forked child.
pub(crate) fn run(shared: &Arc<Shared>, signals: &Signals, row: &Row) -> Result<()> {
    signals.leave_to_parent();
    row.set(Field::State, State::Working as u64);
    row.set(Field::Pid, mp::current_process().pid().into());
    let mut jobs = Jobs::new(shared, Some(row));
    loop {
        // When the server ends, the service manager may send SIGTERM to all processes. The jobs are done all the same.
        if signals.must_end() && !shared.ends() {
            row.set(Field::State, State::Stopping as u64);
            return Ok(());
        }
        match jobs.next(LOOK_EVERY)? {
            Next::Taken | Next::Nothing => {}
            Next::Closed => return Ok(()),
        }
    }
}

/// Does the jobs that are left in a closed queue, and waits for those that a killed process had in hand.
///
/// # Errors
/// If a job is in the hand of a process that neither ends nor finishes it, or if the queue fails.
pub(crate) fn finish(shared: &Shared) -> Result<()> {
    let mut jobs = Jobs::new(shared, None);
    loop {
        match jobs.next(STOP_MAX)? {
            Next::Taken => {}
            Next::Nothing => anyhow::bail!("jobs are in the hand of a process that does not finish them"),
            Next::Closed => return Ok(()),
        }
    }
}

/// Takes the jobs that were put aside out of the queue, which keeps only so many, and counts them. Returns their number.
fn count_failed(shared: &Shared) -> usize {
    // Nothing is lost if it cannot be done now.
    let failed = shared.jobs.take_failed().map_or(0, |failed| failed.len());
    shared.table.add(Total::Failed, failed as u64);
    failed
}

/// What one look into the queue has found.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// A job, which was done or has failed.
    Taken,
    Nothing,
    /// There is no job any more, and none comes.
    Closed,
}

struct Jobs<'a> {
    shared: &'a Shared,
    /// Where a background process counts its jobs.
    row: Option<&'a Row>,
    /// Whether the job before has failed, so that the log says it once.
    has_failed: bool,
    /// Jobs that it has put aside since it last counted those.
    put_aside: usize,
}

impl<'a> Jobs<'a> {
    fn new(shared: &'a Shared, row: Option<&'a Row>) -> Self {
        Self { shared, row, has_failed: false, put_aside: 0 }
    }

    /// Waits for a job, and does it.
    fn next(&mut self, patience: Duration) -> Result<Next> {
        match self.shared.jobs.get_timeout(patience) {
            Ok(job) => self.work_on(job),
            Err(GetError::TimedOut) => return Ok(Next::Nothing),
            Err(GetError::Closed) => return Ok(Next::Closed),
            // It was put aside.
            Err(error @ GetError::Decode { .. }) => self.note_failure(&error.into()),
            Err(GetError::TooManyTasks) if count_failed(self.shared) > 0 => {}
            Err(error) => return Err(error).context("the queue of jobs fails"),
        }
        Ok(Next::Taken)
    }

    fn work_on(&mut self, job: Task<Job>) {
        self.count(Field::Begun);
        if job.deliveries() > 1 {
            self.count(Field::Repeated);
        }
        match perform(self.shared, &job) {
            Ok(()) => {
                self.has_failed = false;
                drop(job.done());
            }
            Err(error) => {
                self.note_failure(&error);
                let is_last = job.deliveries() >= self.shared.jobs.max_deliveries();
                job.requeue();
                self.put_aside += usize::from(is_last);
                if self.put_aside >= FAILED_KEPT_MAX {
                    self.put_aside = 0;
                    count_failed(self.shared);
                }
            }
        }
        self.count(Field::Ended);
    }

    fn count(&self, field: Field) {
        if let Some(row) = self.row {
            row.add(field, 1);
        }
    }

    fn note_failure(&mut self, error: &anyhow::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            log(&format!("a job has failed, and further ones are counted: {error:#}"));
        }
    }
}

fn perform(shared: &Shared, job: &Job) -> Result<()> {
    match job {
        Job::Record(access) => match &shared.log {
            Some(log) => log.write(access).context("the record could not be written"),
            None => Ok(()),
        },
        // If the server of the sessions is gone, so are the sessions.
        Job::Sweep => {
            drop(shared.sessions.sweep(shared.now()));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use mp::manager::Manager;

    use super::*;
    use crate::records::Access;

    #[test]
    fn so_many_failed_jobs_are_kept_and_no_more() {
        let manager = Manager::start().unwrap();
        // Nothing can be written there.
        let shared = Shared::new(&manager, Some("/dev/full".as_ref())).unwrap();
        let job = Job::Record(Access { number: 1, at_ms: 2, pid: 3, micros: 4, path: "/".to_owned() });
        let mut jobs = Jobs::new(&shared, None);
        let tries = shared.jobs.max_deliveries() as usize;
        for (failed, kept) in [(FAILED_KEPT_MAX - 1, FAILED_KEPT_MAX - 1), (FAILED_KEPT_MAX, 0)] {
            let more = failed - usize::try_from(shared.failed()).unwrap();
            shared.jobs.put_many(vec![&job; more]).unwrap();
            for _ in 0..more * tries {
                assert_eq!(jobs.next(Duration::ZERO).unwrap(), Next::Taken);
            }
            assert_eq!((shared.failed(), shared.jobs.failed().unwrap().len()), (failed as u64, kept));
        }
        shared.jobs.put(&job).unwrap();
        shared.jobs.close().unwrap();
        finish(&shared).unwrap();
        assert_eq!(shared.failed(), FAILED_KEPT_MAX as u64 + 1);
        manager.shutdown().unwrap();
    }
}
