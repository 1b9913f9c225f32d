//! A program that depends on `manager-rt`: a server process keeps a dict for two clients. Without the feature `server`, it
//! can only connect.

use manager_rt::{ConnectError, Manager, ReachError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nowhere = Manager::connect("mp+unix:/nowhere/manager.sock");
    assert!(matches!(nowhere, Err(ReachError::Connect { error: ConnectError::NotFound, .. })));
    #[cfg(feature = "server")]
    {
        let manager = Manager::start()?;
        manager.named("words").dict::<String, u64>()?.fetch_add(&"hello".to_owned(), 1)?;
        let other = Manager::connect(&manager.address().ok_or("the server has no address")?)?;
        assert_eq!(other.named("words").dict::<String, u64>()?.get(&"hello".to_owned())?, Some(1));
        manager.shutdown()?;
    }
    Ok(())
}
