//! The store's directory and what lies below it, by path relative to one open directory.
//!
//! Paths are resolved anew in each call: what has been renamed away is not found any more, which is what keeps a
//! publisher from putting files into a channel that is being removed.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use super::fd::{Fd, status};

/// A path of at most two names below the store's directory, NUL-terminated, on the stack.
#[derive(Debug)]
pub(crate) struct EntryPath {
    bytes: [u8; EntryPath::ROOM],
}

impl EntryPath {
    /// A name of 255 bytes, a slash, a name of 255 bytes, a NUL.
    const ROOM: usize = 512;

    /// `directory/name`. Names that do not fit (none that a file system gives) lead to a path that does not exist.
    pub(crate) fn new(directory: &[u8], name: &[u8]) -> EntryPath {
        let mut bytes = [0; EntryPath::ROOM];
        if directory.len() + name.len() + 2 <= EntryPath::ROOM {
            bytes[..directory.len()].copy_from_slice(directory);
            bytes[directory.len()] = b'/';
            bytes[directory.len() + 1..][..name.len()].copy_from_slice(name);
        }
        EntryPath { bytes }
    }

    /// `directory/id`, the id in decimal.
    pub(crate) fn of_message(directory: &[u8], id: u64) -> EntryPath {
        let mut digits = [0; 20];
        EntryPath::new(directory, decimal(id, &mut digits))
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        // The last byte is never written to, so there is a NUL.
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

fn decimal(mut n: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &digits[at..];
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Other,
}

/// One entry of a listing.
pub(crate) struct Entry<'a> {
    pub name: &'a [u8],
    pub kind: Kind,
}

/// How this process gives names to open files: by their descriptors unless that has failed.
static LINKING: AtomicU8 = AtomicU8::new(0);
const THROUGH_PROC: u8 = 1;
const NOT_AT_ALL: u8 = 2;

/// Whether this process can give names to open files, as far as is known: false once it has found that it cannot.
pub(crate) fn can_link_files() -> bool {
    LINKING.load(Ordering::Relaxed) != NOT_AT_ALL
}

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: Fd,
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

impl Directory {
    pub(crate) fn open(path: &Path) -> io::Result<Directory> {
        let path = c_path(path)?;
        Ok(Directory { fd: Fd::new(open_at(libc::AT_FDCWD, &path, libc::O_RDONLY | libc::O_DIRECTORY, 0)?) })
    }

    /// The descriptor; an error in a forked child.
    pub(crate) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.fd.get()
    }

    fn raw(&self) -> io::Result<libc::c_int> {
        Ok(self.fd.get()?.as_raw_fd())
    }

    /// Opens something below. Symbolic links are not followed, terminals not adopted, FIFOs not waited for.
    pub(crate) fn open_at(&self, path: &CStr, flags: libc::c_int, mode: u32) -> io::Result<OwnedFd> {
        open_at(self.raw()?, path, flags | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY, mode)
    }

    /// Makes a directory with exactly this mode.
    pub(crate) fn make_directory(&self, path: &CStr, mode: u32) -> io::Result<()> {
        // SAFETY: the path is NUL-terminated. Sticky and set-group-ID bits need the chmod.
        check(unsafe { libc::mkdirat(self.raw()?, path.as_ptr(), mode & 0o777) })?;
        self.ensure_mode(path, mode)
    }

    /// Makes a FIFO with exactly this mode.
    pub(crate) fn make_fifo(&self, path: &CStr, mode: u32) -> io::Result<()> {
        // SAFETY: the path is NUL-terminated.
        check(unsafe { libc::mkfifoat(self.raw()?, path.as_ptr(), mode) })?;
        self.ensure_mode(path, mode)
    }

    /// Sets the mode unless it is that: mostly the umask took nothing away, and to look is cheaper than to set.
    fn ensure_mode(&self, path: &CStr, mode: u32) -> io::Result<()> {
        if self.status(path)?.st_mode & 0o7777 == mode {
            return Ok(());
        }
        // SAFETY: the path is NUL-terminated.
        check(unsafe { libc::fchmodat(self.raw()?, path.as_ptr(), mode, 0) })
    }

    pub(crate) fn rename(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        let fd = self.raw()?;
        // SAFETY: both paths are NUL-terminated.
        check(unsafe { libc::renameat(fd, from.as_ptr(), fd, to.as_ptr()) })
    }

    pub(crate) fn unlink(&self, path: &CStr) -> io::Result<()> {
        // SAFETY: the path is NUL-terminated.
        check(unsafe { libc::unlinkat(self.raw()?, path.as_ptr(), 0) })
    }

    pub(crate) fn remove_directory(&self, path: &CStr) -> io::Result<()> {
        // SAFETY: the path is NUL-terminated.
        check(unsafe { libc::unlinkat(self.raw()?, path.as_ptr(), libc::AT_REMOVEDIR) })
    }

    /// What is at the path; symbolic links are not followed.
    pub(crate) fn status(&self, path: &CStr) -> io::Result<libc::stat> {
        // SAFETY: an all-zero stat is a valid value of the plain C struct.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the path is NUL-terminated and `stat` is valid to write to.
        check(unsafe { libc::fstatat(self.raw()?, path.as_ptr(), &mut stat, libc::AT_SYMLINK_NOFOLLOW) })?;
        Ok(stat)
    }

