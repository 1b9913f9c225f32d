//! Connections that are cut between a command and its answer.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use manager_rt::{LockGuard, Manager};

use crate::There;
use crate::server::Server;

/// What stands between programs and Redis.
struct Proxy {
    port: u16,
    /// The answer to the next command that contains this text never arrives.
    swallows: Arc<Mutex<Option<String>>>,
}

impl Proxy {
    /// Its threads end with their connections, and the first one with the test program.
    fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, socket) = (listener.local_addr().unwrap().port(), server.socket());
        let swallows = Arc::default();
        let proxy = Self { port, swallows: Arc::clone(&swallows) };
        run_aside(move || accept(&listener, &socket, &swallows));
        proxy
    }

    fn url(&self, there: &There<'_>) -> String {
        format!("redis://127.0.0.1:{}?ns={}&lease=3600s", self.port, there.namespace())
    }

    fn swallow_answer_to(&self, text: String) {
        *self.swallows.lock().unwrap() = Some(text);
    }

    fn has_swallowed(&self) -> bool {
        self.swallows.lock().unwrap().is_none()
    }
}

fn run_aside(body: impl FnOnce() + Send + 'static) {
    drop(std::thread::Builder::new().name("proxy".to_owned()).spawn(body).unwrap());
}

fn accept(listener: &TcpListener, socket: &Path, swallows: &Arc<Mutex<Option<String>>>) {
    for client in listener.incoming() {
        let (client, socket, swallows): (_, PathBuf, _) =
            (client.unwrap(), socket.to_owned(), Arc::clone(swallows));
        let Ok(server) = UnixStream::connect(&socket) else { return };
        run_aside(move || drop(pass_on(&client, &server, &swallows)));
    }
}

fn pass_on(client: &TcpStream, server: &UnixStream, swallows: &Mutex<Option<String>>) -> std::io::Result<()> {
    let is_cut = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, mut server, mut bytes) = (client, server, [0; 65_536]);
            while let Ok(count @ 1..) = server.read(&mut bytes) {
                if is_cut.load(Ordering::SeqCst) || client.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            drop((client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both)));
        });
        let (mut client, mut server, mut bytes) = (client, server, [0; 65_536]);
        while let count @ 1.. = client.read(&mut bytes)? {
            let mut wanted = swallows.lock().unwrap();
            let is_wanted =
                |text: &String| bytes[..count].windows(text.len()).any(|part| part == text.as_bytes());
            if wanted.take_if(|text| is_wanted(text)).is_some() {
                is_cut.store(true, Ordering::SeqCst);
            }
            drop(wanted);
            server.write_all(&bytes[..count])?;
        }
        server.shutdown(Shutdown::Both)
    })
}

fn watched(held: &LockGuard<'_>) -> Arc<AtomicBool> {
    let lost = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&lost);
    held.on_lost(move || told.store(true, Ordering::SeqCst));
    lost
}

#[test]
fn who_released_a_lock_before_its_connection_broke_has_not_lost_it() {
    let server = Server::start(&[]);
    let (there, proxy) = (There::new(&server), Proxy::start(&server));
    let manager = Manager::connect(&proxy.url(&there)).unwrap();
    let (lock, other) = (manager.lock().unwrap(), manager.lock().unwrap());
    // So Redis knows the scripts.
    drop(lock.lock().unwrap());
    let (held, kept) = (lock.lock().unwrap(), other.lock().unwrap());
    let lost = watched(&held);
    proxy.swallow_answer_to(held.token().to_string());
    drop(held);
    assert!(proxy.has_swallowed());
    assert!(!lost.load(Ordering::SeqCst), "it was released, so it was not lost");
    assert!(kept.is_valid());
    assert!(lock.try_lock().is_ok());
}

#[test]
fn a_permit_is_given_back_once_although_the_answer_was_lost() {
    let server = Server::start(&[]);
    let (there, proxy) = (There::new(&server), Proxy::start(&server));
    let manager = Manager::connect(&proxy.url(&there)).unwrap();
    let permits = manager.semaphore(2).unwrap();
    drop(permits.acquire().unwrap());
    let (held, kept) = (permits.acquire().unwrap(), permits.acquire().unwrap());
    let session = server.cli(&["zrange", &format!("{{{}}}:sessions", there.namespace()), "0", "-1"]);
    proxy.swallow_answer_to(session);
    drop(held);
    assert!(proxy.has_swallowed());
    assert!(kept.is_valid());
    assert_eq!(permits.available(), Ok(1));
}
