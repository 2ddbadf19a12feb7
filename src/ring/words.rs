//! The words of the ring that hold more than a number: chunk words and refs. Pure.

#![forbid(unsafe_code)]

/// Chunks are filled in steps of 16 bytes; every record begins at one.
pub(crate) const STEP: u32 = 16;
/// The largest chunk: its fill offset, in steps, fits into 13 bits with "full".
pub(crate) const CHUNK_MAX: u32 = 4096 * STEP;
/// More chunks than this cannot be named in a ref.
pub(crate) const CHUNKS_MAX: u32 = 1 << 20;
/// Publisher ids: lock bytes.
pub(crate) const IDS: u32 = 1 << 20;
/// Positions are kept modulo this in a chunk word: at 100 million messages a second it comes round in 16 days, and a chunk
/// that nobody has touched for exactly that long to within the ring's length would be taken for one in use, not the
/// other way round, until head moves on.
const E_MASK: u64 = (1 << 47) - 1;

const STATE: u64 = 3;
const FREE: u64 = 0;
const OWNED: u64 = 1;
const PUNCH: u64 = 2;
const RESERVED: u64 = 4;
const PRESENT: u64 = 8;

/// A chunk word.
///
/// | bits | |
/// |---|---|
/// | 0..2 | state: 0 free, 1 owned by a publisher, 2 being given back |
/// | 2 | all its pages are reserved |
/// | 3 | some of its pages may be present |
/// | free, being given back: 4..17 | fill offset in steps of 16 bytes; 4096: full |
/// | 17..64 | the position behind its last record |
/// | owned: 4..24 | the publisher's id |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkWord(pub u64);

/// What a chunk word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkState {
    Free,
    Owned(u32),
    /// The consumer is giving its pages back, or the word is no valid one.
    Busy,
}

impl ChunkWord {
    /// A free chunk whose pages are reserved, filled up to `offset` bytes, whose last record's position is `end` - 1.
    pub(crate) fn free(offset: u32, end: u64) -> ChunkWord {
        ChunkWord(FREE | RESERVED | PRESENT | u64::from(offset / STEP) << 4 | (end & E_MASK) << 17)
    }

    /// A free chunk without reserved pages; `present`: some may be there.
    pub(crate) fn bare(present: bool, end: u64) -> ChunkWord {
        ChunkWord(FREE | if present { PRESENT } else { 0 } | (end & E_MASK) << 17)
    }

    pub(crate) fn owned(id: u32, reserved: bool) -> ChunkWord {
        ChunkWord(OWNED | PRESENT | if reserved { RESERVED } else { 0 } | u64::from(id) << 4)
    }

    /// The same chunk while its pages are being given back.
    pub(crate) fn punching(self) -> ChunkWord {
        ChunkWord(self.0 & !STATE | PUNCH)
    }

    pub(crate) fn state(self) -> ChunkState {
        match self.0 & STATE {
            FREE => ChunkState::Free,
            OWNED => ChunkState::Owned((self.0 >> 4) as u32 & (IDS - 1)),
            _ => ChunkState::Busy,
        }
    }

    pub(crate) fn is_reserved(self) -> bool {
        self.0 & RESERVED != 0
    }

    pub(crate) fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// Free: bytes filled.
    pub(crate) fn offset(self) -> u32 {
        ((self.0 >> 4) as u32 & 0x1fff) * STEP
    }

    /// Free: how far behind `head` (at most `slots`) its last record's end lies; `None`: it holds nothing unread.
    ///
    /// `head` must have been loaded after this word: then it can only be too new for the word, and what is in use is never
    /// taken for drained... the other error, a chunk that looks in use though it is drained, costs nothing.
    pub(crate) fn unread(self, head: u64, slots: u64) -> Option<u64> {
        unread(self.0 >> 17, head, slots)
    }
}

/// How far the end position `end` lies beyond `head`, if it lies within the `slots` behind it.
pub(crate) fn unread(end: u64, head: u64, slots: u64) -> Option<u64> {
    let ahead = end.wrapping_sub(head) & E_MASK;
    (1..=slots).contains(&ahead).then_some(ahead)
}

