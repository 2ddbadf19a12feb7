//! Entries that somebody else put into the store: set aside, skipped, counted; never a crash, a hang or an endless loop.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    what_is_no_message_is_set_aside_and_counted,
    stray_bytes_in_the_fifo_lose_nothing,
    a_wait_goes_on_through_garbage,
    a_damaged_control_page_is_an_error_or_harmless,
    a_control_page_cut_short_is_an_error,
    a_queue_that_is_no_fifo_is_nobody,
}

fn node(path: &Path, kind: libc::mode_t, device: libc::dev_t) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is NUL-terminated.
    assert_eq!(unsafe { libc::mknod(path.as_ptr(), kind | 0o600, device) }, 0);
}

fn ring(channel: &Channel, bytes: &[u8]) {
    let mut fifo = fs::OpenOptions::new().write(true).open(channel.path().join("queue")).unwrap();
    fifo.write_all(bytes).unwrap();
}

fn publish(home: &Home, number: u64) {
    assert_eq!(home.publisher("a").publish(&number.to_le_bytes(), None).unwrap(), 1);
}

/// A whole message as it is stored.
fn stored() -> Vec<u8> {
    let home = Home::with(Transport::Files);
    let channel = home.open("sample");
    home.publisher("sample").publish(b"12345678", None).unwrap();
    fs::read(&message_files(channel.path())[0]).unwrap()
}

/// Garbage, truncated, empty and overlong message files, and what is no file at all, are skipped and counted, whether their
/// ids are in the FIFO or not; later messages still come; the first 16 are kept aside.
fn what_is_no_message_is_set_aside_and_counted(transport: Transport) {
    let home = Home::with(transport);
    let good = stored();
    let huge = |at: usize| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        bytes
    };
    let data_len = good.len() - 12;
    let mut contents =
        vec![Vec::new(), b"rubbish".to_vec(), vec![0; 100_000], huge(21), huge(31), huge(data_len), good[1..].to_vec()];
    contents.extend((0..good.len()).step_by(5).map(|cut| good[..cut].to_vec()));
    for announced in [true, false] {
        let mut channel = home.open("a");
        let path = |id: u64| channel.path().join(id.to_string());
        let mut ids = Vec::new();
        for (i, contents) in contents.iter().enumerate() {
            // Ids of both kinds: ours are above 2^56.
            let id = [5_000 + i as u64, (1 << 57) + i as u64][i % 2];
            fs::write(path(id), contents).unwrap();
            ids.push(id);
        }
        fs::create_dir(path(1)).unwrap();
        fs::write(path(1).join("2"), "x").unwrap();
        node(&path(2), libc::S_IFIFO, 0);
        let _listener = UnixListener::bind(path(3)).unwrap();
        symlink("/etc/passwd", path(4)).unwrap();
        symlink("nowhere", path(6)).unwrap();
        symlink(".", path(7)).unwrap();
        ids.extend([2, 3, 4, 6, 7]);
        if announced {
            // A directory is no message; without its id in the FIFO it is no concern of ours.
            ids.push(1);
        }
        if is_root() {
            node(&path(8), libc::S_IFCHR, libc::makedev(1, 5));
            ids.push(8);
        }
        publish(&home, 1);
        if announced {
            for id in &ids {
                ring(&channel, &id.to_be_bytes());
            }
        } else {
            // Something unknown makes the receiver look.
            ring(&channel, &77u64.to_be_bytes());
        }
        publish(&home, 2);
        let got = numbers(&mut channel);
        assert_eq!(got, [1, 2], "announced: {announced}");
        let stats = channel.stats().unwrap();
        assert_eq!(stats.malformed, ids.len() as u64, "announced: {announced}");
        assert_eq!((stats.received, stats.unread_messages), (2, 0));
        let aside = fs::read_dir(channel.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().as_bytes().starts_with(b"malformed-"));
        // A directory cannot be deleted as a file is: it is kept beyond the 16.
        assert!((16..=17).contains(&aside.count()), "announced: {announced}");
        publish(&home, 3);
        assert_eq!(number(&next(&mut channel)), 3);
        channel.close().unwrap();
        assert!(home.channels().is_empty() && home.residue().is_empty());
        assert!(Path::new("/etc/passwd").exists());
    }
}

