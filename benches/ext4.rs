//! The ext4 editor beside what one would use instead: the kernel through a loop mount, `debugfs`, `resize2fs`, and
//! the crate `rust-fs-ext4`. Prints a table in Markdown.
//!
//! usage: `sudo -E cargo bench --bench ext4` (without root the kernel is left out)
//!
//! Every contestant gets a fresh copy of one base (1 GiB, the layout of Raspberry Pi OS trixie) and ends when its
//! image is on the disk (`fsync`). Contestants take turns, the fastest of `RUNS` (3) counts. "Edited" is our editor
//! with its overlay, payload by reference; "written" also brings all changes into the image, payload included.
//!
//! `BENCH_DIR` is a folder with about 3 GB to spare (one in the system's temporary folder otherwise).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a program for the developer: it asks the environment, prints, and stops at the first surprise"
)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ceil_img::disk::{BlockIo, Bytes, Fill, Overlay, Source};
use ceil_img::fetch::{FilePool, FileSource};
use ceil_img::fs::ext4::Ext4;
use ceil_img::fs::{Attrs, Volume};

const LIMIT: Duration = Duration::from_secs(240);

/// A payload: folders, files in each, bytes in each file.
struct Scenario {
    name: &'static str,
    folders: u32,
    files: u32,
    size: usize,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "200 MB in 300 files",
        folders: 12,
        files: 25,
        size: 666_667,
    },
    Scenario {
        name: "5,000 small files in one directory",
        folders: 1,
        files: 5_000,
        size: 1_000,
    },
    Scenario {
        name: "20,000 small files in 200 directories",
        folders: 200,
        files: 100,
        size: 1_000,
    },
    Scenario {
        name: "40,000 entries in one directory",
        folders: 1,
        files: 40_000,
        size: 0,
    },
];

impl Scenario {
    fn paths(&self) -> impl Iterator<Item = (String, String)> + '_ {
        (0..self.folders).flat_map(move |d| {
            (0..self.files).map(move |f| (format!("part-{d:03}"), format!("part-{d:03}/some-file-{f:05}")))
        })
    }

    fn make(&self, at: &Path) {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        for (dir, path) in self.paths() {
            fs::create_dir_all(at.join(dir)).unwrap();
            let bytes: Vec<u8> = (0..self.size)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .collect();
            fs::write(at.join(path), bytes).unwrap();
        }
    }
}

fn run(command: &mut Command) {
    let done = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(done.unwrap().success(), "{command:?}");
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .env("LC_ALL", "C");
    command
}

// --- Contestants, each in a process of its own -------------------------------------------------------------------

fn ours(image: &Path, scenario: &Scenario, payload: &Path, write: bool) {
    let overlay = Arc::new(Overlay::new(Arc::new(FileSource::held(image).unwrap())));
    let io: Arc<dyn BlockIo> = overlay.clone();
    let mut volume = Ext4::open(io).unwrap();
    let pool = FilePool::shared();
    let attrs = Attrs::default();
    let mut last = String::new();
    for (dir, path) in scenario.paths() {
        if dir != last {
            volume.make_dir(format!("/{dir}").as_bytes(), &attrs).unwrap();
            last = dir;
        }
        let file = payload.join(&path);
        let stamp = FileSource::stamp(&file).unwrap();
        let source: Arc<dyn Source> = Arc::new(FileSource::new(&pool, file, stamp));
        volume
            .put_file(format!("/{path}").as_bytes(), &source, false, &attrs)
            .unwrap();
    }
    volume.commit().unwrap();
    if write {
        write_back(&overlay, image);
    }
}

/// Brings the changes of an overlay into the file below it.
fn write_back(overlay: &Overlay, image: &Path) {
    let file = File::options().write(true).open(image).unwrap();
    file.set_len(BlockIo::len(overlay)).unwrap();
    let mut buf = vec![0; 1 << 20];
    for (start, span) in overlay.spans() {
        let mut done = 0;
        while done < span.len {
            let step = (span.len - done).min(buf.len() as u64) as usize;
            match &span.fill {
                Fill::Bytes(bytes, at) => buf[..step].copy_from_slice(&bytes[at + done as usize..][..step]),
                Fill::Source(source, at) => {
                    // The last block of a file is filled up with zeroes.
                    let have = source.len().saturating_sub(at + done).min(step as u64) as usize;
                    source.read_at(at + done, &mut buf[..have]).unwrap();
                    buf[have..step].fill(0);
                }
                Fill::Zeroes => buf[..step].fill(0),
            }
            file.write_all_at(&buf[..step], start + done).unwrap();
            done += step as u64;
        }
    }
    file.sync_all().unwrap();
}

