//! Process identity.

use std::fs;
use std::io;

pub(crate) fn pid() -> u32 {
    std::process::id()
}

/// The user that this process acts as.
pub(crate) fn user() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether a process of this pid can be seen from here. A process of another user counts.
pub(crate) fn exists(pid: i64) -> bool {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    if pid <= 0 {
        return false;
    }
    // SAFETY: signal 0 only asks.
    unsafe { libc::kill(pid, 0) == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM) }
}

/// Whether this process is a member of the group.
pub(crate) fn in_group(gid: u32) -> bool {
    nix::unistd::getegid().as_raw() == gid
        || nix::unistd::getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid))
}

/// A name of a group that is longer is none (`LOGIN_NAME_MAX`), and nothing to ask the system's modules for: one of them aborts the
/// process for 4 MiB.
const GROUP_NAME_MAX: usize = 256;

/// The group of this name or number.
pub(crate) fn find_group(name: &str) -> io::Result<Option<u32>> {
    if let Ok(gid) = name.parse() {
        // The largest says to chown(2) that the group stays as it is.
        return Ok(Some(gid).filter(|&gid| gid != u32::MAX));
    }
    if name.len() > GROUP_NAME_MAX {
        return Ok(None);
    }
    Ok(nix::unistd::Group::from_name(name)?.map(|group| group.gid.as_raw()))
}

/// The permission bits that this process takes away from files it makes; `None` where the system does not tell.
///
/// `umask(2)` can only be read by changing it, which other threads would see.
pub(crate) fn umask() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}
