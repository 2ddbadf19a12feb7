//! Words seen as the bytes they are made of.

/// The bytes of `words`, in memory order.
pub(crate) fn of(words: &[u64]) -> &[u8] {
    // SAFETY: the region is the one that `words` borrows, with the same lifetime; u64 has no padding, so every byte is
    // initialised; u8 has no alignment to violate; a slice never exceeds isize::MAX bytes, so the product is right.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), size_of_val(words)) }
}

/// The bytes of `words`, in memory order, to be changed.
pub(crate) fn of_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: as in `of`; the exclusive borrow of `words` lasts as long as the result, and every pattern of bytes is
    // a valid u64.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast::<u8>(), size_of_val(words)) }
}

/// Two u32 as they lie behind each other in memory, as a word.
#[inline]
pub(crate) fn pair(first: u32, second: u32) -> u64 {
    let (first, second) = (u64::from(first), u64::from(second));
    if cfg!(target_endian = "little") { first | second << 32 } else { first << 32 | second }
}

/// The two u32 of a word, as they lie behind each other in memory.
#[inline]
pub(crate) fn unpair(word: u64) -> (u32, u32) {
    let (low, high) = (word as u32, (word >> 32) as u32);
    if cfg!(target_endian = "little") { (low, high) } else { (high, low) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_words() {
        let mut words = [u64::from_ne_bytes(*b"abcdefgh"), u64::from_ne_bytes(*b"ijklmnop")];
        assert_eq!(of(&words), b"abcdefghijklmnop");
        assert_eq!(of(&words[..0]), b"");
        of_mut(&mut words)[7..9].copy_from_slice(b"XY");
        assert_eq!(words[0].to_ne_bytes(), *b"abcdefgX");
        assert_eq!(words[1].to_ne_bytes(), *b"Yjklmnop");
        assert_eq!(of_mut(&mut words[2..]), b"");
        let word = pair(u32::from_ne_bytes(*b"abcd"), u32::from_ne_bytes(*b"efgh"));
        assert_eq!(of(&[word]), b"abcdefgh");
        assert_eq!(unpair(pair(1, u32::MAX)), (1, u32::MAX));
    }
}
