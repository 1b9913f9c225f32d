//! The status page, and the figures that it shows.

use serde::Serialize;

use crate::shared::Shared;
use crate::table::{Field, Kind, Row, State, Total};

pub(crate) const PAGE: &str = include_str!("status.html");
pub(crate) const STYLE: &str = include_str!("status.css");
pub(crate) const SCRIPT: &str = include_str!("status.js");

/// What `/status.json` contains. Times are in milliseconds.
#[derive(Debug, Serialize)]
struct Status {
    uptime_ms: u64,
    ends: bool,
    hits: u64,
    requests: u64,
    /// Requests of the last seconds, oldest first.
    per_second: Vec<u64>,
    /// Requests that the rate limit refused.
    limited: u64,
    /// How often the table of the rate limit was too small.
    forgotten: u64,
    /// `None` if the server of the sessions does not answer.
    sessions: Option<usize>,
    queue: Queue,
    restarts: u64,
    reloads: u64,
    lost_requests: u64,
    lost_connections: u64,
    workers: Vec<Process>,
    background: Vec<Process>,
}

#[derive(Debug, Serialize)]
struct Queue {
    waiting: usize,
    in_hand: usize,
    repeated: u64,
    /// Jobs that failed so often that they were put aside.
    failed: u64,
}

#[derive(Debug, Serialize)]
struct Process {
    seat: u64,
    pid: u64,
    state: &'static str,
    age_ms: u64,
    /// Requests or jobs that have ended.
    done: u64,
    in_hand: u64,
    connections: u64,
    limited: u64,
    repeated: u64,
    restarts: u64,
    last_crash: Option<LastCrash>,
}

#[derive(Debug, Serialize)]
struct LastCrash {
    /// 0 if it was a panic or an error.
    signal: u64,
    ago_ms: u64,
}

/// The figures of this moment. Processes go on meanwhile, so figures of different processes may differ by what is under way.
pub(crate) fn json(shared: &Shared) -> serde_json::Result<Vec<u8>> {
    let table = &shared.table;
    let unfinished = shared.jobs.unfinished().unwrap_or(0);
    let waiting = shared.jobs.len().min(unfinished);
    let status = Status {
        uptime_ms: shared.now_ms(),
        ends: shared.ends(),
        hits: shared.hits.get().unwrap_or(0),
        requests: shared.requests(),
        per_second: shared.history.read(),
        limited: table.sum(Kind::Worker, Field::Limited, Total::Limited),
        forgotten: shared.limiter.forgotten(),
        sessions: shared.sessions.len().ok(),
        queue: Queue {
            waiting,
            in_hand: unfinished - waiting,
            repeated: table.sum(Kind::Background, Field::Repeated, Total::Repeated),
            failed: shared.failed(),
        },
        restarts: table.total(Total::Restarts),
        reloads: table.total(Total::Reloads),
        lost_requests: table.total(Total::LostRequests),
        lost_connections: table.total(Total::LostConnections),
        workers: processes(shared, Kind::Worker),
        background: processes(shared, Kind::Background),
    };
    serde_json::to_vec(&status)
}

fn processes(shared: &Shared, kind: Kind) -> Vec<Process> {
    let mut rows: Vec<_> = shared.table.rows(kind).map(|row| process(shared, kind, &row)).collect();
    rows.sort_by_key(|process| (process.seat, process.age_ms));
    rows
}

fn process(shared: &Shared, kind: Kind, row: &Row) -> Process {
    let now = shared.now_ms();
    let seat = row.get(Field::Seat);
    let (restarts, crash) = shared.table.seat(kind, usize::try_from(seat).unwrap_or(usize::MAX));
    let (ended, begun) = (row.get(Field::Ended), row.get(Field::Begun));
    Process {
        seat,
        pid: row.get(Field::Pid),
        state: match State::of(row.get(Field::State)) {
            State::Starting => "starting",
            State::Working => "working",
            State::Stopping => "stopping",
        },
        age_ms: now.saturating_sub(row.get(Field::Started)),
        done: ended,
        in_hand: begun.saturating_sub(ended),
        connections: row.get(Field::Connections),
        limited: row.get(Field::Limited),
        repeated: row.get(Field::Repeated),
        restarts,
        last_crash: crash
            .map(|crash| LastCrash { signal: crash.signal, ago_ms: now.saturating_sub(crash.at_ms) }),
    }
}
