//! Sockets and child processes: the only file of the room that has an effect.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Network, Reach, mdns, plain};

/// Port and group of multicast DNS.
pub const MDNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), 5353);
/// Most bytes that are kept of what a program prints.
const MAX_OUTPUT: u64 = 1 << 20;
/// Most bytes of one line.
const MAX_LINE: u64 = 64 << 10;
/// How often a child is looked at.
const TICK: Duration = Duration::from_millis(10);
/// When a question is asked again, after the first time.
const ASK_AGAIN: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// The network of the workstation.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// Port of SSH.
    pub port: u16,
    /// How long a connection or an answer may take.
    pub patience: Duration,
    /// Whom multicast DNS asks; [`MDNS`] but for tests.
    pub mdns: SocketAddr,
    /// Addresses of the workstation whose networks are asked by multicast.
    pub interfaces: Vec<Ipv4Addr>,
}

impl Network for Sockets {
    fn resolve(&self, name: &str) -> Vec<IpAddr> {
        match (name, self.port).to_socket_addrs() {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn multicast(&self, name: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for interface in &self.interfaces {
            // A network that cannot be asked has no answer either.
            found.extend(self.ask(*interface, name).unwrap_or_default());
        }
        found
    }

    fn connect(&self, ip: IpAddr) -> Reach {
        match TcpStream::connect_timeout(&SocketAddr::new(ip, self.port), self.patience) {
            Ok(_) => Reach::Ok,
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Reach::Refused,
                io::ErrorKind::TimedOut => Reach::Timeout,
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Reach::NoRoute,
                _ => Reach::Failed(plain(&error.to_string())),
            },
        }
    }
}

impl Sockets {
    /// Asks the network of one interface for the addresses of a name, again and again until an answer comes or
    /// patience ends.
    fn ask(&self, interface: Ipv4Addr, name: &str) -> io::Result<Vec<IpAddr>> {
        let question = mdns::question(name).map_err(io::Error::other)?;
        let socket = UdpSocket::bind((interface, 0))?;
        if self.mdns.ip().is_multicast() {
            rustix::net::sockopt::set_ip_multicast_if(&socket, &interface)?;
        }
        let begin = Instant::now();
        let end = begin + self.patience;
        let mut again = ASK_AGAIN.iter().map(|after| begin + *after);
        let mut next = Some(begin);
        let mut buffer = [0; 9000];
        loop {
            let now = Instant::now();
            if next.is_some_and(|at| at <= now) {
                socket.send_to(&question, self.mdns)?;
                next = again.next();
            }
            let until = next.map_or(end, |at| at.min(end));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if until == end {
                    return Ok(Vec::new());
                }
                continue;
            }
            socket.set_read_timeout(Some(left))?;
            match socket.recv_from(&mut buffer) {
                Ok((len, _)) => {
                    let found = mdns::answers(&buffer[..len], name);
                    if !found.is_empty() {
                        return Ok(found);
                    }
                }
                Err(error) if is_wait(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// The address from which this machine would talk to another one; nothing is sent.
#[must_use]
pub fn own_address_towards(ip: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((ip, MDNS.port())).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) => Some(own),
        IpAddr::V6(_) => None,
    }
}

/// A program that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Whether it was stopped because time was up.
    pub late: bool,
    /// What it printed, the first MiB.
    pub stdout: String,
    /// Its complaints, as much.
    pub stderr: String,
}

/// Runs `ssh` with something to read until it ends, time is up or `cancel` is set.
///
/// # Errors
/// It cannot be started.
pub fn ssh(words: &[OsString], input: &[u8], deadline: Instant, cancel: &AtomicBool) -> io::Result<Ended> {
    let mut child = Command::new("ssh")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // A program that ends without reading tells why by its exit code.
        std::thread::spawn(move || stdin.write_all(&input));
    }
    let (stdout, stderr) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let status = wait(&mut child, Some(deadline), cancel)?;
    // Something that it started may hold its pipes for longer than anybody wants to wait.
    let text = |from: mpsc::Receiver<Vec<u8>>| {
        let bytes = from.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(Ended {
        code: status.and_then(|s| s.code()),
        late: status.is_none(),
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

fn gather(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            // What came before an error is still worth reading.
            let _ = from.take(MAX_OUTPUT).read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

/// Waits for the end; stops the child, and gives `None`, when time is up or `cancel` is set.
fn wait(child: &mut Child, deadline: Option<Instant>, cancel: &AtomicBool) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if cancel.load(Ordering::Relaxed) || deadline.is_some_and(|end| Instant::now() >= end) {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(TICK);
    }
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Runs `ssh` with nothing to read, and hands on each line as it comes, without its end. Of what was printed, only the
/// complaints are kept.
///
/// # Errors
/// It cannot be started.
pub fn ssh_lines(
    words: &[OsString],
    each: &(dyn Fn(Stream, &str) + Sync),
    cancel: &AtomicBool,
) -> io::Result<Ended> {
    let mut child = Command::new("ssh")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(|| lines(out, &mut |line| each(Stream::Out, line)));
        let complaints = scope.spawn(|| {
            let mut kept = String::new();
            lines(err, &mut |line| {
                each(Stream::Err, line);
                if (kept.len() as u64) < MAX_OUTPUT {
                    kept.push_str(line);
                    kept.push('\n');
                }
            });
            kept
        });
        let status = wait(&mut child, None, cancel)?;
        Ok(Ended {
            code: status.and_then(|s| s.code()),
            late: false,
            stdout: String::new(),
            stderr: complaints.join().unwrap_or_default(),
        })
    })
}

fn lines(from: Option<impl Read>, each: &mut dyn FnMut(&str)) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        match from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                each(text.trim_end_matches(['\n', '\r']));
            }
        }
    }
}

/// What replaces this program by `ssh`, for a person at a terminal; it comes back only with an error.
#[must_use]
pub fn become_ssh(words: &[OsString]) -> io::Error {
    use std::os::unix::process::CommandExt as _;
    Command::new("ssh").args(words).exec()
}
