//! The only code that opens connections: one request at a time, on a thread of its own.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{StatusCode, Url};

use super::error::{FetchError, Result};
use super::{Fetcher, Patience};
use crate::values::shown_url;

const REDIRECTS: usize = 10;
/// Bytes handed over at a time, and how many such pieces wait at most: 1 MiB in all.
const CHUNK: usize = 128 << 10;
const CHUNKS: usize = 8;
/// A list of checksums is not larger than this.
const TEXT_LIMIT: usize = 4 << 20;
/// How often a stop is looked for while nothing arrives.
const GLANCE: Duration = Duration::from_millis(50);

/// The client, made when the first connection is wanted.
#[derive(Debug, Default)]
pub(super) struct Http(OnceLock<std::result::Result<Client, String>>);

/// What the server says about the body that follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Whether the body is the range that was asked for (206).
    pub partial: bool,
    /// Strong entity tag.
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// Length of the whole file.
    pub total: Option<u64>,
    /// First byte of the body.
    pub start: u64,
}

/// Why a request brought nothing, or stopped bringing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub kind: FailureKind,
    pub detail: String,
    /// What the server asked to wait.
    pub retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// No connection came about.
    Unreachable,
    /// May pass: a break, a stall, an overloaded server.
    Passing,
    /// Will not pass.
    Lasting,
    /// The range asked for does not exist (416).
    BadRange,
}

/// What the thread of a request tells.
#[derive(Debug)]
pub(super) enum Told {
    Head(Head),
    Data(Vec<u8>),
    End,
    Failed(Failure),
}

/// Part of a file: from this byte on, if it is still the file that this validator names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resume {
    pub from: u64,
    pub if_range: Option<String>,
}

impl Http {
    fn client(&self, patience: &Patience) -> std::result::Result<Client, String> {
        let made = self.0.get_or_init(|| {
            // A provider may be installed already; any will do.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let builder = || {
                Client::builder()
                    .user_agent(concat!("ceil-img/", env!("CARGO_PKG_VERSION")))
                    .connect_timeout(patience.stall)
                    .timeout(patience.stall)
                    .pool_max_idle_per_host(0)
                    .redirect(Policy::custom(follow))
            };
            // A host without certificates of its own still reaches plain http; https then fails by itself.
            let build = builder()
                .build()
                .or_else(|_| builder().tls_certs_only([]).build());
            build.map_err(|e| chain(&e))
        });
        made.clone()
    }

    /// Asks for `url`; the answer comes through the channel. Dropping the receiver ends the request at its next
    /// piece or time-out.
    pub(super) fn get(&self, url: &Url, resume: Option<Resume>, patience: &Patience) -> Receiver<Told> {
        let (send, receive) = sync_channel(CHUNKS);
        match self.client(patience) {
            Ok(client) => {
                let url = url.clone();
                std::thread::spawn(move || exchange(&client, url, resume, &send));
            }
            Err(detail) => {
                let _ = send.send(Told::Failed(Failure {
                    kind: FailureKind::Lasting,
                    detail,
                    retry_after: None,
                }));
            }
        }
        receive
    }
}

fn follow(attempt: Attempt<'_>) -> Action {
    match redirect_problem(attempt.previous(), attempt.url()) {
        None => attempt.follow(),
        Some(problem) => attempt.error(problem),
    }
}

/// Why a redirect is refused.
fn redirect_problem(previous: &[Url], next: &Url) -> Option<String> {
    if previous.len() > REDIRECTS {
        return Some(format!("more than {REDIRECTS} redirects"));
    }
    match (previous.last().map(Url::scheme), next.scheme()) {
        (Some("https"), "http") => Some(format!(
            "redirected from https to `{}`, which is not encrypted",
            shown_url(next.as_str())
        )),
        (_, "http" | "https") => None,
        (_, _) => Some(format!(
            "redirected to `{}`, which is neither http nor https",
            shown_url(next.as_str())
        )),
    }
}

fn exchange(client: &Client, url: Url, resume: Option<Resume>, send: &SyncSender<Told>) {
    let told = request(client, url, resume).and_then(|(head, mut response)| {
        let rest = head.total.map(|total| total.saturating_sub(head.start));
        if send.send(Told::Head(head)).is_err() {
            return Ok(());
        }
        body(&mut response, rest, send)
    });
    if let Err(failure) = told {
        let _ = send.send(Told::Failed(failure));
    }
}

