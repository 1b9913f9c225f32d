//! A program that depends on `mp-facade`: a child's result, and what each feature shares with it.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    assert_eq!(mp::fork(|| 6 * 7)?.join()?, 42);
    #[cfg(feature = "shm")]
    {
        let hits = mp::Value::new(0_u64)?;
        assert!(mp::fork(|| hits.update(|n| n + 1).is_ok())?.join()?);
        assert_eq!(hits.get()?, 1);
    }
    #[cfg(feature = "ipc")]
    {
        let (tx, rx) = mp::pipe::<String>()?;
        assert!(mp::fork(|| tx.send(&"from the child".to_owned()).is_ok())?.join()?);
        assert_eq!(rx.recv()?, "from the child");
    }
    #[cfg(feature = "manager-client")]
    assert!(mp::manager::Manager::connect("mp+unix:/nowhere/manager.sock").is_err());
    #[cfg(feature = "manager")]
    {
        let manager = mp::manager::Manager::start()?;
        let list = manager.list::<u32>()?;
        assert!(mp::fork(|| list.push(&1).is_ok())?.join()?);
        assert_eq!(list.to_vec()?, [1]);
        manager.shutdown()?;
    }
    Ok(())
}