/// Stray bytes in the FIFO, ids of nothing, and any amount of garbage: every message still comes, once and in order.
fn stray_bytes_in_the_fifo_lose_nothing(transport: Transport) {
    let home = Home::with(transport);
    for stray in 1..=7usize {
        let mut channel = home.open("a");
        ring(&channel, &vec![0xff; stray]);
        (0..3).for_each(|i| publish(&home, i));
        ring(&channel, &[0; 3][..stray % 3]);
        (3..6).for_each(|i| publish(&home, i));
        assert_eq!(numbers(&mut channel), (0..6).collect::<Vec<_>>(), "{stray} stray bytes");
        ring(&channel, &vec![1; stray]);
        assert!(channel.fetch().unwrap().is_none());
        publish(&home, 6);
        assert_eq!(numbers(&mut channel), [6]);
    }
    let mut channel = home.open("a");
    for i in 0..100 {
        publish(&home, i);
        ring(&channel, &rand::random::<u64>().to_be_bytes());
        ring(&channel, &0u64.to_be_bytes());
    }
    assert_eq!(numbers(&mut channel), (0..100).collect::<Vec<_>>());
    // As much as there is room for.
    for garbage in [0x00, 0xab] {
        (0..10).for_each(|i| publish(&home, i));
        let fifo = fs::OpenOptions::new().read(true).write(true).open(channel.path().join("queue")).unwrap();
        // SAFETY: no pointers.
        unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&fifo), libc::F_SETFL, libc::O_NONBLOCK) };
        while (&fifo).write(&[garbage; 777]).is_ok() {}
        (10..20).for_each(|i| publish(&home, i));
        assert_eq!(numbers(&mut channel), (0..20).collect::<Vec<_>>());
    }
    let fd = channel.fd().unwrap();
    assert!(channel.fetch().unwrap().is_none());
    assert!(!readable(fd));
}

/// Garbage written while the channel waits does not wake its reader for ever.
fn a_wait_goes_on_through_garbage(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let path = home.channels().remove(0).join("queue");
            let mut fifo = fs::OpenOptions::new().write(true).open(path).unwrap();
            for i in 0..200u64 {
                fifo.write_all(&[i.to_be_bytes().as_slice(), &[7][..(i % 2) as usize]].concat()).unwrap();
            }
            publish(&home, 9);
        });
        assert_eq!(number(&next(&mut channel)), 9);
    });
}

/// Each word of the control page, damaged: publishers get an error that names the channel, or publish as if nothing had
/// happened; a wrong version is named.
fn a_damaged_control_page_is_an_error_or_harmless(transport: Transport) {
    let home = Home::with(transport);
    let mut refused = Vec::new();
    for word in 0..136 {
        for value in [u64::MAX, 1 << 63, 77] {
            let mut channel = home.open("a");
            let file = fs::OpenOptions::new().read(true).write(true).open(channel.path().join("control")).unwrap();
            file.write_all_at(&u64::to_ne_bytes(value), word * 8).unwrap();
            match home.publisher("a").publish(b"12345678", None) {
                Ok(n) => assert!(n <= 1),
                Err(error) if error.kind() == ErrorKind::QueueFull => {}
                Err(error) => {
                    let name = channel.path().file_name().unwrap().to_str().unwrap();
                    assert!(error.to_string().contains(name), "{error}");
                    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{error}");
                    refused.push(word);
                }
            }
            assert!(drain(&mut channel).len() <= 1);
            assert_eq!(list_channels(Some(&home.path())).unwrap().len(), 1);
            channel.close().unwrap();
        }
    }
    for word in [0, 1, 2, 3] {
        assert!(refused.contains(&word), "word {word} is not looked at");
    }
    let channel = home.open("a");
    let control = channel.path().join("control");
    let file = fs::OpenOptions::new().read(true).write(true).open(&control).unwrap();
    file.write_all_at(&u64::to_ne_bytes(9), 8).unwrap();
    let error = home.publisher("a").publish(b"x", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("version 9"), "{error}");
}

/// A control page that is cut short before it is mapped, or is no file.
fn a_control_page_cut_short_is_an_error(transport: Transport) {
    let home = Home::with(transport);
    // The receiver is another process, for a page cut short under its own mapping is SIGBUS.
    for make in [
        |path: &Path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap(),
        |path: &Path| fs::write(path, "").unwrap(),
        |path: &Path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        |path: &Path| {
            fs::remove_file(path).unwrap();
            node(path, libc::S_IFIFO, 0);
        },
        |path: &Path| {
            fs::remove_file(path).unwrap();
            symlink("/etc/passwd", path).unwrap();
        },
    ] {
        let (mut here, mut there) = handover();
        let receiver = Child::fork(|| {
            let channel = home.open("a");
            there.give();
            there.ended();
            drop(channel);
        });
        here.take();
        make(&home.channels()[0].join("control"));
        let answer = home.publisher("a").publish(b"x", None);
        assert!(answer.as_ref().is_err_and(|error| error.to_string().contains("a_")), "{answer:?}");
        list_channels(Some(&home.path())).unwrap();
        home.cleanup();
        receiver.kill();
        for left in home.channels() {
            fs::remove_dir_all(left).unwrap();
        }
    }
}

