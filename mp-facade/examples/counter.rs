//! Four processes count together in one value that they share.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hits = mp::Value::new(0_u64)?;
    let children = (0..4)
        .map(|_| mp::fork(|| (0..1000).try_for_each(|_| hits.update(|n| n + 1).map(drop)).is_ok()))
        .collect::<Result<Vec<_>, _>>()?;
    for child in &children {
        println!("process {}: {}", child.pid(), if child.join()? { "done" } else { "failed" });
    }
    println!("together they counted to {}", hits.get()?);
    Ok(())
}
