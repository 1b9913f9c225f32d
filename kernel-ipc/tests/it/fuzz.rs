//! A short run of each entry point for fuzzers. `cargo xtask fuzz` runs them longer. `MP_SEED` repeats a run.

use kernel_ipc::fuzzing::ENTRIES;
use mp_sys::testing::{Mutator, Random};

fn run(name: &str, rounds: u32) {
    let entry = ENTRIES.iter().find(|entry| entry.name == name).unwrap();
    let random = Random::new();
    println!("MP_SEED={}", random.seed());
    let mut mutator = Mutator::new(random, (entry.seeds)());
    mutator.seeds().iter().for_each(|input| (entry.run)(input));
    for _ in 0..rounds {
        (entry.run)(&mutator.next_input());
    }
}

#[test]
fn frames() {
    run("frames", 5_000);
}

#[test]
fn values() {
    run("value", 5_000);
}

#[test]
fn handshakes() {
    run("handshake", 50_000);
}

#[test]
fn rings() {
    run("ring", 1_000);
}

#[test]
fn forged_queues() {
    run("forged", 1_000);
}
