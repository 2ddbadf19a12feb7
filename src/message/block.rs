//! The memory of messages: blocks of words, of which each thread keeps some that were freed.
//!
//! A general allocator spends more on a message of a few hundred bytes, once more than a handful of them are out, than the
//! rest of a fetch does: programs fetch a batch and free it, and so meet its slow paths each time.

#![forbid(unsafe_code)]

use std::cell::RefCell;

/// Blocks of these sizes, in words, are kept: for messages of up to about 64, 300, 1,000, 2,300 and 4,300 bytes.
const SIZES: [usize; 5] = [32, 64, 160, 320, 576];
/// A thread keeps up to this many bytes of each size.
const KEPT: usize = 256 << 10;
/// And up to so many blocks.
const KEPT_BLOCKS: usize = 256;

struct Kept([Vec<Box<[u64]>>; SIZES.len()]);

thread_local! {
    static KEPT_HERE: RefCell<Kept> = const { RefCell::new(Kept([const { Vec::new() }; SIZES.len()])) };
}

/// The index of the smallest size that holds so many words.
#[inline]
fn class_of(words: usize) -> Option<usize> {
    SIZES.iter().position(|&size| words <= size)
}

/// A block of at least so many words, with whatever is in them; `None`: such memory cannot be had.
#[inline]
pub(super) fn take(words: usize) -> Option<Box<[u64]>> {
    let class = class_of(words);
    if let Some(class) = class {
        // A thread that is ending may have lost its storage already.
        let kept = KEPT_HERE.try_with(|kept| kept.try_borrow_mut().ok().and_then(|mut kept| kept.0[class].pop()));
        if let Ok(Some(block)) = kept {
            return Some(block);
        }
    }
    allocate(class.map_or(words, |class| SIZES[class]))
}

#[cold]
fn allocate(words: usize) -> Option<Box<[u64]>> {
    let mut block: Vec<u64> = Vec::new();
    block.try_reserve_exact(words).ok()?;
    block.resize(words, 0);
    Some(block.into_boxed_slice())
}

/// Takes a block back.
#[inline]
pub(super) fn give(block: Box<[u64]>) {
    let Some(class) = SIZES.iter().position(|&size| block.len() == size) else { return };
    let most = (KEPT / 8 / SIZES[class]).min(KEPT_BLOCKS);
    let _ = KEPT_HERE.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut() {
            let kept = &mut kept.0[class];
            if kept.len() < most {
                kept.push(block);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back_and_only_so_many_are_kept() {
        std::thread::spawn(|| {
            let block = take(33).expect("memory");
            assert_eq!(block.len(), 64);
            let place = block.as_ptr();
            give(block);
            let again = take(40).expect("memory");
            assert_eq!(again.as_ptr(), place);

            let many: Vec<_> = (0..1000).map(|_| take(500).expect("memory")).collect();
            many.into_iter().for_each(give);
            let kept = KEPT_HERE.with(|kept| kept.borrow().0[4].len());
            assert_eq!(kept, KEPT / 8 / 576);
            assert_eq!(take(577).expect("memory").len(), 577);
            assert!(take(usize::MAX).is_none());
        })
        .join()
        .expect("the thread");
    }
}
