//! Too few descriptors.

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    a_receiver_out_of_descriptors_loses_nothing,
    a_publisher_that_was_out_of_descriptors_finds_the_channels_later,
    a_channel_that_came_while_descriptors_were_out_is_known_later,
}

/// A receiver at its limit says so, and nothing is lost.
fn a_receiver_out_of_descriptors_loses_nothing(transport: Transport) {
    let home = Home::with(transport);
    Child::fork(|| {
        let mut channel = home.open("a");
        let fd = channel.fd().unwrap();
        let publisher = home.publisher("a");
        for i in 0..1_000u64 {
            // Large enough that it is in a file on every transport.
            let mut data = i.to_le_bytes().to_vec();
            data.resize(20_000, 7);
            publisher.publish(&data, None).unwrap();
        }
        let mut expected = 0;
        for _ in 0..5 {
            let before = limit_files(files_open());
            for _ in 0..3 {
                for error in [channel.fetch().unwrap_err(), channel.fetch_wait(None).unwrap_err()] {
                    assert_eq!(error.kind(), ErrorKind::Io);
                    assert!(error.to_string().contains("ulimit -n"), "{error}");
                }
            }
            limit_files(before);
            assert!(readable(fd));
            for _ in 0..150 {
                assert_eq!(number(&channel.fetch().unwrap().unwrap()), expected);
                expected += 1;
            }
        }
        assert_eq!(drain(&mut channel).len(), 250);
    })
    .succeeds();
}

/// ... also when it must list its directory.
#[test]
fn a_receiver_out_of_descriptors_loses_nothing_of_an_overflow() {
    let home = Home::with(Transport::Files);
    Child::fork(|| {
        let mut channel = home.open("a");
        let publisher = home.publisher("a");
        for i in 0..10_000u64 {
            publisher.publish(&i.to_le_bytes(), None).unwrap();
        }
        let before = limit_files(files_open());
        for _ in 0..3 {
            assert_eq!(channel.fetch().unwrap_err().kind(), ErrorKind::Io);
        }
        limit_files(before);
        assert!(numbers(&mut channel).into_iter().eq(0..10_000));
    })
    .succeeds();
}

/// A publisher that could not look for channels at its first attempt looks again.
fn a_publisher_that_was_out_of_descriptors_finds_the_channels_later(transport: Transport) {
    let home = Home::with(transport);
    let mut existing = home.open("news.=");
    // From no descriptor to a few: each step of opening fails once.
    for spare in 0..6 {
        Child::fork(|| {
            let before = limit_files(files_open() + spare);
            let early = Publisher::open("news.s", &home.publisher_options());
            let _ = early.as_ref().map(|publisher| publisher.publish(b"early", None));
            limit_files(before);
            let publisher = early.unwrap_or_else(|_| home.publisher("news.s"));
            assert_eq!(publisher.publish(b"late", None).unwrap(), 1, "with {spare} to spare");
        })
        .succeeds();
        let last = drain(&mut existing).pop().unwrap();
        assert_eq!(last.data(), b"late");
    }
}

/// A channel that comes while a publisher is out of descriptors is known by its true pattern later.
fn a_channel_that_came_while_descriptors_were_out_is_known_later(transport: Transport) {
    let home = Home::with(transport);
    let (mut here, mut there) = handover();
    let child = Child::fork(|| {
        let publisher = home.publisher("news.s");
        assert_eq!(publisher.publish(b"nobody", None).unwrap(), 0);
        there.give();
        there.take();
        let before = limit_files(files_open());
        assert_eq!(publisher.publish(b"no descriptor", None).unwrap_err().kind(), ErrorKind::Io);
        limit_files(before);
        assert_eq!(publisher.publish(b"now", None).unwrap(), 2);
    });
    here.take();
    let mut channels = [home.open("news.="), home.open("news.+")];
    here.give();
    child.succeeds();
    for channel in &mut channels {
        assert_eq!(drain(channel)[0].data(), b"now");
    }
}
