//! Runs a built program, with a deadline.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Each program takes a fraction of a second. One that waits for ever must not block everything.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The pause between two checks whether a program has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Runs the program; the inner error says why it did not work.
pub(super) fn run(binary: &Path) -> Result<Result<(), String>> {
    run_for(Command::new(binary).stdin(Stdio::null()), TIMEOUT)
}

fn run_for(command: &mut Command, timeout: Duration) -> Result<Result<(), String>> {
    let mut child = command.spawn().with_context(|| format!("{command:?} did not start"))?;
    let started = Instant::now();
    while started.elapsed() < timeout {
        if let Some(status) = child.try_wait().context("a program cannot be waited for")? {
            return Ok(if status.success() { Ok(()) } else { Err(status.to_string()) });
        }
        thread::sleep(LOOK);
    }
    end(&mut child)?;
    Ok(Err(format!("it did not end within {} s", timeout.as_secs_f64())))
}

fn end(child: &mut Child) -> Result<()> {
    child.kill().context("a program cannot be killed")?;
    child.wait().context("a program cannot be waited for")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str, timeout: Duration) -> Result<(), String> {
        run_for(Command::new("sh").args(["-c", line]), timeout).unwrap()
    }

    #[test]
    fn a_program_works_if_it_ends_in_time_and_succeeds() {
        assert_eq!(shell("exit 0", TIMEOUT), Ok(()));
        assert_eq!(shell("exit 3", TIMEOUT), Err("exit status: 3".to_owned()));
        let endless = shell("exec sleep 600", Duration::from_millis(20));
        assert_eq!(endless, Err("it did not end within 0.02 s".to_owned()));
    }
}
