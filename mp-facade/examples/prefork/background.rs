//! A background process: it does the jobs that workers leave in the queue.
//!
//! On SIGTERM it finishes the job in its hand. If the whole server ends, the parent closes the queue instead, and this process
//! ends when no job is left.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use mp::GetError;

use crate::limits::STOP_MAX;
use crate::records::Job;
use crate::shared::Shared;
use crate::signals::Signals;
use crate::table::{Field, Row, State};

/// How often it looks whether it was asked to end, if there is no job.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs a background process, in a forked child.
pub(crate) fn run(shared: &Arc<Shared>, signals: &Signals, row: &Row) -> Result<()> {
    signals.leave_to_parent();
    row.set(Field::State, State::Working as u64);
    row.set(Field::Pid, mp::current_process().pid().into());
    loop {
        // When the server ends, the service manager may send SIGTERM to all processes. The jobs are done all the same.
        if signals.must_end() && !shared.ends() {
            row.set(Field::State, State::Stopping as u64);
            return Ok(());
        }
        let job = match shared.jobs.get_timeout(LOOK_EVERY) {
            Ok(job) => job,
            Err(GetError::TimedOut) => continue,
            Err(GetError::Closed) => return Ok(()),
            Err(error) => return Err(error).context("the queue of jobs fails"),
        };
        row.add(Field::Begun, 1);
        if job.deliveries() > 1 {
            row.add(Field::Repeated, 1);
        }
        // If it fails, the job is dropped without `done`, so it returns to the queue.
        perform(shared, &job)?;
        job.done();
        row.add(Field::Ended, 1);
    }
}

/// Does the jobs that are left in a closed queue.
pub(crate) fn finish(shared: &Shared) -> Result<()> {
    loop {
        // Also waits for what a killed process had in hand.
        match shared.jobs.get_timeout(STOP_MAX) {
            Ok(job) => {
                perform(shared, &job)?;
                job.done();
            }
            Err(GetError::Closed) => return Ok(()),
            Err(error) => return Err(error).context("the queue of jobs fails"),
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
