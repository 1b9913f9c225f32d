//! A program that depends on `kernel-ipc`: a message goes through a pipe, and another through a queue.

use kernel_ipc::{Queue, pipe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = pipe::<(u32, String)>()?;
    tx.send(&(1, "one".to_owned()))?;
    assert_eq!(rx.recv()?, (1, "one".to_owned()));
    let queue = Queue::<Vec<u8>>::new()?;
    queue.put(&vec![2; 100_000])?;
    assert_eq!(queue.get()?, [2; 100_000]);
    Ok(())
}
