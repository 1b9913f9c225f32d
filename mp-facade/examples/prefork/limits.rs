//! Everything that a client, or a number of clients, can make the server hold or wait for, with its unit.

use std::time::Duration;

/// The most worker processes, and the most background processes. Each takes two descriptors of the parent.
pub(crate) const PROCESSES_MAX: u16 = 64;

/// Bytes of the head of a request: its first line and its headers. hyper answers 431 above that.
pub(crate) const HEADER_BYTES_MAX: usize = 16 << 10;
/// Headers of a request. hyper answers 431 above that.
pub(crate) const HEADERS_MAX: usize = 64;
/// From the first moment at which a head could arrive until it is complete. It ends slow clients as well as idle ones.
pub(crate) const HEAD_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a connection with an unfinished reply may take no byte of it.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(10);
/// Open connections of one worker, which a limit of 1024 descriptors allows. Above that, it accepts none, and more clients wait
/// in the kernel's backlog.
pub(crate) const CONNECTIONS_MAX: usize = 512;
/// Connections that wait in the kernel until a worker accepts them. `/proc/sys/net/core/somaxconn` may be lower.
pub(crate) const BACKLOG_MAX: i32 = 4096;
/// How long a worker pauses if it has no descriptor left for a connection.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How long a stopping worker leaves a connection open on which nothing happens: the client's next request may be under way.
pub(crate) const IDLE_GRACE: Duration = Duration::from_secs(2);
/// When the port has been closed to newcomers and nobody has come out of the backlog for so long, the backlog is empty. A client
/// that was let in may still be under way to it: its last packet takes a round trip (0.3 s around the world, 0.6 s by
/// satellite), and if it was lost, the kernel asks for it again after 1 s. The end takes no longer by this, because connections
/// on which nothing happens are left open for as long.
pub(crate) const BACKLOG_QUIET: Duration = Duration::from_secs(2);
/// If there is still somebody after so long, a worker leaves the others to the next one.
pub(crate) const BACKLOG_WAIT_MAX: Duration = Duration::from_secs(5);
/// Workers that are started, one after the other, for those who are left in the backlog when all workers have ended. Who is
/// left after them is answered with 503.
pub(crate) const LAST_WORKERS_MAX: u32 = 5;
/// Clients that are answered with 503 at once: each takes a descriptor.
pub(crate) const REFUSED_AT_ONCE: usize = 256;
/// How long such clients may take to send the rest of their requests.
pub(crate) const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(1);
/// A process that has lived for so long was healthy, and is replaced at once when it ends.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_millis(250);
/// The shortest and the longest pause before a process is replaced that was not healthy.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(20);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(1);
/// If so many processes of one seat end before they were healthy, one after the other, the server gives up.
pub(crate) const CRASHES_MAX: u32 = 20;

/// How long a stopping process may take to finish what it has in hand. After that it is killed.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(20);

/// Jobs that wait for the background processes. When there are so many, requests wait.
pub(crate) const JOBS_MAX: usize = 16_384;
/// Jobs that failed again and again, and that each background process leaves in the queue, where they can be looked at. Then it
/// takes them out, and only their number is kept. The queue would be slow with many of them.
pub(crate) const FAILED_KEPT_MAX: usize = 256;
/// How long a request waits for room in that queue before it is answered with 503.
pub(crate) const JOB_WAIT_MAX: Duration = Duration::from_secs(2);
/// How often a waiting request looks for room.
pub(crate) const JOB_LOOK_EVERY: Duration = Duration::from_millis(2);
/// Access records in the log file, of [`RECORD_BYTES`] each. The file keeps the newest ones.
pub(crate) const RECORDS_MAX: u64 = 1 << 20;
/// Bytes of an access record, with its newline.
pub(crate) const RECORD_BYTES: usize = 64;

/// Clients in the table of the rate limit: so many sets, each of so many clients.
pub(crate) const LIMITER_SETS: usize = 512;
/// Clients in one set of that table. One more makes the table forget the one that needs it least.
pub(crate) const LIMITER_WAYS: usize = 8;
/// Tokens that one bucket can hold.
pub(crate) const BURST_MAX: u32 = 1_000_000;
/// Tokens that come back in an hour.
pub(crate) const RATE_PER_HOUR_MAX: u32 = 3_600_000_000;

/// Sessions at the same time. A client without one gets 503 above that.
pub(crate) const SESSIONS_MAX: usize = 100_000;
/// A session that is not used for so long is removed.
pub(crate) const SESSION_IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How often a background process looks for such sessions.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Threads of one worker that wait for the server of the sessions.
pub(crate) const SESSION_THREADS_MAX: usize = 4;

/// The longest delay that a request to `/slow` can ask for.
pub(crate) const SLOW_MAX: Duration = Duration::from_secs(5);
/// Bytes of the greeting in the settings.
pub(crate) const GREETING_BYTES_MAX: usize = 1024;
/// Bytes of the file of settings.
pub(crate) const SETTINGS_BYTES_MAX: u64 = 64 << 10;
/// Seconds of the history that the status page draws.
pub(crate) const HISTORY_SECONDS: usize = 60;