fn request(
    client: &Client,
    url: Url,
    resume: Option<Resume>,
) -> std::result::Result<(Head, Response), Failure> {
    let mut request = client.get(url).header(ACCEPT_ENCODING, "identity");
    if let Some(resume) = &resume {
        request = request.header(RANGE, format!("bytes={}-", resume.from));
        if let Some(validator) = &resume.if_range {
            request = request.header(IF_RANGE, validator);
        }
    }
    let response = request.send().map_err(|e| failure_of(&e.without_url()))?;
    let headers = response.headers();
    let text = |name: HeaderName| text_of(headers, name);
    let mut head = Head {
        partial: false,
        etag: text(ETAG).filter(|tag| !tag.starts_with("W/")),
        last_modified: text(LAST_MODIFIED),
        total: None,
        start: 0,
    };
    match response.status() {
        StatusCode::OK => head.total = response.content_length(),
        StatusCode::PARTIAL_CONTENT if resume.is_some() => {
            let range = text(CONTENT_RANGE).and_then(|range| content_range(&range));
            let (start, total) =
                range.ok_or_else(|| lasting("the server sent a part without saying which"))?;
            head.partial = true;
            (head.start, head.total) = (start, total);
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            return Err(Failure {
                kind: FailureKind::BadRange,
                ..lasting("the server does not have the rest of the file")
            });
        }
        status => {
            let passing = status.is_server_error()
                || status == StatusCode::TOO_MANY_REQUESTS
                || status == StatusCode::REQUEST_TIMEOUT;
            let retry_after = text(RETRY_AFTER).and_then(|t| t.trim().parse().ok());
            return Err(Failure {
                kind: if passing {
                    FailureKind::Passing
                } else {
                    FailureKind::Lasting
                },
                detail: format!("the server answered {status}"),
                retry_after: retry_after.map(Duration::from_secs),
            });
        }
    }
    Ok((head, response))
}

fn body(
    response: &mut Response,
    rest: Option<u64>,
    send: &SyncSender<Told>,
) -> std::result::Result<(), Failure> {
    let mut brought = 0u64;
    loop {
        let mut buf = vec![0; CHUNK];
        let n = response
            .read(&mut buf)
            .map_err(|e| passing(&format!("the connection broke ({})", chain(&e))))?;
        if n == 0 {
            break;
        }
        buf.truncate(n);
        brought += n as u64;
        if send.send(Told::Data(buf)).is_err() {
            return Ok(());
        }
    }
    if let Some(rest) = rest
        && brought != rest
    {
        return Err(passing(&format!(
            "the server announced {rest} bytes and sent {brought}"
        )));
    }
    let _ = send.send(Told::End);
    Ok(())
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// First byte and whole length from `bytes 100-199/200`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

fn passing(detail: &str) -> Failure {
    Failure {
        kind: FailureKind::Passing,
        detail: detail.to_owned(),
        retry_after: None,
    }
}

fn lasting(detail: &str) -> Failure {
    Failure {
        kind: FailureKind::Lasting,
        ..passing(detail)
    }
}

fn failure_of(error: &reqwest::Error) -> Failure {
    let detail = chain(error);
    // A certificate that is not trusted stays so, and is no reason to say that the host is away.
    let distrust = detail.contains("certificate") || detail.contains("UnknownIssuer");
    let kind = if error.is_redirect() || error.is_builder() || distrust {
        FailureKind::Lasting
    } else if error.is_connect() || error.is_timeout() {
        FailureKind::Unreachable
    } else {
        FailureKind::Passing
    };
    Failure {
        kind,
        detail,
        retry_after: None,
    }
}

/// The innermost reasons; the outer ones only repeat the URL.
fn chain(error: &dyn std::error::Error) -> String {
    let mut all = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if all.last() != Some(&text) {
            all.push(text);
        }
        next = error.source();
    }
    let from = usize::from(all.len() > 1);
    all[from..].join(": ")
}

