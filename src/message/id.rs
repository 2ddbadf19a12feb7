//! Message ids: microseconds since the epoch shifted left by 12, made unique by the store's counter.

#![forbid(unsafe_code)]

/// An entry of a FIFO that is no message: it only wakes its reader. No id is ever 0.
pub(crate) const TOKEN: u64 = 0;

/// Bits below the microseconds.
const SHIFT: u32 = 12;

/// Whether a libpubsub publisher made this id. formix-pubsub's are microseconds, not shifted: below 2^56 until the year
/// 4253, ours above it since July 1970.
pub(crate) fn is_native(id: u64) -> bool {
    id >> 56 != 0
}

/// When a libpubsub id was given out, microseconds since the epoch.
pub(crate) fn time_us(id: u64) -> u64 {
    id >> SHIFT
}

/// The smallest id of this microsecond.
pub(crate) fn floor(wall_us: u64) -> u64 {
    wall_us << SHIFT
}
