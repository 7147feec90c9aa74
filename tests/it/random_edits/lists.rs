//! Random edit lists: each edit is drawn, offered to the models, and kept when one of them has a place for it.

use ceil_img::plan::{Attributes, Content, Edit, GrowRule, Op, Xattr};
use ceil_img::values::{ByteSize, ImagePath, Mode, Owner, Timestamp, VolumeName};

use super::boot::Boot;
use super::model::{ReadBase, Tree};
use crate::pipeline::edit;

/// A generator of numbers (SplitMix64): the same on every machine, from one seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len() as u64) as usize])
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for chunk in bytes.chunks_mut(8) {
            let next = self.next().to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
        bytes
    }
}

/// The models of both volumes.
pub struct Expected<'a> {
    pub root: Tree,
    pub boot: Boot,
    pub read_root: ReadBase<'a>,
    pub read_boot: ReadBase<'a>,
}

impl Expected<'_> {
    fn take(&mut self, op: &Op) -> bool {
        self.boot.apply(op, &self.root, self.read_boot).is_some()
            || self.root.apply(op, self.read_root).is_some()
    }
}

/// Draws `count` edits and does them on the models.
pub fn list(random: &mut Random, count: usize, expected: &mut Expected<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    while edits.len() < count {
        let Some(op) = draw(random, expected) else {
            continue;
        };
        if expected.take(&op) {
            edits.push(edit(op));
        }
    }
    edits
}

/// Edits of the root volume that must be refused, whatever the list did; each names nodes that are there.
pub fn wrong(random: &mut Random, tree: &Tree) -> Vec<Edit> {
    let (files, dirs) = (tree.names('f'), tree.names('d'));
    let mut of = |names: &[String]| names[random.below(names.len() as u64) as usize].clone();
    let at = |path: &str| ImagePath::on(VolumeName::Root, path);
    let put = |path: &str| {
        Ok(Op::Put {
            at: at(path)?,
            content: Content::inline(&[7; 100_000]),
            attributes: Attributes::default(),
            xattrs: Vec::new(),
            sparse: false,
        })
    };
    let append = |path: &str| {
        Ok(Op::Append {
            at: at(path)?,
            content: Content::inline(b"more"),
        })
    };
    let rename = |from: &str, to: &str| {
        Ok(Op::Rename {
            from: at(from)?,
            to: at(to)?,
        })
    };
    let hardlink = |path: &str, to: &str| {
        Ok(Op::Hardlink {
            at: at(path)?,
            to: at(to)?,
        })
    };
    let absent = |dir: String| format!("{dir}/is not there");
    let (a, b, dir, other) = (of(&files), of(&files), of(&dirs), of(&dirs));
    let full = dirs
        .iter()
        .find(|d| files.iter().any(|f| f.starts_with(&format!("{d}/"))))
        .cloned();
    let ops: [Result<Op, ceil_img::values::ImagePathError>; 14] = [
        put(&dir),
        put(&format!("{a}/below")),
        append(&dir),
        append(&absent(other.clone())),
        rename(&a, &b),
        rename(&absent(dir.clone()), &format!("{other}/as well")),
        rename(&dir, &format!("{dir}/below itself")),
        rename(&b, &dir),
        hardlink(&a, &b),
        hardlink(&format!("{dir}/a name"), &other),
        hardlink(&format!("{dir}/a name"), &absent(other.clone())),
        at(&a).map(|at| Op::Dir {
            at,
            attributes: Attributes::default(),
        }),
        at(&b).map(|at| Op::Symlink {
            at,
            to: "x".to_owned(),
            attributes: Attributes::default(),
        }),
        at(full.as_deref().unwrap_or("/etc")).map(|at| Op::Remove {
            at,
            recursive: false,
            if_exists: true,
        }),
    ];
    let chmod = at(&absent(dir)).map(|at| Op::Chmod { at, mode: Mode(0) });
    ops.into_iter()
        .chain([chmod])
        .map(|op| edit(op.unwrap()))
        .collect()
}

fn name(random: &mut Random) -> String {
    let n = random.below(500);
    match random.below(6) {
        0 => format!("{n}-{}", "long".repeat(random.below(60) as usize)),
        1 => format!("über {n}"),
        2 => format!(".{n:06}"),
        _ => format!("n{n}"),
    }
}

