//! Producers, consumers, their keepers, their connections and RabbitMQ are killed while tasks pass through a queue.
//!
//! No task is lost: each one is done, or its worker does not know whether it is. A task is done twice only if its put was not confirmed, so
//! that it was put again, or if RabbitMQ was killed: it says that a task is done before that is on its disk.

use std::path::Path;
use std::time::Duration;

use mp_sys::child::{ChildError, ChildProcess, Ended};
use mp_sys::deadline::Deadline;
use mp_sys::reexec::{Command, Handed};
use mp_sys::testing::leaks::children_of;
use mp_sys::testing::{Random, eventually, kill};
use rustix::process::{Pid, Signal, kill_process};

use crate::cutter::Cutter;
use crate::deaths::tell;
use crate::server::{Server, namespace};
use crate::workers::{Job, consume, count_noted, end, noted, produce};

const PRODUCERS: usize = 2;
const CONSUMERS: usize = 3;
/// How long the test may take for a task, on a busy machine too, and for a kill.
const TIMES_MAX: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// How long the test waits before it looks how far the workers are.
const LOOKS: Duration = Duration::from_millis(20);
/// How many tasks of a consumer RabbitMQ may have called done, though that is not on its disk when it is killed.
const NOT_ON_DISK_MAX: usize = 2;

/// A worker, which is started again when it was killed.
struct Worker {
    main: fn(Handed) -> i32,
    job: Job,
    child: Option<ChildProcess>,
}

impl Worker {
    fn new(main: fn(Handed) -> i32, job: Job) -> Self {
        let mut worker = Self { main, job, child: None };
        worker.start();
        worker
    }

    fn start(&mut self) {
        let (child, endpoint) = Command::new(self.main).unwrap().label("worker").start().unwrap();
        tell(&endpoint, &self.job.text());
        self.child = Some(child);
    }

    /// Kills it, unless it has done its work.
    fn kill(&mut self) -> bool {
        self.wait(Duration::ZERO);
        let child = self.child.take();
        child.as_ref().inspect(|child| kill(child)).is_some()
    }

    /// Waits for a moment whether it ends, and checks that it has done its work then.
    fn wait(&mut self, time: Duration) {
        let Some(child) = &self.child else { return };
        let ended: Result<_, ChildError> = child.wait(Deadline::after(time));
        if let Some(exit) = ended.unwrap() {
            assert_eq!(exit, Ended::Exited(0));
            self.child = None;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.iter().for_each(kill);
    }
}

/// What was killed.
#[derive(Debug, Default)]
struct Kills {
    producers: usize,
    consumers: usize,
    keepers: usize,
    connections: usize,
    servers: usize,
}

struct Trial {
    tasks: u32,
    server: Server,
    cutter: Cutter,
    folder: tempfile::TempDir,
    producers: Vec<Worker>,
    consumers: Vec<Worker>,
    kills: Kills,
    /// Tasks whose producer was killed before it wrote down that they were put.
    unsure: Vec<u32>,
    /// The last tasks that were done before RabbitMQ was killed.
    not_on_disk: Vec<u32>,
    /// Tasks whose consumer was killed while it said that they were done.
    unknown: Vec<u32>,
    random: Random,
}

impl Trial {
    #[expect(clippy::print_stderr, reason = "the seed repeats the kills")]
    fn start(tasks: u32, at_once: usize) -> Self {
        let (server, folder, space) = (Server::start(), tempfile::tempdir().unwrap(), namespace());
        let cutter = Cutter::start(server.port());
        let url = format!("amqp://guest:guest@127.0.0.1:{}?ns={space}", cutter.port());
        let job = |number: usize, tasks| {
            let (url, folder) = (url.clone(), folder.path().to_owned());
            Job { url, folder, number: number.try_into().unwrap(), tasks, at_once }
        };
        let share = tasks / u32::try_from(PRODUCERS).unwrap();
        let starts = (0..tasks).step_by(share.try_into().unwrap());
        let producers =
            starts.enumerate().map(|(number, start)| Worker::new(produce, job(number, start..start + share)));
        let producers = producers.collect();
        let consumers = (0..CONSUMERS).map(|number| Worker::new(consume, job(number, 0..0))).collect();
        eventually("RabbitMQ has noted the queue", || server.has_noted(&space, "tasks"));
        let (kills, random) = (Kills::default(), Random::new());
        let (unsure, not_on_disk, unknown) = Default::default();
        eprintln!("MP_SEED={}", random.seed());
        Self {
            tasks,
            server,
            cutter,
            folder,
            producers,
            consumers,
            kills,
            unsure,
            not_on_disk,
            unknown,
            random,
        }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns how many tasks were done until now.
    fn done(&self) -> usize {
        count_noted(self.folder(), "done", CONSUMERS)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound.try_into().unwrap())).unwrap()
    }

