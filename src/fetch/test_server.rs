//! An HTTP server on loopback that can be told to misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The target as it stood in the first line.
    pub target: String,
    headers: Vec<(String, String)>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What it gets.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
    stall: Option<usize>,
}

impl Reply {
    pub fn new(status: u16, body: &[u8]) -> Self {
        Self {
            status,
            headers: vec![("Content-Length".to_owned(), body.len().to_string())],
            body: body.to_vec(),
            cut: None,
            stall: None,
        }
    }

    /// The file as a good server sends it: whole, or the range asked for when `If-Range` names this version.
    pub fn file(request: &Request, data: &[u8], etag: &str) -> Self {
        let same = request.header("if-range").is_none_or(|tag| tag == etag);
        let range = request.header("range").filter(|_| same);
        let from = range.and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let reply = match from {
            None => Self::new(200, data),
            Some(from) if from >= data.len() => {
                Self::new(416, b"").with("Content-Range", &format!("bytes */{}", data.len()))
            }
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", data.len() - 1, data.len());
                Self::new(206, &data[from..]).with("Content-Range", &range)
            }
        };
        reply.with("ETag", etag)
    }

    pub fn redirect(to: &str) -> Self {
        Self::new(302, b"").with("Location", to)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Drops the connection after so many bytes of the body.
    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    /// Falls silent after so many bytes of the body.
    pub fn stall(mut self, after: usize) -> Self {
        self.stall = Some(after);
        self
    }

    /// Says nothing about the length.
    pub fn without_length(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "Content-Length");
        self
    }
}

type Answer = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// Answers each request with what a function says; gone when dropped.
pub struct TestServer {
    addr: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl TestServer {
    /// `answer` gets the request and how many came before it.
    pub fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (log, stopped) = (Arc::clone(&log), Arc::clone(&stopped));
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || serve(stream.unwrap(), &answer, &log, &stopped));
            }
        });
        Self { addr, requests, stop }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(mut stream: TcpStream, answer: &Arc<Answer>, log: &Mutex<Vec<Request>>, stopped: &AtomicBool) {
    let Some(request) = read_request(&stream) else {
        return;
    };
    let turn = {
        let mut log = log.lock().unwrap();
        log.push(request.clone());
        log.len() - 1
    };
    let reply = answer(&request, turn);
    let mut head = format!("HTTP/1.1 {} Word\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let end = reply
        .cut
        .or(reply.stall)
        .unwrap_or(reply.body.len())
        .min(reply.body.len());
    // The client may hang up whenever it likes.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&reply.body[..end]);
    let _ = stream.flush();
    for _ in 0..200 {
        if reply.stall.is_none() || stopped.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let target = first.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(Request { target, headers })
}
