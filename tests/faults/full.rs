//! Full and read-only file systems, in a mount namespace of their own. Needs root.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    publishing_to_a_full_store_is_an_error_and_goes_on_when_there_is_space,
    opening_a_channel_on_a_full_store_is_an_error_without_residue,
    making_a_store_on_a_full_file_system_is_an_error,
    a_store_without_inodes_is_full,
    a_reason_other_than_a_full_queue_is_told_first,
}

fn mount(on: &Path, kind: &str, flags: libc::c_ulong, options: &str) {
    let text = |text: &str| CString::new(text).unwrap();
    let (on, kind, options) = (text(on.to_str().unwrap()), text(kind), text(options));
    // SAFETY: every string is NUL-terminated and outlives the call.
    let result = unsafe { libc::mount(kind.as_ptr(), on.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Runs this in a child that has a small file system at the place of the store.
fn on_a_small_file_system(transport: Transport, options: &str, run: impl FnOnce(&Home)) {
    if !is_root() {
        return;
    }
    let home = Home::with(transport);
    Child::fork(|| {
        // SAFETY: no pointers; this child has one thread.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
        mount(Path::new("/"), "none", libc::MS_REC | libc::MS_PRIVATE, "");
        let _ = fs::remove_dir_all(home.path());
        fs::create_dir(home.path()).unwrap();
        mount(&home.path(), "tmpfs", 0, options);
        run(&home);
    })
    .succeeds();
}

/// Takes all space that is left; what to remove to have it back.
fn fill(home: &Home) -> std::path::PathBuf {
    use std::io::Write;
    let path = home.path().join("filler");
    let mut file = fs::File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    path
}

fn is_store_full(error: &Error) -> bool {
    assert!(error.to_string().contains("free space"), "{error}");
    error.kind() == ErrorKind::StoreFull
}

/// A full store is an error, never SIGBUS; nothing is left of what did not fit, and it goes on when there is space.
fn publishing_to_a_full_store_is_an_error_and_goes_on_when_there_is_space(transport: Transport) {
    on_a_small_file_system(transport, "size=2m", |home| {
        let mut channel = home.open("a");
        let publisher = home.publisher("a");
        let data = vec![7; 100_000];
        let mut taken = 0;
        let error = loop {
            match publisher.publish(&data, None) {
                Ok(n) => taken += n,
                Err(error) => break error,
            }
        };
        assert!(is_store_full(&error) && (10..=20).contains(&taken), "{taken} {error}");
        assert_eq!(last_rejected(), 1);
        let filler = fill(home);
        for _ in 0..100 {
            assert!(is_store_full(&publisher.publish(b"small", None).unwrap_err()));
        }
        assert!(home.residue().is_empty(), "{:?}", home.residue());
        assert_eq!(channel.stats().unwrap().unread_messages, taken as u64);
        // Receiving needs no space, and what was refused holds no room in the queue.
        assert_eq!(drain(&mut channel).len(), taken);
        fs::remove_file(filler).unwrap();
        for _ in 0..taken {
            assert_eq!(publisher.publish(&data, None).unwrap(), 1);
        }
        assert_eq!(drain(&mut channel).len(), taken);
        channel.close().unwrap();
        assert!(home.channels().is_empty());
    });
}

/// Opening a channel on a full store is StoreFull and leaves nothing behind; channels that are there go on.
fn opening_a_channel_on_a_full_store_is_an_error_without_residue(transport: Transport) {
    on_a_small_file_system(transport, "size=1m", |home| {
        let mut channel = home.open("a");
        home.publisher("a").publish(b"x", None).unwrap();
        let filler = fill(home);
        for _ in 0..20 {
            let error = Channel::open("b", &home.options()).unwrap_err();
            assert!(is_store_full(&error) && error.to_string().contains("'b'"), "{error}");
        }
        assert_eq!(home.channels(), [channel.path()]);
        assert!(home.residue().is_empty(), "{:?}", home.residue());
        assert_eq!(drain(&mut channel).len(), 1);
        fs::remove_file(filler).unwrap();
        drop(home.open("b"));
    });
}

/// A store that cannot even be made.
fn making_a_store_on_a_full_file_system_is_an_error(transport: Transport) {
    on_a_small_file_system(transport, "size=256k", |home| {
        fill(home);
        for below in ["", "new"] {
            let options = PublisherOptions { home: Some(home.path().join(below)), ..Default::default() };
            assert!(is_store_full(&Publisher::open("a", &options).unwrap_err()));
        }
        let options = ChannelOptions { home: Some(home.path().join("new")), ..Default::default() };
        assert!(is_store_full(&Channel::open("a", &options).unwrap_err()));
        fs::remove_file(home.path().join("filler")).unwrap();
        let mut channel = Channel::open("a", &options).unwrap();
        let options = PublisherOptions { home: options.home, ..Default::default() };
        assert_eq!(Publisher::open("a", &options).unwrap().publish(b"x", None).unwrap(), 1);
        assert_eq!(drain(&mut channel).len(), 1);
    });
}

/// The same when there are no inodes left.
fn a_store_without_inodes_is_full(transport: Transport) {
    on_a_small_file_system(transport, "size=8m,nr_inodes=60", |home| {
        let mut channels = [home.open("a"), home.open("a")];
        let publisher = home.publisher("a");
        // Too large for a ring's memory: a file.
        let data = vec![7; 20_000];
        let mut taken = [0; 3];
        let error = loop {
            match publisher.publish(&data, None) {
                Ok(n) => taken[n] += 1,
                Err(error) => break error,
            }
        };
        assert!(is_store_full(&error), "{error}");
        assert!(taken[2] > 10, "{taken:?}");
        assert!(is_store_full(&Channel::open("b", &home.options()).unwrap_err()));
        assert!(home.residue().is_empty());
        let received: Vec<usize> = channels.iter_mut().map(|channel| drain(channel).len()).collect();
        assert_eq!(received.iter().sum::<usize>(), taken[1] + 2 * taken[2]);
        assert_eq!(publisher.publish(&data, None).unwrap(), 2);
        drop(home.open("b"));
    });
}

/// When some channels can take a message and others cannot, the answer is those that did.
fn a_reason_other_than_a_full_queue_is_told_first(transport: Transport) {
    on_a_small_file_system(transport, "size=1m", |home| {
        let _full = home.open_with_room("a", 1);
        let _roomy = home.open("a");
        let publisher = home.publisher("a");
        // Too large for a ring's memory: a file.
        let data = vec![7; 20_000];
        assert_eq!(publisher.publish(&data, None).unwrap(), 2);
        assert_eq!(publisher.publish(&data, None).unwrap(), 1);
        fill(home);
        assert!(is_store_full(&publisher.publish(&data, None).unwrap_err()));
        assert_eq!(last_rejected(), 2);
    });
}

/// A read-only store: errors that say so; it can be listed.
#[test]
fn a_read_only_store_is_an_error_that_says_so() {
    on_a_small_file_system(Transport::Default, "size=4m", |home| {
        let channel = home.open("a");
        // The same store, mounted read-only in another place: open files keep the first from becoming so.
        let place = home.outside().join("read-only");
        fs::create_dir(&place).unwrap();
        let text = |path: &Path| CString::new(path.to_str().unwrap()).unwrap();
        let (from, to) = (text(&home.path()), text(&place));
        // SAFETY: both paths are NUL-terminated; a bind mount takes neither type nor data.
        let bound =
            unsafe { libc::mount(from.as_ptr(), to.as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null()) };
        assert_eq!(bound, 0);
        mount(&place, "none", libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY, "");
        let read_only = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
            assert!(error.to_string().contains("Read-only") && error.to_string().contains("store"), "{error}");
        };
        let options = ChannelOptions { home: Some(place.clone()), ..Default::default() };
        read_only(Channel::open("b", &options).unwrap_err());
        let options = PublisherOptions { home: Some(place.clone()), ..Default::default() };
        read_only(Publisher::open("a", &options).unwrap_err());
        let _ = pubsub::cleanup(Some(&place));
        let list = list_channels(Some(&place)).unwrap();
        assert!(list.len() == 1 && list[0].alive);
        channel.close().unwrap();
    });
}
