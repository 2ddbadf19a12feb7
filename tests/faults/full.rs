//! Full and read-only file systems, in a mount namespace of their own. Needs root.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    publishing_to_a_full_store_is_an_error_and_goes_on_when_there_is_space,
    opening_a_channel_on_a_full_store_is_an_error_without_residue,
    a_store_that_the_dead_fill_has_room_for_a_channel,
    making_a_store_on_a_full_file_system_is_an_error,
    a_store_without_inodes_is_full,
    a_reason_other_than_a_full_queue_is_told_first,
    memory_may_run_out_at_every_step,
}

fn mount(on: &Path, kind: &str, flags: libc::c_ulong, options: &str) {
    let text = |text: &str| CString::new(text).unwrap();
    let (on, kind, options) = (text(on.to_str().unwrap()), text(kind), text(options));
    // SAFETY: every string is NUL-terminated and outlives the call.
    let result = unsafe { libc::mount(kind.as_ptr(), on.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Runs this in a child that has a small file system at the place of the store.
pub fn on_a_small_file_system(transport: Transport, options: &str, run: impl FnOnce(&Home)) {
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
pub fn fill(home: &Home) -> std::path::PathBuf {
    use std::io::Write;
    let path = home.path().join("filler");
    let mut file = fs::File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    path
}

pub fn is_store_full(error: &Error) -> bool {
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

/// Leaves so many pages free; what to remove to have the others back.
fn fill_but(home: &Home, pages: u64) -> std::path::PathBuf {
    let path = home.path().join("filler");
    let file = fs::File::create(&path).unwrap();
    let place = CString::new(home.path().to_str().unwrap()).unwrap();
    // SAFETY: NUL-terminated; an all-zero statvfs is valid to write to; the descriptor is open.
    unsafe {
        let mut space: libc::statvfs = std::mem::zeroed();
        assert_eq!(libc::statvfs(place.as_ptr(), &mut space), 0);
        let len = (space.f_bavail.saturating_sub(pages) * space.f_bsize) as i64;
        assert_eq!(libc::posix_fallocate(std::os::fd::AsRawFd::as_raw_fd(&file), 0, len.max(1)), 0);
    }
    path
}

/// However much memory is left: what the next step does not get is an error, what was taken can be received meanwhile, and
/// all goes on when there is space.
fn memory_may_run_out_at_every_step(transport: Transport) {
    on_a_small_file_system(transport, "size=8m", |home| {
        let publisher = home.publisher("a");
        let (mut opened, mut refused) = (0, 0);
        for pages in (0..70).chain((70..200).step_by(13)) {
            let full_policy = if pages % 2 == 0 { FullPolicy::Reject } else { FullPolicy::DropOldest };
            let options = ChannelOptions { full_policy, ..home.options() };
            let filler = fill_but(home, pages);
            let mut channel = match Channel::open("a", &options) {
                Ok(channel) => channel,
                Err(error) => {
                    assert!(is_store_full(&error), "{error}");
                    fs::remove_file(filler).unwrap();
                    continue;
                }
            };
            opened += 1;
            let mut published = 0_u64;
            let mut publish = |count: u64| {
                (0..count).find_map(|_| match publisher.publish(&published.to_le_bytes(), None) {
                    Ok(n) => {
                        assert_eq!(n, 1);
                        published += 1;
                        None
                    }
                    Err(error) => Some(error),
                })
            };
            if let Some(error) = publish(6_000) {
                refused += 1;
                assert!(is_store_full(&error), "{error}");
                assert!(is_store_full(&publish(1).expect("still full")));
            }
            let mut numbers: Vec<u64> = (0..5).filter_map(|_| channel.fetch().unwrap()).map(|m| number(&m)).collect();
            fs::remove_file(filler).unwrap();
            assert!(publish(100).is_none(), "{pages} pages");
            numbers.extend(drain(&mut channel).iter().map(number));
            assert!(numbers.into_iter().eq(0..published), "{pages} pages");
            channel.close().unwrap();
        }
        assert!(opened > 10 && refused > 10, "{opened} opened, {refused} refused");
    });
}

/// What a dead process left is removed by the open call that needs its room.
fn a_store_that_the_dead_fill_has_room_for_a_channel(transport: Transport) {
    on_a_small_file_system(transport, "size=1m", |home| {
        let (mut here, mut there) = handover();
        let child = Child::fork(|| {
            let _channel = home.open("a");
            home.publisher("a").publish(&vec![7; 200_000], None).unwrap();
            there.give();
            there.ended();
        });
        here.take();
        fill(home);
        assert!(is_store_full(&Channel::open("b", &home.options()).unwrap_err()), "its receiver lives");
        child.kill();
        let channel = home.open("b");
        assert_eq!(home.channels(), [channel.path()]);
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