/// A `queue` that is something else: nobody receives there.
fn a_queue_that_is_no_fifo_is_nobody(transport: Transport) {
    let home = Home::with(transport);
    let outside = home.outside().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let publisher = home.publisher("a");
    for kind in 0..6 {
        let directory = home.path().join(format!("a_hostile{kind}_1"));
        fs::create_dir(&directory).unwrap();
        let queue = directory.join("queue");
        match kind {
            0 => fs::write(&queue, "regular").unwrap(),
            1 => symlink(&outside, &queue).unwrap(),
            2 => fs::create_dir(&queue).unwrap(),
            3 => drop(UnixListener::bind(&queue).unwrap()),
            4 => node(&queue, libc::S_IFIFO, 0),
            _ => {}
        }
        assert_eq!(publisher.publish(b"x", None).unwrap(), 0, "kind {kind}");
        assert_eq!(home.publisher("a").publish(b"x", None).unwrap(), 0, "kind {kind}");
        if kind == 0 {
            assert_eq!(fs::read(&queue).unwrap(), b"regular");
        }
    }
    let mut channel = home.open("a");
    assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
    assert_eq!(drain(&mut channel).len(), 1);
    assert_eq!(fs::read(&outside).unwrap(), b"untouched");
}

/// Names of every kind in the store harm nobody, and cleanup never follows a symbolic link.
#[test]
fn hostile_names_in_the_store_harm_nobody() {
    let home = Home::new();
    let outside = home.outside().join("outside");
    fs::create_dir_all(outside.join("deep")).unwrap();
    fs::write(outside.join("file"), "untouched").unwrap();
    fs::create_dir_all(home.path().join("tmp")).unwrap();
    let long = [b"x".repeat(240), b"_r_4194305".to_vec()].concat();
    let names: &[&[u8]] = &[
        b"\xff\xfe_r_4194305",
        b"a_\xff_4194305",
        b"____________",
        b"a__4194305",
        b"a_b_c_d_e_f_4194305",
        b"a_r_4294967299",
        b"a_r_99999999999999999999999",
        b"a_r_-1",
        b"a_r_0",
        b"a_r_",
        b"(a+)+$_r_4194305",
        b"[_r_4194305",
        b"++++++++=.Z_r_4194305",
        b".*_r_4194305",
        b"a\n_r_4194305",
        b"_r_4194305",
        &long,
    ];
    for name in names {
        let path = home.path().join(OsStr::from_bytes(name));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("7"), "x").unwrap();
    }
    for (i, name) in ["a_closed_4194305", "a_closed_1"].iter().enumerate() {
        let path = home.path().join(name);
        fs::create_dir(&path).unwrap();
        symlink(&outside, path.join("link")).unwrap();
        symlink(outside.join("file"), path.join("8")).unwrap();
        fs::create_dir(path.join("shut")).unwrap();
        for path in [path.join("shut"), path] {
            fs::set_permissions(path, fs::Permissions::from_mode(i as u32 * 0o100)).unwrap();
        }
    }
    symlink(&outside, home.path().join("a_link_4194305")).unwrap();
    symlink(&outside, home.path().join("tmp/dead.link")).unwrap();
    symlink(&outside, home.path().join("tmp/new.link")).unwrap();
    symlink("a_link_4194305", home.path().join("a_r_4194306")).unwrap();
    fs::write(home.path().join("a_file_4194305"), "x").unwrap();
    fs::write(home.path().join("tmp/new.file"), "x").unwrap();
    fs::create_dir_all(home.path().join("tmp/dead.deep").join("d/".repeat(300))).unwrap();
    fs::write(home.path().join("tmp/1700000000000000"), "x").unwrap();

    let mut channel = home.open("a");
    for topic in ["a", "a.b", "Z", "b-.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.Z"] {
        let n = home.publisher(topic).publish(b"x", None).unwrap();
        assert_eq!(n, usize::from(topic == "a"));
    }
    assert_eq!(drain(&mut channel).len(), 1);
    let list = list_channels(Some(&home.path())).unwrap();
    assert_eq!(list.iter().filter(|seen| seen.path == channel.path()).count(), 1);
    for _ in 0..30 {
        drop(home.open("b"));
    }
    home.cleanup();
    home.cleanup();
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"untouched");
    assert!(outside.join("deep").is_dir());
    assert_eq!(home.publisher("a").publish(b"x", None).unwrap(), 1);
    assert_eq!(drain(&mut channel).len(), 1);
    assert!(!home.path().join("a_r_4294967299").exists(), "a pid that cannot be is dead");
    assert!(!home.path().join("tmp/dead.deep").exists() && !home.path().join("tmp/new.file").exists());
    // What is no channel's name is left alone.
    assert!(home.path().join("a_r_-1").exists() && home.path().join("a_file_4194305").exists());
}
