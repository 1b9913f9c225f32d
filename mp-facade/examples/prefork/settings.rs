//! The settings, which a reload reads again: a small JSON file.
//!
//! ```json
//! { "greeting": "hello", "burst": 50, "per_hour": 36000 }
//! ```

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::limiter::Rule;
use crate::limits::{BURST_MAX, GREETING_BYTES_MAX, RATE_PER_HOUR_MAX, SETTINGS_BYTES_MAX};

/// What a worker does with requests. A worker keeps the settings with which it was started.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The first line of the front page.
    pub(crate) greeting: String,
    /// Requests that a client may make at once.
    burst: u32,
    /// Requests that a client may make in an hour, after the first burst.
    per_hour: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { greeting: "Hello from a pre-fork server.".to_owned(), burst: 100, per_hour: 36_000 }
    }
}

impl Settings {
    /// Reads a file; without one, the settings are the defaults.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let what = || format!("the settings in {}", path.display());
        let mut text = String::new();
        let file = File::open(path).with_context(what)?;
        file.take(SETTINGS_BYTES_MAX + 1).read_to_string(&mut text).with_context(what)?;
        ensure!(text.len() as u64 <= SETTINGS_BYTES_MAX, "{}: more than {SETTINGS_BYTES_MAX} bytes", what());
        let settings: Self = serde_json::from_str(&text).with_context(what)?;
        settings.check().with_context(what)?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.greeting.len() <= GREETING_BYTES_MAX,
            "the greeting has more than {GREETING_BYTES_MAX} bytes"
        );
        ensure!((1..=BURST_MAX).contains(&self.burst), "burst is not in 1..={BURST_MAX}");
        ensure!(
            (1..=RATE_PER_HOUR_MAX).contains(&self.per_hour),
            "per_hour is not in 1..={RATE_PER_HOUR_MAX}"
        );
        Ok(())
    }

    pub(crate) fn rule(&self) -> Rule {
        Rule::per_hour(self.per_hour, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        Settings::read(Some(file.path()))
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let settings = read(r#"{"greeting": "hi", "burst": 7}"#).unwrap();
        assert_eq!((settings.greeting.as_str(), settings.rule().burst), ("hi", 7));
        assert_eq!(settings.rule().interval, Settings::read(None).unwrap().rule().interval);
    }

    #[test]
    fn limits_are_kept_and_one_more_is_refused() {
        let greeting = |bytes| read(&format!(r#"{{"greeting": "{}"}}"#, "x".repeat(bytes)));
        assert!(greeting(GREETING_BYTES_MAX).is_ok() && greeting(GREETING_BYTES_MAX + 1).is_err());
        let burst = |burst| read(&format!(r#"{{"burst": {burst}}}"#));
        assert!(burst(BURST_MAX).is_ok() && burst(BURST_MAX + 1).is_err() && burst(0).is_err());
        let rate = |rate| read(&format!(r#"{{"per_hour": {rate}}}"#));
        assert!(rate(RATE_PER_HOUR_MAX).is_ok() && rate(RATE_PER_HOUR_MAX + 1).is_err() && rate(0).is_err());
        let padded = |bytes: u64| read(&format!("{{}}{}", " ".repeat(usize::try_from(bytes - 2).unwrap())));
        assert!(padded(SETTINGS_BYTES_MAX).is_ok() && padded(SETTINGS_BYTES_MAX + 1).is_err());
    }

    #[test]
    fn mistakes_are_errors_that_name_the_file() {
        let error = read(r#"{"brust": 7}"#).unwrap_err();
        assert!(format!("{error:#}").contains("unknown field `brust`"), "{error:#}");
        let error = Settings::read(Some(Path::new("/nowhere/settings"))).unwrap_err();
        assert!(format!("{error:#}").starts_with("the settings in /nowhere/settings: "), "{error:#}");
    }
}
