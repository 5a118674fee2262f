//! The memcached that is driven: where it is, and how it is connected to.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    os::fd::OwnedFd,
    path::PathBuf,
};

use anyhow::{Context, Result, anyhow};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, ipproto, socket_with,
        sockopt,
    },
};

/// Where the target listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// By TCP.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// Finds what `text` names: `HOST:PORT`, or `unix:PATH`.
    ///
    /// # Errors
    ///
    /// When it is no address, or the host has none.
    pub(crate) fn find(text: &str) -> Result<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let mut found = text.to_socket_addrs().map_err(|error| {
            anyhow!("{text} is no target ({error}): write it as HOST:PORT or unix:PATH")
        })?;
        let address = found.next().with_context(|| format!("{text} has no address"))?;
        Ok(Self::Tcp(address))
    }

    /// Begins to connect. Returns the socket, and whether it is connected already.
    ///
    /// # Errors
    ///
    /// When it is refused at once, or there are no more sockets.
    pub(crate) fn connect(&self) -> Result<(OwnedFd, bool), Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, connected) = match self {
            Self::Tcp(address) => {
                let family = match address {
                    SocketAddr::V4(_) => AddressFamily::INET,
                    SocketAddr::V6(_) => AddressFamily::INET6,
                };
                let protocol = Some(ipproto::TCP);
                let socket = socket_with(family, SocketType::STREAM, flags, protocol)?;
                sockopt::set_tcp_nodelay(&socket, true)?;
                let connected = connect(&socket, address);
                (socket, connected)
            }
            Self::Unix(path) => {
                let address = SocketAddrUnix::new(path)?;
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                let connected = connect(&socket, &address);
                (socket, connected)
            }
        };
        match connected {
            Ok(()) => Ok((socket, true)),
            Err(Errno::INPROGRESS) => Ok((socket, false)),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
