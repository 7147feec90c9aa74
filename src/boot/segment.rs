//! One Ethernet segment inside this process: a learning switch whose ports are Unix sockets.
//!
//! QEMU's `stream` network sends each frame with its length before it, as 4 bytes, the highest first. Sockets in a
//! folder that only the user may enter keep everybody else off the wire, which multicast on loopback would not.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Longest frame that a port takes, above anything that QEMU sends.
const LONGEST: usize = 128 << 10;
/// Frames that wait for a port that does not read; further ones are lost, as on any wire.
const QUEUE: usize = 1024;
/// Longest path of a Unix socket on the systems that we know, with its final zero.
const LONGEST_PATH: usize = 104;

type Frame = Arc<[u8]>;

#[derive(Default)]
struct State {
    /// Where each Ethernet address was seen last.
    seen: HashMap<[u8; 6], usize>,
    /// Ports with a machine behind them.
    plugged: Vec<Option<Plug>>,
    /// The port whose answers of DHCP are dropped.
    mute: Option<usize>,
}

struct Plug {
    frames: SyncSender<Frame>,
    stream: UnixStream,
}

#[derive(Default)]
struct Switch {
    state: Mutex<State>,
    closed: AtomicBool,
}

/// The segment; its sockets are removed when it is dropped.
pub struct Segment {
    switch: Arc<Switch>,
    ports: Vec<PathBuf>,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Segment({} ports)", self.ports.len())
    }
}

