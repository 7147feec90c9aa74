//! Cards as the system offers them: opened for one writer alone, written and read past the cache of the system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::child;
use super::disks::Disk;

/// What memory, offsets and lengths of requests past the cache are multiples of, at most: the size of a page, and of
/// the sectors of all disks.
pub const ALIGN: usize = 4096;

/// How a card is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// To be written, by nobody else meanwhile.
    Alone,
    /// To be read.
    Read,
}

/// An open disk, or a file that stands for one.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    len: u64,
    block: bool,
    opened: Opened,
    /// The claim on the device, and the way through the cache.
    plain: File,
    /// The way past the cache, where the system has one. Opened again before data is read back.
    direct: RwLock<Option<File>>,
}

impl Device {
    /// Opens a disk of `len` bytes, or a regular file, whose own length counts.
    ///
    /// # Errors
    /// It is in use ([`io::ErrorKind::ResourceBusy`]), may not be written, or is neither disk nor file.
    pub fn open(path: &Path, opened: Opened, len: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(opened == Opened::Alone);
        let kind = std::fs::metadata(path)?.file_type();
        let block = kind.is_block_device() || (cfg!(target_os = "macos") && kind.is_char_device());
        if opened == Opened::Alone {
            // Without O_CREAT, O_EXCL on a disk means: nobody else has it mounted or open in this way.
            options.custom_flags(flags(exclusive(block)));
        }
        let plain = options.open(path)?;
        let meta = plain.metadata()?;
        if !block && !meta.is_file() {
            let text = "neither a disk nor a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if opened == Opened::Alone && !block {
            plain
                .try_lock()
                .map_err(|_| io::Error::from(io::ErrorKind::ResourceBusy))?;
        }
        let device = Self {
            path: path.to_owned(),
            len: if block { len } else { meta.len() },
            block,
            opened,
            plain,
            direct: RwLock::new(None),
        };
        device.renew()?;
        Ok(device)
    }

    /// Length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no room at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is a disk and no file.
    #[must_use]
    pub const fn is_block(&self) -> bool {
        self.block
    }

    /// Whether reading and writing goes past the cache.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.direct
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Opens the way past the cache, afresh if there was one.
    fn renew(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(self.opened == Opened::Alone)
            .custom_flags(flags(past_the_cache()));
        let file = match options.open(&self.path) {
            Ok(file) => file,
            // Some file systems, and some devices, have no such way.
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                *self.direct.write().unwrap_or_else(PoisonError::into_inner) = None;
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let (ours, there) = (self.plain.metadata()?, file.metadata()?);
        let same = if self.block {
            ours.rdev() == there.rdev()
        } else {
            (ours.dev(), ours.ino()) == (there.dev(), there.ino())
        };
        if !same {
            return Err(io::Error::other("another device took its name"));
        }
        #[cfg(target_vendor = "apple")]
        rustix::fs::fcntl_nocache(&file, true)?;
        *self.direct.write().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    /// Forgets what the system keeps of the device, so that what is read next comes from the device itself.
    ///
    /// # Errors
    /// The device is gone.
    pub fn forget(&self) -> io::Result<()> {
        self.renew()?;
        #[cfg(target_os = "linux")]
        {
            if self.block {
                // The way past the cache needs no flush; the one through it does, and not every driver has it.
                let _ = calls::flush_buffers(&self.plain);
            }
            // Advice alone: what it leaves in the cache can only hide an error, never make one.
            let _ = rustix::fs::fadvise(&self.plain, 0, None, rustix::fs::Advice::DontNeed);
        }
        Ok(())
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The device says so.
    pub fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.past_or_through(at, bytes.as_ptr() as usize, bytes.len(), |file| {
            file.write_all_at(bytes, at)
        })
    }

    /// Fills `buf`.
    ///
    /// # Errors
    /// The device says so.
    pub fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        self.past_or_through(at, buf.as_ptr() as usize, buf.len(), |file| {
            file.read_exact_at(buf, at)
        })
    }

    fn past_or_through(
        &self,
        at: u64,
        memory: usize,
        len: usize,
        mut act: impl FnMut(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        // The end of a device may be no multiple of a page; sectors of 512 bytes are then.
        let aligned = memory.is_multiple_of(ALIGN) && at.is_multiple_of(512) && len.is_multiple_of(512);
        if aligned && let Some(file) = &*self.direct.read().unwrap_or_else(PoisonError::into_inner) {
            match act(file) {
                Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
                done => return done,
            }
        }
        act(&self.plain)
    }

    /// Waits until everything written is on the medium.
    ///
    /// # Errors
    /// Writing back failed.
    pub fn sync(&self) -> io::Result<()> {
        match self.plain.sync_all() {
            // A raw disk of macOS has no cache of the system, and no such call.
            Err(e) if cfg!(target_os = "macos") && e.raw_os_error() == Some(Errno::NOTTY.raw_os_error()) => {
                Ok(())
            }
            done => done,
        }
    }

    /// Tells the device that none of its blocks is used. Answers whether it knows the command.
    ///
    /// # Errors
    /// The device failed.
    pub fn discard(&self) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        {
            let done = if self.block {
                calls::discard(&self.plain, self.len)
            } else {
                let mode = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
                rustix::fs::fallocate(&self.plain, mode, 0, self.len)
            };
            match done {
                Ok(()) => Ok(true),
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::INVAL) => Ok(false),
                Err(e) => Err(e.into()),
            }
        }
        #[cfg(not(target_os = "linux"))]
        Ok(false)
    }

