//! The file system that holds a store.

#![forbid(unsafe_code)]

use std::path::Path;

use nix::sys::statfs::{FsType, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};

/// Magic numbers of statfs(2), from linux/magic.h and the modules' sources: name, and whether other hosts have it, too.
const KINDS: [(i64, &str, bool); 19] = [
    (0x0102_1994, "tmpfs", false),
    (0x8584_58f6, "ramfs", false),
    (0xef53, "ext4", false),
    (0x5846_5342, "xfs", false),
    (0x9123_683e, "btrfs", false),
    (0xf2f5_2010, "f2fs", false),
    (0x2fc1_2fc1, "zfs", false),
    (0x794c_7630, "overlay", false),
    (0x6573_5546, "fuse", false),
    (0x6969, "nfs", true),
    (0xff53_4d42, "cifs", true),
    (0xfe53_4d42, "smb2", true),
    (0x517b, "smb", true),
    (0x00c3_6400, "ceph", true),
    (0x5346_414f, "afs", true),
    (0x7375_7245, "coda", true),
    (0x0102_1997, "9p", true),
    (0x0bd0_0bd0, "lustre", true),
    (0x4750_4653, "gpfs", true),
];

/// What statfs(2) says.
pub struct Disk {
    /// Its name, or its number.
    pub kind: String,
    /// Whether several hosts may have it mounted.
    pub is_network: bool,
    pub is_read_only: bool,
    pub bytes: u64,
    /// For users other than root.
    pub available_bytes: u64,
    /// 0 where it does not count them.
    pub inodes: u64,
    pub available_inodes: u64,
}

impl Disk {
    /// The file system of `path`, or of the nearest directory above that is there.
    pub fn of(path: &Path) -> nix::Result<Disk> {
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        let (stat, flags) = (statfs(there)?, statvfs(there)?.flags());
        let (kind, is_network) = kind(stat.filesystem_type());
        let unit = u64::try_from(stat.block_size()).unwrap_or(0);
        Ok(Disk {
            kind,
            is_network,
            is_read_only: flags.contains(FsFlags::ST_RDONLY),
            bytes: stat.blocks().saturating_mul(unit),
            available_bytes: stat.blocks_available().saturating_mul(unit),
            inodes: stat.files(),
            available_inodes: stat.files_free(),
        })
    }

    /// How much of it is taken, in parts of one.
    pub fn used(&self) -> f64 {
        if self.bytes == 0 { 0.0 } else { 1.0 - self.available_bytes.min(self.bytes) as f64 / self.bytes as f64 }
    }
}

fn kind(magic: FsType) -> (String, bool) {
    let magic = magic.0;
    match KINDS.iter().find(|(number, ..)| *number == magic) {
        Some((_, name, is_network)) => ((*name).to_owned(), *is_network),
        None => (format!("{magic:#x}"), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_by_their_magic_numbers() {
        assert_eq!(kind(FsType(0x6969)), ("nfs".to_owned(), true));
        assert_eq!(kind(FsType(0xfe53_4d42)), ("smb2".to_owned(), true));
        assert_eq!(kind(FsType(0x0102_1994)), ("tmpfs".to_owned(), false));
        assert_eq!(kind(FsType(0x1234)), ("0x1234".to_owned(), false));
    }

    #[test]
    fn a_store_that_is_not_there_is_on_the_file_system_above() {
        let disk = Disk::of(Path::new("/proc/none/of/these")).unwrap();
        assert_eq!(disk.kind, "0x9fa0");
    }
}
