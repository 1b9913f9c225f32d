//! How a process ends its children at its own end, and how a scope ends its children.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use mp_sys::deadline::Deadline;

use crate::active::ActiveChild;
use crate::current::current_process;

/// How long a daemon may take to end after its parent has asked it to; then it is killed. The same holds for the children of
/// a scope that an error or a panic ends.
pub const DAEMON_ENDING_MAX: Duration = Duration::from_secs(5);
/// How long a process waits for its children at its end before it names them on stderr.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(1);
/// How many children the line on stderr names.
const NAMED_MAX: usize = 8;

/// Sends SIGTERM to children, which asks them to end.
pub(crate) fn ask_to_end<'a>(children: impl Iterator<Item = &'a ActiveChild>) {
    for child in children {
        let asked = child.terminate();
        tracing::debug!(?child, ?asked, "asked a child to end");
    }
}

/// Kills those of the children that have not ended at the deadline.
pub(crate) fn kill_late<'a>(children: impl Iterator<Item = &'a ActiveChild>, deadline: Deadline) {
    for child in children {
        if child.wait_until(deadline) == Ok(false) {
            let killed = child.kill();
            tracing::debug!(?child, ?killed, "killed a child that did not end when asked to");
        }
    }
}

/// Waits for children, for as long as they take.
pub(crate) fn wait_for_all(children: &[ActiveChild]) {
    for child in children {
        let waited = child.wait();
        tracing::debug!(?child, ?waited, "waited for a child at the end");
    }
}

/// Ends children, and waits until they have ended.
pub(crate) fn end(children: &[ActiveChild]) {
    ask_to_end(children.iter());
    kill_late(children.iter(), Deadline::after(DAEMON_ENDING_MAX));
    wait_for_all(children);
}

/// Handles the children of a process that has done its own work: asks daemons to end, kills those that do not, and waits for
/// all.
///
/// A child may wait for something that only this process could do, so both would wait for ever. The event and the line on
/// stderr show why. The line is the only one that this library prints.
pub(crate) fn finish(active: &[ActiveChild]) {
    if active.is_empty() {
        return;
    }
    tracing::warn!(children = %names(active), "children are still running at the end of their parent, which waits for them");
    let daemons = || active.iter().filter(|child| child.is_daemon());
    ask_to_end(daemons());
    let (tell_at, kill_at) = (Deadline::after(SILENCE_MAX), Deadline::after(DAEMON_ENDING_MAX));
    let is_running = |child: &&ActiveChild| child.wait_until(tell_at) == Ok(false);
    let running: Vec<ActiveChild> = active.iter().filter(is_running).cloned().collect();
    if !running.is_empty() {
        tell(&running);
    }
    kill_late(daemons(), kill_at);
    wait_for_all(active);
}

/// Prints one line on stderr, in one write. A failed write is ignored.
fn tell(running: &[ActiveChild]) {
    let own = current_process();
    let line = format!(
        "mp: {} (process {}) has ended its work and waits for its children: {}\n",
        own.name(),
        own.pid(),
        names(running)
    );
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// Returns the names of as many children as a line has room for.
fn names(children: &[ActiveChild]) -> String {
    let mut text = String::new();
    for (at, child) in children.iter().take(NAMED_MAX).enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        // Writing into a `String` does not fail.
        let _written = write!(text, "{comma}{} (process {})", child.name(), child.pid());
    }
    let more = children.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        let _written = write!(text, " and {more} more");
    }
    text
}
