//! A memcached with probes, started for one test.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::until;

/// The releases that `make memcached` builds, with their numbers.
pub const RELEASES: [(&str, u32); 2] = [("1.6.18", 18), ("1.6.38", 38)];

/// Where `make memcached` puts the memcached of `release`.
///
/// # Panics
///
/// When it is not there: a test that cannot run has not passed.
pub fn program(release: &str) -> PathBuf {
    let folder = std::env::var_os("MCREC_MEMCACHED").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(3).unwrap().join("memcached")
        },
        PathBuf::from,
    );
    let program = folder.join(format!("memcached-{release}"));
    assert!(program.exists(), "{} is not there: run `make memcached`", program.display());
    program
}

pub struct Server {
    pub process: Child,
    pub address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts memcached `release` on a free port of the loopback interface.
    pub fn start(release: &str, arguments: &[&str]) -> Self {
        Self::start_program(&program(release), arguments)
    }

    /// Starts the memcached at `program`.
    pub fn start_program(program: &std::path::Path, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port_file = folder.path().join("port");
        let mut process = Command::new(program)
            .args(["-u", "root", "-l", "127.0.0.1", "-p", "-1", "-I", "2m", "-m", "512"])
            .args(arguments)
            .env("MEMCACHED_PORT_FILENAME", &port_file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let port = until("memcached to listen", || {
            assert!(process.try_wait().unwrap().is_none(), "memcached did not start");
            let text = fs::read_to_string(&port_file).ok()?;
            text.lines().find_map(|line| line.strip_prefix("TCP INET: ")?.trim().parse().ok())
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        until("memcached to accept", || TcpStream::connect(address).ok());
        Self { process, address, _folder: folder }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
