//! The body of every target that damages one structure of an ext4 file system.

use std::sync::Arc;

use ceil_img::disk::{BlockIo, Overlay};
use ceil_img::fs::Volume as _;
use ceil_img::fs::ext4::{self, Ext4, check};

use crate::bases;
use crate::input::{self, Input};
use crate::layout::{Kind, Piece};
use crate::{seal, work};

/// Damages structures of these kinds as the input says, then works with the result.
pub fn structures(data: &[u8], kinds: &[Kind]) {
    let Some((input, overlay)) = damaged(data, &bases::EXT4, kinds) else {
        return;
    };
    exercise(&overlay, input.work);
}

/// The image that an input makes: for the targets, and to show it to other tools.
pub fn damaged<'a>(
    data: &'a [u8],
    bases: &[bases::Ext4],
    kinds: &[Kind],
) -> Option<(Input<'a>, Arc<Overlay>)> {
    let input = Input::parse(data)?;
    let base = &bases[input.base % bases.len()];
    let pieces = base.layout.of_kinds(kinds);
    if pieces.is_empty() {
        return None;
    }
    let overlay = work::overlay(&base.image);
    let mut changed: Vec<Piece> = Vec::new();
    for (distance, place, bytes) in input.changes() {
        let piece = pieces[(input.piece + distance) % pieces.len()];
        let mut structure = seal::read(&overlay, &piece);
        input::put(&mut structure, place, bytes);
        seal::write(&overlay, &piece, &structure);
        changed.push(piece);
    }
    if !input.unsealed {
        seal::seal(&overlay, &base.layout, &changed);
    }
    Some((input, overlay))
}

/// Checks, recovers, opens, reads, edits, checks, grows and checks; now and then everything is explained, too.
pub fn exercise(overlay: &Arc<Overlay>, which: u16) {
    let io: Arc<dyn BlockIo> = overlay.clone();
    if which % 16 == 0 {
        work::explain(&*io, ext4::dump);
    }
    let clean = work::clean(&check(&io)) == Some(true);
    // What is dirty opens when its journal is replayed; the check has judged it so.
    let _ = ext4::recover(&io);
    let Ok(mut volume) = Ext4::open(io.clone()) else {
        assert!(!clean, "a file system without findings does not open");
        return;
    };
    work::look(&volume);
    if work::edit(&mut volume, which, clean) && clean {
        work::still_clean("an edit", volume.check());
    }
    // A grown file system takes the same edits again, some of which now fail.
    if work::grow(overlay, &mut volume, clean) && clean {
        work::still_clean("growing", volume.check());
        if work::edit(&mut volume, which.rotate_left(5), clean) {
            work::still_clean("an edit after growing", volume.check());
        }
    }
}
