//! The parent: it listens, starts the processes, and replaces those that end.
//!
//! It serves nobody and has no thread and no runtime, because a process with threads cannot fork. Everything that it does
//! happens in [`Group::run`], which waits for the ends of processes and for signals at the same time.
//!
//! The end has an order, so that nothing is lost: close the port to newcomers; let the workers answer what they have and who
//! waits in the backlog; close the queue when nobody is left who could fill it; let the background processes empty it.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mp::manager::Manager;
use mp::{Child, Group, GroupError, GroupEvent, Keep, Slot, StartError};
use serde::Serialize;

use crate::args::Args;
use crate::limits::{CRASHES_MAX, HEALTHY_AFTER, LAST_WORKERS_MAX, PAUSE_MAX, PAUSE_MIN, STOP_MAX};
use crate::records::Log;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::signals::Signals;
use crate::stderr::log;
use crate::table::{Field, Kind, Row, Total};
use crate::worker::Start;
use crate::{background, port, worker};

const WORKER: &str = "worker";
const BACKGROUND: &str = "background";
const SECOND: Duration = Duration::from_secs(1);
/// How often the parent looks whether all processes of a kind have ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How many times it looks: twice as long as a process may take to end.
const LOOKS_MAX: u128 = 2 * STOP_MAX.as_millis() / LOOK_EVERY.as_millis();

/// What the server did, printed at its end.
#[derive(Debug, Serialize)]
struct Summary {
    hits: u64,
    requests: u64,
    /// Records in the log, each counted once.
    records: Option<u64>,
    /// Jobs that were handed out more than once.
    repeated: u64,
    /// Jobs that failed again and again.
    failed: u64,
    restarts: u64,
    reloads: u64,
    /// Requests that workers had in hand when they were killed.
    lost_requests: u64,
    /// Connections that workers had in hand when they were killed.
    lost_connections: u64,
}

/// Runs the server until it is asked to end.
pub(crate) fn run(args: &Args) -> Result<()> {
    // From here on, signals wait until somebody looks.
    let signals = Signals::new()?;
    let settings = RefCell::new(Settings::read(args.settings.as_deref())?);
    let listener = port::listen(args.listen)?;
    let address = listener.local_addr()?;
    let listener = RefCell::new(Some(listener));
    let manager = Manager::start().context("no server for the sessions")?;
    let shared = Arc::new(Shared::new(&manager, args.log.as_deref())?);

    let parent =
        Parent { args, signals: &signals, settings: &settings, shared: &shared, listener: &listener };
    let mut group = Group::new()?;
    let served = parent
        .start(&mut group)
        .and_then(|()| print(&format!("listening at http://{address}")))
        .and_then(|()| parent.serve(&mut group));
    log("the server ends");
    // Whatever fails from now on, or has failed: clients and jobs get the rest of the end all the same.
    let mut errors = Errors::default();
    errors.note("it has failed", served);
    parent.end_workers(&mut group, &mut errors);
    parent.end_background(&mut group, &mut errors);
    let summary = summary(&shared);
    drop(group);
    // It holds only sessions, and would end with this process in any case.
    manager.shutdown().unwrap_or_else(|error| log(&format!("the server of the sessions: {error}")));
    let printed = summary.and_then(|summary| print(&serde_json::to_string(&summary)?));
    errors.note("there is no summary", printed);
    errors.first.map_or(Ok(()), Err)
}

/// What went wrong at the end. The first error counts.
#[derive(Debug, Default)]
struct Errors {
    first: Option<anyhow::Error>,
}

impl Errors {
    fn note(&mut self, what: &'static str, result: Result<()>) {
        if let Err(error) = result {
            log(&format!("{what}: {error:#}"));
            self.first.get_or_insert(error);
        }
    }
}

fn print(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("stdout is closed")
}

struct Parent<'a> {
    args: &'a Args,
    signals: &'a Signals,
    /// Those that the next worker gets.
    settings: &'a RefCell<Settings>,
    shared: &'a Arc<Shared>,
    /// The parent's own, until it is closed.
    listener: &'a RefCell<Option<TcpListener>>,
}

