//! Zip archives: they are read from the end, so they need a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::error::{FetchError, Result};
use super::unpack::{SNIFF_LEN, image_problem, read_full};

/// Names shown at most when an archive holds the wrong number of images.
const NAMES: usize = 8;
/// Bytes of the record that ends every archive, without its comment.
const END_LEN: u64 = 22;

/// Opens the archive and gives its one image to `read`.
pub(super) fn with_image<T>(
    file: File,
    subject: &str,
    read: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<T> {
    let mut tail = file.try_clone().map_err(|e| zip_error(subject, e.into()))?;
    let mut archive = ZipArchive::new(file).map_err(|e| zip_error(subject, e))?;
    let comment = archive.comment().len() as u64;
    if !ends_with_record(&mut tail, comment) {
        return Err(FetchError::Damaged {
            subject: subject.to_owned(),
            detail: "something else follows the zip archive".to_owned(),
        });
    }
    let files: Vec<usize> = (0..archive.len())
        .filter(|&i| archive.by_index_raw(i).is_ok_and(|f| f.is_file()))
        .collect();
    let chosen = match files[..] {
        [only] => only,
        _ => choose(&mut archive, &files, subject)?,
    };
    let mut image = archive.by_index(chosen).map_err(|e| zip_error(subject, e))?;
    read(&mut image)
}

/// The one file that begins as a disk image does.
fn choose(archive: &mut ZipArchive<File>, files: &[usize], subject: &str) -> Result<usize> {
    let mut images = Vec::new();
    let mut names = Vec::new();
    for &index in files {
        let mut file = archive.by_index(index).map_err(|e| zip_error(subject, e))?;
        if names.len() < NAMES {
            names.push(format!("`{}`", String::from_utf8_lossy(file.name_raw())));
        }
        let mut head = vec![0; SNIFF_LEN];
        let n = read_full(&mut file, &mut head).map_err(|e| zip_error(subject, e.into()))?;
        if image_problem(&head[..n]).is_none() {
            images.push(index);
        }
    }
    if let [only] = images[..] {
        return Ok(only);
    }
    let more = files.len().saturating_sub(names.len());
    let names = match (names.is_empty(), more) {
        (true, _) => "it is empty".to_owned(),
        (false, 0) => format!("it holds {}", names.join(", ")),
        (false, more) => format!("it holds {} and {more} more", names.join(", ")),
    };
    Err(FetchError::NotAnImage {
        subject: subject.to_owned(),
        reason: format!(
            "a zip archive must hold exactly one disk image and has {}; {names}",
            images.len()
        ),
    })
}

fn ends_with_record(file: &mut File, comment: u64) -> bool {
    let mut magic = [0; 4];
    let Ok(back) = i64::try_from(END_LEN + comment) else {
        return false;
    };
    file.seek(SeekFrom::End(-back)).is_ok() && file.read_exact(&mut magic).is_ok() && magic == *b"PK\x05\x06"
}

fn zip_error(subject: &str, error: ZipError) -> FetchError {
    let subject = subject.to_owned();
    match error {
        ZipError::UnsupportedArchive(what) => FetchError::Unsupported {
            subject,
            detail: format!("{what}; only plain zip archives (stored or deflated, no password) are read"),
        },
        ZipError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => FetchError::Damaged {
            subject,
            detail: "the zip archive is cut short".to_owned(),
        },
        other => FetchError::Damaged {
            subject,
            detail: format!("the zip archive is not whole ({other})"),
        },
    }
}