    fn kill_something(&mut self) {
        match self.below(8) {
            0 | 1 => self.kill_producer(),
            2 | 3 => self.kill_consumer(),
            4..=6 => self.kill_keeper(),
            _ => {
                self.kills.connections += 1;
                self.cutter.cut();
            }
        }
    }

    fn kill_producer(&mut self) {
        let number = self.below(PRODUCERS);
        if !self.producers[number].kill() {
            return;
        }
        self.kills.producers += 1;
        let put = noted(self.folder(), "put", number);
        let worker = &mut self.producers[number];
        // What it put last may be there, though it did not write that down.
        let tasks = &mut worker.job.tasks;
        tasks.start = put.last().map_or(tasks.start, |last| last + 1);
        self.unsure.extend(tasks.clone().take(worker.job.at_once));
        worker.start();
    }

    fn kill_consumer(&mut self) {
        let number = self.below(CONSUMERS);
        assert!(self.consumers[number].kill(), "it goes on until it is told to end");
        self.kills.consumers += 1;
        // What it had only taken is delivered again.
        self.unknown.extend(noted(self.folder(), "ending", number).last());
        self.consumers[number].start();
    }

    fn kill_keeper(&mut self) {
        let number = self.below(PRODUCERS + CONSUMERS);
        let worker = self.producers.iter().chain(&self.consumers).nth(number).unwrap();
        let keepers = worker.child.iter().flat_map(|child| children_of(child.id()));
        for keeper in keepers {
            // It may have ended by itself.
            let killed = kill_process(Pid::from_raw(keeper.try_into().unwrap()).unwrap(), Signal::KILL);
            self.kills.keepers += usize::from(killed.is_ok());
        }
    }

    fn kill_server(&mut self) {
        self.kills.servers += 1;
        self.server.kill();
        for number in 0..CONSUMERS {
            let done = noted(self.folder(), "done", number);
            self.not_on_disk.extend(done.iter().rev().take(NOT_ON_DISK_MAX));
        }
        self.server.start_again();
    }

    /// Lets the workers go on until so many tasks are done.
    fn run_until(&mut self, is_over: impl Fn(&Self) -> bool, deadline: Deadline) {
        while !is_over(self) {
            assert!(!deadline.has_passed(), "{} of {} are done, {:?}", self.done(), self.tasks, self.kills);
            self.producers.iter_mut().for_each(|worker| worker.wait(Duration::ZERO));
            self.consumers.iter_mut().for_each(|worker| worker.wait(LOOKS));
        }
    }

    /// Returns how often the workers of a role wrote down each task.
    fn counts(&self, what: &str, workers: usize) -> Vec<usize> {
        let mut counts = vec![0; self.tasks.try_into().unwrap()];
        for task in (0..workers).flat_map(|number| noted(self.folder(), what, number)) {
            counts[usize::try_from(task).unwrap()] += 1;
        }
        counts
    }

