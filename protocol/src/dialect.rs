//! What is known of a server before anything was seen of it.

use crate::release::Release;

/// What is known of the server and changes how requests are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Its release; where that is not known, it is taken to be the newest.
    pub release: Option<Release>,
    /// The server was started with `-Y`: a connection begins by authenticating.
    pub authenticates: bool,
    /// The protocols it listens for (`-B`).
    pub binding: Binding,
    /// The server passes requests on to others (`-o proxy_config`): it may answer with an error
    /// though no reply was asked for, and one key of several may have one.
    pub proxies: bool,
}

/// Which protocol a connection may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// Its first byte tells.
    #[default]
    Auto,
    /// Text and meta only.
    Text,
    /// Binary only.
    Binary,
}
