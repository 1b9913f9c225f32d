//! What a forked child shares with its parent, and what it gets as a copy.
//!
//! A `Vec` and a `Value` are made before the first fork. A child changes both, and so does a child of that child. Each
//! process prints what it sees.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;

/// The number that each process adds. The numbers differ, so the sum shows whose changes are included.
const CHILD: u64 = 10;
const GRANDCHILD: u64 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let mut copied: Vec<u64> = vec![1];
    let shared = mp::Value::new(1_u64)?;
    println!("{:<32}{:<16}shared Value", "", "copied Vec");
    show("parent, before the fork", &copied, &shared)?;

    let child = mp::fork(|| in_child(&mut copied, &shared).map_err(|error| error.to_string()))?;
    child.join()??;

    show("parent, after its child", &copied, &shared)?;
    println!("{WHY}");
    Ok(())
}

fn in_child(copied: &mut Vec<u64>, shared: &mp::Value<u64>) -> Result<(), Box<dyn Error>> {
    show("  child, at its start", copied, shared)?;
    copied.push(CHILD);
    shared.update(|sum| sum + CHILD)?;
    show("  child, after its change", copied, shared)?;

    let grandchild = mp::fork(|| in_grandchild(copied, shared).map_err(|error| error.to_string()))?;
    grandchild.join()??;

    show("  child, after its own child", copied, shared)
}

fn in_grandchild(copied: &mut Vec<u64>, shared: &mp::Value<u64>) -> Result<(), Box<dyn Error>> {
    show("    grandchild, at its start", copied, shared)?;
    copied.push(GRANDCHILD);
    shared.update(|sum| sum + GRANDCHILD)?;
    show("    grandchild, afterwards", copied, shared)
}

fn show(who: &str, copied: &[u64], shared: &mp::Value<u64>) -> Result<(), Box<dyn Error>> {
    println!("{who:<32}{:<16}{}", format!("{copied:?}"), shared.get()?);
    Ok(())
}

const WHY: &str = "
The Vec lies in memory that belongs to one process. A fork copies it: a child begins with what its parent had at that
moment, and from then on each changes its own. The Value lies in memory of the kernel that both have mapped: there is
one, whoever changes it. Only kernel objects, and what is built on them, are shared by inheritance.";
