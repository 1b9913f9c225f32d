//! Squares the numbers that `offer` has put into a queue, on any host.
#![expect(clippy::print_stderr, reason = "an example says what went wrong")]

use std::error::Error;
use std::process::ExitCode;

use mp::manager::{GetError, Manager};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, key_file] = &arguments[..] else {
        eprintln!("usage: work ADDRESS KEY-FILE");
        return ExitCode::from(2);
    };
    match work(address, key_file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("work: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(address: &str, key_file: &str) -> Result<(), Box<dyn Error>> {
    let manager = Manager::builder().key_file(key_file)?.connect(address)?;
    let tasks = manager.named("tasks").joinable_queue::<u64>()?;
    let squares = manager.named("squares").dict::<u64, u64>()?;
    loop {
        let task = match tasks.get() {
            Ok(task) => task,
            Err(GetError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let (number, square) = (*task, *task * *task);
        // Both happen or neither does. A task that is not done when this program dies goes to another one.
        manager.transaction(|t| (t.on(&squares).insert(&number, &square), t.done(task)))?;
    }
}
