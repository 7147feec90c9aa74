//! Progress is told, not drawn: work calls a [`Reporter`], and only the command line knows about bars and JSON.

/// One thing worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A step with a length begins. `total` is in bytes where known.
    Start {
        /// Identifies the step until its end.
        step: Step,
        /// What is being worked on: a file name, a URL, a node.
        subject: &'a str,
        /// Bytes in all.
        total: Option<u64>,
    },
    /// The step has come this far, in bytes since its start.
    Advance {
        /// The step.
        step: Step,
        /// Bytes done.
        done: u64,
    },
    /// The step ended well.
    End {
        /// The step.
        step: Step,
    },
    /// A sentence worth knowing that is not an error.
    Note {
        /// The sentence.
        text: &'a str,
    },
    /// Something that will surprise later.
    Warning {
        /// The sentence.
        text: &'a str,
    },
}

/// Steps that take time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Bytes come from the network.
    Download,
    /// A base is decompressed into the cache.
    Unpack,
    /// Payload files are hashed.
    Hash,
    /// File systems are edited.
    Edit,
    /// The image is written out.
    Emit,
    /// A card is written.
    Flash,
    /// A card is read back.
    Verify,
}

impl Step {
    /// The word for people and for JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Unpack => "unpack",
            Self::Hash => "hash",
            Self::Edit => "edit",
            Self::Emit => "write",
            Self::Flash => "flash",
            Self::Verify => "verify",
        }
    }
}

/// Where events go. Calls come from several threads and must return fast.
pub trait Reporter: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &Event<'_>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoReport;

impl Reporter for NoReport {
    fn event(&self, _event: &Event<'_>) {}
}