impl Fetcher {
    /// The next thing a request tells, or a stop.
    pub(super) fn hear(&self, told: &Receiver<Told>) -> Result<Told> {
        loop {
            match told.recv_timeout(GLANCE) {
                Ok(told) => return Ok(told),
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Told::Failed(passing("the connection ended without a word")));
                }
                Err(RecvTimeoutError::Timeout) if self.cancelled() => return Err(FetchError::Cancelled),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits before retry number `attempt` (from 1 on), as long as the server asked within bounds.
    pub(super) fn pause(&self, attempt: u32, asked: Option<Duration>) -> Result<()> {
        let patience = &self.options.patience;
        let doubled = patience
            .first_pause
            .saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let mut left = asked.unwrap_or(doubled).min(patience.longest_pause);
        while !left.is_zero() {
            if self.cancelled() {
                return Err(FetchError::Cancelled);
            }
            let step = left.min(GLANCE);
            std::thread::sleep(step);
            left -= step;
        }
        Ok(())
    }

    /// The URLs to try for one file, in order: configured mirrors, the place itself, mirrors of the request.
    pub(super) fn places(&self, url: &str, more: &[String]) -> Result<Vec<Url>> {
        let mirrored = self.options.mirrors.iter();
        let mirrored =
            mirrored.filter_map(|(from, to)| Some(format!("{to}{}", url.strip_prefix(from.as_str())?)));
        let all = mirrored.chain([url.to_owned()]).chain(more.iter().cloned());
        all.map(|url| web_url(&url)).collect()
    }

    /// A small text file, such as a list of checksums.
    pub(super) fn fetch_text(&self, url: &str) -> Result<String> {
        if self.options.offline {
            return Err(FetchError::Offline { url: shown_url(url) });
        }
        let mut last = None;
        for place in self.places(url, &[])? {
            for attempt in 0..=self.options.patience.retries {
                match self.text_once(&place)? {
                    Ok(text) => return Ok(text),
                    Err(failure) => {
                        let lasting = failure.kind == FailureKind::Lasting;
                        let asked = failure.retry_after;
                        last = Some(failure_error(&place, failure));
                        if lasting || attempt == self.options.patience.retries {
                            break;
                        }
                        self.pause(attempt + 1, asked)?;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| FetchError::Offline { url: shown_url(url) }))
    }

    fn text_once(&self, url: &Url) -> Result<std::result::Result<String, Failure>> {
        let told = self.http.get(url, None, &self.options.patience);
        let mut data = Vec::new();
        loop {
            match self.hear(&told)? {
                Told::Head(_) => {}
                Told::Data(piece) if data.len() + piece.len() > TEXT_LIMIT => {
                    return Ok(Err(lasting("it is too large for a list of checksums")));
                }
                Told::Data(piece) => data.extend(piece),
                Told::End => return Ok(String::from_utf8(data).map_err(|_| lasting("it is not text"))),
                Told::Failed(failure) => return Ok(Err(failure)),
            }
        }
    }
}

/// An http or https URL.
pub(super) fn web_url(text: &str) -> Result<Url> {
    let bad = |detail: String| FetchError::BadUrl {
        url: shown_url(text),
        detail,
    };
    let url = Url::parse(text).map_err(|e| bad(e.to_string()))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(bad(format!("`{other}` is not supported"))),
    }
}

/// The error that a failure becomes when nothing else is left to try.
pub(super) fn failure_error(url: &Url, failure: Failure) -> FetchError {
    match failure.kind {
        FailureKind::Unreachable => FetchError::Unreachable {
            host: url.host_str().unwrap_or_default().to_owned(),
            url: shown_url(url.as_str()),
            detail: failure.detail,
        },
        _ => FetchError::Download {
            url: shown_url(url.as_str()),
            detail: failure.detail,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(texts: &[&str]) -> Vec<Url> {
        texts.iter().map(|t| Url::parse(t).unwrap()).collect()
    }

    #[test]
    fn a_redirect_may_not_leave_encryption() {
        let to = |from: &str, to: &str| redirect_problem(&urls(&[from]), &urls(&[to])[0]);
        assert_eq!(to("https://a/", "https://b/"), None);
        assert_eq!(to("http://a/", "https://b/"), None);
        assert_eq!(to("http://a/", "http://b/"), None);
        assert!(to("https://a/", "http://b/").unwrap().contains("not encrypted"));
        assert!(to("https://a/", "ftp://b/").unwrap().contains("neither"));
        let downgrade = urls(&["http://a/", "https://a/"]);
        assert!(redirect_problem(&downgrade, &urls(&["http://b/"])[0]).is_some());
    }

    #[test]
    fn reads_content_ranges() {
        assert_eq!(content_range("bytes 100-199/200"), Some((100, Some(200))));
        assert_eq!(content_range("bytes 0-9/*"), Some((0, None)));
        assert_eq!(content_range("lines 1-2/3"), None);
        assert_eq!(content_range("bytes */200"), None);
    }
}
