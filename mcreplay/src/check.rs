//! Which targets are refused: a replay writes, deletes and flushes.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::{Result, bail};
use mcrec_schema::footer::Footer;

use crate::target::Target;

/// Refuses a target that may be somebody's, and always the server that was recorded.
///
/// # Errors
///
/// When it is refused, with the way out.
pub(crate) fn check<'a>(
    target: &Target,
    footers: impl Iterator<Item = &'a Footer>,
    yes_really: bool,
) -> Result<()> {
    for footer in footers {
        if is_recorded(target, footer) {
            bail!(
                "{target} is the memcached that was recorded (pid {} on {}): a replay would \
                 overwrite what it holds. Start another one to replay to, on another port",
                footer.target.pid,
                footer.capture.host
            );
        }
    }
    match target {
        Target::Tcp(address) if !is_private(address.ip()) && !yes_really => bail!(
            "{target} is neither a loopback nor a private address, and a replay writes, deletes \
             and flushes: add --yes-really if that memcached is there to be tested"
        ),
        _ => Ok(()),
    }
}

/// An address that is reached from this host or its own network only.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(it) => it.is_loopback() || it.is_private() || it.is_link_local(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local(),
    }
}

/// Whether `target` is where the recorded memcached listened.
fn is_recorded(target: &Target, footer: &Footer) -> bool {
    let here = footer.capture.host == host();
    let listening = footer.target.listening.iter();
    match target {
        Target::Unix(path) => {
            let canonical = |path: &str| std::fs::canonicalize(path).ok();
            let own = std::fs::canonicalize(path).ok();
            let mut sockets = listening.filter_map(|it| it.strip_prefix("unix:"));
            here && sockets
                .any(|it| path.as_os_str() == it || (own.is_some() && canonical(it) == own))
        }
        Target::Tcp(address) => {
            let mut recorded = listening.filter_map(|it| it.parse::<SocketAddr>().ok());
            recorded.any(|it| is_same(*address, it, here))
        }
    }
}

/// Whether a connection to `target` comes to what listens on `recorded`, on this host or
/// not.
fn is_same(target: SocketAddr, recorded: SocketAddr, here: bool) -> bool {
    let (to, at) = (target.ip().to_canonical(), recorded.ip().to_canonical());
    let only_there = !at.is_loopback() && !at.is_unspecified();
    target.port() == recorded.port()
        && match here {
            true => to == at || (at.is_unspecified() && is_own(to)),
            false => only_there && to == at,
        }
}

/// Whether this host has `address`: then a socket can be bound to it.
fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified() || UdpSocket::bind((address, 0)).is_ok()
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{is_private, is_same};

    #[test]
    fn only_what_is_near_is_private() {
        for near in ["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "::1"] {
            assert!(is_private(near.parse().unwrap()), "{near}");
        }
        for near in ["fe80::1", "fd00::1", "::ffff:10.0.0.1", "169.254.1.1"] {
            assert!(is_private(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "172.32.0.1", "192.169.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!is_private(far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn the_recorded_server_is_known_by_its_addresses() {
        let same = |target: &str, recorded: &str, here| {
            is_same(target.parse().unwrap(), recorded.parse().unwrap(), here)
        };
        assert!(same("127.0.0.1:11211", "127.0.0.1:11211", true));
        assert!(same("127.0.0.1:11211", "0.0.0.0:11211", true));
        assert!(same("[::1]:11211", "[::]:11211", true));
        assert!(!same("127.0.0.1:11212", "0.0.0.0:11211", true));
        // Another host's loopback is not this one's.
        assert!(!same("127.0.0.1:11211", "127.0.0.1:11211", false));
        assert!(same("10.0.0.7:11211", "10.0.0.7:11211", false));
    }
}
