//! The operations.

use manager_rt::{LockError, LockResult, Manager};

use super::{Case, Said, free, said};
use crate::deaths::PATIENCE;

fn taken<G>(taken: LockResult<G>) -> Result<G, Said> {
    taken.or_else(|error| match error {
        LockError::OwnerDied(guard) => Ok(guard),
        LockError::Call(error) => Err(error.into()),
        _ => Err(Said("the lock was not taken".to_owned())),
    })
}

/// Operations on data.
pub(super) fn data() -> Vec<Case> {
    let dict = |m: &Manager| drop(m.named("o").dict::<u8, u64>().unwrap());
    let value = |m: &Manager| drop(m.named("o").value(&0_u64).unwrap());
    let list = |m: &Manager| drop(m.named("o").list::<u64>().unwrap());
    let sum = |m: &Manager| Some(m.named("o").value(&0_u64).unwrap().get().unwrap());
    let len = |m: &Manager| u64::try_from(m.named("o").list::<u64>().unwrap().len().unwrap()).ok();
    vec![
        Case::new(
            "insert",
            dict,
            |m| Ok(m.named("o").dict::<u8, u64>()?.insert(&1, &1)?),
            |m| Some(m.named("o").dict::<u8, u64>().unwrap().get(&1).unwrap().unwrap_or(0)),
        ),
        Case::new(
            "a sum in a dict",
            dict,
            |m| said(m.named("o").dict::<u8, u64>()?.fetch_add(&1, 1)),
            |m| Some(m.named("o").dict::<u8, u64>().unwrap().get(&1).unwrap().unwrap_or(0)),
        ),
        Case::new("a sum", value, |m| said(m.named("o").value(&0_u64)?.fetch_add(1)), sum),
        Case::new("set", value, |m| Ok(m.named("o").value(&0_u64)?.set(&1)?), sum),
        Case::new("push", list, |m| Ok(m.named("o").list::<u64>()?.push(&1)?), len),
        Case::new(
            "pop",
            |m| m.named("o").list::<u64>().unwrap().push(&1).unwrap(),
            |m| said(m.named("o").list::<u64>()?.pop()),
            |m| Some(1 - u64::try_from(m.named("o").list::<u64>().unwrap().len().unwrap()).unwrap()),
        ),
        Case::new(
            "a sum in an array",
            |m| drop(m.named("o").array(&[0_u64]).unwrap()),
            |m| said(m.named("o").array(&[0_u64])?.fetch_add(0, 1)),
            |m| Some(m.named("o").array(&[0_u64]).unwrap().get(0).unwrap()),
        ),
        Case::new(
            "a transaction",
            value,
            |m| {
                let value = m.named("o").value(&0_u64)?;
                let sums = m.transaction(|t| (t.on(&value).fetch_add(1), t.on(&value).fetch_add(1)))?;
                assert_eq!(sums, (0, 1));
                Ok(())
            },
            |m| {
                let sum = m.named("o").value(&0_u64).unwrap().get().unwrap();
                assert!(sum % 2 == 0, "half of a transaction was done");
                Some(sum / 2)
            },
        ),
        Case::new(
            "a pipeline",
            list,
            |m| {
                let list = m.named("o").list::<u64>()?;
                said(m.pipeline(|p| p.on(&list).push(&1)))
            },
            len,
        ),
    ]
}

/// Operations that take what nobody has, and the set of an event.
pub(super) fn taking() -> Vec<Case> {
    vec![
        Case::new(
            "lock",
            |m| drop(m.named("o").lock().unwrap()),
            |m| {
                let lock = m.named("o").lock()?;
                drop(taken(lock.lock_timeout(PATIENCE))?);
                Ok(())
            },
            |m| free("o", m),
        ),
        Case::new(
            "a lock that is taken twice",
            |m| drop(m.named("o").rlock().unwrap()),
            |m| {
                let lock = m.named("o").rlock()?;
                let outer = taken(lock.lock_timeout(PATIENCE))?;
                drop((taken(lock.lock_timeout(PATIENCE))?, outer));
                Ok(())
            },
            |m| {
                let lock = m.named("o").rlock().unwrap();
                assert!(matches!(lock.lock_timeout(PATIENCE), Ok(_) | Err(LockError::OwnerDied(_))));
                None
            },
        ),
        Case::new(
            "a permit",
            |m| drop(m.named("o").semaphore(1).unwrap()),
            |m| {
                drop(m.named("o").semaphore(1)?.acquire_timeout(PATIENCE)?);
                Ok(())
            },
            |m| {
                drop(m.named("o").semaphore(1).unwrap().acquire_timeout(PATIENCE).unwrap());
                None
            },
        ),
        Case::new(
            "the set of an event",
            |m| drop(m.named("o").event().unwrap()),
            |m| Ok(m.named("o").event()?.set()?),
            |m| Some(u64::from(m.named("o").event().unwrap().is_set().unwrap())),
        ),
    ]
}
