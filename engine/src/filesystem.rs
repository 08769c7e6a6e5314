//! Owns what we know of filesystems: which keep stat fields honestly, and which are networks.

use std::path::Path;

/// What a filesystem can be trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A local disk that updates mtime and ctime on every change, given time to write back.
    Honest,
    /// A network filesystem.
    Network,
    /// Anything else; tmpfs too, where a store through `mmap` may never touch the times.
    Unknown,
}

impl Kind {
    /// Whether equal stat fields may save hashing.
    pub fn is_honest(self) -> bool {
        self == Self::Honest
    }

    /// Whether it is a network.
    pub fn is_network(self) -> bool {
        self == Self::Network
    }
}

/// The kind of filesystem `path` lies on; unknown when it cannot be asked.
#[cfg(target_os = "linux")]
#[allow(
    clippy::unnecessary_cast,
    reason = "the field's type differs between architectures"
)]
pub fn kind(path: &Path) -> Kind {
    // Magic numbers of statfs(2).
    const EXT: i64 = 0xEF53;
    const XFS: i64 = 0x5846_5342;
    const BTRFS: i64 = 0x9123_683E;
    const F2FS: i64 = 0xF2F5_2010;
    const ZFS: i64 = 0x2FC1_2FC1;
    const BCACHEFS: i64 = 0xCA45_1A4E;
    const OVERLAY: i64 = 0x794C_7630;
    const NFS: i64 = 0x6969;
    const SMB: i64 = 0x517B;
    const SMB2: i64 = 0xFE53_4D42;
    const CIFS: i64 = 0xFF53_4D42;
    const FUSE: i64 = 0x6573_5546;
    const CEPH: i64 = 0x00C3_6400;
    const NINE_P: i64 = 0x0102_1997;
    const AFS: i64 = 0x5346_414F;
    match rustix::fs::statfs(path).map(|stat| stat.f_type as i64 & 0xFFFF_FFFF) {
        Ok(EXT | XFS | BTRFS | F2FS | ZFS | BCACHEFS | OVERLAY) => Kind::Honest,
        Ok(NFS | SMB | SMB2 | CIFS | FUSE | CEPH | NINE_P | AFS) => Kind::Network,
        _ => Kind::Unknown,
    }
}

/// The kind of filesystem `path` lies on; unknown when it cannot be asked.
#[cfg(not(target_os = "linux"))]
pub fn kind(path: &Path) -> Kind {
    // Without names of filesystems to go by, nothing is trusted and everything is hashed.
    let _ = path;
    Kind::Unknown
}

/// Waits until everything written to the filesystem of `file` is durable.
#[cfg(target_os = "linux")]
pub(crate) fn sync_all(file: &std::fs::File) -> std::io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// Whether [`sync_all`] exists here.
pub(crate) const HAS_SYNC_ALL: bool = cfg!(target_os = "linux");

/// Waits until everything written to the filesystem of `file` is durable.
#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_all(file: &std::fs::File) -> std::io::Result<()> {
    file.sync_all()
}
