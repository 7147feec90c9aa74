use std::io::{self, BufRead, Read};

use liblzma::stream::{Action, Error, MtStreamBuilder, Status, Stream};

const MAGIC: &[u8] = &[0xFD, b'7', b'z', b'X', b'Z', 0];

/// How much memory the decoder may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct XzLimits {
    /// Threads at most.
    pub threads: u32,
    /// Bytes up to which more threads are started. liblzma counts the compressed and the decompressed form of
    /// each block in flight plus the dictionaries; a file that needs more is decoded on one thread.
    pub threading: u64,
    /// Bytes that are never passed; a file whose dictionary is larger is refused.
    pub stop: u64,
}

/// Reads an xz file of one or several streams, each of one or several blocks; blocks decode side by side.
pub(super) struct XzReader<R> {
    input: R,
    limits: XzLimits,
    stream: Option<Stream>,
    streams: u64,
}

impl<R: BufRead> XzReader<R> {
    pub(super) fn new(input: R, limits: XzLimits) -> Self {
        Self {
            input,
            limits,
            stream: None,
            streams: 0,
        }
    }

    fn decoder(&self) -> io::Result<Stream> {
        // A time-out makes the decoder hand over what it has; without one it may keep a cancel waiting.
        MtStreamBuilder::new()
            .threads(self.limits.threads.max(1))
            .memlimit_threading(self.limits.threading)
            .memlimit_stop(self.limits.stop)
            .timeout_ms(300)
            .decoder()
            .map_err(|e| io::Error::other(words(&e)))
    }

    /// Starts the next stream; false at the end of the file. Between streams there may be padding: zeroes in
    /// multiples of four bytes.
    fn next_stream(&mut self) -> io::Result<bool> {
        let mut padding = 0u64;
        loop {
            let data = self.input.fill_buf()?;
            let zeroes = data.iter().take_while(|&&b| b == 0).count();
            let at_end = data.is_empty();
            let more = zeroes < data.len();
            self.input.consume(zeroes);
            padding += zeroes as u64;
            if (at_end || more) && (!padding.is_multiple_of(4) || (padding > 0 && self.streams == 0)) {
                return Err(invalid("the padding after the xz data is not whole"));
            }
            if at_end {
                return Ok(false);
            }
            if more {
                break;
            }
        }
        let data = self.input.fill_buf()?;
        if self.streams > 0 && !data.iter().zip(MAGIC).all(|(a, b)| a == b) {
            return Err(invalid("something else follows the xz data"));
        }
        self.stream = Some(self.decoder()?);
        self.streams += 1;
        Ok(true)
    }
}

impl<R: BufRead> Read for XzReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.stream.is_none() && !self.next_stream()? {
                return Ok(0);
            }
            let Some(stream) = &mut self.stream else {
                return Ok(0);
            };
            let data = self.input.fill_buf()?;
            let at_end = data.is_empty();
            let action = if at_end { Action::Finish } else { Action::Run };
            let (in_before, out_before) = (stream.total_in(), stream.total_out());
            let status = stream.process(data, out, action).map_err(|e| match e {
                Error::Data | Error::Format => invalid(words(&e)),
                other => io::Error::other(words(&other)),
            })?;
            let taken = (stream.total_in() - in_before) as usize;
            let given = (stream.total_out() - out_before) as usize;
            self.input.consume(taken);
            match status {
                Status::StreamEnd => self.stream = None,
                Status::MemNeeded if at_end && given == 0 => return Err(cut_short()),
                _ => {}
            }
            if given > 0 {
                return Ok(given);
            }
        }
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the xz data ends too early")
}

fn words(error: &Error) -> &'static str {
    match error {
        Error::Data => "the xz data does not match its own checks",
        Error::Format => "the xz header is not valid",
        Error::Options => "the xz data uses options that are not supported",
        Error::MemLimit => "the xz data needs more memory than the limit allows",
        Error::Mem => "there is not enough memory to decode the xz data",
        Error::NoCheck | Error::UnsupportedCheck => {
            "the xz data uses an integrity check that is not supported"
        }
        Error::Program => "the xz decoder reports an internal error",
    }
}
