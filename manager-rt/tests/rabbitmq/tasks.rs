//! Calls in tasks of a tokio runtime.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use manager_rt::{CallError, GetError, Manager, ObjectError};
use mp_sys::asynchronous::RuntimeError;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::deaths::PATIENCE;
use crate::server::{namespace, shared};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn manager() -> Manager {
    Manager::connect(&shared().url(&namespace())).unwrap()
}

/// One thread runs all of them, so none may block it.
#[test]
fn async_tasks_put_and_take_on_one_thread() {
    let manager = manager();
    let (items, tasks) =
        (manager.queue::<Vec<u8>>().unwrap(), manager.named("tasks").joinable_queue::<u32>().unwrap());
    let long = vec![7; 3 << 20];
    runtime().block_on(async {
        let all = async {
            let taking =
                async { (items.get_async().await, tasks.get_async().await.unwrap().done_async().await) };
            let putting = async {
                items.put_async(&long).await.unwrap();
                tasks.put_many_async(&[1_u32, 2]).await.unwrap();
            };
            let (mut taking, mut putting) = (pin!(taking), pin!(putting));
            // The one that takes begins to wait first.
            std::future::poll_fn(|context| {
                assert!(taking.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            putting.as_mut().await;
            assert_eq!(taking.await, (Ok(long.clone()), Ok(1)));
            assert_eq!(tasks.try_get_async().await.unwrap().done_async().await, Ok(2));
            assert_eq!(tasks.try_get_async().await.unwrap_err(), GetError::Empty);
            assert_eq!(tasks.len_async().await, Ok(0));
        };
        timeout(PATIENCE, all).await.unwrap();
    });
}

#[test]
fn a_future_that_is_dropped_takes_nothing() {
    let manager = manager();
    let tasks = manager.named("tasks").joinable_queue::<u32>().unwrap();
    let runtime = runtime();
    for task in 0..20 {
        runtime.block_on(async {
            let mut waiting = pin!(tasks.get_async());
            std::future::poll_fn(|context| {
                assert!(waiting.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        });
        tasks.put(&task).unwrap();
        assert_eq!(tasks.get_timeout(PATIENCE).unwrap().done(), Ok(task));
    }
}

#[test]
fn a_task_that_is_dropped_returns_without_a_wait() {
    let manager = manager();
    let tasks = manager.named("tasks").joinable_queue::<u32>().unwrap();
    tasks.put(&1).unwrap();
    runtime().block_on(async { drop(tasks.get_async().await.unwrap()) });
    let again = tasks.get_timeout(PATIENCE).unwrap();
    assert_eq!((*again, again.deliveries()), (1, 2));
    again.done().unwrap();
}

#[test]
fn without_a_runtime_nothing_is_sent() {
    let manager = manager();
    let items = manager.queue::<u8>().unwrap();
    let put = pin!(items.put_async(&1));
    let Poll::Ready(outcome) = put.poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits") };
    let error = CallError::Runtime(RuntimeError::NoRuntime);
    assert_eq!(outcome, Err(manager_rt::PutError::Object(ObjectError::Call(error))));
    assert_eq!(items.len(), Ok(0));
}
