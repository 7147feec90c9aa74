//! Partition tables: what growing one must keep.

use ceil_img::disk::{BlockIo, Bytes, Overlay, Table};

/// Bytes that an image grows by.
const MORE: u64 = 1 << 20;

/// Reads the table of an image and grows its partitions, the last of which can.
pub fn grow(image: &[u8]) {
    let overlay = Overlay::new(Bytes::shared(image));
    let Ok(mut table) = Table::read(&overlay) else {
        return;
    };
    assert!(!table.partitions.is_empty());
    overlay.set_len(image.len() as u64 + MORE);
    for old in table.partitions.clone() {
        let before = table.clone();
        let len = old.len.saturating_add(1 << 16);
        if table.grow(&overlay, old.number, len).is_err() {
            continue;
        }
        assert_eq!(Table::read(&overlay).ok().as_ref(), Some(&table));
        let mut wanted = before;
        for partition in &mut wanted.partitions {
            if partition.number == old.number {
                partition.len = len;
            }
        }
        assert_eq!(table, wanted, "growing one partition changed more");
        // Everything inside partitions is as it was.
        for partition in wanted.partitions.iter().filter(|p| p.number != old.number) {
            let range = partition.start as usize..(partition.start + partition.len) as usize;
            let mut now = vec![0; range.len()];
            BlockIo::read_at(&overlay, partition.start, &mut now).expect("a partition is read");
            assert!(image[range] == now, "growing changed another partition");
        }
    }
}
