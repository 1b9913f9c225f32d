//! A client of this build and a server that knows only older versions of the protocol, which panics at anything newer.

use std::time::Duration;

use super::server::Stops;
use super::*;
use crate::backend::{CallError, Validity};
use crate::limits::{ORDER_ITEMS_AT_ONCE, VALUES_AT_ONCE_MAX};
use crate::proto::version::{NEWEST, OLDEST};
use crate::proto::{Fault, ListOp, Reply, Spec};
use crate::server::Server;
use crate::{BarrierError, Manager, ObjectError};

/// Runs `body` with managers whose servers are that old, and with their clients.
fn with_older(body: impl Fn(&Manager, &Remote)) {
    (OLDEST..NEWEST).for_each(|version| with_version(version, &body));
}

fn with_version(version: u16, body: impl FnOnce(&Manager, &Remote)) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::builder().key(KEY).of_version(version).bind(folder.path().join("s")).unwrap();
    let (address, stopper) = (server.address().clone(), server.stopper());
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| server.serve().unwrap());
        let stops = Stops(stopper);
        let manager = Manager::builder().key(KEY).connect(&address.to_string()).unwrap();
        body(&manager, &Remote::connect(&address, &KEY.into(), soon()).unwrap());
        drop((manager, stops));
        serving.join().unwrap();
    });
}

#[test]
fn values_are_set_and_deleted_and_the_old_ones_are_released() {
    with_older(|manager, _| {
        let value = manager.value(&1).unwrap();
        value.set(&2).unwrap();
        assert_eq!(value.get(), Ok(2));
        let list = manager.list::<u32>().unwrap();
        list.extend(&[1, 2, 3]).unwrap();
        list.set(0, &9).unwrap();
        list.delete(1).unwrap();
        assert_eq!(list.to_vec().unwrap(), [9, 3]);
        let array = manager.array(&[1, 2]).unwrap();
        array.set(1, &5).unwrap();
        assert_eq!(array.to_vec().unwrap(), [1, 5]);
        // The proxies inside come back, and are released.
        let dict = manager.dict::<u8, crate::List<u32>>().unwrap();
        dict.insert(&1, &list).unwrap();
        dict.insert(&1, &list).unwrap();
        drop(list);
        assert_eq!(manager.info().unwrap().objects, 4);
        assert_eq!((dict.delete(&1), dict.delete(&1)), (Ok(true), Ok(false)));
        assert_eq!(manager.info().unwrap().objects, 3);
    });
}

#[test]
fn batches_mix_operations_of_both_versions() {
    with_older(|manager, _| {
        let (value, dict) = (manager.value(&1).unwrap(), manager.dict::<u8, u8>().unwrap());
        let set = manager.pipeline(|p| (p.on(&value).set(&2), p.on(&dict).insert(&1, &1))).unwrap();
        assert_eq!(set, (Ok(()), Ok(())));
        let all = manager.transaction(|t| {
            (t.on(&value).set(&3), t.on(&dict).delete(&1), t.on(&dict).delete(&1), t.on(&value).get())
        });
        assert_eq!(all.unwrap(), ((), true, false, 3));
    });
}

#[test]
fn a_pipeline_of_light_operations_has_a_frame_for_each() {
    with_older(|manager, _| {
        let dict = manager.dict::<u32, u32>().unwrap();
        let count = 3_000;
        let set =
            manager.pipeline(|p| (0..count).map(|key| p.on(&dict).insert(&key, &key)).collect::<Vec<_>>());
        assert!(set.unwrap().into_iter().all(|old| old == Ok(())));
        let got = manager.pipeline(|p| (0..count).map(|key| p.on(&dict).get(&key)).collect::<Vec<_>>());
        assert!(got.unwrap().into_iter().zip(0..).all(|(value, key)| value == Ok(Some(key))));
    });
}

#[test]
fn names_come_all_at_once() {
    with_older(|manager, _| {
        assert!(manager.names().unwrap().is_empty());
        for name in ["b", "c", "a"] {
            manager.named(name).event().unwrap();
        }
        assert_eq!(manager.names().unwrap(), ["a", "b", "c"]);
    });
}

