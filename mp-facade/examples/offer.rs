//! Puts tasks into a queue that programs on other hosts share, and prints their results.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it did")]

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use mp::manager::Manager;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, key_file] = &arguments[..] else {
        eprintln!("usage: offer HOST:PORT KEY-FILE");
        return ExitCode::from(2);
    };
    match offer(listen, key_file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("offer: {error}");
            ExitCode::FAILURE
        }
    }
}

fn offer(listen: &str, key_file: &str) -> Result<(), Box<dyn Error>> {
    let manager = Manager::builder().key_file(key_file)?.tcp(listen).start()?;
    println!("serving at {}", manager.tcp_address().ok_or("there is no port")?);

    let tasks = manager.named("tasks").joinable_queue::<u64>()?;
    let squares = manager.named("squares").dict::<u64, u64>()?;
    tasks.put_many(&(1..=100).collect::<Vec<u64>>())?;
    tasks.join()?; // returns when all tasks are done
    println!("{} squares, the last one is {:?}", squares.len()?, squares.get(&100)?);

    tasks.close()?; // ends the workers, once they have read that
    while manager.info()?.clients > 1 {
        std::thread::sleep(Duration::from_millis(20));
    }
    manager.shutdown()?;
    Ok(())
}