impl<'a> Parent<'a> {
    /// Starts all processes, and keeps them running.
    fn start(&self, group: &mut Group<'a>) -> Result<()> {
        group.keep(WORKER, keep(self.args.workers), self.worker())?;
        let Parent { signals, shared, .. } = *self;
        group.keep(BACKGROUND, keep(self.args.background), move |slot| {
            start(shared, Kind::Background, slot, |row| background::run(shared, signals, &row))
        })?;
        Ok(())
    }

    /// Returns a function that starts a worker.
    fn worker(&self) -> impl FnMut(&Slot) -> Result<Child<()>, StartError> + use<'a> {
        let Parent { signals, settings, shared, listener, .. } = *self;
        move |slot| {
            let ready = slot.ready();
            start(shared, Kind::Worker, slot, |row| {
                let listener = listener.borrow();
                let listener = listener.as_ref().context("the port is closed")?;
                let settings = &settings.borrow();
                worker::run(Start { shared, signals, listener, settings, row, ready: &ready })
            })
        }
    }

    /// Keeps the processes running until the server is asked to end.
    fn serve(&self, group: &mut Group<'a>) -> Result<()> {
        let (mut next, mut seen) = (Instant::now() + SECOND, 0);
        while !self.signals.must_end() {
            let timeout = next.saturating_duration_since(Instant::now());
            if !group.run([self.signals], timeout, |event| self.note(&event))?.is_empty() {
                self.signals.drain();
            }
            if self.signals.take_reload() {
                self.reload(group)?;
            }
            while Instant::now() >= next {
                let requests = self.shared.requests();
                self.shared.history.push(requests.saturating_sub(seen));
                seen = seen.max(requests);
                next += SECOND;
            }
        }
        Ok(())
    }

    /// Reads the settings again, and replaces the workers by ones that have them.
    fn reload(&self, group: &mut Group<'a>) -> Result<(), GroupError> {
        match Settings::read(self.args.settings.as_deref()) {
            Ok(settings) => {
                self.settings.replace(settings);
                group.begin_reload(WORKER)
            }
            // A mistake in a file does not end a server.
            Err(error) => {
                log(&format!("nothing is reloaded: {error:#}"));
                Ok(())
            }
        }
    }

    /// Ends the workers when they have answered everybody.
    fn end_workers(&self, group: &mut Group<'a>, errors: &mut Errors) {
        self.shared.note_accept();
        self.shared.ends.store(1);
        let closed = self.listener.borrow().as_ref().map_or(Ok(()), port::close_to_newcomers);
        if let Err(error) = &closed {
            log(&format!("clients that connect now are refused in the middle: {error}"));
        }
        if group.resize(WORKER, 0).is_err() {
            // The group has given up, and has asked them already.
        }
        errors.note("workers have failed", self.wait_for(Kind::Worker, group));
        // Without the filter, others would come for ever.
        let workers = if closed.is_ok() { LAST_WORKERS_MAX } else { 1 };
        errors.note("clients are left in the backlog", self.answer_backlog(workers));
        // The last copy is closed, so from now on the kernel refuses clients.
        drop(self.listener.take());
    }

    /// Answers who is left in the backlog when all workers have ended. They may have been killed, or were asked to end by a group
    /// that had given up, or had no descriptors left.
    fn answer_backlog(&self, workers: u32) -> Result<()> {
        let listener = self.listener.borrow();
        let Some(listener) = listener.as_ref() else { return Ok(()) };
        for _ in 0..workers {
            if !port::has_clients(listener, self.shared.until_quiet()) {
                return Ok(());
            }
            log("clients are left in the backlog, so another worker is started");
            if let Err(error) = self.run_last_worker() {
                log(&format!("the last worker: {error:#}"));
            }
        }
        match port::refuse_all(listener).context("they cannot be answered")? {
            0 => Ok(()),
            clients => anyhow::bail!("{clients} clients were answered with 503"),
        }
    }

    /// Runs a worker that begins with the end.
    fn run_last_worker(&self) -> Result<()> {
        let mut group = Group::new()?;
        group.keep(WORKER, keep(1), self.worker())?;
        group.begin_stop()?;
        self.wait_for(Kind::Worker, &mut group)
    }

    /// Ends the background processes when no job is left.
    fn end_background(&self, group: &mut Group<'a>, errors: &mut Errors) {
        let closed = self.shared.jobs.close().context("the queue of jobs cannot be closed");
        errors.note("background processes do not end by themselves", closed);
        errors.note("background processes cannot be asked to end", group.begin_stop().map_err(Into::into));
        errors.note("background processes have failed", self.wait_for(Kind::Background, group));
        // If the last one was killed, nobody else is left who could do the rest.
        errors.note("jobs are left", background::finish(self.shared));
    }

    /// Waits until all processes of a kind have ended. They were asked to, and the group kills them after `STOP_MAX`.
    fn wait_for(&self, kind: Kind, group: &mut Group<'a>) -> Result<()> {
        let mut result = Ok(());
        // Looks are counted, and not their time, which goes on while this process is stopped.
        for _ in 0..LOOKS_MAX {
            if self.shared.table.rows(kind).next().is_none() {
                break;
            }
            // If too many have crashed, the group says so once, and goes on to end the others.
            if let Err(error) = group.run([] as [&Signals; 0], LOOK_EVERY, |event| self.note(&event)) {
                result = result.and(Err(error.into()));
                std::thread::sleep(LOOK_EVERY);
            }
        }
        result
    }

    /// Keeps the table up to date.
    fn note(&self, event: &GroupEvent) {
        log(&event.to_string());
        let table = &self.shared.table;
        match event {
            GroupEvent::Exited { place, pid, outcome } => {
                let kind = kind_of(place.kind());
                if let Err(end) = outcome {
                    table.note_crash(kind, place.index(), Some(end), self.shared.now_ms());
                }
                table.bury(kind, *pid);
            }
            GroupEvent::Stopped { place, pid, .. } => table.bury(kind_of(place.kind()), *pid),
            GroupEvent::Reloaded { .. } => table.add(Total::Reloads, 1),
            _ => {}
        }
    }
}