fn crate_does(image: &Path, scenario: &Scenario, payload: &Path) {
    let device = fs_ext4::block_io::FileDevice::open_path_rw(image).unwrap();
    let volume = fs_ext4::Filesystem::mount(Arc::new(device)).unwrap();
    let mut last = String::new();
    for (dir, path) in scenario.paths() {
        if dir != last {
            volume.apply_mkdir(&format!("/{dir}"), 0o755).unwrap();
            last = dir;
        }
        let at = format!("/{path}");
        volume.apply_create(&at, 0o644).unwrap();
        let bytes = fs::read(payload.join(path)).unwrap();
        for (i, piece) in bytes.chunks(2 << 20).enumerate() {
            volume.apply_pwrite(&at, (i * (2 << 20)) as u64, piece).unwrap();
        }
    }
    volume.flush().unwrap();
    drop(volume);
    File::open(image).unwrap().sync_all().unwrap();
}

fn debugfs_does(image: &Path, scenario: &Scenario, payload: &Path, script: &Path) {
    let mut text = String::new();
    let mut last = String::new();
    for (dir, path) in scenario.paths() {
        if dir != last {
            writeln!(text, "mkdir {dir}").unwrap();
            last = dir;
        }
        writeln!(text, "write {} {path}", payload.join(&path).display()).unwrap();
    }
    fs::write(script, text).unwrap();
    run(tool("debugfs").args(["-w", "-f"]).arg(script).arg(image));
    File::open(image).unwrap().sync_all().unwrap();
}

fn kernel_does(image: &Path, payload: &Path, mount: &Path) {
    fs::create_dir_all(mount).unwrap();
    run(tool("mount").args(["-o", "loop"]).arg(image).arg(mount));
    run(tool("cp").arg("-r").arg(payload.join(".")).arg(mount));
    run(tool("umount").arg(mount));
    File::open(image).unwrap().sync_all().unwrap();
}

fn copy_does(payload: &Path, to: &Path) {
    run(tool("cp").arg("-r").arg(payload).arg(to));
    run(tool("sync").arg("-f").arg(to));
}

fn grow_ours(image: &Path, size: u64) {
    let overlay = Arc::new(Overlay::new(Arc::new(FileSource::held(image).unwrap())));
    overlay.set_len(size);
    let io: Arc<dyn BlockIo> = overlay.clone();
    let mut volume = Ext4::open(io.clone()).unwrap();
    volume.grow(io).unwrap();
    volume.commit().unwrap();
    write_back(&overlay, image);
}

fn grow_theirs(image: &Path, size: u64) {
    File::options()
        .write(true)
        .open(image)
        .unwrap()
        .set_len(size)
        .unwrap();
    run(tool("resize2fs").arg("-f").arg(image));
    File::open(image).unwrap().sync_all().unwrap();
}

/// How the time of our editor grows with the number of entries of one directory.
fn entries(image: &Path, count: u32) {
    let overlay = Arc::new(Overlay::new(Arc::new(FileSource::held(image).unwrap())));
    let mut volume = Ext4::open(overlay).unwrap();
    let nothing = Bytes::shared(b"");
    for f in 0..count {
        let path = format!("/some-entry-{f:06}");
        volume
            .put_file(path.as_bytes(), &nothing, false, &Attrs::default())
            .unwrap();
    }
    volume.commit().unwrap();
}

/// A contestant's process: does the work, and says for how long and with how much memory.
fn child(args: &[String]) {
    let path = |at: usize| PathBuf::from(&args[at]);
    let scenario = |at: usize| &SCENARIOS[args[at].parse::<usize>().unwrap()];
    let start = Instant::now();
    match args[0].as_str() {
        "edited" => ours(&path(1), scenario(2), &path(3), false),
        "written" => ours(&path(1), scenario(2), &path(3), true),
        "rust-fs-ext4" => crate_does(&path(1), scenario(2), &path(3)),
        "debugfs" => debugfs_does(&path(1), scenario(2), &path(3), &path(4)),
        "kernel" => kernel_does(&path(1), &path(3), &path(4)),
        "cp" => copy_does(&path(3), &path(4)),
        "grow" => grow_ours(&path(1), args[2].parse().unwrap()),
        "resize2fs" => grow_theirs(&path(1), args[2].parse().unwrap()),
        "entries" => entries(&path(1), args[2].parse().unwrap()),
        other => panic!("{other}"),
    }
    let time = start.elapsed().as_secs_f64();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap_or("0 kB");
    println!("{time} {}", peak.trim().trim_end_matches(" kB"));
}

// --- The referee --------------------------------------------------------------------------------------------------

/// Seconds and KiB of the fastest run; `None` when it was not done in time.
type Result = Option<(f64, u64)>;