#[test]
fn permits_and_places_are_known_by_their_connection() {
    with_older(|manager, other| {
        let semaphore = manager.semaphore(2).unwrap();
        let (one, two) = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
        assert!(one.is_valid() && semaphore.try_acquire().is_err());
        drop(one);
        two.forget().unwrap();
        assert_eq!(semaphore.available(), Ok(1));
        assert_eq!(other.validity(ObjectId(1), 1), Validity::Lost);
        let barrier = manager.barrier(1).unwrap();
        let party = barrier.party().unwrap();
        assert!(matches!(barrier.party(), Err(BarrierError::Object(_))), "all places are taken");
        assert_eq!(party.wait(), Ok(0));
        drop(party);
        assert!(barrier.party().is_ok());
        let lock = manager.lock().unwrap();
        let leased = lock.lock_leased(Duration::from_secs(600)).unwrap();
        assert!(leased.is_valid());
    });
}

#[test]
fn long_arrays_are_made_and_lists_sorted_in_one_step() {
    with_version(3, |manager, _| {
        let len = u32::try_from(ORDER_ITEMS_AT_ONCE).unwrap() + 1;
        let list = manager.list::<u32>().unwrap();
        list.extend(&(0..len).rev().collect::<Vec<_>>()).unwrap();
        list.sort().unwrap();
        assert!(list.to_vec().unwrap().into_iter().eq(0..len));
        // This server has the limits of today, so it refuses what older ones did.
        let error = manager.array(&vec![0_u8; VALUES_AT_ONCE_MAX + 1]).unwrap_err();
        let limit = u64::try_from(VALUES_AT_ONCE_MAX).unwrap();
        assert_eq!(error, ObjectError::Call(CallError::Fault(Fault::TooMany { limit })));
    });
}

#[test]
fn what_has_no_older_form_is_an_error_with_both_versions() {
    with_version(3, |_, remote| {
        let op = Op::List(ListOp::Exchange { with: ObjectId(1 << 24), version: 0 });
        let call = Call { object: ObjectId(1 << 24), thread: 1, wait: Wait::No, op };
        assert_eq!(remote.call(call), Err(CallError::NeedsVersion { needs: 4, agreed: 3 }));
        let made = manager_op(ManagerOp::Create { spec: Spec::List, print: 1 });
        assert!(matches!(ask(remote, ObjectId::MANAGER, made, Wait::No), Ok(Reply::Object { .. })));
    });
}

#[cfg(feature = "tokio")]
#[test]
fn async_calls_do_what_calls_of_threads_do() {
    with_older(|manager, _| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let list = manager.list::<u32>().unwrap();
            list.extend_async(&[1, 2, 3]).await.unwrap();
            list.set_async(0, &9).await.unwrap();
            list.delete_async(1).await.unwrap();
            assert_eq!(list.to_vec_async().await.unwrap(), [9, 3]);
            let (value, array) = (manager.value(&1).unwrap(), manager.array(&[1, 2]).unwrap());
            value.set_async(&2).await.unwrap();
            array.set_async(1, &5).await.unwrap();
            assert_eq!((value.get_async().await, array.to_vec_async().await), (Ok(2), Ok(vec![1, 5])));
            // The proxies inside come back, and are released.
            let dict = manager.dict::<u8, crate::List<u32>>().unwrap();
            dict.insert_async(&1, &list).await.unwrap();
            dict.insert_async(&1, &list).await.unwrap();
            drop(list);
            let deleted = (dict.delete_async(&1).await, dict.delete_async(&1).await);
            assert_eq!(deleted, (Ok(true), Ok(false)));
            assert_eq!(manager.info().unwrap().objects, 3);
            let semaphore = manager.semaphore(2).unwrap();
            let one = semaphore.acquire_async().await.unwrap();
            let two = semaphore.try_acquire_async().await.unwrap();
            assert!(one.is_valid() && semaphore.try_acquire_async().await.is_err());
            drop((one, two));
            assert_eq!(semaphore.available_async().await, Ok(2), "the permits are back");
        });
    });
}