    /// What this directory itself is.
    pub(crate) fn own_status(&self) -> io::Result<libc::stat> {
        status(self.fd()?)
    }

    /// Whether it is on a file system that other hosts write to: memory mapped from there is not shared with them, nor, with
    /// some, among the processes of this host. In doubt not.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_remote(&self) -> bool {
        /// Numbers of linux/magic.h, and of the file systems' own sources: NFS, SMB, CIFS, SMB2, Ceph, AFS, 9P, Coda, NCP.
        const REMOTE: [u32; 9] =
            [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x00c3_6400, 0x5346_414f, 0x0102_1997, 0x7375_7245, 0x564c];
        self.kind().is_some_and(|kind| REMOTE.contains(&kind))
    }

    /// Whether it is on a file system that lives in memory: it ends with the machine, whole until then. In doubt not.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_in_memory(&self) -> bool {
        /// Of linux/magic.h: tmpfs, ramfs.
        const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];
        self.kind().is_some_and(|kind| IN_MEMORY.contains(&kind))
    }

    /// The number that says which file system it is on.
    #[cfg(target_os = "linux")]
    fn kind(&self) -> Option<u32> {
        let fd = self.fd().ok()?;
        // SAFETY: all of it is numbers, for which zero is a value.
        let mut found: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is borrowed, and `found` is valid to write to.
        let known = unsafe { libc::fstatfs(fd.as_raw_fd(), &mut found) } == 0;
        known.then_some(found.f_type as u32)
    }

    /// Only Linux says by a number what a file system is.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn is_remote(&self) -> bool {
        false
    }

    /// As above.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn is_in_memory(&self) -> bool {
        false
    }

    /// Calls `each` with the entries of a directory below, until it answers false.
    pub(crate) fn list(&self, path: &CStr, mut each: impl FnMut(Entry<'_>) -> bool) -> io::Result<()> {
        use nix::dir::{Dir, Type};
        let fd = self.open_at(path, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        // By value: who borrows it rewinds it in the end.
        for entry in Dir::from_fd(fd)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = match entry.file_type() {
                Some(Type::File) => Kind::File,
                Some(Type::Directory) => Kind::Directory,
                Some(_) => Kind::Other,
                // File systems without d_type: ask. `path` has at most one name, so this fits.
                None => match self.status(EntryPath::new(path.to_bytes(), name.to_bytes()).as_c_str()) {
                    Ok(stat) if stat.st_mode & libc::S_IFMT == libc::S_IFREG => Kind::File,
                    Ok(stat) if stat.st_mode & libc::S_IFMT == libc::S_IFDIR => Kind::Directory,
                    _ => Kind::Other,
                },
            };
            if !each(Entry { name: name.to_bytes(), kind }) {
                break;
            }
        }
        Ok(())
    }

    /// A file of no name, in the file system of the directory at `path`: it vanishes with its descriptor unless it is
    /// linked. `None` where the system has no such files, or this process cannot link them.
    pub(crate) fn unnamed_file(&self, path: &CStr, mode: u32) -> io::Result<Option<OwnedFd>> {
        #[cfg(target_os = "linux")]
        {
            if !can_link_files() {
                return Ok(None);
            }
            let flags = libc::O_TMPFILE | libc::O_WRONLY;
            match open_at(self.raw()?, path, flags, mode) {
                Ok(fd) => Ok(Some(fd)),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EOPNOTSUPP) | Some(libc::EISDIR) | Some(libc::EINVAL) => Ok(None),
                    _ => Err(error),
                },
            }
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (path, mode);
            Ok(None)
        }
    }

    /// Gives a name to an open file; `EEXIST` when the name is taken. When it fails and [`can_link_files`] says no, that is
    /// why.
    pub(crate) fn link_file(&self, file: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            let dir = self.raw()?;
            if LINKING.load(Ordering::Relaxed) != THROUGH_PROC {
                // SAFETY: both paths are NUL-terminated.
                let result = check(unsafe {
                    libc::linkat(file.as_raw_fd(), c"".as_ptr(), dir, path.as_ptr(), libc::AT_EMPTY_PATH)
                });
                // Kernels before 6.10 want CAP_DAC_READ_SEARCH and answer ENOENT, as for a missing directory. Also a process
                // that could so far may have given up its rights.
                if !result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT)) {
                    return result;
                }
            }
            let mut name = *b"/proc/self/fd/\0\0\0\0\0\0\0\0\0\0\0\0";
            let mut digits = [0; 20];
            let digits = decimal(file.as_raw_fd() as u64, &mut digits);
            name[14..14 + digits.len()].copy_from_slice(digits);
            let name = name.as_ptr().cast();
            // SAFETY: both paths are NUL-terminated: descriptor numbers have at most 10 digits.
            let linked =
                check(unsafe { libc::linkat(libc::AT_FDCWD, name, dir, path.as_ptr(), libc::AT_SYMLINK_FOLLOW) });
            if linked.is_ok() {
                LINKING.store(THROUGH_PROC, Ordering::Relaxed);
            // SAFETY: the path is NUL-terminated.
            } else if unsafe { libc::access(name, libc::F_OK) } != 0 {
                // No /proc, or one that is closed to a process that has changed its user.
                LINKING.store(NOT_AT_ALL, Ordering::Relaxed);
            }
            linked
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (file, path);
            Err(io::Error::from_raw_os_error(libc::ENOSYS))
        }
    }

    /// Gives a second name to a file.
    pub(crate) fn link(&self, from: &CStr, to: &CStr) -> io::Result<()> {
        let fd = self.raw()?;
        // SAFETY: both paths are NUL-terminated.
        check(unsafe { libc::linkat(fd, from.as_ptr(), fd, to.as_ptr(), 0) })
    }
}

