//! Servers whose processes may have few descriptors.

use manager_rt::limits::CLIENTS_MAX_DEFAULT;
use manager_rt::{Manager, StartError};
use mp_sys::testing::{skip, tests};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fixture::{Place, until};
use crate::plain::Client;

tests! {
    a_server_raises_its_limit_of_descriptors_for_its_clients,
    a_server_with_few_descriptors_says_how_many_clients_it_can_have,
}

/// Sets the limits of descriptors of this process, which the server inherits.
fn limit_descriptors(soft: u64, hard: Option<u64>) {
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: hard }).unwrap();
}

fn a_server_raises_its_limit_of_descriptors_for_its_clients() {
    const CLIENTS: usize = 300;
    let hard = getrlimit(Resource::Nofile).maximum;
    if hard.is_some_and(|hard| hard < 4_096) {
        skip(format!("4,096 descriptors are needed, and {hard:?} are permitted"));
    }
    limit_descriptors(200, hard);
    let manager = Manager::builder().clients_max(CLIENTS).start().unwrap();
    assert_eq!(manager.clients_max(), Some(CLIENTS));
    limit_descriptors(2_000, hard);
    let place = Place::of(&manager);
    let mut clients: Vec<_> = (1..CLIENTS).map(|_| Client::connect(&place.socket)).collect();
    clients.iter_mut().for_each(Client::ping);
    drop(clients);
    manager.shutdown().unwrap();
    drop(manager);
    place.is_gone();
}

fn a_server_with_few_descriptors_says_how_many_clients_it_can_have() {
    const HARD: u64 = 200;
    limit_descriptors(HARD, Some(HARD));
    let wanted = Manager::builder().clients_max(1_000).start();
    assert!(matches!(wanted, Err(StartError::Bind(why)) if why.contains("RLIMIT_NOFILE")));
    let manager = Manager::start().unwrap();
    let possible = manager.clients_max().unwrap();
    assert!((50..CLIENTS_MAX_DEFAULT.min(200)).contains(&possible), "{possible}");
    // As many as it says, and the next one is told why not. This process needs descriptors as well.
    let place = Place::of(&manager);
    let connect = || std::panic::catch_unwind(|| Client::connect(&place.socket));
    let mut clients: Vec<_> = (1..possible).map(|_| connect().unwrap()).collect();
    clients.iter_mut().for_each(Client::ping);
    assert!(connect().is_err(), "one too many");
    clients.pop();
    until(&manager, "there is room", |info| info.clients < u64::try_from(possible).unwrap());
    connect().unwrap().ping();
    drop(clients);
    manager.shutdown().unwrap();
    drop(manager);
    place.is_gone();
}
