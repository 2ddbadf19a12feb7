use pubsub::*;
use std::time::Duration;

#[test]
fn smoke() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let home = dir.path().join("s");
    let co = ChannelOptions { home: Some(home.clone()), ..Default::default() };
    let po = PublisherOptions { home: Some(home.clone()), ..Default::default() };
    let p = Publisher::open("news.sports", &po).unwrap();
    assert_eq!(p.publish(b"x", None).unwrap(), 0);
    let mut c = Channel::open("news.=", &co).unwrap();
    assert_eq!(p.publish(b"hello", None).unwrap(), 1);
    let m = c.fetch().unwrap().unwrap();
    assert_eq!(m.data(), b"hello");
    assert!(c.fetch().unwrap().is_none());
    for i in 0..20000u32 {
        match p.publish(&i.to_ne_bytes(), None) {
            Ok(n) => {
                assert!(i < 16384, "{i}");
                assert_eq!(n, 1)
            }
            Err(e) => {
                assert!(i >= 16384, "{i} {e}");
                assert_eq!(e.kind(), ErrorKind::QueueFull);
            }
        }
    }
    let s = c.stats().unwrap();
    assert_eq!((s.unread_messages, s.rejected), (16384, 20000 - 16384));
    for i in 0..16384u32 {
        let m = c.fetch().unwrap().unwrap();
        assert_eq!(m.data(), i.to_ne_bytes());
    }
    assert!(c.fetch().unwrap().is_none());
    assert!(c.fetch_wait(Some(Duration::from_millis(20))).unwrap().is_none());
    let big = vec![7u8; 3 << 20];
    p.publish(&big, None).unwrap();
    assert_eq!(c.fetch().unwrap().unwrap().data(), &big[..]);
    c.close().unwrap();
    assert_eq!(p.publish(b"x", None).unwrap(), 0);
    let l = list_channels(Some(&home)).unwrap();
    assert!(l.is_empty());
    let t = std::time::Instant::now();
    let n = 20000;
    let mut c = Channel::open(
        "news.=",
        &ChannelOptions { full_policy: FullPolicy::DropOldest, capacity_messages: 1000, ..co.clone() },
    )
    .unwrap();
    for i in 0..n as u32 {
        assert_eq!(p.publish(&i.to_ne_bytes(), None).unwrap(), 1);
    }
    eprintln!("publish drop {:?}", t.elapsed() / n);
    let mut got = vec![];
    let mut lost = 0;
    while let Some(m) = c.fetch().unwrap() {
        lost += m.dropped_before();
        got.push(u32::from_ne_bytes(m.data().try_into().unwrap()));
    }
    assert_eq!(got.len(), 1000);
    assert_eq!(lost, 19000);
    assert_eq!(got, (19000..20000).collect::<Vec<_>>());
    for _ in 0..3 {
        let t = std::time::Instant::now();
        for i in 0..900 as u32 {
            assert_eq!(p.publish(&i.to_ne_bytes(), None).unwrap(), 1);
        }
        eprintln!("publish {:?}", t.elapsed() / 900);
        let t = std::time::Instant::now();
        for _ in 0..900 {
            c.fetch().unwrap().unwrap();
        }
        eprintln!("fetch {:?}", t.elapsed() / 900);
    }
    let t = std::time::Instant::now();
    for _ in 0..100 {
        Channel::open("x.y", &co).unwrap();
    }
    eprintln!("open+close {:?}", t.elapsed() / 100);
}

#[test]
fn throughput() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let home = dir.path().join("s");
    let co = ChannelOptions { home: Some(home.clone()), ..Default::default() };
    let po = PublisherOptions { home: Some(home.clone()), full_timeout: Duration::from_secs(10), ..Default::default() };
    for (size, n) in [(64usize, 3_000_000u64), (1024, 1_000_000), (100_000, 5000)] {
        let mut c = Channel::open("t.a", &co).unwrap();
        let po = po.clone();
        let t = std::time::Instant::now();
        let h = std::thread::spawn(move || {
            let p = Publisher::open("t.a", &po).unwrap();
            let mut buf = vec![0u8; size];
            let mut full = 0u64;
            for i in 0..n {
                buf[..8].copy_from_slice(&i.to_ne_bytes());
                while p.publish(&buf, None).is_err() {
                    full += 1;
                    std::thread::yield_now();
                }
            }
            full
        });
        let mut i = 0u64;
        let mut v = Vec::with_capacity(256);
        while i < n {
            c.fetch_batch(&mut v, 256, None).unwrap();
            for m in v.drain(..) {
                assert_eq!(u64::from_ne_bytes(m.data()[..8].try_into().unwrap()), i);
                assert_eq!(m.data().len(), size);
                i += 1;
            }
        }
        let d = t.elapsed();
        eprintln!("{size}: {:.2} M/s, refused {}", n as f64 / d.as_secs_f64() / 1e6, h.join().unwrap());
    }
}
