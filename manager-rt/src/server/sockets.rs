//! How a server comes to its sockets: it listens itself, or takes those that somebody else has made.

use std::os::fd::OwnedFd;
#[cfg(feature = "tcp")]
use std::sync::Arc;

use mp_sys::key::Key;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::BindError;
use crate::address::Address;
#[cfg(feature = "tcp")]
use crate::address::HostPort;
use crate::transport::Listening;
use crate::transport::local::Acceptor;
#[cfg(feature = "tcp")]
use crate::transport::remote::{Scratch, SharedKey, TooShort, tcp::TcpAcceptor};

/// The sockets of a server that is about to serve.
#[derive(Debug)]
pub(super) struct Sockets<'k> {
    pub(super) all: Vec<Listening>,
    #[cfg_attr(not(feature = "tcp"), expect(dead_code, reason = "only other hosts need them here"))]
    keys: &'k [Key],
    #[cfg(feature = "tcp")]
    pub(super) tcp_addresses: Vec<Address>,
    #[cfg(feature = "tcp")]
    shared: Option<(Arc<[SharedKey]>, Arc<Scratch>)>,
}

impl<'k> Sockets<'k> {
    pub(super) const fn new(keys: &'k [Key]) -> Self {
        Self {
            all: Vec::new(),
            keys,
            #[cfg(feature = "tcp")]
            tcp_addresses: Vec::new(),
            #[cfg(feature = "tcp")]
            shared: None,
        }
    }

    /// Returns the address of the first socket: that of one in the file system, if there is any.
    pub(super) fn first(&self) -> Option<Address> {
        let local = self.all.iter().find_map(|socket| match socket {
            Listening::Local(acceptor) => Address::local(acceptor.path()).ok(),
            #[cfg(feature = "tcp")]
            Listening::Remote(_) => None,
        });
        #[cfg(feature = "tcp")]
        let local = local.or_else(|| self.tcp_addresses.first().cloned());
        local
    }

    /// Takes a socket that somebody else has made.
    ///
    /// # Errors
    /// [`BindError::NotListening`], [`BindError::KeyTooShort`].
    pub(super) fn take(&mut self, file: OwnedFd) -> Result<(), BindError> {
        let refused = |error: Errno| BindError::NotListening(error.into());
        if sockopt::socket_type(&file).map_err(refused)? != SocketType::STREAM {
            return Err(refused(Errno::PROTOTYPE));
        }
        if !sockopt::socket_acceptconn(&file).map_err(refused)? {
            return Err(refused(Errno::INVAL));
        }
        match sockopt::socket_domain(&file).map_err(refused)? {
            AddressFamily::UNIX => {
                let acceptor =
                    Acceptor::given(file).map_err(|error| BindError::NotListening(error.into()))?;
                self.all.push(Listening::Local(acceptor));
                Ok(())
            }
            #[cfg(feature = "tcp")]
            AddressFamily::INET | AddressFamily::INET6 => {
                let (keys, scratch) = self.shared()?;
                let acceptor = TcpAcceptor::given(file, &keys, &scratch);
                let acceptor = acceptor.map_err(|error| BindError::NotListening(error.into()))?;
                let at = HostPort::of(acceptor.address());
                self.tcp_addresses.push(Address::tcp(at));
                self.all.push(Listening::Remote(acceptor));
                Ok(())
            }
            _ => Err(refused(Errno::AFNOSUPPORT)),
        }
    }
}

#[cfg(feature = "tcp")]
impl Sockets<'_> {
    /// Listens for other hosts at an address.
    ///
    /// # Errors
    /// [`BindError::Tcp`], [`BindError::KeyTooShort`].
    pub(super) fn listen_at(&mut self, at: &HostPort) -> Result<(), BindError> {
        let (keys, scratch) = self.shared()?;
        let acceptor = TcpAcceptor::bind(at, &keys, &scratch)
            .map_err(|error| BindError::Tcp { address: at.to_string(), error: error.into() })?;
        self.tcp_addresses.push(Address::tcp(at.with_port(acceptor.address().port())));
        self.all.push(Listening::Remote(acceptor));
        Ok(())
    }

    /// Returns what all sockets for other hosts share.
    fn shared(&mut self) -> Result<(Arc<[SharedKey]>, Arc<Scratch>), BindError> {
        if let Some(shared) = &self.shared {
            return Ok(shared.clone());
        }
        let keys: Result<Arc<[SharedKey]>, TooShort> = self.keys.iter().map(SharedKey::of).collect();
        let keys = keys.map_err(|TooShort { bytes }| BindError::KeyTooShort { bytes })?;
        Ok(self.shared.insert((keys, Scratch::new())).clone())
    }
}
