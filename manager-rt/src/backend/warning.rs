//! [`Warning`]: what an engine was set to that its users should know.

/// A setting of an engine, or something that it keeps to itself, because of which it promises less than its users may expect.
/// [`Manager::warnings`](crate::Manager::warnings) returns those that were found when the manager was reached.
///
/// # Fork safety
/// It is a plain value.
///
/// # Crash
/// It is a plain value.
///
/// # Source
/// Redis, "Redis configuration".
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// use mp::manager::Warning;
///
/// let warning = Warning::Evicts { policy: "allkeys-lru".into() };
/// assert!(warning.to_string().contains("maxmemory-policy allkeys-lru"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// Redis deletes parts of objects without an error when its memory is full.
    #[error(
        "Redis deletes parts of objects when its memory is full (maxmemory-policy {policy}): set noeviction"
    )]
    Evicts {
        /// Its policy.
        policy: String,
    },
    /// Redis writes its data only now and then, or never. After a crash or a restart, newer changes are gone.
    #[error(
        "Redis forgets its newest changes when it crashes or the machine does (appendonly no): set appendonly yes"
    )]
    NoLog,
    /// Redis leaves it to the system when its changes reach the disk.
    #[error(
        "Redis loses up to half a minute of changes when the machine crashes (appendfsync no): set everysec or always"
    )]
    LogNotSynced,
    /// The version is older than all with which this library is tested.
    #[error("this library is not tested with Redis {version}: use {least} or later")]
    Untested {
        /// Its version.
        version: String,
        /// The oldest version that is tested.
        least: &'static str,
    },
    /// Redis does not permit `INFO`. So nothing was checked, and a restart with older data is not noticed.
    #[error(
        "Redis does not permit INFO: its settings are unknown, and nobody learns of a restart with older data"
    )]
    Unchecked,
}
