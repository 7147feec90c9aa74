//! Tables judged by sfdisk and sgdisk.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::*;

const MIB: u64 = 1 << 20;

/// Runs a tool with `input`; `None` when it is not installed.
fn tool(name: &str, args: &[&str], input: &str) -> Option<(bool, String)> {
    let mut child = Command::new(name)
        .args(args)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input.as_bytes())
        .expect("stdin");
    let out = child.wait_with_output().expect("output");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    Some((out.status.success(), text))
}

fn need(result: Option<(bool, String)>, name: &str) -> Option<(bool, String)> {
    if result.is_none() {
        assert!(
            std::env::var_os("CEIL_REQUIRE_TOOLS").is_none(),
            "{name} is required"
        );
        eprintln!("SKIPPED: {name} is not installed");
    }
    result
}

fn image(dir: &Path, len: u64, script: &str) -> Option<Arc<Overlay>> {
    let path = dir.join("disk.img");
    fs::File::create(&path)
        .expect("create")
        .set_len(len)
        .expect("len");
    let (ok, text) = need(tool("sfdisk", &["-q", path.to_str()?], script), "sfdisk")?;
    assert!(ok, "{text}");
    Some(Arc::new(Overlay::new(Bytes::shared(
        &fs::read(&path).expect("read"),
    ))))
}

fn save(dir: &Path, overlay: &Overlay) -> String {
    let path = dir.join("out.img");
    let mut bytes = vec![0; BlockIo::len(overlay) as usize];
    BlockIo::read_at(overlay, 0, &mut bytes).expect("read");
    fs::write(&path, bytes).expect("write");
    path.to_str().expect("utf-8").to_owned()
}

const RASPIOS: &str =
    "label: dos\nlabel-id: 0xce11b007\nstart=16384, size=16384, type=c\nstart=32768, size=16384, type=83\n";

#[test]
fn an_mbr_grows_by_the_bytes_of_one_length() {
    let dir = tempfile::tempdir().expect("dir");
    let Some(overlay) = image(dir.path(), 24 * MIB, RASPIOS) else {
        return;
    };
    let mut before = [0; 512];
    BlockIo::read_at(&*overlay, 0, &mut before).expect("read");
    let mut table = Table::read(&*overlay).expect("table");
    assert_eq!(table.kind, TableKind::Mbr);
    assert_eq!(table.disk_id, "ce11b007");
    let root = table.partition(2).expect("p2").clone();
    assert_eq!(
        (root.start, root.len, &*root.partuuid),
        (16 * MIB, 8 * MIB, "ce11b007-02")
    );

    overlay.set_len(40 * MIB);
    table.grow(&*overlay, 2, 24 * MIB).expect("grow");
    assert_eq!(table.partition(2).map(|p| p.len), Some(24 * MIB));
    let mut after = [0; 512];
    BlockIo::read_at(&*overlay, 0, &mut after).expect("read");
    let changed: Vec<usize> = (0..512).filter(|i| before[*i] != after[*i]).collect();
    assert!(changed.iter().all(|i| (474..478).contains(i)), "{changed:?}");

    let (ok, text) = tool("sfdisk", &["-d", &save(dir.path(), &overlay)], "").expect("sfdisk");
    assert!(ok && text.contains("label-id: 0xce11b007"), "{text}");
    assert!(
        text.contains("start=       32768, size=       49152, type=83"),
        "{text}"
    );
}

#[test]
fn only_the_last_partition_grows() {
    let dir = tempfile::tempdir().expect("dir");
    let Some(overlay) = image(dir.path(), 24 * MIB, RASPIOS) else {
        return;
    };
    let mut table = Table::read(&*overlay).expect("table");
    let error = table
        .grow(&*overlay, 1, 20 * MIB)
        .expect_err("refused")
        .to_string();
    assert_eq!(
        error,
        "unsupported partition table: partition 1 cannot grow: another partition lies behind it"
    );
}