/// A name in a directory of the root volume, at times through a symlink or with parents that are not there.
fn fresh(random: &mut Random, tree: &Tree) -> Option<ImagePath> {
    let mut dir = match random.below(8) {
        0 => String::new(),
        // Directories behind symlinks, and symlinks that lead nowhere.
        1 => random.pick(&tree.names('l'))?.clone(),
        _ => random.pick(&tree.names('d'))?.clone(),
    };
    while random.one_in(6) {
        dir = format!("{dir}/{}", name(random));
    }
    let path = format!("{dir}/{}", name(random));
    at(random, &path)
}

fn at(random: &mut Random, path: &str) -> Option<ImagePath> {
    let volume = if random.one_in(4) { "" } else { "root:" };
    format!("{volume}{path}").parse().ok()
}

fn there(random: &mut Random, tree: &Tree, kinds: &str) -> Option<ImagePath> {
    let kinds: Vec<char> = kinds.chars().collect();
    let names = tree.names(*random.pick(&kinds)?);
    let path = random.pick(&names)?.clone();
    at(random, &path)
}

fn content(random: &mut Random, largest: u64) -> Content {
    let len = *random
        .pick(&[
            0, 1, 59, 60, 1000, 4095, 4096, 4097, 30_000, 300_000, 1_200_000, 4_000_000,
        ])
        .unwrap_or(&0);
    let len = if random.one_in(2) {
        len
    } else {
        random.below(len + 1)
    }
    .min(largest);
    let mut bytes = random.bytes(len as usize);
    // Holes, with and without whole blocks in them.
    while len > 8192 && random.one_in(2) {
        let start = random.below(len) as usize;
        let end = (start + random.below(len / 2) as usize).min(bytes.len());
        bytes[start..end].fill(0);
    }
    Content::inline(&bytes)
}

fn time(random: &mut Random) -> Timestamp {
    Timestamp {
        // From 1901 to 2242; ext4's inodes of 256 bytes hold times until 2446.
        secs: random.below((1 << 33) + (1 << 31)) as i64 - (1 << 31),
        nanos: if random.one_in(2) {
            0
        } else {
            random.below(1_000_000_000) as u32
        },
    }
}

fn owner(random: &mut Random) -> Owner {
    let most = *random
        .pick(&[1, 1000, 65_535, 200_000, u64::from(u32::MAX)])
        .unwrap_or(&1);
    Owner {
        uid: random.below(most) as u32,
        gid: random.below(most) as u32,
    }
}

fn mode(random: &mut Random) -> Mode {
    Mode(random.below(0o10_000) as u16)
}

fn attributes(random: &mut Random, with_mode: bool) -> Attributes {
    Attributes {
        mode: (with_mode && random.one_in(2)).then(|| mode(random)),
        owner: random.one_in(2).then(|| owner(random)),
        mtime: random.one_in(3).then(|| time(random)),
    }
}

