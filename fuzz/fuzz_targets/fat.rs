#![no_main]
use std::ops::Range;
use std::sync::Arc;

use ceil_img::disk::{BlockIo, Overlay};
use ceil_img::fs::{self, Volume as _, fat};
use ceil_img_fuzz::input::{self, Input};
use ceil_img_fuzz::{bases, work};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::parse(data) else { return };
    let base = &bases::FAT[input.base % bases::FAT.len()];
    let overlay = work::overlay(base);
    let mut boot = [0; 512];
    base.read_at(0, &mut boot).expect("a base is read");
    let places = Places::of(&boot);
    let pieces = places.pieces();
    for (distance, place, bytes) in input.changes() {
        let range = pieces[(input.piece + distance) % pieces.len()].clone();
        let mut structure = vec![0; (range.end - range.start) as usize];
        BlockIo::read_at(&*overlay, range.start, &mut structure).expect("a base is read");
        input::put(&mut structure, place, bytes);
        overlay
            .write_at(range.start, &structure)
            .expect("an overlay is written");
    }
    if !input.unsealed {
        places.copy(&overlay);
    }
    exercise(&overlay, input.work);
});

/// Where the structures of a base stand, in bytes.
struct Places {
    fat: u64,
    fat_len: u64,
    root: u64,
    root_len: u64,
    data: u64,
    wide: bool,
}

impl Places {
    fn of(boot: &[u8; 512]) -> Self {
        let word = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
        let wide = word(22) == 0;
        let sectors = if wide { word(36) | word(38) << 16 } else { word(22) };
        let (fat, fat_len) = (word(14) * 512, sectors * 512);
        let root = fat + 2 * fat_len;
        Self {
            fat,
            fat_len,
            root,
            root_len: (word(17) * 32).max(512),
            data: root + word(17) * 32,
            wide,
        }
    }

    /// Boot sector, the first FAT's beginning, root directory, the first clusters, where the directories are, and
    /// with FAT32 the FSInfo sector.
    fn pieces(&self) -> Vec<Range<u64>> {
        let mut pieces = vec![
            0..96,
            self.fat..self.fat + self.fat_len.min(512),
            self.root..self.root + self.root_len.min(512),
            self.data..self.data + 16 * 512,
        ];
        if self.wide {
            pieces.push(512..1024);
        }
        pieces
    }

    /// Makes the copies of FAT and boot sector like the first.
    fn copy(&self, overlay: &Overlay) {
        let copy = |from: u64, to: u64| {
            let mut bytes = [0; 512];
            BlockIo::read_at(overlay, from, &mut bytes).expect("a base is read");
            overlay.write_at(to, &bytes).expect("an overlay is written");
        };
        copy(self.fat, self.fat + self.fat_len);
        if self.wide {
            copy(0, 6 * 512);
            copy(512, 7 * 512);
        }
    }
}

fn exercise(overlay: &Arc<Overlay>, which: u16) {
    let io: Arc<dyn BlockIo> = overlay.clone();
    if which % 16 == 0 {
        work::explain(&*io, fat::dump);
    }
    let clean = work::clean(&fat::check(&io)) == Some(true);
    let _ = fs::open(io.clone());
    let Ok(mut volume) = fat::Fat::open(io) else {
        assert!(!clean, "a volume without findings does not open");
        return;
    };
    work::look(&volume);
    if work::edit(&mut volume, which, clean) && clean {
        work::still_clean("an edit", volume.check());
    }
}
