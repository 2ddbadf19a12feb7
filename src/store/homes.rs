//! The stores' directories that this process has opened, numbered from 1, so that a message can say in one word which
//! store it came from.
//!
//! A list that only grows: an entry for each directory that was ever opened, which are few. It takes no lock, since a child
//! forked meanwhile would inherit it locked.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use once_cell::race::OnceBox;

struct Entry {
    home: PathBuf,
    next: OnceBox<Entry>,
}

static FIRST: OnceBox<Entry> = OnceBox::new();

/// The number of this directory, the same each time.
pub(crate) fn number(home: &Path) -> u64 {
    let (mut place, mut number) = (&FIRST, 1);
    loop {
        let entry = place.get_or_init(|| Box::new(Entry { home: home.to_path_buf(), next: OnceBox::new() }));
        if entry.home == home {
            return number;
        }
        (place, number) = (&entry.next, number + 1);
    }
}

/// The directory with this number; `None` for 0 and for numbers that were not given out.
pub(crate) fn path(number: u64) -> Option<&'static Path> {
    let mut entry = FIRST.get();
    for _ in 1..number {
        entry = entry?.next.get();
    }
    entry.filter(|_| number > 0).map(|entry| entry.home.as_path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_number() {
        let [a, b] = ["/no/such/store/a", "/no/such/store/b"].map(Path::new);
        let numbers = [number(a), number(b)];
        assert_ne!(numbers[0], numbers[1]);
        assert_eq!([number(a), number(b)], numbers);
        assert_eq!(numbers.map(path), [Some(a), Some(b)]);
        assert_eq!((path(0), path(u64::MAX)), (None, None));
    }
}
