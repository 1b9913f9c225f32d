//! The processes of the kill test: they put and take tasks, and write down what was confirmed.
//!
//! A line in a file is written by one call, so a process that is killed leaves whole lines.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use manager_rt::proto::Fault;
use manager_rt::{CallError, GetError, JoinableQueue, Manager, ObjectError, PutError};
use mp_sys::deadline::Deadline;
use mp_sys::ready::readable_later;
use mp_sys::reexec::Handed;

use crate::deaths::{PATIENCE, heard};

/// The length of a line: the number of a task.
const LINE_BYTES: usize = 9;
/// How long a consumer waits before it looks whether the test is over.
const LOOKS: Duration = Duration::from_millis(500);
/// How many tasks are in the queue while producers wait. Otherwise they would have ended before most of the kills.
const AHEAD_MAX: usize = 500;
/// How long a producer waits before it looks whether there are fewer.
const PAUSE: Duration = Duration::from_millis(50);

/// What a worker is told.
pub(crate) struct Job {
    pub(crate) url: String,
    pub(crate) folder: PathBuf,
    /// The number of the worker among those of its role.
    pub(crate) number: u32,
    /// The tasks that a producer puts, and how many at once.
    pub(crate) tasks: std::ops::Range<u32>,
    pub(crate) at_once: usize,
}

impl Job {
    pub(crate) fn text(&self) -> String {
        let Self { url, folder, number, tasks, at_once } = self;
        format!("{url} {} {number} {} {} {at_once}", folder.display(), tasks.start, tasks.end)
    }

    fn heard(handed: &Handed) -> Self {
        let text = heard(handed);
        let mut parts = text.split(' ');
        let mut next = || parts.next().unwrap();
        let (url, folder) = (next().to_owned(), next().into());
        let mut number = || next().parse::<u32>().unwrap();
        let (of, tasks) = (number(), number()..number());
        Self { url, folder, number: of, tasks, at_once: number().try_into().unwrap() }
    }

    fn file(&self, what: &str) -> File {
        let path = self.folder.join(format!("{what}.{}", self.number));
        OpenOptions::new().create(true).append(true).open(path).unwrap()
    }
}

fn note(file: &mut File, task: u32) {
    file.write_all(format!("{task:08}\n").as_bytes()).unwrap();
}

/// Returns what a worker has written down.
pub(crate) fn noted(folder: &Path, what: &str, number: usize) -> Vec<u32> {
    let text = std::fs::read_to_string(folder.join(format!("{what}.{number}"))).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Returns how much the workers of a role have written down.
pub(crate) fn count_noted(folder: &Path, what: &str, workers: usize) -> usize {
    let bytes = |number: usize| {
        std::fs::metadata(folder.join(format!("{what}.{number}"))).map_or(0, |file| file.len())
    };
    usize::try_from((0..workers).map(bytes).sum::<u64>()).unwrap() / LINE_BYTES
}

/// Tells consumers that there will be no more tasks.
pub(crate) fn end(folder: &Path) {
    std::fs::write(folder.join("over"), "").unwrap();
}

fn queue(job: &Job) -> JoinableQueue<u32> {
    loop {
        let opened = Manager::connect(&job.url)
            .ok()
            .and_then(|manager| manager.named("tasks").joinable_queue_with::<u32>(0, u32::MAX).ok());
        // RabbitMQ is not up again yet.
        if let Some(queue) = opened {
            return queue;
        }
    }
}

/// The main function of a producer.
pub(crate) fn produce(handed: Handed) -> i32 {
    let job = Job::heard(&handed);
    let (queue, mut put, mut unsure) = (queue(&job), job.file("put"), job.file("unsure"));
    let tasks: Vec<u32> = job.tasks.clone().collect();
    for some in tasks.chunks(job.at_once) {
        while queue.len().is_ok_and(|len| len > AHEAD_MAX) {
            readable_later(&[], Deadline::after(PAUSE)).unwrap();
        }
        loop {
            let outcome = match some {
                [one] => queue.put_timeout(one, PATIENCE),
                several => queue.put_many(several),
            };
            match outcome {
                Ok(()) => break,
                Err(PutError::Object(ObjectError::Call(CallError::OutcomeUnknown))) => {
                    some.iter().for_each(|task| note(&mut unsure, *task));
                }
                // Nothing was done.
                Err(PutError::TimedOut | PutError::Object(ObjectError::Call(CallError::ServerGone))) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        some.iter().for_each(|task| note(&mut put, *task));
    }
    0
}

/// The main function of a consumer.
pub(crate) fn consume(handed: Handed) -> i32 {
    let job = Job::heard(&handed);
    let [mut got, mut ending, mut done, mut unknown] =
        ["got", "ending", "done", "unknown"].map(|what| job.file(what));
    let queue = queue(&job);
    loop {
        match queue.get_timeout(LOOKS) {
            Ok(task) => {
                let number = *task;
                note(&mut got, number);
                note(&mut ending, number);
                match task.done() {
                    Ok(_) => note(&mut done, number),
                    Err(ObjectError::Call(CallError::OutcomeUnknown)) => note(&mut unknown, number),
                    // It is delivered again.
                    Err(ObjectError::Call(CallError::ServerGone | CallError::Fault(Fault::NotOwned))) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            Err(GetError::TimedOut) if job.folder.join("over").exists() => return 0,
            Err(GetError::TimedOut | GetError::Object(ObjectError::Call(CallError::ServerGone))) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}
