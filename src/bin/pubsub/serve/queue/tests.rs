//! Tests of `queue`.

#![forbid(unsafe_code)]

use super::*;

const DROPS: Member = Member { number: 1, overflow: Overflow::DropOldest };
const LEAVES: Member = Member { number: 2, overflow: Overflow::Disconnect };

fn queue(bytes: usize, frames: usize) -> Queue {
    Queue::new(Bounds { bytes, frames }, None)
}

fn deliver(queue: &Queue, member: Member, texts: &[&str]) {
    let deliveries: Vec<_> = texts.iter().map(|text| Arc::new(Delivery::for_test(text))).collect();
    queue.deliver(member, deliveries.iter());
}

fn drain(queue: &Queue) -> Vec<String> {
    let mut out = Vec::new();
    while let Taken::Some = queue.take(&mut out, usize::MAX) {
        if let Taken::Nothing | Taken::End = queue.take(&mut Vec::new(), 1) {
            break;
        }
    }
    let text = |item: &Outgoing| match item {
        Outgoing::Answer(frame) | Outgoing::Gap(frame) => frame.text().to_owned(),
        Outgoing::Message(delivery) => delivery.frame.text().to_owned(),
        Outgoing::Control(_) => unreachable!(),
    };
    out.iter().map(text).collect()
}

fn gap(missed: u64) -> String {
    frames::gap("p", missed)
}

#[test]
fn the_oldest_go_and_a_gap_says_how_many() {
    let queue = queue(1 << 20, 4);
    deliver(&queue, DROPS, &["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(drain(&queue), [gap(3), "4".into(), "5".into(), "6".into(), "7".into()]);
    deliver(&queue, DROPS, &["8"]);
    assert_eq!(drain(&queue), ["8"]);
    assert_eq!(queue.take_dropped(), 3);
}

#[test]
fn bytes_bound_the_queue_and_a_large_frame_is_taken_into_an_empty_one() {
    let queue = queue(10, 100);
    deliver(&queue, DROPS, &["a large frame, larger than the bound"]);
    assert_eq!(drain(&queue).len(), 1);
    deliver(&queue, DROPS, &["aaaa", "bbbb", "cccc"]);
    assert_eq!(drain(&queue), [gap(1), "bbbb".into(), "cccc".into()]);
}

#[test]
fn one_subscription_loses_nothing_for_another() {
    let queue = queue(1 << 20, 3);
    deliver(&queue, LEAVES, &["a", "b"]);
    deliver(&queue, DROPS, &["1", "2", "3"]);
    assert_eq!(drain(&queue), ["a".into(), "b".into(), gap(2), "3".into()]);
    deliver(&queue, LEAVES, &["a", "b", "c"]);
    deliver(&queue, DROPS, &["1", "2"]);
    assert_eq!(drain(&queue), ["a".into(), "b".into(), "c".into(), gap(2)]);
}

#[test]
fn who_is_too_slow_is_disconnected_at_once() {
    let queue = queue(1 << 20, 3);
    deliver(&queue, LEAVES, &["a", "b", "c", "d"]);
    assert!(matches!(queue.take(&mut Vec::new(), 10), Taken::End));
    assert_eq!(queue.end_reason(), Some(End::TooSlow));
}

#[test]
fn a_deletion_comes_behind_what_waits_and_then_it_ends() {
    let queue = queue(1 << 20, 2);
    let mut end = Delivery::for_test("deleted");
    end.is_end = true;
    deliver(&queue, LEAVES, &["a", "b"]);
    queue.deliver(LEAVES, [Arc::new(end)].iter());
    deliver(&queue, LEAVES, &["late"]);
    assert_eq!(drain(&queue), ["a", "b", "deleted"]);
    assert!(matches!(queue.take(&mut Vec::new(), 10), Taken::End));
    assert_eq!(queue.end_reason(), Some(End::TopicDeleted));
}

#[tokio::test(flavor = "current_thread")]
async fn answers_wait_for_room() {
    let queue = queue(10, 100);
    assert!(queue.send(Outgoing::Answer(Frame::from("123456".to_owned()))).await);
    let waits = queue.send(Outgoing::Answer(Frame::from("7".to_owned())));
    tokio::pin!(waits);
    tokio::select! {
        biased;
        _ = &mut waits => panic!("there is no room"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(drain(&queue), ["123456"]);
    assert!(waits.await);
    assert_eq!(drain(&queue), ["7"]);
}