fn keep(count: u16) -> Keep {
    Keep::new(count.into())
        .grace(STOP_MAX)
        .healthy_after(HEALTHY_AFTER)
        .pause(PAUSE_MIN, PAUSE_MAX)
        .crashes(CRASHES_MAX)
}

fn kind_of(name: &str) -> Kind {
    if name == WORKER { Kind::Worker } else { Kind::Background }
}

/// Starts one process with a row of its own.
fn start(
    shared: &Shared,
    kind: Kind,
    slot: &Slot,
    run: impl FnOnce(Row) -> Result<()>,
) -> Result<Child<()>, StartError> {
    let row = shared.table.take(kind, slot.index(), shared.now_ms()).ok_or(StartError::OutOfProcesses)?;
    let child = slot.process().fork(|| {
        run(row.clone()).unwrap_or_else(|error| crash(&error));
    });
    match &child {
        Ok(child) => row.set(Field::Pid, child.pid().into()),
        Err(_) => row.clear(),
    }
    child
}

/// Ends a child so that its parent counts it as a crash, and learns why.
fn crash(error: &anyhow::Error) -> ! {
    panic!("{error:#}")
}

fn summary(shared: &Shared) -> Result<Summary> {
    let table = &shared.table;
    Ok(Summary {
        hits: shared.hits.get()?,
        requests: shared.requests(),
        records: shared.log.as_ref().map(Log::count).transpose().context("the log cannot be read")?,
        repeated: table.sum(Kind::Background, Field::Repeated, Total::Repeated),
        failed: shared.failed(),
        restarts: table.total(Total::Restarts),
        reloads: table.total(Total::Reloads),
        lost_requests: table.total(Total::LostRequests),
        lost_connections: table.total(Total::LostConnections),
    })
}