#[test]
fn a_gpt_grows_keeps_numbers_and_satisfies_sgdisk() {
    let dir = tempfile::tempdir().expect("dir");
    let script = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n\
        15: start=2048, size=8192, type=U, name=firmware\n\
        1: start=10240, size=16384, type=L, name=root, uuid=AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE\n";
    let Some(overlay) = image(dir.path(), 16 * MIB, script) else {
        return;
    };
    let mut table = Table::read(&*overlay).expect("table");
    assert_eq!(table.kind, TableKind::Gpt);
    assert_eq!(
        table.partitions.iter().map(|p| p.number).collect::<Vec<_>>(),
        [1, 15]
    );
    let old_end = BlockIo::len(&*overlay);
    overlay.set_len(40 * MIB);
    let root = table.partition(1).expect("p1").clone();
    let len = 40 * MIB - table.tail() - root.start;
    table.grow(&*overlay, 1, len).expect("grow");

    let mut stale = [1u8; 33 * 512];
    BlockIo::read_at(&*overlay, old_end - 33 * 512, &mut stale).expect("read");
    assert_eq!(
        stale,
        [0; 33 * 512],
        "the old backup of header and entries must not stay inside the partition"
    );
    assert!(root.start < old_end - 33 * 512 && old_end < root.start + len);
    let path = save(dir.path(), &overlay);
    if let Some((ok, text)) = need(tool("sgdisk", &["-v", &path], ""), "sgdisk") {
        assert!(ok && text.contains("No problems found"), "{text}");
    }
    let (_, text) = tool("sfdisk", &["-d", &path], "").expect("sfdisk");
    for wanted in [
        "out.img1 : start=       10240",
        "out.img15 : start=        2048, size=        8192",
        "uuid=AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE, name=\"root\"",
        "label-id: 11111111-2222-3333-4444-555555555555",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
}

#[test]
fn damaged_hybrid_extended_and_short_tables_are_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let none = Overlay::new(Bytes::shared(&[0; 4096]));
    assert!(matches!(Table::read(&none), Err(TableError::Absent)));

    let Some(overlay) = image(dir.path(), 24 * MIB, RASPIOS) else {
        return;
    };
    overlay.set_len(23 * MIB);
    let error = Table::read(&*overlay).expect_err("short").to_string();
    assert!(
        error.contains("partition 2 ends at byte 25165824 and the image has 24117248"),
        "{error}"
    );

    let overlay = image(dir.path(), 24 * MIB, RASPIOS).expect("sfdisk");
    overlay
        .write_at(446 + 16 + 8, &20000u32.to_le_bytes())
        .expect("patch");
    let error = Table::read(&*overlay).expect_err("overlap").to_string();
    assert!(error.contains("partitions 1 and 2 overlap"), "{error}");

    let extended = "label: dos\nstart=2048, size=8192, type=c\nstart=10240, size=8192, type=5\n";
    let overlay = image(dir.path(), 24 * MIB, extended).expect("sfdisk");
    let error = Table::read(&*overlay).expect_err("extended").to_string();
    assert!(error.contains("extended partition (type 05)"), "{error}");

    let gpt = "label: gpt\nstart=2048, size=8192, type=L\n";
    let overlay = image(dir.path(), 24 * MIB, gpt).expect("sfdisk");
    overlay.write_at(512 + 60, &[0xff]).expect("patch");
    let error = Table::read(&*overlay).expect_err("header").to_string();
    assert!(
        error.contains("primary header is missing or its checksum is wrong"),
        "{error}"
    );

    let overlay = image(dir.path(), 24 * MIB, gpt).expect("sfdisk");
    overlay.write_at(446 + 16 + 4, &[0x0c]).expect("patch");
    overlay.write_at(446 + 16 + 12, &[1]).expect("patch");
    let error = Table::read(&*overlay).expect_err("hybrid").to_string();
    assert!(error.contains("hybrid MBR"), "{error}");
}

#[test]
fn a_new_record_is_what_sfdisk_reads() {
    let dir = tempfile::tempdir().expect("dir");
    let overlay = Overlay::new(Bytes::shared(&vec![0; 24 * MIB as usize]));
    let record = new_record(0xce11_b007, &[(0x0c, 16384, 16384), (0x83, 32768, 16384)]);
    overlay.write_at(0, &record).expect("write");
    let Some((ok, text)) = need(tool("sfdisk", &["-d", &save(dir.path(), &overlay)], ""), "sfdisk") else {
        return;
    };
    assert!(ok && text.contains("label-id: 0xce11b007"), "{text}");
    assert!(
        text.contains("start=       16384, size=       16384, type=c"),
        "{text}"
    );
}

#[test]
fn a_gpt_that_lets_partitions_lie_on_its_backup_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let script = "label: gpt\nfirst-lba: 64\nstart=64, size=32\n";
    let Some(overlay) = image(dir.path(), MIB, script) else {
        return;
    };
    Table::read(&*overlay).expect("good before");
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    // The first usable sector among the entries, and the last one among those of the backup.
    for (at, sector) in [(40, 33u64), (48, MIB / 512 - 33)] {
        let bad = Overlay::new(overlay.clone());
        let mut header = [0; 92];
        BlockIo::read_at(&bad, 512, &mut header).expect("read");
        header[at..at + 8].copy_from_slice(&sector.to_le_bytes());
        header[16..20].fill(0);
        let sum = crc.checksum(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        bad.write_at(512, &header).expect("write");
        let error = Table::read(&bad).expect_err("refused").to_string();
        assert!(error.contains("overlap the table or its backup"), "{error}");
    }
}
