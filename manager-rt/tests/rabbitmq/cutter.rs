//! What stands between programs and RabbitMQ, and cuts their connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Its threads end with their connections, and the first one with the test program.
pub(crate) struct Cutter {
    port: u16,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

fn run_aside(body: impl FnOnce() + Send + 'static) {
    drop(std::thread::Builder::new().name("cutter".to_owned()).spawn(body).unwrap());
}

impl Cutter {
    /// Passes on to this port.
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let cutter = Self { port: listener.local_addr().unwrap().port(), connections: Arc::default() };
        let connections = Arc::clone(&cutter.connections);
        run_aside(move || {
            for client in listener.incoming() {
                // While RabbitMQ is down, the client finds that the connection ends at once.
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", to))) else {
                    continue;
                };
                let mut both = connections.lock().unwrap();
                both.retain(|known| known.peer_addr().is_ok());
                both.push(client.try_clone().unwrap());
                drop(both);
                pass_on(&client, &server);
                pass_on(&server, &client);
            }
        });
        cutter
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections, wherever they are in a frame.
    pub(crate) fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

fn pass_on(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    run_aside(move || {
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    });
}
