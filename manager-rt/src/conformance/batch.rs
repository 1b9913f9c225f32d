//! Transactions and pipelines.

use crate::conformance::{
    Fixture, PATIENCE, assert_objects, has_queue_transactions, has_transactions, tests, until_objects,
    until_waiting,
};
use crate::limits::TRANSACTION_OPS_MAX;
use crate::proto::Fault;
use crate::{CallError, Manager, ObjectError, TransactionError, Value};

tests! {
    [Value, Queue] {
        a_transaction_happens_completely_or_not_at_all,
        no_client_sees_a_part_of_a_transaction,
    }
    [JoinableQueue, Value, Queue] {
        a_task_is_done_together_with_its_changes,
    }
    [Queue] {
        a_pipeline_has_a_result_for_each,
    }
    [Value] {
        nothing_is_sent_after_an_error_in_the_closure,
        unread_results_are_released,
        objects_that_the_closure_drops_live_until_their_operations_have_run,
        the_operations_of_a_transaction_have_a_limit,
    }
}

fn a_transaction_happens_completely_or_not_at_all(fixture: &dyn Fixture) {
    let client = fixture.client();
    if !has_queue_transactions(&client) {
        return;
    }
    let (value, queue) = (client.value(&1_u32).unwrap(), client.bounded_queue::<u8>(1).unwrap());
    let all = client.transaction(|t| {
        let exchanged = t.on(&value).compare_exchange(&9, &2);
        (
            t.on(&value).fetch_add(4),
            t.on(&value).get(),
            t.on(&queue).try_put(&7),
            exchanged,
            t.on(&queue).len(),
        )
    });
    assert_eq!(all.unwrap(), (1, 5, (), Err(1), 1));
    let refused = client.transaction(|t| {
        (
            t.on(&value).replace(&100),
            t.on(&queue).try_get(),
            vec![t.on(&queue).try_put(&1), t.on(&queue).try_put(&2)],
        )
    });
    assert_eq!(refused.unwrap_err(), TransactionError::Refused(Fault::Full));
    assert_eq!((value.get().unwrap(), queue.get().unwrap()), (5, 7));
    client.transaction(|_| ()).unwrap();
}

fn no_client_sees_a_part_of_a_transaction(fixture: &dyn Fixture) {
    let (writer, reader) = (fixture.client(), fixture.client());
    if !has_transactions(&writer) {
        return;
    }
    let pair = |client: &Manager| [0, 1].map(|n| client.named(&format!("v{n}")).value(&0_u32).unwrap());
    let [a, b] = pair(&writer);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let [a, b] = pair(&reader);
            let mut last = 0;
            while last < 100 {
                let (first, second) = reader.transaction(|t| (t.on(&a).get(), t.on(&b).get())).unwrap();
                assert!(first == second && first >= last);
                last = first;
            }
        });
        for n in 1..=100 {
            writer.transaction(|t| (t.on(&a).set(&n), t.on(&b).set(&n))).unwrap();
        }
    });
    if !has_queue_transactions(&writer) {
        return;
    }
    // Waiters are served after the commit.
    let queue = writer.named("queue").queue::<u32>().unwrap();
    std::thread::scope(|scope| {
        let got = scope.spawn(|| {
            let queue = reader.named("queue").queue::<u32>().unwrap();
            (queue.get_timeout(PATIENCE).unwrap(), pair(&reader)[0].get().unwrap())
        });
        until_waiting(fixture, 1);
        writer.transaction(|t| (t.on(&queue).try_put(&1), t.on(&a).set(&7))).unwrap();
        assert_eq!(got.join().unwrap(), (1, 7));
    });
}

fn a_task_is_done_together_with_its_changes(fixture: &dyn Fixture) {
    let client = fixture.client();
    if !has_queue_transactions(&client) {
        return;
    }
    let tasks = client.joinable_queue::<u32>().unwrap();
    let (sum, full) = (client.value(&0_u32).unwrap(), client.bounded_queue::<u8>(1).unwrap());
    tasks.put(&5).unwrap();
    full.put(&0).unwrap();
    let task = tasks.get().unwrap();
    let refused =
        client.transaction(|t| (t.on(&sum).fetch_add(*task), t.done(task), t.on(&full).try_put(&1)));
    assert_eq!(refused.unwrap_err(), TransactionError::Refused(Fault::Full));
    assert_eq!((sum.get().unwrap(), tasks.len().unwrap()), (0, 1), "the task is requeued");
    let task = tasks.get().unwrap();
    assert_eq!(task.deliveries(), 2);
    let all = client.transaction(|t| (t.on(&sum).fetch_add(*task), t.done(task), t.on(&tasks).try_put(&6)));
    assert_eq!(all.unwrap(), (0, 5, ()));
    assert_eq!((sum.get().unwrap(), tasks.unfinished().unwrap()), (5, 1));
    let task = tasks.get().unwrap();
    let (done, refused) = client.pipeline(|p| (p.done(task), p.on(&full).try_put(&1))).unwrap();
    assert_eq!(done, Ok(6));
    assert!(refused.is_err());
    assert_eq!(tasks.unfinished().unwrap(), 0);
}

