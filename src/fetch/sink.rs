//! The end of the pipe: raw bytes are hashed and written, with holes for zeroes, on a thread of their own.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::unpack::{SNIFF_LEN, image_problem, read_full};
use crate::sys::{FlushBehind, write_sparse};
use crate::values::{Digest, DigestKind, Hasher};

/// Size of one buffer, and how many are on their way at most: 2 MiB in all.
const CHUNK: usize = 256 << 10;
const CHUNKS: usize = 8;

/// What came through.
#[derive(Debug)]
pub(super) struct Poured {
    /// SHA-256, then the other kinds asked for.
    pub digests: Vec<Digest>,
    /// Bytes.
    pub len: u64,
}

/// Why pouring stopped.
#[derive(Debug)]
pub(super) enum PourError {
    Read(io::Error),
    Write(io::Error),
    NotAnImage(String),
    TooLarge,
}

/// What is poured, and how far.
#[derive(Debug, Clone, Copy)]
pub(super) struct PourOptions<'a> {
    /// Digests wanted besides SHA-256.
    pub also: &'a [DigestKind],
    /// More bytes than this are an error.
    pub limit: u64,
    /// The first bytes must be those of a disk image.
    pub image: bool,
}

/// Copies `input` to the empty file `file`, sparsely.
pub(super) fn pour(input: &mut dyn Read, file: &File, options: PourOptions<'_>) -> Result<Poured, PourError> {
    std::thread::scope(|scope| {
        let (full_send, full) = sync_channel::<(Vec<u8>, usize)>(CHUNKS);
        let (empty_send, empty) = sync_channel::<Vec<u8>>(CHUNKS);
        let flush = FlushBehind::start(scope, file);
        let writer = scope.spawn(move || drain(full, empty_send, file, options.also, flush));
        let read = feed(input, full_send, &empty, options);
        let written = writer
            .join()
            .map_err(|_| PourError::Write(io::Error::other("the writing thread failed")))?;
        // A failed write ends the feeding early, so it comes first.
        let poured = written.map_err(PourError::Write)?;
        read.map(|()| poured)
    })
}

fn feed(
    input: &mut dyn Read,
    full: SyncSender<(Vec<u8>, usize)>,
    empty: &Receiver<Vec<u8>>,
    options: PourOptions<'_>,
) -> Result<(), PourError> {
    let mut total = 0u64;
    for turn in 0usize.. {
        let mut buf = if turn < CHUNKS {
            vec![0; CHUNK]
        } else {
            match empty.recv() {
                Ok(buf) => buf,
                Err(_) => return Ok(()),
            }
        };
        let n = read_full(input, &mut buf).map_err(PourError::Read)?;
        if turn == 0
            && options.image
            && let Some(problem) = image_problem(&buf[..n.min(SNIFF_LEN)])
        {
            return Err(PourError::NotAnImage(problem));
        }
        total += n as u64;
        if total > options.limit {
            return Err(PourError::TooLarge);
        }
        if n > 0 && full.send((buf, n)).is_err() {
            return Ok(());
        }
        if n < CHUNK {
            break;
        }
    }
    Ok(())
}

fn drain(
    full: Receiver<(Vec<u8>, usize)>,
    empty: SyncSender<Vec<u8>>,
    file: &File,
    also: &[DigestKind],
    mut flush: FlushBehind<'_>,
) -> io::Result<Poured> {
    let mut hashers = vec![Hasher::new(DigestKind::Sha256)];
    hashers.extend(
        also.iter()
            .filter(|&&kind| kind != DigestKind::Sha256)
            .map(|&kind| Hasher::new(kind)),
    );
    let mut len = 0u64;
    for (buf, n) in full {
        let data = &buf[..n];
        for hasher in &mut hashers {
            hasher.update(data);
        }
        write_sparse(file, len, data)?;
        flush.wrote(n);
        len += n as u64;
        // The reader may be gone already; the buffer is then of no use to anyone.
        let _ = empty.try_send(buf);
    }
    file.set_len(len)?;
    flush.finish()?;
    Ok(Poured {
        digests: hashers.into_iter().map(Hasher::finish).collect(),
        len,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const ALL: PourOptions<'static> = PourOptions {
        also: &[DigestKind::Sha512],
        limit: u64::MAX,
        image: false,
    };

    #[test]
    fn writes_the_same_bytes_with_holes() {
        let mut data = vec![0u8; 5 << 20];
        data[3_000_001] = 7;
        data.extend_from_slice(&[9; 777]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::create(&path).unwrap();
        let poured = pour(&mut &data[..], &file, ALL).unwrap();
        assert!(std::fs::read(&path).unwrap() == data);
        assert_eq!(poured.len, data.len() as u64);
        let outsider = std::process::Command::new("sha512sum")
            .arg(&path)
            .output()
            .unwrap();
        let hex = poured.digests[1].hex();
        assert!(String::from_utf8(outsider.stdout).unwrap().starts_with(&hex));
        assert!(
            file.metadata().unwrap().blocks() * 512 <= 64 << 10,
            "zeroes take room"
        );
    }

    #[test]
    fn a_file_that_ends_in_zeroes_keeps_its_length() {
        let data = vec![0u8; (1 << 20) + 5];
        let file = tempfile::tempfile().unwrap();
        pour(&mut &data[..], &file, ALL).unwrap();
        assert_eq!(file.metadata().unwrap().len(), data.len() as u64);
    }

    #[test]
    fn stops_at_the_limit() {
        let file = tempfile::tempfile().unwrap();
        let options = PourOptions {
            limit: 1 << 20,
            ..ALL
        };
        let endless = &mut io::repeat(1);
        assert!(matches!(pour(endless, &file, options), Err(PourError::TooLarge)));
    }

    #[test]
    fn a_write_error_ends_the_pour() {
        let file = File::options().write(true).open("/dev/full").unwrap();
        let result = pour(&mut io::repeat(1).take(64 << 20), &file, ALL);
        assert!(matches!(result, Err(PourError::Write(_))), "{result:?}");
    }
}
