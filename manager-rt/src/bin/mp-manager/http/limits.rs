//! What browsers can make the thread of the page hold or wait for, each with its unit.

use std::time::Duration;

/// Open connections. More browsers wait in the kernel's backlog.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// How long a connection may last. A browser opens another one.
pub(super) const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// From the moment at which a head could arrive until it is complete. It ends slow browsers as well as idle ones.
pub(super) const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of the head of a request: its first line and its headers. hyper answers 431 above that.
pub(super) const HEADER_BYTES_MAX: usize = 16 << 10;
/// Headers of a request. hyper answers 431 above that.
pub(super) const HEADERS_MAX: usize = 64;
/// How long accepting pauses after an error, such as a lack of descriptors.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// A report that is not older than this is shown again, so many browsers ask the manager no more often than one.
pub(super) const SAMPLE_AGE_MAX: Duration = Duration::from_millis(500);
/// After this time without a request, the page is no client of the server any more, so it keeps no server busy.
pub(super) const CLIENT_KEPT: Duration = Duration::from_secs(5);
/// How long a request waits for a report.
pub(super) const SAMPLE_TIME_MAX: Duration = Duration::from_secs(10);
/// At how many objects a report looks for the largest ones.
pub(super) const OBJECTS_SEEN_MAX: usize = 10_000;
/// How many lines a table of the page has, and how many objects and clients have metrics of their own.
pub(super) const LINES_MAX: usize = 100;
