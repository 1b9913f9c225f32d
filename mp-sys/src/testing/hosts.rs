//! Two hosts for one test: network namespaces of this machine, and a link between them that can be cut.
//!
//! A namespace belongs to a thread, and to the sockets that it makes and the programs that it starts: see [`TwoHosts::on`]. It
//! ends with the last of them, so nothing is left behind, however a test ends. All this needs the rights of root, and the
//! program `ip`.
//!
//! Source: network_namespaces(7), veth(4), `Documentation/networking/tuntap.rst` of the kernel.

mod wire;

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

pub use self::wire::Weather;
use self::wire::Wire;
use crate::testing::namespace::unshare;

/// The name of the interface on both hosts.
const LINK: &str = "mp0";

/// One of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The one with the address 10.77.0.1.
    One,
    /// The one with the address 10.77.0.2.
    Two,
}

impl Host {
    /// The address of the host, as the other one sees it.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        match self {
            Self::One => Ipv4Addr::new(10, 77, 0, 1),
            Self::Two => Ipv4Addr::new(10, 77, 0, 2),
        }
    }
}

/// Two hosts, and the link between them.
#[derive(Debug)]
pub struct TwoHosts {
    one: File,
    two: File,
    /// Carries the packets, unless the kernel does.
    wire: Option<Wire>,
}

impl TwoHosts {
    /// Joins two hosts by a pair of interfaces of the kernel (veth), which lose nothing.
    ///
    /// # Errors
    /// A text, if the system does not permit it.
    pub fn joined() -> Result<Self, String> {
        let hosts = Self::apart()?;
        let file = format!("/proc/{}/fd/{}", rustix::process::getpid().as_raw_pid(), hosts.two.as_raw_fd());
        hosts.on(Host::One, || {
            ip(&["link", "add", LINK, "type", "veth", "peer", "name", LINK, "netns", &file])
        })?;
        hosts.set_up()?;
        Ok(hosts)
    }

    /// Joins two hosts by a wire that loses, delays and reorders packets, each time in the same way. A kernel that can do
    /// this itself (netem) is not needed.
    ///
    /// # Errors
    /// A text, if the system does not permit it.
    pub fn joined_in(weather: Weather) -> Result<Self, String> {
        let mut hosts = Self::apart()?;
        let open = || wire::open(LINK).map_err(|error| format!("no tunnel: {error}"));
        let ends = [hosts.on(Host::One, open)?, hosts.on(Host::Two, open)?];
        hosts.set_up()?;
        hosts.wire = Some(Wire::new(ends, weather).map_err(|error| format!("no wire: {error}"))?);
        Ok(hosts)
    }

    /// Makes two hosts without a link.
    fn apart() -> Result<Self, String> {
        let new = || {
            unshare(UnshareFlags::NEWNET).map_err(|error| format!("no network namespace: {error}"))?;
            ip(&["link", "set", "dev", "lo", "up"])?;
            File::open("/proc/thread-self/ns/net").map_err(|error| format!("no namespace to open: {error}"))
        };
        Ok(Self { one: aside(new)?, two: aside(new)?, wire: None })
    }

    fn set_up(&self) -> Result<(), String> {
        for host in [Host::One, Host::Two] {
            self.on(host, || {
                ip(&["address", "add", &format!("{}/24", host.address()), "dev", LINK])?;
                ip(&["link", "set", "dev", LINK, "up"])
            })?;
        }
        Ok(())
    }

    /// Runs `body` in a thread of a host. Its sockets, and the programs that it starts, stay there.
    ///
    /// # Panics
    /// If `body` does, or if the thread cannot be moved there.
    pub fn on<T: Send>(&self, host: Host, body: impl FnOnce() -> T + Send) -> T {
        let file = match host {
            Host::One => &self.one,
            Host::Two => &self.two,
        };
        aside(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("a process that made a namespace may enter it");
            body()
        })
    }

    /// Cuts the link: takes the first host's end away, or lets the wire lose everything, of which neither host is told.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn cut(&self) {
        self.set_link("down");
    }

    /// Restores the link.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn restore(&self) {
        self.set_link("up");
    }

    fn set_link(&self, to: &str) {
        match &self.wire {
            Some(wire) => wire.cut(to == "down"),
            None => {
                let outcome = self.on(Host::One, || ip(&["link", "set", "dev", LINK, to]));
                outcome.expect("what made the link can change it");
            }
        }
    }
}

/// Runs `body` in a thread of its own, which passes on its panic.
fn aside<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| match scope.spawn(body).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Runs `ip`, in the namespace of the calling thread.
fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("no program `ip` (package iproute2): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    /// Few enough that a sender has room for them while nothing arrives.
    const BYTES: usize = 20_000;

    /// Sends bytes over a link that is cut in between, and checks that they arrive when it is restored.
    fn arrives(hosts: Result<TwoHosts, String>) {
        let hosts = match hosts {
            Ok(hosts) => hosts,
            Err(why) => {
                let said = writeln!(std::io::stderr(), "SKIPPED: no two hosts: {why}");
                return said.unwrap();
            }
        };
        let listener = hosts.on(Host::One, || TcpListener::bind((Host::One.address(), 0)).unwrap());
        let at = listener.local_addr().unwrap();
        let mut sending = hosts.on(Host::Two, || TcpStream::connect(at).unwrap());
        let mut receiving = listener.accept().unwrap().0;
        assert_eq!(receiving.peer_addr().unwrap().ip(), Host::Two.address());
        receiving.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        hosts.cut();
        sending.write_all(&[7; BYTES]).unwrap();
        assert!(receiving.read(&mut [0]).is_err(), "the link is cut");
        hosts.restore();
        receiving.set_read_timeout(Some(crate::testing::PATIENCE)).unwrap();
        let mut received = vec![0; BYTES];
        receiving.read_exact(&mut received).unwrap();
        assert_eq!(received, [7; BYTES]);
    }

    #[test]
    fn what_is_sent_over_a_cut_link_arrives_once_it_is_restored() {
        arrives(TwoHosts::joined());
    }

    #[test]
    fn a_wire_that_loses_packets_loses_no_bytes_of_a_stream() {
        let weather = Weather { lost: 5, late: 20, delay: Duration::from_millis(1), seed: 15 };
        arrives(TwoHosts::joined_in(weather));
    }
}