/// Up to four names of up to 300 bytes each: they fit into one block beside what a base has.
fn xattrs(random: &mut Random) -> Vec<Xattr> {
    let mut all: Vec<Xattr> = (0..1 + random.below(3))
        .map(|_| match random.below(5) {
            // VFS_CAP_REVISION_2, effective, cap_net_raw.
            0 => Xattr {
                name: "security.capability".to_owned(),
                value: Some([1, 0, 0, 2, 0, 32, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec()),
            },
            n => {
                let len = *random.pick(&[0, 3, 40, 300]).unwrap_or(&0);
                Xattr {
                    name: format!("{}.a{n}", if random.one_in(3) { "trusted" } else { "user" }),
                    value: (!random.one_in(4)).then(|| random.bytes(len)),
                }
            }
        })
        .collect();
    all.sort();
    all.dedup_by(|a, b| a.name == b.name);
    all
}

fn draw(random: &mut Random, expected: &Expected<'_>) -> Option<Op> {
    let tree = &expected.root;
    Some(match random.below(32) {
        0..=6 => Op::Put {
            at: if random.one_in(3) {
                there(random, tree, "ffl")?
            } else {
                fresh(random, tree)?
            },
            content: content(random, u64::MAX),
            attributes: attributes(random, true),
            xattrs: if random.one_in(4) {
                xattrs(random)
            } else {
                Vec::new()
            },
            sparse: random.one_in(2),
        },
        7 | 8 => Op::Dir {
            at: if random.one_in(3) {
                there(random, tree, "dl")?
            } else {
                fresh(random, tree)?
            },
            attributes: attributes(random, true),
        },
        9 | 10 => Op::Symlink {
            at: if random.one_in(3) {
                there(random, tree, "l")?
            } else {
                fresh(random, tree)?
            },
            to: match random.below(4) {
                0 => "t".repeat(*random.pick(&[1, 58, 59, 60, 61, 1000, 4000])?),
                1 => format!("/nowhere/{}", name(random)),
                // A way that later edits may take.
                _ => random.pick(&tree.names('d'))?.clone(),
            },
            attributes: attributes(random, false),
        },
        11 | 12 => Op::Hardlink {
            at: fresh(random, tree)?,
            to: there(random, tree, "ffl")?,
        },
        13..=15 => Op::Rename {
            from: there(random, tree, "ffld")?,
            to: fresh(random, tree)?,
        },
        16 | 17 => Op::Append {
            at: there(random, tree, "fffl")?,
            content: content(random, 400_000),
        },
        18..=20 => {
            let at = there(random, tree, "ffld")?;
            // Near the root a removal would leave little to go on with.
            let recursive = at.path().matches('/').count() > 2;
            Op::Remove {
                at,
                recursive,
                if_exists: random.one_in(2),
            }
        }
        21 | 22 => Op::Chmod {
            at: there(random, tree, "ffdl")?,
            mode: mode(random),
        },
        23 => Op::Chown {
            at: there(random, tree, "fdl")?,
            owner: owner(random),
        },
        24 => Op::Mtime {
            at: there(random, tree, "fdl")?,
            mtime: time(random),
        },
        25 | 26 => Op::Xattrs {
            at: there(random, tree, "ffdl")?,
            xattrs: xattrs(random),
        },
        27 if random.one_in(4) => Op::Grow {
            root: if random.one_in(2) {
                GrowRule::By(ByteSize(random.below(200 << 20)))
            } else {
                GrowRule::Free(ByteSize(random.below(300 << 20)))
            },
        },
        _ => boot(random, expected)?,
    })
}

fn boot(random: &mut Random, expected: &Expected<'_>) -> Option<Op> {
    let names = expected.boot.files();
    let fresh = |random: &mut Random| {
        let mut dir = random.pick(&expected.boot.dirs())?.clone();
        if random.one_in(4) {
            dir = format!("{dir}/Folder {}", random.below(50));
        }
        // In the C locale mtools have no way to write `ü`.
        let stem = name(random).replace('.', "-").replace('ü', "U");
        ImagePath::on(VolumeName::Boot, &format!("{dir}/{stem}.txt")).ok()
    };
    let there = |random: &mut Random| {
        let path = random.pick(&names)?;
        ImagePath::on(VolumeName::Boot, path).ok()
    };
    let key = |random: &mut Random| format!("ceil_key{}", random.below(4));
    Some(match random.below(9) {
        0 | 1 => Op::Put {
            at: if random.one_in(3) {
                there(random)?
            } else {
                fresh(random)?
            },
            content: content(random, 300_000),
            attributes: Attributes::default(),
            xattrs: Vec::new(),
            sparse: false,
        },
        2 => Op::Dir {
            at: fresh(random)?,
            attributes: Attributes::default(),
        },
        3 => Op::Append {
            at: there(random)?,
            content: content(random, 50_000),
        },
        4 => Op::Rename {
            from: there(random)?,
            to: fresh(random)?,
        },
        5 => Op::Remove {
            at: there(random)?,
            recursive: random.one_in(2),
            if_exists: random.one_in(2),
        },
        6 => Op::ConfigTxt {
            section: (*random.pick(&["all", "pi4", "cm5"])?).to_owned(),
            set: vec![(key(random), random.below(100).to_string())],
            unset: vec![],
        },
        _ => Op::KernelArgs {
            add: (0..random.below(3))
                .map(|_| format!("ceil.k{}=v{}", random.below(4), random.below(3)))
                .collect(),
            remove: random
                .one_in(2)
                .then(|| match random.below(4) {
                    0 => "quiet".to_owned(),
                    1 => format!("ceil.k{}=v0", random.below(4)),
                    _ => format!("ceil.k{}", random.below(4)),
                })
                .into_iter()
                .collect(),
        },
    })
}