impl Segment {
    /// A segment with so many ports, as sockets in `folder`, which only the user may enter. `mute` is a port that
    /// may not serve DHCP.
    ///
    /// # Errors
    /// A socket cannot be made: the path of the folder is too long, or the folder is open to others.
    pub fn open(folder: &Path, ports: usize, mute: Option<usize>) -> io::Result<Self> {
        if fs::metadata(folder)?.permissions().mode() & 0o077 != 0 {
            let text = format!("`{}` is open to other users", folder.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let switch = Arc::new(Switch::default());
        {
            let mut state = switch.lock();
            state.mute = mute;
            state.plugged.resize_with(ports, || None);
        }
        let mut segment = Self {
            switch,
            ports: Vec::with_capacity(ports),
        };
        for port in 0..ports {
            let path = folder.join(format!("lan{port}"));
            if path.as_os_str().len() >= LONGEST_PATH {
                let text = format!("`{}` is too long for a socket", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
            }
            let listener = UnixListener::bind(&path)?;
            segment.ports.push(path);
            let switch = Arc::clone(&segment.switch);
            thread::spawn(move || switch.serve(port, &listener));
        }
        Ok(segment)
    }

    /// The socket of a port.
    #[must_use]
    pub fn port(&self, number: usize) -> &Path {
        &self.ports[number]
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        self.switch.closed.store(true, Ordering::Relaxed);
        for plug in self.switch.lock().plugged.drain(..).flatten() {
            // Whoever waits for frames is to notice.
            let _ = plug.stream.shutdown(Shutdown::Both);
        }
        for path in &self.ports {
            // Wakes who waits for a machine; the name goes either way.
            let _ = UnixStream::connect(path);
            let _ = fs::remove_file(path);
        }
    }
}

impl Switch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one machine after the other on a port.
    fn serve(&self, port: usize, listener: &UnixListener) {
        for stream in listener.incoming() {
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            let Ok(stream) = stream else { return };
            // A machine that breaks off was switched off.
            let _ = self.plug(port, stream);
            let mut state = self.lock();
            if let Some(place) = state.plugged.get_mut(port) {
                *place = None;
            }
            state.seen.retain(|_, at| *at != port);
        }
    }

    fn plug(&self, port: usize, mut stream: UnixStream) -> io::Result<()> {
        let (frames, queue) = sync_channel::<Frame>(QUEUE);
        let mut out = stream.try_clone()?;
        thread::spawn(move || {
            for frame in queue {
                let len = (frame.len() as u32).to_be_bytes();
                if out.write_all(&len).and_then(|()| out.write_all(&frame)).is_err() {
                    return;
                }
            }
        });
        let plug = Plug {
            frames,
            stream: stream.try_clone()?,
        };
        match self.lock().plugged.get_mut(port) {
            Some(place) => *place = Some(plug),
            None => return Ok(()),
        }
        loop {
            let mut len = [0; 4];
            stream.read_exact(&mut len)?;
            let len = u32::from_be_bytes(len) as usize;
            if len > LONGEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut frame = vec![0; len];
            stream.read_exact(&mut frame)?;
            self.forward(port, &frame.into());
        }
    }

    /// Sends a frame on: to the port of its receiver, or to all others.
    fn forward(&self, from: usize, frame: &Frame) {
        let (Some(to), Some(sender)) = (address(frame, 0), address(frame, 6)) else {
            return;
        };
        let mut state = self.lock();
        if state.mute == Some(from) && serves_dhcp(frame) {
            return;
        }
        // The lowest bit of the first byte marks groups.
        if sender[0] & 1 == 0 {
            state.seen.insert(sender, from);
        }
        let only = state.seen.get(&to).copied().filter(|_| to[0] & 1 == 0);
        for (port, plug) in state.plugged.iter().enumerate() {
            if port != from
                && only.is_none_or(|only| only == port)
                && let Some(plug) = plug
            {
                let _ = plug.frames.try_send(Arc::clone(frame));
            }
        }
    }
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

/// Whether a frame comes from a DHCP server: IPv4, UDP, from port 67.
fn serves_dhcp(frame: &[u8]) -> bool {
    let ip = frame.get(14..).unwrap_or_default();
    let header = usize::from(ip.first().copied().unwrap_or_default() & 0x0f) * 4;
    frame.get(12..14) == Some(&[0x08, 0x00])
        && ip.get(9) == Some(&17)
        && ip.get(header..header + 2) == Some(&[0, 67])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Guest(UnixStream);

    impl Guest {
        fn plug(segment: &Segment, port: usize) -> Self {
            let stream = UnixStream::connect(segment.port(port)).expect("connected");
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .expect("timeout");
            // Plugged in once the other side has taken it.
            for _ in 0..1000 {
                if segment.switch.lock().plugged[port].is_some() {
                    return Self(stream);
                }
                thread::sleep(Duration::from_millis(5));
            }
            panic!("port {port} takes nobody");
        }

        fn send(&mut self, to: u8, from: u8, rest: &[u8]) {
            let mut frame = vec![0, 0, 0, 0, 0, to, 0, 0, 0, 0, 0, from];
            if to == 0xff {
                frame[..6].fill(0xff);
            }
            frame.extend(rest);
            self.0
                .write_all(&(frame.len() as u32).to_be_bytes())
                .expect("sent");
            self.0.write_all(&frame).expect("sent");
        }

        /// What comes next, from its thirteenth byte on.
        fn next(&mut self) -> Vec<u8> {
            let mut len = [0; 4];
            self.0.read_exact(&mut len).expect("a frame");
            let mut frame = vec![0; u32::from_be_bytes(len) as usize];
            self.0.read_exact(&mut frame).expect("a whole frame");
            frame.split_off(12)
        }
    }

    fn folder() -> tempfile::TempDir {
        tempfile::Builder::new()
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .expect("folder")
    }

    #[test]
    fn frames_find_their_port_once_it_is_known() {
        let folder = folder();
        let segment = Segment::open(folder.path(), 3, None).expect("segment");
        let [mut a, mut b, mut c] = [0, 1, 2].map(|port| Guest::plug(&segment, port));
        a.send(2, 1, b"to whom it may concern");
        assert_eq!(b.next(), b"to whom it may concern");
        assert_eq!(c.next(), b"to whom it may concern");
        b.send(1, 2, b"answer");
        assert_eq!(a.next(), b"answer");
        a.send(2, 1, b"for b alone");
        a.send(0xff, 1, b"for all");
        assert_eq!(b.next(), b"for b alone");
        assert_eq!(b.next(), b"for all");
        // Neither the answer nor what was for another came here.
        assert_eq!(c.next(), b"for all");
    }

    #[test]
    fn a_machine_may_go_and_come_again() {
        let folder = folder();
        let segment = Segment::open(folder.path(), 2, None).expect("segment");
        let [mut a, b] = [0, 1].map(|port| Guest::plug(&segment, port));
        drop(b);
        while segment.switch.lock().plugged[1].is_some() {
            thread::sleep(Duration::from_millis(5));
        }
        a.send(2, 1, b"into the void");
        // Lost only once the switch has seen it.
        while !segment.switch.lock().seen.contains_key(&[0, 0, 0, 0, 0, 1]) {
            thread::sleep(Duration::from_millis(5));
        }
        let mut b = Guest::plug(&segment, 1);
        a.send(2, 1, b"again");
        assert_eq!(b.next(), b"again");
    }

    #[test]
    fn who_does_not_read_holds_nobody_up() {
        let folder = folder();
        let segment = Segment::open(folder.path(), 3, None).expect("segment");
        let [mut a, _deaf, mut c] = [0, 1, 2].map(|port| Guest::plug(&segment, port));
        let reader = thread::spawn(move || {
            let mut last = c.next();
            while last != b"end" {
                last = c.next();
            }
        });
        for _ in 0..2000 {
            a.send(0xff, 1, &[7; 1500]);
        }
        // The reader may be behind by a whole queue, too.
        for _ in 0..200 {
            a.send(0xff, 1, b"end");
            thread::sleep(Duration::from_millis(5));
            if reader.is_finished() {
                break;
            }
        }
        reader.join().expect("heard the end");
    }

    #[test]
    fn one_port_may_not_serve_dhcp() {
        let folder = folder();
        let segment = Segment::open(folder.path(), 2, Some(0)).expect("segment");
        let [mut host, mut node] = [0, 1].map(|port| Guest::plug(&segment, port));
        let udp = |source: u8| {
            let mut packet = vec![0x08, 0x00, 0x45];
            packet.resize(2 + 20, 0);
            packet[2 + 9] = 17;
            packet.extend([0, source, 0, 68]);
            packet
        };
        host.send(0xff, 1, &udp(67));
        host.send(0xff, 1, &udp(53));
        assert_eq!(node.next(), udp(53));
        node.send(0xff, 2, &udp(67));
        assert_eq!(host.next(), udp(67));
    }

    #[test]
    fn a_folder_that_is_open_or_too_long_is_refused() {
        let folder = folder();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("mode");
        let error = Segment::open(folder.path(), 1, None).expect_err("open to others");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let long = folder.path().join("x".repeat(100));
        fs::create_dir(&long).expect("folder");
        fs::set_permissions(&long, fs::Permissions::from_mode(0o700)).expect("mode");
        let error = Segment::open(&long, 1, None).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename);
    }

    #[test]
    fn sockets_go_with_their_segment() {
        let folder = folder();
        let segment = Segment::open(folder.path(), 2, None).expect("segment");
        let _guest = Guest::plug(&segment, 0);
        drop(segment);
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
    }
}
