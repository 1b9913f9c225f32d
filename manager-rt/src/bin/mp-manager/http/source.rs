//! [`Source`]: the newest report of the manager, and the one before.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use manager_rt::Manager;
use manager_rt::report::{ObjectReport, Report};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::http::limits::{CLIENT_KEPT, LINES_MAX, OBJECTS_SEEN_MAX, SAMPLE_AGE_MAX, SAMPLE_TIME_MAX};

/// Connects to the server. An error is one line of text.
pub(crate) type Connect = Arc<dyn Fn() -> Result<Manager, String> + Send + Sync>;

/// What the page shows.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) report: Report,
    /// The largest of the objects at which it looked.
    pub(super) objects: Vec<ObjectReport>,
    /// At how many objects it looked.
    pub(super) seen: usize,
    /// Operations a second since the sample before, if there is one.
    pub(super) rate: Option<f64>,
    taken: Instant,
}

/// Where samples come from.
pub(super) struct Source {
    connect: Connect,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    manager: Option<Manager>,
    newest: Option<Arc<Sample>>,
}

impl Source {
    pub(super) fn new(connect: Connect) -> Self {
        Self { connect, kept: Mutex::default() }
    }

    /// Returns the newest sample, or takes another one if it is too old. One is taken at a time, and whoever asks meanwhile gets
    /// the same.
    ///
    /// # Errors
    /// Why there is none, in one line.
    pub(super) async fn latest(self: &Arc<Self>) -> Result<Arc<Sample>, String> {
        let source = Arc::clone(self);
        // It goes on if the browser leaves, so that a manager that does not answer has one question at a time.
        let asked = tokio::spawn(async move { source.refresh().await });
        match timeout(SAMPLE_TIME_MAX, asked).await {
            Ok(Ok(sample)) => sample,
            Ok(Err(error)) => Err(format!("the report failed: {error}")),
            Err(_) => Err(format!("the manager has not answered within {SAMPLE_TIME_MAX:?}")),
        }
    }

    async fn refresh(self: &Arc<Self>) -> Result<Arc<Sample>, String> {
        let mut kept = self.kept.lock().await;
        if let Some(newest) = &kept.newest
            && newest.taken.elapsed() <= SAMPLE_AGE_MAX
        {
            return Ok(Arc::clone(newest));
        }
        let (connect, before) = (Arc::clone(&self.connect), kept.newest.clone());
        let known = kept.manager.clone();
        let taken = spawn_blocking(move || {
            let manager = match known {
                Some(manager) => manager,
                None => connect()?,
            };
            let sample = Sample::take(&manager, before.as_deref()).map_err(|error| error.to_string())?;
            Ok::<_, String>((manager, sample))
        });
        let (manager, sample) = taken.await.map_err(|error| error.to_string())??;
        let newest = Arc::new(sample);
        (kept.manager, kept.newest) = (Some(manager), Some(Arc::clone(&newest)));
        let source = Arc::clone(self);
        tokio::spawn(async move {
            sleep(CLIENT_KEPT).await;
            source.disconnect_if_idle().await;
        });
        Ok(newest)
    }

    /// Disconnects from the server, unless another sample was taken meanwhile.
    async fn disconnect_if_idle(&self) {
        let mut kept = self.kept.lock().await;
        if kept.newest.as_ref().is_none_or(|newest| newest.taken.elapsed() >= CLIENT_KEPT) {
            kept.manager = None;
        }
    }
}

impl Sample {
    fn take(manager: &Manager, before: Option<&Self>) -> Result<Self, manager_rt::CallError> {
        let report = manager.report()?;
        let taken = Instant::now();
        let mut objects = Vec::new();
        for object in manager.objects().take(OBJECTS_SEEN_MAX) {
            objects.push(object?);
        }
        let seen = objects.len();
        objects.sort_by_key(|object| (Reverse(object.bytes), object.id));
        objects.truncate(LINES_MAX);
        let rate = before.and_then(|before| rate(before, &report, taken));
        Ok(Self { report, objects, seen, rate, taken })
    }

    /// Makes a sample without a manager.
    #[cfg(test)]
    pub(super) fn of(report: Report, objects: Vec<ObjectReport>) -> Self {
        let seen = objects.len();
        Self { report, objects, seen, rate: Some(1_234.5), taken: Instant::now() }
    }
}

/// Returns the operations a second since an earlier sample.
fn rate(before: &Sample, report: &Report, taken: Instant) -> Option<f64> {
    // A server that was started again counts from 0.
    let operations = report.server.operations.checked_sub(before.report.server.operations)?;
    let time: Duration = taken.checked_duration_since(before.taken).filter(|time| !time.is_zero())?;
    Some(f64::from(u32::try_from(operations).unwrap_or(u32::MAX)) / time.as_secs_f64())
}
