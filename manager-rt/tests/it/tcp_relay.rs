//! A relay between clients and a server over TCP: it records what both sides send, and ends connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use manager_rt::Manager;

/// A port whose connections lead to a server.
#[derive(Debug)]
pub(crate) struct TcpRelay {
    front: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    /// Both sides of each connection.
    sides: Mutex<Vec<[TcpStream; 2]>>,
    /// The server's side of connections that clients no longer have.
    frozen: Mutex<Vec<TcpStream>>,
    is_cut: AtomicBool,
    /// What clients, and what the server, have sent.
    sent: [Mutex<Vec<u8>>; 2],
    /// After how many more bytes of clients, and of the server, all connections end.
    left: Mutex<[Option<usize>; 2]>,
    /// Of the next connection, how many bytes of the client are passed on.
    passed: Mutex<Option<usize>>,
    /// What its client sent after them, once it has sent all.
    withheld: Mutex<Option<Vec<u8>>>,
    /// Whether nothing of what the server sends is read.
    is_deaf: Mutex<bool>,
    hears: Condvar,
}

impl TcpRelay {
    /// Makes a relay to the server at an address.
    pub(crate) fn to(address: &str) -> Self {
        let place = address.strip_prefix("mp+tcp://").unwrap();
        let server = place.split('?').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            sides: Mutex::default(),
            frozen: Mutex::default(),
            is_cut: AtomicBool::new(false),
            left: Mutex::default(),
            passed: Mutex::default(),
            withheld: Mutex::default(),
            is_deaf: Mutex::new(false),
            hears: Condvar::new(),
            sent: Default::default(),
        });
        let accepting = Arc::clone(&shared);
        let accepting = start(move || accepting.accept_all(&listener));
        Self { front, shared, accepting: Some(accepting) }
    }

    /// Returns the address at which the relay accepts connections.
    pub(crate) fn address(&self) -> String {
        format!("mp+tcp://{}", self.front)
    }

    /// Connects a client through the relay.
    pub(crate) fn client(&self, key: &str) -> Manager {
        Manager::builder().key(key).connect(&self.address()).unwrap()
    }

    /// Returns what clients, and what the server, have sent.
    pub(crate) fn sent(&self) -> [Vec<u8>; 2] {
        self.shared.sent.each_ref().map(|sent| sent.lock().unwrap().clone())
    }

    /// Ends all connections after this many more bytes of clients (0) or of the server (1). Clients may connect again.
    pub(crate) fn sever_after(&self, way: usize, bytes: usize) {
        self.shared.left.lock().unwrap()[way] = Some(bytes);
    }

    /// Takes back [`sever_after`](Self::sever_after).
    pub(crate) fn sever_never(&self) {
        *self.shared.left.lock().unwrap() = [None; 2];
    }

    /// Keeps what the client of the next connection sends after this many bytes, until [`release`](Self::release).
    pub(crate) fn withhold_after(&self, bytes: usize) {
        *self.shared.passed.lock().unwrap() = Some(bytes);
    }

    /// Passes on what was kept, if that connection is the last one that was [frozen](Self::freeze), and all of it is there. Returns
    /// whether it is.
    pub(crate) fn release(&self) -> bool {
        let Some(kept) = self.shared.withheld.lock().unwrap().take() else { return false };
        assert!(!kept.is_empty(), "something was kept");
        self.shared.frozen.lock().unwrap().last_mut().unwrap().write_all(&kept).unwrap();
        true
    }

    /// Sends bytes to the server that no client has sent.
    pub(crate) fn inject(&self, bytes: &[u8]) {
        for [_, server] in &mut *self.shared.sides.lock().unwrap() {
            // It may have ended.
            drop(server.write_all(bytes));
        }
    }

    /// Reads nothing more of what the server sends, from the next byte on, until the end of the relay.
    pub(crate) fn deafen(&self) {
        *self.shared.is_deaf.lock().unwrap() = true;
    }

    /// Ends all connections. Clients may connect again.
    pub(crate) fn sever(&self) {
        self.shared.sever();
    }

    /// Ends all connections for the clients. The server sees nothing of that: its side stays open and silent.
    pub(crate) fn freeze(&self) {
        for [client, server] in self.shared.sides.lock().unwrap().drain(..) {
            self.shared.frozen.lock().unwrap().push(server);
            drop(client.shutdown(Shutdown::Both));
        }
    }

    /// Ends all connections, and accepts no more.
    pub(crate) fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        self.sever();
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.cut();
        *self.shared.is_deaf.lock().unwrap() = false;
        self.shared.hears.notify_all();
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.front));
        self.accepting.take().unwrap().join().unwrap();
    }
}

impl Shared {
    fn sever(&self) {
        for side in self.sides.lock().unwrap().drain(..).flatten() {
            drop(side.shutdown(Shutdown::Both));
        }
        for side in self.frozen.lock().unwrap().drain(..) {
            drop(side.shutdown(Shutdown::Both));
        }
    }

    /// Returns what of these bytes is passed on, and whether all connections end then.
    fn until_end<'a>(&self, way: usize, bytes: &'a [u8]) -> (&'a [u8], bool) {
        let mut left = self.left.lock().unwrap();
        match &mut left[way] {
            Some(count) if *count <= bytes.len() => {
                let count = *count;
                left[way] = None;
                (&bytes[..count], true)
            }
            Some(count) => {
                *count -= bytes.len();
                (bytes, false)
            }
            None => (bytes, false),
        }
    }

    fn accept_all(self: &Arc<Self>, listener: &TcpListener) {
        let mut pumps = Vec::new();
        while let Ok((client, _)) = listener.accept() {
            if self.is_cut.load(Ordering::SeqCst) {
                break;
            }
            let Ok(server) = TcpStream::connect(self.server) else { continue };
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let sides = [client.try_clone().unwrap(), server.try_clone().unwrap()];
            self.sides.lock().unwrap().push(sides);
            let ways = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
            for (way, (from, to)) in ways.into_iter().enumerate() {
                let (shared, from, to) = (Arc::clone(self), from.unwrap(), to.unwrap());
                pumps.push(start(move || shared.pump(way, from, to)));
            }
        }
        self.sever();
        pumps.into_iter().for_each(|pump| pump.join().unwrap());
    }

    fn pump(&self, way: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        let mut passed = (way == 0).then(|| self.passed.lock().unwrap().take()).flatten();
        let mut kept = passed.map(|_| Vec::new());
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            let deaf = self.is_deaf.lock().unwrap();
            drop(self.hears.wait_while(deaf, |is_deaf| *is_deaf && way == 1).unwrap());
            let (bytes, is_end) = self.until_end(way, &buffer[..len]);
            self.sent[way].lock().unwrap().extend_from_slice(bytes);
            let (bytes, late) = bytes.split_at(passed.map_or(bytes.len(), |left| left.min(bytes.len())));
            passed = passed.map(|left| left - bytes.len());
            kept.iter_mut().for_each(|kept| kept.extend_from_slice(late));
            if to.write_all(bytes).is_err() {
                break;
            }
            if is_end {
                self.sever();
            }
        }
        if kept.is_some() {
            *self.withheld.lock().unwrap() = kept;
        }
        // The server's side of a frozen connection stays as it is.
        if way == 1 || self.frozen.lock().unwrap().is_empty() {
            drop(to.shutdown(Shutdown::Write));
            drop(from.shutdown(Shutdown::Read));
        }
    }
}

fn start(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name("relay".to_owned()).spawn(work).unwrap()
}
