//! Objects of a manager that a child inherits, whose parent is killed around the fork: the child has them.

use manager_rt::Manager;
use mp_sys::child::{ChildProcess, Ended};
use mp_sys::crash;
use mp_sys::testing::{Random, ended, hang, spawn};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, set_child_subreaper, waitid};

use super::{MOMENT_MAX, with_manager};
use crate::cell::{Outcome, define_cells};

/// More points than a fork has.
const POINTS_MAX: u64 = 100;

/// Runs `parent` in a process, with what its child does, and `forked` with that process once there is a child. Returns
/// how the process ended, and whether its child had its objects, if there was one.
fn with_child(
    manager: &Manager,
    parent: impl FnOnce(&dyn Fn()),
    forked: impl FnOnce(&ChildProcess),
) -> (Ended, Option<bool>) {
    // It reaps the child, whose parent may be dead.
    set_child_subreaper(Some(getpid())).unwrap();
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let victim = spawn(|| {
        let (list, value) = (manager.list::<u32>().unwrap(), manager.value(&7_u32).unwrap());
        list.push(&7).unwrap();
        parent(&|| {
            let pid = getpid().as_raw_nonzero().get();
            rustix::io::write(&writing, &pid.to_le_bytes()).unwrap();
            let has_all = list.to_vec() == Ok(vec![7]) && value.get() == Ok(7);
            rustix::io::write(&writing, &[u8::from(has_all)]).unwrap();
        });
    });
    drop(writing);
    let mut pid = [0; 4];
    let child = match rustix::io::read(&reading, &mut pid).unwrap() {
        0 => None,
        _ => Pid::from_raw(i32::from_le_bytes(pid)),
    };
    if child.is_some() {
        forked(&victim);
    }
    let end = ended(&victim);
    let mut has_all = [0];
    let said = rustix::io::read(&reading, &mut has_all).unwrap();
    if let Some(child) = child {
        waitid(WaitId::Pid(child), WaitIdOptions::EXITED).unwrap();
    }
    (end, child.map(|_| (said, has_all) == (1, [1])))
}

/// The parent dies at each point of the fork. Before there is a child, it tells the manager what that inherits.
fn at_points(_: u32) -> Outcome {
    with_manager(|manager, out| {
        for point in 1..POINTS_MAX {
            let parent = |child: &dyn Fn()| {
                crash::die_at(point);
                drop(spawn(child));
                crash::die_at(0);
            };
            let (end, has_all) = with_child(manager, parent, |_| {});
            out.lost += u32::from(has_all == Some(false));
            if end == Ended::Exited(0) {
                assert_eq!(has_all, Some(true), "the parent has forked");
                return;
            }
            out.kills += 1;
        }
        out.hangs += 1;
    })
}

/// The parent is killed while the child connects.
fn at_any_moment(kills: u32) -> Outcome {
    let mut random = Random::new();
    with_manager(|manager, out| {
        for _ in 0..kills {
            let parent = |child: &dyn Fn()| {
                drop(spawn(child));
                hang();
            };
            let (_, has_all) = with_child(manager, parent, |victim| {
                random.pause(MOMENT_MAX);
                out.recover(victim, || manager.info().unwrap());
            });
            out.lost += u32::from(has_all != Some(true));
        }
    })
}

define_cells! {
    AT_POINTS: "manager_objects", "parent_at_a_point", at_points;
    AT_ANY_MOMENT: "manager_objects", "parent", at_any_moment;
}
