//! A memcached with probes, started for one test.

use std::{
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::until;

/// The releases that `make memcached` builds, with their numbers.
pub const RELEASES: [(&str, u32); 2] = [("1.6.18", 18), ("1.6.38", 38)];

/// Those of its builds that have no probes and a release each.
pub const WITHOUT_PROBES: [&str; 3] = ["debian-1.6.18", "plain-1.6.38", "plain-1.6.45"];

/// The one that has its C library in itself, so that its calls cannot be seen there.
pub const STATIC: &str = "static-1.6.38";

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

/// Where a memcached listens.
#[derive(Clone, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A client's end of a connection.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Address {
    pub fn connect(&self) -> io::Result<Stream> {
        // So that a test that goes wrong ends.
        let patience = Some(Duration::from_secs(60));
        Ok(match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)?;
                Stream::Tcp(stream)
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(patience)?;
                stream.set_write_timeout(patience)?;
                Stream::Unix(stream)
            }
        })
    }
}

impl Stream {
    pub fn try_clone(&self) -> Self {
        match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone().unwrap()),
            Self::Unix(stream) => Self::Unix(stream.try_clone().unwrap()),
        }
    }

    /// What captures call its client.
    pub fn client(&self) -> String {
        match self {
            Self::Tcp(stream) => stream.local_addr().unwrap().to_string(),
            Self::Unix(_) => "unix".to_owned(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub struct Server {
    pub process: Child,
    /// Of no use for one that listens on a Unix socket.
    pub address: SocketAddr,
    socket: Option<PathBuf>,
    /// Connections of its own, to other servers.
    others: usize,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Starts a memcached with one worker that passes all requests for keys on to `server`.
    pub fn start_proxy(server: &Self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("proxy.lua");
        let lua = include_str!("proxy.lua").replace("PORT", &server.address.port().to_string());
        fs::write(&config, lua).unwrap();
        let option = format!("proxy_config={}", config.display());
        let mut proxy = Self::listening(&program("proxy-1.6.38"), &["-t", "1", "-o", &option], &[]);
        proxy.others = 1;
        Self::accepting(proxy)
    }

    /// Starts memcached `release` on a free port of the loopback interface.
    pub fn start(release: &str, arguments: &[&str]) -> Self {
        Self::start_program(&program(release), arguments)
    }

    /// Starts the memcached at `program`.
    pub fn start_program(program: &Path, arguments: &[&str]) -> Self {
        Self::start_with(program, arguments, &[])
    }

    /// Starts the memcached at `program` with more variables in its environment.
    pub fn start_with(program: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> Self {
        Self::accepting(Self::listening(program, arguments, variables))
    }

    fn listening(program: &Path, arguments: &[&str], variables: &[(&str, &Path)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // It may be another user's by the time it says where it listens.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let port_file = folder.path().join("port");
        let mut command = Self::command(program, arguments);
        command
            .args(["-l", "127.0.0.1", "-p", "-1"])
            .envs(variables.iter().copied())
            .env("MEMCACHED_PORT_FILENAME", &port_file);
        // A program that a test has just copied is busy for as long as a process that
        // another test was starting meanwhile still has it open.
        let mut process = until("memcached to be started", || match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
            started => Some(started.unwrap()),
        });
        let port = until("memcached to listen", || {
            assert!(process.try_wait().unwrap().is_none(), "memcached did not start");
            let text = fs::read_to_string(&port_file).ok()?;
            text.lines().find_map(|line| line.strip_prefix("TCP INET: ")?.trim().parse().ok())
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { process, address, socket: None, others: 0, _folder: folder }
    }

    /// Starts memcached `release` on a Unix socket and on nothing else.
    pub fn start_unix(release: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let process =
            Self::command(&program(release), arguments).arg("-s").arg(&socket).spawn().unwrap();
        let address = SocketAddr::from(([0; 4], 0));
        let socket = Some(socket);
        Self::accepting(Self { process, address, socket, others: 0, _folder: folder })
    }

    fn command(program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["-u", "root", "-I", "2m", "-m", "512"]).args(arguments).stdin(Stdio::null());
        command
    }

    /// Returns once it accepts, and has forgotten the connection that tried it.
    fn accepting(self) -> Self {
        let mut stream = until("memcached to accept", || self.endpoint().connect().ok());
        // Answered or hung up on, whatever it was told to listen for: it is longer than
        // the header of a packet. So it was accepted, and one socket is its own.
        stream.write_all(&b"version\r\n".repeat(3)).unwrap();
        let _ = stream.read(&mut [0]);
        drop(stream);
        self.settle(0);
        self
    }

    /// Where its clients connect.
    pub fn endpoint(&self) -> Address {
        self.socket.clone().map_or(Address::Tcp(self.address), Address::Unix)
    }

    /// Waits until all connections but `open` are closed and nothing is left to do.
    pub fn settle(&self, open: usize) {
        until("memcached to close its connections", || {
            // One more listens.
            (self.count_sockets() == open + self.others + 1 && self.is_asleep()).then_some(())
        });
    }

    /// Waits until the server has read all that `client`, an address, sent by TCP.
    pub fn reads(&self, client: &str) {
        let client: SocketAddr = client.parse().unwrap();
        until("memcached to read", || {
            let sockets = procfs::net::tcp().unwrap();
            let socket = sockets.iter().find(|socket| socket.remote_address == client)?;
            (socket.rx_queue == 0).then_some(())
        });
    }

    fn count_sockets(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let links = folder.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        // Each worker has those for datagrams for as long as it runs.
        let of_datagrams: Vec<PathBuf> = procfs::net::udp()
            .unwrap()
            .iter()
            .map(|entry| format!("socket:[{}]", entry.inode).into())
            .collect();
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .filter(|link| !of_datagrams.contains(link))
            .count()
    }

    /// Every thread waits: none is between a system call and what it shows.
    pub fn is_asleep(&self) -> bool {
        let process = procfs::process::Process::new(self.pid().cast_signed()).unwrap();
        process.tasks().unwrap().flatten().all(|task| task.stat().is_ok_and(|s| s.state == 'S'))
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
