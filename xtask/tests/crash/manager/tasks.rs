//! Task queues of a manager: a task is done once a worker has reported it, and in no other way.

use manager_rt::{GetError, JoinableQueue, Manager};
use mp::{RawArray, RawValue};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{Random, eventually, hang};

use super::{MOMENT_MAX, settles, until_held, until_waiting, with_manager};
use crate::cell::{HANG, Outcome, define_cells, spawn};

/// The number of tasks that a victim finds.
const TASKS: usize = 200;
/// How far a victim came with a task.
const BEGUN: u64 = 1;
const DONE: u64 = 2;
/// No task is delivered this often here.
const DELIVERIES: u32 = 1_000_000;

fn queue_of<T>(manager: &Manager) -> JoinableQueue<T> {
    manager.joinable_queue_with(0, DELIVERIES).unwrap()
}

/// The holder of a task dies: the next worker gets it at once, marked as delivered before.
fn holder(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (queue, mut random) = (queue_of::<u64>(manager), Random::new());
        for _ in 0..kills {
            queue.put(&7).unwrap();
            let holds = RawValue::new(false).unwrap();
            let victim = spawn(|| {
                let _task = queue.get().unwrap();
                holds.store(true);
                hang();
            });
            until_held(manager, 1);
            // A delivery counts once the worker has read it.
            eventually("the victim has the task", || holds.load());
            random.pause(MOMENT_MAX);
            match out.recover(&victim, || queue.get_timeout(HANG)) {
                Ok(task) => {
                    out.torn += u32::from((*task, task.deliveries()) != (7, 2));
                    task.done().unwrap();
                }
                Err(GetError::TimedOut) => out.hangs += 1,
                Err(other) => panic!("{other}"),
            }
            out.lost += u32::from(queue.unfinished() != Ok(0));
        }
    })
}

/// A worker dies anywhere: it has done each task, or the task is there again, and `join` returns once all are done.
fn mid_call(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (queue, mut random) = (queue_of::<usize>(manager), Random::new());
        for _ in 0..kills {
            let steps = RawArray::<u64>::zeroed(TASKS).unwrap();
            let count = RawValue::new(0_u64).unwrap();
            queue.put_many(&(0..TASKS).collect::<Vec<_>>()).unwrap();
            let victim = spawn(|| {
                while let Ok(task) = queue.try_get() {
                    let number = *task;
                    steps.set(number, BEGUN).unwrap();
                    task.done().unwrap();
                    steps.set(number, DONE).unwrap();
                    count.fetch_add(1);
                }
                hang();
            });
            eventually("the victim works", || count.load() > 0);
            random.pause(MOMENT_MAX);
            out.recover(&victim, || {});
            out.recoveries.pop();
            out.hangs += u32::from(!settles(manager, |info| info.clients == 1));
            let mut is_left = vec![false; TASKS];
            while let Ok(task) = queue.try_get() {
                is_left[task.done().unwrap()] = true;
            }
            // A task that was begun may have been done without time for the victim to note it.
            for (step, is_left) in steps.to_vec().into_iter().zip(is_left) {
                out.duplicated += u32::from(is_left && step == DONE);
                out.lost += u32::from(!is_left && step == 0);
            }
            out.hangs += u32::from(queue.join_timeout(HANG) != Ok(true));
        }
    })
}

/// Two workers wait, the victim first.
fn waiters(
    kills: u32,
    act: impl Fn(&Manager, &mut Outcome, &JoinableQueue<u64>, &mut Random, &ChildProcess),
) -> Outcome {
    with_manager(|manager, out| {
        let (queue, mut random) = (queue_of::<u64>(manager), Random::new());
        for _ in 0..kills {
            let victim = spawn(|| {
                let _task = queue.get();
                hang();
            });
            until_waiting(manager, 1);
            let survivor = spawn(|| assert_eq!(queue.get_timeout(HANG).unwrap().done(), Ok(1)));
            until_waiting(manager, 2);
            act(manager, out, &queue, &mut random, &victim);
            out.expect_end(&survivor);
            out.hangs += u32::from(queue.join_timeout(HANG) != Ok(true));
        }
    })
}

fn waiter(kills: u32) -> Outcome {
    waiters(kills, |manager, out, queue, random, victim| {
        random.pause(MOMENT_MAX);
        out.recover(victim, || until_waiting(manager, 1));
        queue.put(&1).unwrap();
    })
}

/// The victim is killed as it is served: the next worker gets the task, whether or not the victim read it.
fn just_woken(kills: u32) -> Outcome {
    waiters(kills, |_, out, queue, random, victim| {
        queue.put(&1).unwrap();
        random.pause(100_000);
        out.recover(victim, || {});
        out.recoveries.pop();
    })
}

define_cells! {
    HOLDER: "manager_joinable_queue", "holder", holder;
    MID_CALL: "manager_joinable_queue", "mid_call", mid_call;
    WAITER: "manager_joinable_queue", "waiter", waiter;
    JUST_WOKEN: "manager_joinable_queue", "just_woken", just_woken;
}
