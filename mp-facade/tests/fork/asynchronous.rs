//! Children that tasks of a runtime wait for.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use mp::{ExitError, Process, RuntimeError, fork, pipe};
use mp_sys::testing::{PATIENCE, tests};
use tokio::runtime::{Builder, Runtime};

use crate::METHODS;

tests! {
    a_task_joins_children_of_every_method,
    a_task_learns_why_a_child_ended,
    a_stopped_child_has_not_ended,
    a_dropped_wait_leaves_the_child_to_others,
    joining_a_child_that_has_ended_needs_no_runtime,
}

fn runtimes() -> [fn() -> Runtime; 2] {
    let one_thread = || Builder::new_current_thread().enable_all().build().unwrap();
    let several_threads = || Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    [one_thread, several_threads]
}

fn double(gone: mp::Receiver<u32>) -> u32 {
    gone.recv().unwrap() * 2
}

fn a_task_joins_children_of_every_method() {
    for runtime in runtimes() {
        for method in METHODS {
            let (go, gone) = pipe().unwrap();
            let child = Process::new().method(method).start(double, gone).unwrap();
            let (joined, waited) = runtime().block_on(async {
                let send = async { go.send(&21).unwrap() };
                let (joined, waited, ()) = tokio::join!(child.join_async(), child.wait_async(), send);
                (joined, waited)
            });
            assert_eq!((joined, waited), (Ok(42), Ok(())), "{method:?}");
            assert_eq!(child.join(), Ok(42), "again, by a thread");
        }
    }
}

fn a_task_learns_why_a_child_ended() {
    for runtime in runtimes() {
        let killed = fork(|| std::thread::sleep(PATIENCE)).unwrap();
        let panicked = fork(|| panic!("on purpose")).unwrap();
        runtime().block_on(async {
            let (joined, waited, is_killed) =
                tokio::join!(killed.join_async(), killed.wait_async(), async { killed.kill() });
            assert_eq!((joined, waited), (Err(ExitError::Signaled(9)), Ok(())));
            assert_eq!(is_killed, Ok(true));
            assert_eq!(panicked.join_async().await, Err::<(), _>(ExitError::Panicked("on purpose".into())));
        });
    }
}

fn a_stopped_child_has_not_ended() {
    for runtime in runtimes() {
        let child = fork(|| std::thread::sleep(PATIENCE)).unwrap();
        let signal = |signal| {
            let pid = rustix::process::Pid::from_raw(child.pid().cast_signed()).unwrap();
            rustix::process::kill_process(pid, signal).unwrap();
        };
        runtime().block_on(async {
            signal(rustix::process::Signal::STOP);
            let ended = tokio::time::timeout(Duration::from_millis(100), child.wait_async()).await;
            assert!(ended.is_err());
            child.kill().unwrap();
            assert_eq!(child.join_async().await, Err(ExitError::Signaled(9)));
        });
    }
}

fn a_dropped_wait_leaves_the_child_to_others() {
    for runtime in runtimes() {
        let (go, gone) = pipe::<()>().unwrap();
        let child = fork(|| gone.recv().unwrap()).unwrap();
        runtime().block_on(async {
            let mut other = pin!(child.join_async());
            for polls in 0..5 {
                let mut joined = Box::pin(child.join_async());
                let mut waited = Box::pin(child.wait_async());
                for _ in 0..polls {
                    assert!(poll_fn(|context| Poll::Ready(joined.as_mut().poll(context).is_pending())).await);
                    assert!(poll_fn(|context| Poll::Ready(waited.as_mut().poll(context).is_pending())).await);
                    tokio::task::yield_now().await;
                }
                drop((joined, waited));
                assert!(poll_fn(|context| Poll::Ready(other.as_mut().poll(context).is_pending())).await);
            }
            go.send(&()).unwrap();
            assert_eq!(other.await, Ok(()));
        });
    }
}

fn joining_a_child_that_has_ended_needs_no_runtime() {
    let child = fork(|| std::thread::sleep(PATIENCE)).unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let refused = Err(ExitError::Runtime(RuntimeError::NoRuntime));
    assert_eq!(pin!(child.join_async()).poll(&mut context), Poll::Ready(refused));
    child.kill().unwrap();
    assert_eq!(child.join(), Err(ExitError::Signaled(9)));
    assert_eq!(pin!(child.wait_async()).poll(&mut context), Poll::Ready(Ok(())));
}
