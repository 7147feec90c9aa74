//! Every read and write fails once: an error that says so, the base as it was, and the same result as without the
//! failure once it is gone.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use ceil_img::bmap::BLOCK;
use ceil_img::disk::{BlockIo, Bytes, Overlay, Source, Table, TableError};
use ceil_img::emit::{self, Output};
use ceil_img::fs::{self as volumes, Attrs, FsError, FsResult, Time, Volume, ext4, fat};
use ceil_img::image::Image;
use ceil_img::plan::OutputFormat;
use ceil_img::report::NoReport;
use ceil_img::values::VolumeName;

use crate::support::faulty::{Calls, Faulty, FaultySource, Memory, WANTED};
use crate::support::tiny::{self, BOOT, ROOT};

/// Places at which one kind of call fails, at most; `CEIL_IO_FAULTS` says more or fewer.
fn most() -> u64 {
    let asked = std::env::var("CEIL_IO_FAULTS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(300)
}

/// Numbers of calls that fail: all of `calls`, or as many as are wanted, spread over them.
pub fn places(calls: u64, most: u64) -> Vec<u64> {
    let count = calls.min(most);
    (0..count).map(|n| n * calls / count).collect()
}

static TABLE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Adds a line to the table that is written beside the file that `CEIL_FAULT_TABLE` names.
pub fn told(operation: &str, kind: &str, calls: u64, injected: usize, outcome: &str) {
    let mut table = TABLE.lock().unwrap();
    table.push(format!(
        "| {operation} | {kind} | {calls} | {injected} | {outcome} |"
    ));
    table.sort();
    if let Some(path) = std::env::var_os("CEIL_FAULT_TABLE") {
        let head = "| operation | calls | number | failed | outcome |\n| --- | --- | --- | --- | --- |";
        let text = format!("{head}\n{}\n", table.join("\n"));
        fs::write(Path::new(&path).with_extension("io.md"), text).unwrap();
    }
}

/// The bytes of a part of the tiny image.
fn part(image: &Path, from: u64, len: u64) -> Vec<u8> {
    let bytes = fs::read(image).unwrap();
    bytes[from as usize..(from + len) as usize].to_vec()
}

/// The error and everything below it.
fn chain(error: &dyn Error) -> String {
    let below = error.source().map(chain).unwrap_or_default();
    format!("{error}: {below}")
}

/// An error of the file systems that is the failure that was wanted.
fn is_wanted(error: &FsError) {
    assert!(
        matches!(error, FsError::Io(_)) && chain(error).contains(WANTED),
        "{error:?}"
    );
}

const NOW: Time = Time {
    secs: 1_700_000_000,
    nanos: 0,
};

/// One edit of a volume.
type Edit = Box<dyn Fn(&mut dyn Volume) -> FsResult<()>>;

/// What a volume goes through, with payloads from `payload`.
fn edits(payload: &Arc<dyn Source>, ext4: bool) -> Vec<Edit> {
    let attrs = || Attrs {
        now: NOW,
        ..Attrs::default()
    };
    let (a, b, c) = (payload.clone(), payload.clone(), payload.clone());
    let mut all: Vec<Edit> = vec![
        Box::new(move |v| v.make_dir(b"/new", &attrs())),
        Box::new(move |v| v.put_file(b"/new/file", &a, false, &attrs())),
        Box::new(move |v| v.append(b"/new/file", &b, &attrs())),
        Box::new(move |v| v.put_file(b"/new/sparse", &c, true, &attrs())),
        Box::new(|v| v.rename(b"/new/sparse", b"/new/renamed", NOW)),
    ];
    if ext4 {
        all.push(Box::new(move |v| v.symlink(b"/new/link", &[b'x'; 100], &attrs())));
        all.push(Box::new(|v| {
            v.set_xattr(b"/new/file", b"user.large", Some(&[7; 900]), NOW)
        }));
        all.push(Box::new(|v| v.hard_link(b"/new/again", b"/new/file", NOW)));
        all.push(Box::new(|v| v.remove(b"/etc/hostname", false, NOW)));
        all.push(Box::new(|v| v.remove(b"/etc", true, NOW)));
    } else {
        all.push(Box::new(|v| v.remove(b"/config.txt", false, NOW)));
    }
    all
}

/// Opens a volume, which may fail once.
fn open(io: &Arc<dyn BlockIo>) -> FsResult<Box<dyn Volume>> {
    volumes::open(io.clone())
}

/// Repeats what failed as wanted, at most once in a run.
fn retried<T>(failed: &mut u32, mut work: impl FnMut() -> FsResult<T>) -> T {
    match work() {
        Ok(done) => done,
        Err(error) => {
            is_wanted(&error);
            *failed += 1;
            work().expect("the failure is gone, and what was tried is possible")
        }
    }
}

/// The edits on a device that fails; every step that failed is done again. `None` when the commit failed in the
/// middle of writing, after which a volume is of no use.
fn edit(
    memory: &Arc<Memory>,
    io: &Arc<dyn BlockIo>,
    payload: &Arc<dyn Source>,
    is_ext4: bool,
) -> (Option<Vec<u8>>, u32) {
    let mut failed = 0;
    let mut volume = retried(&mut failed, || open(io));
    for step in edits(payload, is_ext4) {
        retried(&mut failed, || step(&mut *volume));
    }
    let before = memory.bytes();
    if let Err(error) = volume.commit() {
        is_wanted(&error);
        failed += 1;
        if memory.bytes() != before {
            return (None, failed);
        }
        volume
            .commit()
            .expect("nothing was written yet, and the failure is gone");
    }
    (Some(memory.bytes()), failed)
}

fn every_call_of_an_edit(name: &str, bytes: &[u8], is_ext4: bool) {
    let mut content: Vec<u8> = (0..70_000u32).map(|n| (n % 251) as u8).collect();
    content[20_000..50_000].fill(0);
    let content = Bytes::shared(&content);
    let quiet: Arc<dyn Source> = FaultySource::once(content.clone(), u64::MAX);
    let good = {
        let memory = Memory::new(bytes.to_vec());
        edit(&memory, &(memory.clone() as Arc<dyn BlockIo>), &quiet, is_ext4)
            .0
            .unwrap()
    };
    for kind in [Calls::Reads, Calls::Writes] {
        let count = |nth| {
            let memory = Memory::new(bytes.to_vec());
            let device = Faulty::once(memory.clone(), kind, nth);
            let io: Arc<dyn BlockIo> = device.clone();
            let (result, failed) = edit(&memory, &io, &quiet, is_ext4);
            (device.calls(), result, failed)
        };
        let calls = count(u64::MAX).0;
        let chosen = places(calls, most());
        let (mut same, mut lost) = (0, 0);
        for nth in &chosen {
            let (_, result, failed) = count(*nth);
            assert_eq!(failed, 1, "{name}: {kind:?} {nth} failed and nobody said so");
            match result {
                Some(bytes) => {
                    assert!(bytes == good, "{name}: {kind:?} {nth} left a trace");
                    same += 1;
                }
                None => lost += 1,
            }
        }
        let outcome =
            format!("Io error; {same} repeated with the same result, {lost} in the middle of the commit");
        told(name, &format!("{kind:?}"), calls, chosen.len(), &outcome);
        assert!(
            kind == Calls::Writes || lost == 0,
            "{name}: a read failed after the first write"
        );
    }
    let count = |nth| {
        let memory = Memory::new(bytes.to_vec());
        let source = FaultySource::once(content.clone(), nth);
        let io: Arc<dyn BlockIo> = memory.clone();
        let payload: Arc<dyn Source> = source.clone();
        let (result, failed) = edit(&memory, &io, &payload, is_ext4);
        (source.calls(), result, failed)
    };
    let calls = count(u64::MAX).0;
    let chosen = places(calls, most());
    for nth in &chosen {
        let (_, result, failed) = count(*nth);
        assert_eq!(
            failed, 1,
            "{name}: read {nth} of a payload failed and nobody said so"
        );
        assert!(result.is_none_or(|bytes| bytes == good), "{name}: payload {nth}");
    }
    told(
        name,
        "reads of payloads",
        calls,
        chosen.len(),
        "Io error, repeated with the same result",
    );
}

#[test]
fn edits_of_ext4() {
    let Some(image) = tiny::shared() else { return };
    let bytes = part(&image, ROOT, 24 << 20);
    every_call_of_an_edit("ext4 edit", &bytes, true);
}

#[test]
fn edits_of_fat() {
    let Some(image) = tiny::shared() else { return };
    let bytes = part(&image, BOOT, 8 << 20);
    every_call_of_an_edit("FAT edit", &bytes, false);
}

#[test]
fn growing_ext4() {
    let Some(image) = tiny::shared() else { return };
    let mut bytes = part(&image, ROOT, 24 << 20);
    bytes.resize(200 << 20, 0xA5);
    let base = Bytes::shared(&bytes);
    let run = |kind, nth| {
        let overlay = Arc::new(Overlay::new(base.clone()));
        let device = Faulty::once(overlay.clone(), kind, nth);
        let io: Arc<dyn BlockIo> = device.clone();
        let mut failed = 0;
        let mut volume = retried(&mut failed, || open(&io));
        retried(&mut failed, || volume.grow(io.clone()));
        let mut lost = false;
        if let Err(error) = volume.commit() {
            is_wanted(&error);
            failed += 1;
            lost = !overlay.spans().is_empty();
            if !lost {
                volume.commit().expect("nothing was written yet");
            }
        }
        let mut now = vec![0; bytes.len()];
        BlockIo::read_at(&*overlay, 0, &mut now).unwrap();
        (device.calls(), (!lost).then_some(now), failed)
    };
    let good = run(Calls::Reads, u64::MAX).1.unwrap();
    for kind in [Calls::Reads, Calls::Writes] {
        let calls = run(kind, u64::MAX).0;
        let chosen = places(calls, most().min(60));
        let (mut same, mut lost) = (0, 0);
        for nth in &chosen {
            let (_, result, failed) = run(kind, *nth);
            assert_eq!(failed, 1, "{kind:?} {nth} failed and nobody said so");
            match result {
                Some(now) => {
                    assert!(now == good, "{kind:?} {nth} left a trace");
                    same += 1;
                }
                None => lost += 1,
            }
        }
        let outcome =
            format!("Io error; {same} repeated with the same result, {lost} in the middle of the commit");
        told("ext4 grow", &format!("{kind:?}"), calls, chosen.len(), &outcome);
    }
}

#[test]
fn checks() {
    let Some(image) = tiny::shared() else { return };
    type Check = fn(&Arc<dyn BlockIo>) -> FsResult<Vec<volumes::Finding>>;
    let all: [(&str, Vec<u8>, Check); 2] = [
        ("ext4 check", part(&image, ROOT, 24 << 20), ext4::check),
        ("FAT check", part(&image, BOOT, 8 << 20), fat::check),
    ];
    for (name, bytes, check) in all {
        let memory = Memory::new(bytes);
        let run = |nth| {
            let device = Faulty::once(memory.clone(), Calls::Reads, nth);
            let io: Arc<dyn BlockIo> = device.clone();
            (check(&io), device.calls())
        };
        let (good, calls) = run(u64::MAX);
        assert_eq!(good.unwrap(), []);
        let chosen = places(calls, most());
        let mut errors = 0;
        for nth in &chosen {
            match run(*nth).0 {
                Err(error) => {
                    is_wanted(&error);
                    errors += 1;
                }
                // A block that is read again may be read the second time.
                Ok(found) => assert_eq!(found, [], "{name}: read {nth} is taken for damage"),
            }
        }
        let outcome = format!("Io error {errors} times, else the same answer");
        told(name, "Reads", calls, chosen.len(), &outcome);
        assert!(errors > 0);
    }
}

#[test]
fn growing_tables() {
    let dir = tempfile::tempdir().unwrap();
    for (name, tiny) in [
        ("mbr grow", tiny::Tiny::new()),
        ("gpt grow", tiny::Tiny::new().gpt()),
    ] {
        let Some(image) = tiny.make(&dir.path().join(name)) else {
            return;
        };
        let base = Bytes::shared(&fs::read(&image).unwrap());
        let run = |kind, nth| {
            let overlay = Arc::new(Overlay::new(base.clone()));
            overlay.set_len(base.len() + (8 << 20));
            let device = Faulty::once(overlay.clone(), kind, nth);
            let done = Table::read(&*device).and_then(|mut table| {
                let root = table.partitions[1].clone();
                table.grow(&*device, root.number, root.len + (4 << 20))
            });
            (device.calls(), done)
        };
        for kind in [Calls::Reads, Calls::Writes] {
            let (calls, done) = run(kind, u64::MAX);
            done.unwrap();
            let chosen = places(calls, most());
            for nth in &chosen {
                let error = run(kind, *nth).1.expect_err("a failure is told");
                assert!(
                    matches!(error, TableError::Io(_)) && chain(&error).contains(WANTED),
                    "{name}: {kind:?} {nth}: {error:?}"
                );
            }
            told(name, &format!("{kind:?}"), calls, chosen.len(), "Io error");
        }
    }
}

/// From a base that fails to a file: nothing is left of what failed.
#[test]
fn images_from_a_base_that_fails() {
    let Some(path) = tiny::shared() else { return };
    let bytes = fs::read(&path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("one.img");
    let content = Bytes::shared(&[0x5A; 300_000]);
    let run = |base_nth, payload_nth| {
        let base = FaultySource::once(Bytes::shared(&bytes), base_nth);
        let payload = FaultySource::once(content.clone(), payload_nth);
        let work = || -> Result<(), Box<dyn Error>> {
            let mut image = Image::open(base.clone())?;
            let source: Arc<dyn Source> = payload.clone();
            for (name, path) in [(VolumeName::Root, b"/etc/new"), (VolumeName::Boot, b"/new.bin")] {
                let volume = image.volume_mut(name)?;
                volume.put_file(path, &source, false, &Attrs::default())?;
            }
            image.grow_root(64 << 20)?;
            image.commit()?;
            let used = image.used_ranges(BLOCK)?;
            let output = Output::create(&target)?;
            let cancel = AtomicBool::new(false);
            let request = emit::Request {
                overlay: &image.overlay,
                used: &used,
                format: OutputFormat::Img,
                cancel: &cancel,
                reporter: &NoReport,
            };
            emit::emit(&request, &output)?;
            output.finish()?;
            Ok(())
        };
        let done = work();
        (base.calls(), payload.calls(), done)
    };
    let (base_calls, payload_calls, done) = run(u64::MAX, u64::MAX);
    done.unwrap();
    let good = fs::read(&target).unwrap();
    let older = b"an older image";
    for (kind, calls) in [
        ("reads of the base", base_calls),
        ("reads of payloads", payload_calls),
    ] {
        let chosen = places(calls, most().min(100));
        for (n, nth) in chosen.iter().enumerate() {
            fs::remove_file(&target).unwrap_or_default();
            if n % 2 == 0 {
                fs::write(&target, older).unwrap();
            }
            let of_base = kind == "reads of the base";
            let done = if of_base {
                run(*nth, u64::MAX)
            } else {
                run(u64::MAX, *nth)
            }
            .2;
            let error = done.expect_err("a failure is told");
            assert!(
                chain(&*error).contains(WANTED),
                "{kind} {nth}: {}",
                chain(&*error)
            );
            let left: Vec<_> = fs::read_dir(dir.path())
                .unwrap()
                .map(|e| e.unwrap().file_name())
                .collect();
            if n % 2 == 0 {
                assert_eq!(fs::read(&target).unwrap(), older);
            }
            assert_eq!(left.len(), usize::from(n % 2 == 0), "{left:?}");
        }
        told(
            "emit",
            kind,
            calls,
            chosen.len(),
            "an error with its reason; the older file stays, nothing is left",
        );
    }
    run(u64::MAX, u64::MAX).2.unwrap();
    assert!(fs::read(&target).unwrap() == good);
}