fn a_pipeline_has_a_result_for_each(fixture: &dyn Fixture) {
    let client = fixture.client();
    let queue = client.bounded_queue::<String>(2).unwrap();
    let put = client.pipeline(|p| {
        let put = ["a", "b", "c"].map(|item| p.on(&queue).try_put(&item.to_owned()));
        (Vec::from(put), p.on(&queue).try_get(), p.on(&queue).len())
    });
    let (put, got, len) = put.unwrap();
    let len = if fixture.caps().exact_counts { len } else { Ok(1) };
    let full = ObjectError::Call(CallError::Fault(Fault::Full));
    assert_eq!((put, got, len), (vec![Ok(()), Ok(()), Err(full)], Ok("a".to_owned()), Ok(1)));
}

fn nothing_is_sent_after_an_error_in_the_closure(fixture: &dyn Fixture) {
    let client = fixture.client();
    let stranger = Manager::in_process().unwrap().value(&1).unwrap();
    let value = client.value(&1).unwrap();
    if has_transactions(&client) {
        let error = client.transaction(|t| (t.on(&value).set(&2), t.on(&stranger).set(&2))).unwrap_err();
        assert_eq!(error, TransactionError::Object(ObjectError::OtherManager));
    }
    let holder = client.value(&None::<Value<i32>>).unwrap();
    let error = client.pipeline(|p| (p.on(&value).set(&2), p.on(&holder).set(&Some(stranger)))).unwrap_err();
    assert_eq!(error, ObjectError::OtherManager);
    assert_eq!(value.get().unwrap(), 1);
}

fn unread_results_are_released(fixture: &dyn Fixture) {
    let client = fixture.client();
    let holder = client.value(&client.value(&1).unwrap()).unwrap();
    client.pipeline(|p| drop((p.on(&holder).get(), p.on(&holder).get()))).unwrap();
    assert_objects(fixture, 2);
    let new = client.value(&2).unwrap();
    holder.set(&new).unwrap();
    until_objects(fixture, "the end of what was inside", 2);
}

fn objects_that_the_closure_drops_live_until_their_operations_have_run(fixture: &dyn Fixture) {
    let client = fixture.client();
    let holder = client.value(&client.value(&1).unwrap()).unwrap();
    let set = client.pipeline(|p| {
        let new = client.value(&2).unwrap();
        // The first one is dropped after its operation, and the second one inside a value.
        let set = p.on(&new).set(&3);
        drop(new);
        (set, p.on(&holder).set(&client.value(&4).unwrap()))
    });
    assert_eq!(set, Ok((Ok(()), Ok(()))));
    assert_eq!(holder.get().unwrap().get().unwrap(), 4);
    if has_transactions(&client) {
        let set = client.transaction(|t| t.on(&holder).set(&client.value(&5).unwrap()));
        assert_eq!(set, Ok(()));
        assert_eq!(holder.get().unwrap().get().unwrap(), 5);
    }
    until_objects(fixture, "the end of what the closures dropped", 2);
}

fn the_operations_of_a_transaction_have_a_limit(fixture: &dyn Fixture) {
    let client = fixture.client();
    if !has_transactions(&client) {
        return;
    }
    let value = client.value(&0_u64).unwrap();
    let add = |count: usize| client.transaction(|t| (0..count).for_each(|_| drop(t.on(&value).fetch_add(1))));
    add(TRANSACTION_OPS_MAX).unwrap();
    let error = add(TRANSACTION_OPS_MAX + 1).unwrap_err();
    assert!(matches!(error, TransactionError::Refused(Fault::TooMany { .. })), "{error:?}");
    assert_eq!(value.get().unwrap(), u64::try_from(TRANSACTION_OPS_MAX).unwrap());
}
