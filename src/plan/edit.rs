use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::values::{ByteSize, Digest, ImagePath, Mode, Owner, Timestamp};

/// Where a wish was written, for messages: `cluster.yaml:12` or a built-in rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// File as the user named it, or a word in angle brackets such as `<identity>`.
    pub file: String,
    /// 1-based line; 0 when there is none.
    pub line: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}", self.file, self.line)
        }
    }
}

/// One change of an image, and who asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What to do.
    pub op: Op,
    /// Where it was asked for.
    pub origin: Origin,
}

/// What identifies a host file between the moment it was hashed and the moment it is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// Length in bytes.
    pub len: u64,
    /// Modification time, seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Device and inode number.
    pub id: (u64, u64),
}

/// The bytes of a file to be written. Known by digest, so that a plan names its result completely.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes given in the cluster file or made by a template.
    Inline {
        /// The bytes.
        bytes: Arc<[u8]>,
        /// Their SHA-256.
        digest: Digest,
        /// Whether they hold a secret: then neither plan nor manifest tells anything about them, and only their owner
        /// may read the file (P25).
        secret: bool,
    },
    /// A file of the host, read only when the image is emitted.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its SHA-256.
        digest: Digest,
        /// What it looked like when it was hashed.
        stamp: FileStamp,
    },
}

impl Content {
    /// Bytes at hand.
    #[must_use]
    pub fn inline(bytes: &[u8]) -> Self {
        Self::Inline {
            bytes: bytes.into(),
            digest: Digest::sha256(bytes),
            secret: false,
        }
    }

    /// Bytes at hand that hold a secret.
    #[must_use]
    pub fn secret(bytes: &[u8]) -> Self {
        Self::Inline {
            bytes: bytes.into(),
            digest: Digest::sha256(bytes),
            secret: true,
        }
    }

    /// Whether the bytes hold a secret.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Inline { secret: true, .. })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline { bytes, .. } => bytes.len() as u64,
            Self::File { stamp, .. } => stamp.len,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Inline { digest, .. } | Self::File { digest, .. } => digest,
        }
    }
}

impl fmt::Debug for Content {
    /// Length and digest; the bytes may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_secret() {
            return f.write_str("Content(secret)");
        }
        write!(f, "Content({} bytes, {})", self.len(), self.digest())
    }
}

/// One extended attribute by its full name, such as `user.note` or `security.capability`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Xattr {
    /// Full name with its namespace.
    pub name: String,
    /// The value; `None` removes the attribute.
    pub value: Option<Vec<u8>>,
}

impl fmt::Debug for Xattr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}({} bytes)",
            self.name,
            self.value.as_ref().map_or(0, Vec::len)
        )
    }
}

/// Attributes that an edit gives; `None` leaves what is there, or takes the default of a new node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: Option<Mode>,
    /// Numeric owner.
    pub owner: Option<Owner>,
    /// Modification time.
    pub mtime: Option<Timestamp>,
}

/// How far a volume must grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrowRule {
    /// By at least this much.
    By(ByteSize),
    /// Until at least this much is free after all edits.
    Free(ByteSize),
}

/// The kinds of change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Create or replace a file.
    Put {
        /// Where.
        at: ImagePath,
        /// What.
        content: Content,
        /// Mode, owner, time.
        attributes: Attributes,
        /// Extended attributes to set.
        xattrs: Vec<Xattr>,
        /// Leave blocks of zeroes unallocated.
        sparse: bool,
    },
    /// Make a directory, with its parents.
    Dir {
        /// Where.
        at: ImagePath,
        /// Mode, owner, time.
        attributes: Attributes,
    },
    /// Make a symbolic link.
    Symlink {
        /// Where.
        at: ImagePath,
        /// What it points to, as text.
        to: String,
        /// Owner and time.
        attributes: Attributes,
    },
    /// Give an existing file another name.
    Hardlink {
        /// The new name.
        at: ImagePath,
        /// The file that exists.
        to: ImagePath,
    },
    /// Move a name.
    Rename {
        /// The name that exists.
        from: ImagePath,
        /// The new name.
        to: ImagePath,
    },
    /// Add to the end of a file.
    Append {
        /// The file.
        at: ImagePath,
        /// What is added.
        content: Content,
    },
    /// Remove a name.
    Remove {
        /// The name.
        at: ImagePath,
        /// With everything below it.
        recursive: bool,
        /// No error when it is not there.
        if_exists: bool,
    },
    /// Set permission bits.
    Chmod {
        /// The node.
        at: ImagePath,
        /// The bits.
        mode: Mode,
    },
    /// Set the owner.
    Chown {
        /// The node.
        at: ImagePath,
        /// The owner.
        owner: Owner,
    },
    /// Set the modification time.
    Mtime {
        /// The node.
        at: ImagePath,
        /// The time.
        mtime: Timestamp,
    },
    /// Set or remove extended attributes.
    Xattrs {
        /// The node.
        at: ImagePath,
        /// Attributes, sorted by name.
        xattrs: Vec<Xattr>,
    },
    /// Words of the kernel command line, on the file that the firmware reads (P04 to P09).
    KernelArgs {
        /// Words to add unless there, in this order.
        add: Vec<String>,
        /// Words to remove: a whole `key=value`, or a bare key for every value of it.
        remove: Vec<String>,
    },
    /// Keys of config.txt, in one section (F020).
    ConfigTxt {
        /// `all`, `pi4`, …; without brackets.
        section: String,
        /// Keys to set, in this order.
        set: Vec<(String, String)>,
        /// Keys to remove from the section.
        unset: Vec<String>,
    },
    /// One line of fstab, found by its mount point.
    Fstab {
        /// Mount point, the second field.
        mount: String,
        /// The whole line with six fields; `None` removes the entry.
        line: Option<String>,
    },
    /// Make room on the root volume.
    Grow {
        /// How far.
        root: GrowRule,
    },
}

impl Op {
    /// Puts a file that belongs to root, with a mode.
    #[must_use]
    pub fn of_root(at: ImagePath, content: Content, mode: Mode) -> Self {
        Self::Put {
            at,
            content,
            attributes: Attributes {
                mode: Some(mode),
                owner: Some(Owner::default()),
                mtime: None,
            },
            xattrs: Vec::new(),
            sparse: false,
        }
    }
}