    /// Makes the system read the partition table again. A file has none to be read.
    ///
    /// # Errors
    /// A partition is in use, or the device failed.
    pub fn reread_table(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if self.block {
            return match calls::reread_table(&self.plain) {
                // A loop device that was not asked for partitions has none.
                Err(Errno::INVAL) => Ok(()),
                done => Ok(done?),
            };
        }
        Ok(())
    }
}

/// A flag as the standard library takes it.
fn flags(flags: OFlags) -> i32 {
    flags.bits() as i32
}

fn exclusive(block: bool) -> OFlags {
    #[cfg(target_vendor = "apple")]
    {
        // From fcntl.h of Darwin: an exclusive lock, taken as the file is opened.
        const O_EXLOCK: u32 = 0x20;
        let _ = block;
        OFlags::from_bits_retain(O_EXLOCK) | OFlags::NONBLOCK
    }
    #[cfg(not(target_vendor = "apple"))]
    {
        if block { OFlags::EXCL } else { OFlags::empty() }
    }
}

fn past_the_cache() -> OFlags {
    #[cfg(target_os = "linux")]
    {
        OFlags::DIRECT
    }
    #[cfg(not(target_os = "linux"))]
    {
        OFlags::empty()
    }
}

/// Unmounts everything that is mounted of a disk.
///
/// # Errors
/// What could not be unmounted, and why.
pub fn unmount(disk: &Disk) -> io::Result<()> {
    if cfg!(target_os = "macos") {
        let path = disk.path.to_string_lossy();
        return child::output("/usr/sbin/diskutil", &["unmountDisk", &path]).map(|_| ());
    }
    // What was mounted last may lie on what was mounted first.
    for mount in disk.mounts.iter().rev() {
        let own = own_unmount(&mount.at);
        if own.is_ok() {
            continue;
        }
        // A user may unmount what the desktop mounted for them.
        child::output(
            "udisksctl",
            &["unmount", "--no-user-interaction", "-b", &mount.source],
        )
        .map_err(|e| {
            io::Error::other(format!(
                "cannot unmount `{}`: {}",
                mount.at,
                own.err().unwrap_or(e)
            ))
        })?;
    }
    Ok(())
}

fn own_unmount(at: &str) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        Ok(rustix::mount::unmount(at, rustix::mount::UnmountFlags::NOFOLLOW)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = at;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Lets a card go, so that it can be pulled out.
///
/// # Errors
/// The system has no program for it, or the device does not let go.
pub fn eject(disk: &Disk) -> io::Result<()> {
    let path = disk.path.to_string_lossy();
    if cfg!(target_os = "macos") {
        return child::output("/usr/sbin/diskutil", &["eject", &path]).map(|_| ());
    }
    match child::output("eject", &[&path]) {
        Ok(_) => Ok(()),
        Err(_) => {
            child::output("udisksctl", &["power-off", "--no-user-interaction", "-b", &path]).map(|_| ())
        }
    }
}

/// Calls on block devices that no crate wraps (`linux/fs.h`).
#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "each call is one of `linux/fs.h` with the argument that it documents, on a descriptor that is open"
)]
mod calls {
    use std::fs::File;

    use rustix::io::Result;
    use rustix::ioctl::{NoArg, Setter, ioctl, opcode};

    const BLKRRPART: u32 = opcode::none(0x12, 95);
    const BLKFLSBUF: u32 = opcode::none(0x12, 97);
    const BLKDISCARD: u32 = opcode::none(0x12, 119);

    pub fn reread_table(file: &File) -> Result<()> {
        // SAFETY: takes no argument.
        unsafe { ioctl(file, NoArg::<BLKRRPART>::new()) }
    }

    pub fn flush_buffers(file: &File) -> Result<()> {
        // SAFETY: takes no argument.
        unsafe { ioctl(file, NoArg::<BLKFLSBUF>::new()) }
    }

    pub fn discard(file: &File, len: u64) -> Result<()> {
        // SAFETY: takes a pointer to two numbers: the first byte, and how many.
        unsafe { ioctl(file, Setter::<BLKDISCARD, [u64; 2]>::new([0, len])) }
    }
}