fn open_at(dir: libc::c_int, path: &CStr, flags: libc::c_int, mode: u32) -> io::Result<OwnedFd> {
    loop {
        // SAFETY: the path is NUL-terminated; `mode` is only read with O_CREAT and O_TMPFILE.
        let fd = unsafe { libc::openat(dir, path.as_ptr(), flags | libc::O_CLOEXEC, mode as libc::c_uint) };
        if fd >= 0 {
            // SAFETY: just opened, owned by nobody else.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Makes a directory below `base` with the mode of `base` itself, unless it is there. In a store of another user (this is
/// root then) it is made his, or he could not use it.
pub(crate) fn ensure(base: &Directory, path: &CStr) -> io::Result<()> {
    match base.status(path) {
        Ok(stat) if stat.st_mode & libc::S_IFMT == libc::S_IFDIR => return Ok(()),
        Ok(_) => return Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(error),
    }
    let store = base.own_status()?;
    match base.make_directory(path, store.st_mode & 0o7777) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => Ok(()),
        Ok(()) => {
            let made = base.open_at(path, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
            if status(&made)?.st_uid != store.st_uid {
                // Not allowed in a shared store, whose group may use it.
                let _ = set_owner(&made, store.st_uid);
            }
            Ok(())
        }
    }
}

/// Sets the mode of an open file, whatever the umask was when it was made.
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed.
    check(unsafe { libc::fchmod(file.as_fd().as_raw_fd(), mode as libc::mode_t) })
}

/// The same, unless it has that mode.
pub(crate) fn ensure_mode(file: impl AsFd, mode: u32) -> io::Result<()> {
    if status(&file)?.st_mode & 0o7777 == mode { Ok(()) } else { set_mode(file, mode) }
}

/// Waits until a file is on its disk, if it has one.
pub(crate) fn sync(file: impl AsFd) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed.
    check(unsafe { libc::fsync(file.as_fd().as_raw_fd()) })
}

/// Sets the owner of an open file.
pub(crate) fn set_owner(file: impl AsFd, uid: u32) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed; -1 leaves the group alone.
    check(unsafe { libc::fchown(file.as_fd().as_raw_fd(), uid, u32::MAX) })
}

/// Sets the group of an open file.
pub(crate) fn set_group(file: impl AsFd, gid: u32) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed; -1 leaves the owner alone.
    check(unsafe { libc::fchown(file.as_fd().as_raw_fd(), u32::MAX, gid) })
}

/// Writes two pieces one after the other, all of them.
pub(crate) fn write_all(file: BorrowedFd<'_>, first: &[u8], second: &[u8]) -> io::Result<()> {
    let (mut first, mut second) = (first, second);
    while !first.is_empty() || !second.is_empty() {
        let pieces = [
            libc::iovec { iov_base: first.as_ptr() as *mut _, iov_len: first.len() },
            libc::iovec { iov_base: second.as_ptr() as *mut _, iov_len: second.len() },
        ];
        // SAFETY: both pieces are valid for reading; writev does not write to them.
        let n = unsafe { libc::writev(file.as_raw_fd(), pieces.as_ptr(), 2) };
        if n <= 0 {
            let error = io::Error::last_os_error();
            match n {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                _ if error.kind() == io::ErrorKind::Interrupted => continue,
                _ => return Err(error),
            }
        }
        let n = n as usize;
        let of_first = n.min(first.len());
        first = &first[of_first..];
        second = &second[n - of_first..];
    }
    Ok(())
}

/// Reads from an offset, as much as is there, up to the buffer's size.
pub(crate) fn read_at(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match read_some_at(file, &mut buffer[done..], offset + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(done)
}

/// Reads from an offset by one system call: 0 at the end, and before it perhaps less than is there.
pub(crate) fn read_some_at(file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        // SAFETY: `buffer` is valid for its length.
        let n =
            unsafe { libc::pread(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), offset as libc::off_t) };
        if n >= 0 {
            return Ok(n as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_paths_are_the_directory_and_the_id_in_decimal() {
        for id in [0, 7, 10, u64::MAX] {
            assert_eq!(EntryPath::of_message(b"a_b_1", id).as_c_str().to_str().unwrap(), format!("a_b_1/{id}"));
        }
        assert_eq!(EntryPath::new(&[b'x'; 300], &[b'y'; 300]).as_c_str(), c"");
    }
}