    /// Returns how often each task was put without a confirmation.
    fn unsure(&self) -> Vec<usize> {
        with(self.counts("unsure", PRODUCERS), &self.unsure)
    }

    /// Returns which tasks their workers do not know to be done.
    fn unknown(&self) -> Vec<usize> {
        with(self.counts("unknown", CONSUMERS), &self.unknown)
    }

    fn is_complete(&self) -> bool {
        let done = self.counts("done", CONSUMERS);
        done.into_iter().zip(self.unknown()).all(|(done, unknown)| done + unknown > 0)
    }

    /// Checks how often each task was delivered and done.
    #[expect(clippy::print_stderr, reason = "what comes twice is counted")]
    fn check(&self) {
        let (got, done) = (self.counts("got", CONSUMERS), self.counts("done", CONSUMERS));
        let (unsure, unknown) = (self.unsure(), self.unknown());
        let (mut put_again, mut done_again, mut got_again, mut not_known) = (0, 0, 0, 0);
        for (task, number) in (0..).zip(0..self.tasks) {
            let (got, done, unsure): (usize, usize, usize) = (got[task], done[task], unsure[task]);
            assert!(got >= done && done + unknown[task] > 0, "task {task} is lost");
            let again = done.saturating_sub(1);
            let of_server = again.saturating_sub(unsure);
            let not_on_disk = self.not_on_disk.iter().filter(|one| **one == number).count();
            assert!(of_server <= not_on_disk, "task {task} is done twice, and nothing explains it");
            put_again += again.min(unsure);
            done_again += of_server;
            got_again += got - done;
            not_known += usize::from(done == 0);
        }
        let Kills { producers: _, consumers, keepers, connections, servers } = self.kills;
        eprintln!(
            "{} tasks, {:?}: {put_again} were done twice because they were put twice, and {done_again} because RabbitMQ was \
             killed; {got_again} deliveries were not known to be done, and {not_known} tasks",
            self.tasks, self.kills
        );
        assert!(got_again <= consumers + keepers + (connections + servers) * CONSUMERS, "{got_again}");
    }
}

fn with(mut counts: Vec<usize>, more: &[u32]) -> Vec<usize> {
    for task in more {
        counts[usize::try_from(*task).unwrap()] += 1;
    }
    counts
}

/// Lets so many tasks pass, which are put so many at once, and kills something so many times, and RabbitMQ instead every so many times.
fn pass(tasks: u32, at_once: usize, kills: u32, server_each: u32) {
    let mut trial = Trial::start(tasks, at_once);
    let time = TIMES_MAX.0.saturating_mul(tasks).saturating_add(TIMES_MAX.1.saturating_mul(kills));
    let deadline = Deadline::after(time);
    for kill in 1..=kills {
        // Some are done, and nobody knows it.
        let done = usize::try_from(u64::from(tasks) * 9 / 10 * u64::from(kill) / u64::from(kills)).unwrap();
        trial.run_until(|trial| trial.done() >= done, deadline);
        if kill % server_each == 0 {
            trial.kill_server();
        } else {
            trial.kill_something();
        }
    }
    let produced = |trial: &Trial| trial.producers.iter().all(|worker| worker.child.is_none());
    trial.run_until(|trial| produced(trial) && trial.is_complete(), deadline);
    end(trial.folder());
    trial.run_until(|trial| trial.consumers.iter().all(|worker| worker.child.is_none()), deadline);
    trial.check();
}

#[test]
fn no_task_is_lost_whatever_is_killed() {
    pass(4_000, 1, 24, 12);
}

/// `cargo test -p manager-rt --features rabbitmq --test rabbitmq -- --ignored --nocapture million`; `MP_TASKS` sets another number.
#[test]
#[ignore = "takes hours"]
fn no_task_of_a_million_is_lost_whatever_is_killed() {
    let tasks = std::env::var("MP_TASKS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    pass(tasks, 32, tasks / 2_000, 20);
}