fn measure(args: &[&str]) -> Result {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if start.elapsed() > LIMIT => {
                child.kill().unwrap();
                child.wait().unwrap();
                return None;
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let said = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert!(status.success(), "{args:?}");
    let (time, peak) = said.trim().split_once(' ').unwrap();
    Some((time.parse().unwrap(), peak.parse().unwrap()))
}

fn base(at: &Path, size: u64, inodes: &str) {
    let _ = fs::remove_file(at);
    File::create(at).unwrap().set_len(size).unwrap();
    let layout = "^64bit,^huge_file,metadata_csum_seed,orphan_file";
    run(tool("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-O", layout, "-N", inodes])
        .arg(at));
}

fn fsck(image: &Path) {
    let mut command = tool("e2fsck");
    command.arg("-fn").arg(image);
    assert!(command.output().unwrap().status.success(), "{command:?}");
}

fn cell(result: Option<&Result>) -> String {
    match result {
        None => "not run".to_owned(),
        Some(None) => format!("> {} s", LIMIT.as_secs()),
        Some(Some((time, _))) => format!("{time:.2} s"),
    }
}

fn faster(best: &mut Option<Result>, new: Result) {
    let time = |r: &Result| r.map_or(f64::MAX, |(time, _)| time);
    if best.as_ref().is_none_or(|best| time(&new) < time(best)) {
        *best = Some(new);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if !args.is_empty() {
        return child(&args);
    }
    let runs = std::env::var("RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(3);
    let dir = match std::env::var_os("BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let dir = dir.unwrap();
    let at = |name: &str| dir.path().join(name);
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let root = rustix::process::geteuid().is_root();
    let (pristine, image) = (at("base"), text(at("image")));
    let fresh = || {
        let _ = fs::remove_file(&image);
        run(tool("cp").arg("--sparse=always").arg(&pristine).arg(&image));
        run(&mut tool("sync"));
    };
    base(&pristine, 1 << 30, "65536");

    let sides = ["edited", "written", "cp", "kernel", "debugfs", "rust-fs-ext4"];
    println!(
        "| | edited | written | files/s | peak memory | `cp -r` to a folder | kernel, loop mount | debugfs | rust-fs-ext4 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (number, scenario) in SCENARIOS.iter().enumerate() {
        let payload = at("payload");
        scenario.make(&payload);
        let mut best = [const { None }; 6];
        for _ in 0..runs {
            for (side, best) in sides.iter().zip(&mut best) {
                if *best == Some(None) || (*side == "kernel" && !root) {
                    continue;
                }
                fresh();
                let aside = at("aside");
                let (payload, number, place) =
                    (text(payload.clone()), number.to_string(), text(aside.clone()));
                let result = measure(&[side, &image, &number, &payload, &place]);
                faster(best, result);
                if result.is_some() && *side == "written" {
                    fsck(Path::new(&image));
                }
                let _ = fs::remove_file(&aside);
                let _ = fs::remove_dir_all(&aside);
            }
        }
        let count = f64::from(scenario.folders * scenario.files);
        let (time, peak) = best[0].unwrap().unwrap();
        let peak = best[1].unwrap().unwrap().1.max(peak);
        let cells: Vec<String> = best.iter().map(|b| cell(b.as_ref())).collect();
        println!(
            "| {} | {} | {} | {:.0} | {:.0} MiB | {} |",
            scenario.name,
            cells[0],
            cells[1],
            count / time,
            peak as f64 / 1024.0,
            cells[2..].join(" | ")
        );
        fs::remove_dir_all(&payload).unwrap();
    }

    println!("\n| grow | written | peak memory | resize2fs |\n| --- | --- | --- | --- |");
    for (from, to) in [(1u64, 32u64), (1, 128), (1, 1024)] {
        base(&pristine, from << 30, "65536");
        let mut best = [None, None];
        for _ in 0..runs {
            for (side, best) in ["grow", "resize2fs"].iter().zip(&mut best) {
                fresh();
                faster(best, measure(&[side, &image, &(to << 30).to_string()]));
                if *side == "grow" && to <= 128 {
                    fsck(Path::new(&image));
                }
            }
        }
        let peak = best[0].unwrap().unwrap().1;
        let [ours, theirs] = best.map(|b| cell(b.as_ref()));
        println!(
            "| {from} to {to} GiB | {ours} | {:.0} MiB | {theirs} |",
            peak as f64 / 1024.0
        );
    }

    println!("\n| entries of one directory | edited | entries/s | peak memory |\n| --- | --- | --- | --- |");
    base(&pristine, 1 << 30, "400000");
    for count in [10_000u32, 20_000, 40_000, 80_000, 160_000, 320_000] {
        let mut best = None;
        for _ in 0..runs {
            fresh();
            faster(&mut best, measure(&["entries", &image, &count.to_string()]));
        }
        let (time, peak) = best.unwrap().unwrap();
        let rate = f64::from(count) / time;
        println!(
            "| {count} | {time:.2} s | {rate:.0} | {:.0} MiB |",
            peak as f64 / 1024.0
        );
    }
}
