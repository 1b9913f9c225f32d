//! What stands between programs and RabbitMQ, and cuts their connections, keeps what they send, or loses what they are answered.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockWriteGuard};

/// Its threads end with their connections, and the first one with the test program.
pub(crate) struct Cutter {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: Mutex<Vec<TcpStream>>,
    /// Whoever passes something on to RabbitMQ reads this for a moment.
    gate: RwLock<()>,
    /// How many bytes are kept at the gate.
    held: AtomicUsize,
    /// Whether answers are lost.
    loses: AtomicBool,
}

fn run_aside(body: impl FnOnce() + Send + 'static) {
    drop(std::thread::Builder::new().name("cutter".to_owned()).spawn(body).unwrap());
}

impl Cutter {
    /// Passes on to this port.
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cutter = Self { port: listener.local_addr().unwrap().port(), shared: Arc::default() };
        let shared = Arc::clone(&cutter.shared);
        run_aside(move || {
            for client in listener.incoming() {
                // While RabbitMQ is down, the client finds that the connection ends at once.
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", to))) else {
                    continue;
                };
                let mut both = shared.connections.lock().unwrap();
                both.retain(|known| known.peer_addr().is_ok());
                both.push(client.try_clone().unwrap());
                drop(both);
                let (there, back) = (Arc::clone(&shared), Arc::clone(&shared));
                pass_on(&client, &server, move |bytes| there.waits_at_gate(bytes));
                pass_on(&server, &client, move |_| !back.loses.load(Ordering::Relaxed));
            }
        });
        cutter
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections, wherever they are in a frame.
    pub(crate) fn cut(&self) {
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }

    /// Keeps what programs send to RabbitMQ, until the value is dropped. It arrives then, even if the program has ended.
    pub(crate) fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.shared.gate.write().unwrap()
    }

    /// Returns how many bytes are kept.
    pub(crate) fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    /// Loses what RabbitMQ answers, or does not lose it any more.
    pub(crate) fn lose_answers(&self, loses: bool) {
        self.shared.loses.store(loses, Ordering::Relaxed);
    }
}

impl Shared {
    /// Returns `true` once these bytes may pass.
    fn waits_at_gate(&self, bytes: usize) -> bool {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        drop(self.gate.read().unwrap());
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        true
    }
}

fn pass_on(from: &TcpStream, to: &TcpStream, passes: impl Fn(usize) -> bool + Send + 'static) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    run_aside(move || {
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if passes(count) && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    });
}
