//! The adaptive waiter between two processes, and the death of a sleeper.

use std::time::Duration;

use mp_sys::adaptive::{Budget, Signal};
use mp_sys::cells::SharedSignal;
use mp_sys::deadline::{Deadline, now_nanos};
use mp_sys::futex::SLICE;
use mp_sys::span::Chunk;
use mp_sys::testing::{PATIENCE, eventually, kill, spawn, succeeded, tests};
use rustix::thread::{CpuSet, sched_setaffinity};

tests! {
    ping_pong_on_one_cpu, ping_pong_on_two_cpus, a_killed_sleeper_costs_only_a_needless_wake, a_wait_times_out_beside_a_peer,
    two_of_many_watch_and_the_dead_are_replaced, watchers_do_not_die_together,
}

const ROUNDS: u32 = 2_000;

fn signal(chunk: &mut Chunk) -> SharedSignal {
    SharedSignal::new(chunk.cut(size_of::<Signal>()).unwrap()).unwrap()
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    // A machine with one CPU runs both there: the test still shows that nothing hangs.
    if sched_setaffinity(None, &set).is_err() {
        println!("CPU {cpu} does not exist here: not pinned");
    }
}

/// Waits on one signal and answers on the other, until both have seen every round.
fn play(mine: &Signal, other: &Signal, serves: bool) {
    let budget = Budget::new();
    for round in 1..=ROUNDS {
        if serves {
            other.post(round);
        }
        let seen = mine.wait_while(round - 1, &budget, Deadline::after(PATIENCE));
        assert_eq!(seen, Some(round));
        if !serves {
            other.post(round);
        }
    }
}

fn ping_pong(cpus: [usize; 2]) {
    let mut chunk = Chunk::new(4096).unwrap();
    let (ping, pong) = (signal(&mut chunk), signal(&mut chunk));
    let [here, there] = cpus;
    let child = spawn(|| {
        pin(there);
        play(&ping, &pong, false);
    });
    pin(here);
    play(&pong, &ping, true);
    succeeded(&child);
}

fn ping_pong_on_one_cpu() {
    ping_pong([0, 0]);
}

fn ping_pong_on_two_cpus() {
    ping_pong([0, 1]);
}

fn a_killed_sleeper_costs_only_a_needless_wake() {
    let mut chunk = Chunk::new(4096).unwrap();
    let (word, ready) = (signal(&mut chunk), signal(&mut chunk));
    let sleeper = spawn(|| {
        ready.post(1);
        word.wait_while(0, &Budget::new(), Deadline::NEVER);
    });
    eventually("the sleeper runs", || ready.get() == 1);
    kill(&sleeper);
    let other = spawn(|| {
        ready.post(2);
        assert_eq!(word.wait_while(0, &Budget::new(), Deadline::after(PATIENCE)), Some(5));
    });
    eventually("the other sleeper runs", || ready.get() == 2);
    word.post(5);
    succeeded(&other);
}

fn a_wait_times_out_beside_a_peer() {
    let mut chunk = Chunk::new(4096).unwrap();
    let word = signal(&mut chunk);
    let deadline = Deadline::after(Duration::from_millis(60));
    assert_eq!(word.wait_while(0, &Budget::new(), deadline), None);
    assert!(deadline.has_passed());
}

fn two_of_many_watch_and_the_dead_are_replaced() {
    let mut chunk = Chunk::new(4096).unwrap();
    let word = signal(&mut chunk);
    let sleepers: Vec<_> = (0..5)
        .map(|_| spawn(|| assert_eq!(word.wait_while(0, &Budget::new(), Deadline::after(PATIENCE)), Some(7))))
        .collect();
    eventually("two watch", || word.watch().watchers() == 2);
    let (killed, others) = sleepers.split_at(3);
    killed.iter().for_each(kill);
    // The first sleepers watch, so in most runs both watchers are dead now. Their promises end soon, and others take
    // over.
    let promised = now_nanos() + 2 * u64::try_from(SLICE.as_nanos()).unwrap();
    eventually("the promises of the dead have ended", || now_nanos() > promised);
    eventually("two of the others watch", || word.watch().watchers() == 2);
    // A store without a wake, as by a poster that dies in between: a watcher finds it, and wakes the resting waiters.
    word.reset(7);
    others.iter().for_each(succeeded);
}

fn watchers_do_not_die_together() {
    let mut chunk = Chunk::new(4096).unwrap();
    let word = signal(&mut chunk);
    // Without a deadline, because a waiter that gave up would make room for others.
    let wait = || assert_eq!(word.wait_while(0, &Budget::new(), Deadline::NEVER), Some(7));
    let threads = |count| {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..count).map(|_| scope.spawn(wait)).collect();
            all.into_iter().for_each(|thread| thread.join().unwrap());
        });
    };
    // Threads of one process come first, so both watchers are among them.
    let first = spawn(|| threads(4));
    eventually("two threads watch", || word.watch().watchers() == 2);
    assert_eq!(word.watch().watching_processes(), 1);
    let others: Vec<_> = (0..2).map(|_| spawn(|| threads(3))).collect();
    eventually("a thread of another process watches", || word.watch().watching_processes() == 2);
    kill(&first);
    eventually("no watcher is dead", || word.watch().watching_processes() == 2);
    // A store without a wake: a watcher finds it, and wakes the resting waiters.
    word.reset(7);
    others.iter().for_each(succeeded);
}