/// The position that `end`, kept modulo 2^47, stands for, which is at or after `from`.
pub(crate) fn unwrap_end(word: ChunkWord, from: u64) -> u64 {
    from.wrapping_add((word.0 >> 17).wrapping_sub(from) & E_MASK)
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ref {
    /// A record of `len` bytes at `offset` of a chunk.
    Record { chunk: u32, offset: u32, len: u32 },
    /// A message file with this tag in its name; its size in steps of 16 bytes.
    File { tag: u32, steps: u32 },
}

impl Ref {
    /// A message of `bytes` in a file; what is beyond 4 GiB is not counted.
    pub(crate) fn file(tag: u32, bytes: u64) -> Ref {
        Ref::File { tag, steps: bytes.div_ceil(u64::from(STEP)).min(0xfff_ffff) as u32 }
    }

    /// kind:4 | chunk:20 | offset in steps:12 | len:28, or kind:4 | size in steps:28 | tag:32.
    pub(crate) fn pack(self) -> u64 {
        match self {
            Ref::Record { chunk, offset, len } => {
                u64::from(chunk) << 40 | u64::from(offset / STEP) << 28 | u64::from(len)
            }
            Ref::File { tag, steps } => 1 << 60 | u64::from(steps) << 32 | u64::from(tag),
        }
    }

    /// `None`: no publisher of this version writes that.
    pub(crate) fn unpack(word: u64) -> Option<Ref> {
        match word >> 60 {
            0 => Some(Ref::Record {
                chunk: (word >> 40) as u32 & (CHUNKS_MAX - 1),
                offset: ((word >> 28) as u32 & 0xfff) * STEP,
                len: word as u32 & 0xfff_ffff,
            }),
            1 => Some(Ref::File { tag: word as u32, steps: (word >> 32) as u32 & 0xfff_ffff }),
            _ => None,
        }
    }

    /// What the message counts towards the bound of bytes; of a word that says nothing, 0.
    pub(crate) fn size(word: u64) -> u64 {
        match Ref::unpack(word) {
            Some(Ref::Record { len, .. }) => u64::from(len),
            Some(Ref::File { steps, .. }) => u64::from(steps) * u64::from(STEP),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hold_what_was_put_into_them() {
        let word = ChunkWord::free(CHUNK_MAX, 5);
        assert_eq!(
            (word.state(), word.offset(), word.is_reserved(), word.is_present()),
            (ChunkState::Free, CHUNK_MAX, true, true)
        );
        assert_eq!(ChunkWord::owned(IDS - 1, false).state(), ChunkState::Owned(IDS - 1));
        assert!(!ChunkWord::owned(3, false).is_reserved() && ChunkWord::owned(3, true).is_reserved());
        assert_eq!(word.punching().state(), ChunkState::Busy);
        assert_eq!(ChunkWord(0), ChunkWord::bare(false, 0), "a zeroed table is a valid one");
        let record = Ref::Record { chunk: CHUNKS_MAX - 1, offset: CHUNK_MAX - STEP, len: (1 << 28) - 1 };
        assert_eq!(Ref::unpack(record.pack()), Some(record));
        let file = Ref::file(u32::MAX, u64::MAX);
        assert_eq!(Ref::unpack(file.pack()), Some(file));
        assert_eq!((Ref::size(Ref::file(7, 33).pack()), Ref::size(record.pack())), (48, (1 << 28) - 1));
        assert_eq!(Ref::unpack(u64::MAX), None);
    }

    #[test]
    fn a_chunk_is_in_use_from_its_last_record_until_head_has_passed_it() {
        let slots = 8;
        for head in [0, 1, E_MASK - 2, E_MASK, E_MASK + 1, E_MASK + 20] {
            for ahead in 0..=slots {
                let word = ChunkWord::free(16, head + ahead);
                assert_eq!(word.unread(head, slots), (ahead > 0).then_some(ahead), "{head} {ahead}");
                assert_eq!(unwrap_end(word, head), head + ahead);
            }
            assert_eq!(ChunkWord::free(16, head.saturating_sub(1)).unread(head.max(1), slots), None);
        }
    }
}
