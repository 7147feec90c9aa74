//! How the bytes of an input become a fault in a structure.

/// An input of a target that damages one structure of a base image.
pub struct Input<'a> {
    /// Which base.
    pub base: usize,
    /// Whether checksums stay wrong.
    pub unsealed: bool,
    /// The body is the structure itself rather than changes of it.
    whole: bool,
    /// Which of the structures of the kind.
    pub piece: usize,
    /// Which work is done, one bit each.
    pub work: u16,
    body: &'a [u8],
}

/// Length of the fields before the body.
pub const HEADER: usize = 5;

impl<'a> Input<'a> {
    /// Takes an input apart; `None` when it is too short.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (head, body) = data.split_at_checked(HEADER)?;
        Some(Self {
            base: usize::from(head[0]),
            unsealed: head[1] & 1 != 0,
            whole: head[1] & 2 != 0,
            piece: usize::from(head[2]),
            work: u16::from_le_bytes([head[3], head[4]]),
            body,
        })
    }

    /// The changes: a distance from the chosen structure, a place in it, and bytes. Whole structures are one change
    /// at place 0; else each is one byte distance, two bytes place, one byte length and that many bytes (1 to 8).
    pub fn changes(&self) -> Vec<(usize, usize, &'a [u8])> {
        if self.whole {
            return vec![(0, 0, self.body)];
        }
        let mut changes = Vec::new();
        let mut rest = self.body;
        while let [distance, low, high, len, tail @ ..] = rest {
            let len = usize::from(len % 8 + 1);
            let Some((bytes, after)) = tail.split_at_checked(len) else {
                break;
            };
            let place = usize::from(u16::from_le_bytes([*low, *high]));
            changes.push((usize::from(*distance), place, bytes));
            rest = after;
        }
        changes.truncate(64);
        changes
    }
}

/// Puts bytes into a structure, at a place that is taken modulo its length and cut at its end.
pub fn put(structure: &mut [u8], place: usize, bytes: &[u8]) {
    if structure.is_empty() {
        return;
    }
    let place = place % structure.len();
    let len = bytes.len().min(structure.len() - place);
    structure[place..place + len].copy_from_slice(&bytes[..len]);
}
