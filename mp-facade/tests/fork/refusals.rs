//! Conditions in which one method cannot start a process, and the methods that can.

use mp::{ForkError, Method, Process, StartError};
use mp_sys::testing::{PATIENCE, tests, thread_before_main_from_now_on};

tests! {
    a_fork_inside_a_runtime_with_one_thread_is_refused,
    a_fork_server_with_a_constructors_thread_has_its_own_error,
    a_fork_with_other_threads_names_the_alternatives,
}

/// A start that works in every condition of the process.
fn start_all_but_fork() {
    for method in [Method::Spawn, Method::ForkServer] {
        let child = Process::new().method(method).start(|n: u8| n + 1, 1).unwrap();
        assert_eq!(child.join_timeout(PATIENCE), Ok(Some(2)), "{method:?}");
    }
}

fn a_fork_inside_a_runtime_with_one_thread_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = mp::fork(|| ()).unwrap_err();
        assert!(matches!(error, ForkError::EventLoop { descriptor } if descriptor > 2), "{error:?}");
        assert!(error.to_string().contains("use `spawn` or the fork server"), "{error}");
        let by_name = Process::new().method(Method::Fork).start(|()| (), ()).unwrap_err();
        assert_eq!(by_name, StartError::Fork(error));
        start_all_but_fork();
        // The parent's sockets work as before.
        let address = listener.local_addr().unwrap();
        let connected = tokio::net::TcpStream::connect(address).await.unwrap();
        listener.accept().await.unwrap();
        drop(connected);
    });
    drop(runtime);
    assert_eq!(mp::fork(|| 5).unwrap().join(), Ok(5));
}

fn a_fork_server_with_a_constructors_thread_has_its_own_error() {
    thread_before_main_from_now_on();
    let start = |method| Process::new().method(method).start(|n: u8| n + 1, 1);
    for _ in 0..2 {
        let error = start(Method::ForkServer).unwrap_err();
        assert_eq!(error, StartError::ServerThreads { threads: 1 });
        assert!(error.to_string().contains("use `spawn`"), "{error}");
    }
    for method in [Method::Spawn, Method::Fork] {
        assert_eq!(start(method).unwrap().join_timeout(PATIENCE), Ok(Some(2)), "{method:?}");
    }
}

fn a_fork_with_other_threads_names_the_alternatives() {
    let (finish, until) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        std::thread::Builder::new().spawn_scoped(scope, move || until.recv()).unwrap();
        let error = mp::fork(|| ()).unwrap_err();
        assert_eq!(error, ForkError::OtherThreads(1));
        assert!(error.to_string().contains("use `spawn` or the fork server"), "{error}");
        start_all_but_fork();
        drop(finish);
    });
}
