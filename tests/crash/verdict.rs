//! What must be true of a run, found out from its journals.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use pubsub::Pattern;

use crate::actor::{PATTERNS, TOPICS};
use crate::journal::{self, Event, NONE_TOOK};

#[derive(Default)]
struct Publish {
    topic: usize,
    begun: u64,
    /// 0: it never returned.
    answered: u64,
    rejected: u64,
}

#[derive(Default)]
struct Session {
    pattern: usize,
    drop_oldest: bool,
    ring: bool,
    opened: u64,
    /// The last fetch that found nothing.
    drained: u64,
    dropped: u64,
    rejected: u64,
    /// Drops that the receiver was told of, in all and until then.
    told: u64,
    told_until_drained: u64,
    /// The numbers received of each publisher, in the order of receipt.
    got: HashMap<u64, Vec<u64>>,
    /// Publishers and numbers in the order of receipt.
    order: Vec<(u64, u64)>,
}

/// Figures of a run.
#[derive(Debug, Default)]
pub struct Summary {
    pub published: u64,
    pub unanswered: u64,
    pub refused: u64,
    pub received: u64,
    pub sessions: u64,
    pub dropped: u64,
    /// Counted as dropped, but not missing.
    pub overcounted: u64,
}

/// Checks a run; an error lists what was wrong. Publishers from `foreign` on keep no journal, so that nothing of theirs can
/// be missed.
pub fn check(run: &Path, foreign: u64) -> Result<Summary, String> {
    let full = run.join("full").exists();
    let (mut publishes, mut sessions) = (HashMap::<u64, Vec<Publish>>::new(), HashMap::<u64, Session>::new());
    let mut ids = HashMap::<u64, (u64, u64)>::new();
    let mut wrong = String::new();
    let mut summary = Summary::default();
    for (number, path) in journal::all(run) {
        for (time, event) in journal::read(&path) {
            match event {
                Event::Begun { seq, topic } => {
                    let list = publishes.entry(number).or_default();
                    assert_eq!(seq, list.len() as u64);
                    list.push(Publish { topic: topic as usize, begun: time, ..Default::default() });
                }
                Event::Answered { seq, taken, rejected } => {
                    let publish = &mut publishes.get_mut(&number).unwrap()[seq as usize];
                    (publish.answered, publish.rejected) = (time, rejected);
                    if taken == NONE_TOOK {
                        publish.rejected = publish.rejected.max(1);
                    }
                }
                Event::Opened { session, pattern, drop_oldest, ring } => {
                    let fresh = sessions.entry(session).or_default();
                    assert_eq!(fresh.opened, 0, "session {session} twice");
                    (fresh.opened, fresh.pattern) = (time, pattern as usize);
                    (fresh.drop_oldest, fresh.ring) = (drop_oldest != 0, ring != 0);
                }
                Event::Got { session, publisher, seq, id, dropped_before } => {
                    let session_ = sessions.get_mut(&session).unwrap();
                    session_.told += dropped_before;
                    session_.got.entry(publisher).or_default().push(seq);
                    session_.order.push((publisher, seq));
                    let first = *ids.entry(id).or_insert((publisher, seq));
                    if first != (publisher, seq) && publisher < foreign {
                        let _ = writeln!(wrong, "ID TWICE: {id} is of {first:?} and of {:?}", (publisher, seq));
                    }
                }
                Event::Drained { session, dropped, rejected } => {
                    let session_ = sessions.get_mut(&session).unwrap();
                    (session_.drained, session_.dropped, session_.rejected) = (time, dropped, rejected);
                    session_.told_until_drained = session_.told;
                }
                Event::Closed { .. } => {}
            }
        }
    }
    for publish in publishes.values().flatten() {
        summary.published += 1;
        summary.unanswered += u64::from(publish.answered == 0);
        summary.refused += u64::from(publish.rejected > 0);
    }
    for (&number, session) in &sessions {
        check_session(number, session, &publishes, (foreign, full), &mut summary, &mut wrong);
    }
    if wrong.is_empty() { Ok(summary) } else { Err(wrong) }
}

fn check_session(
    number: u64,
    session: &Session,
    publishes: &HashMap<u64, Vec<Publish>>,
    (foreign, full): (u64, bool),
    summary: &mut Summary,
    wrong: &mut String,
) {
    summary.sessions += 1;
    let pattern = Pattern::parse(PATTERNS[session.pattern]).unwrap();
    for (&publisher, got) in &session.got {
        summary.received += got.len() as u64;
        if let Some(pair) = got.windows(2).find(|pair| pair[0] >= pair[1]) {
            // A formix publisher's message whose id did not fit is found later.
            if publisher < foreign || pair[0] == pair[1] {
                let _ = writeln!(wrong, "ORDER: session {number} got {pair:?} of publisher {publisher}");
            }
        }
        let known = publishes.get(&publisher).map_or(&[][..], Vec::as_slice);
        for &seq in got {
            let here = known.get(seq as usize).is_some_and(|publish| pattern.matches(TOPICS[publish.topic]));
            if !here && publisher < foreign {
                let _ = writeln!(wrong, "NOT SENT: session {number} got {seq} of publisher {publisher}");
            }
        }
    }
    if session.ring {
        check_causes(number, session, publishes, wrong);
    }
    let (mut missing, mut refused) = (Vec::new(), 0);
    for (&publisher, list) in publishes {
        // One after the other, so that the times rise.
        let from = list.partition_point(|publish| publish.begun <= session.opened);
        let to = list.partition_point(|publish| publish.begun < session.drained);
        if from >= to {
            continue;
        }
        let mut got = session.got.get(&publisher).cloned().unwrap_or_default();
        got.sort_unstable();
        for (seq, publish) in list.iter().enumerate().take(to).skip(from) {
            let due = publish.answered > 0 && publish.answered < session.drained;
            if !due || !pattern.matches(TOPICS[publish.topic]) || got.binary_search(&(seq as u64)).is_ok() {
                continue;
            }
            // Another channel may have been the one that refused it: the counts must suffice.
            if publish.rejected > 0 && (full || !session.drop_oldest) {
                refused += 1;
            } else {
                missing.push((publisher, seq));
            }
        }
    }
    let lost = missing.len() as u64;
    if session.drop_oldest {
        summary.dropped += lost;
        summary.overcounted += session.dropped.saturating_sub(lost);
    }
    if lost > session.dropped {
        missing.sort_unstable();
        missing.truncate(5);
        let _ = writeln!(
            wrong,
            "LOST: session {number} ({}) misses {lost} messages and counted {} as dropped; (publisher, number): {missing:?}",
            PATTERNS[session.pattern], session.dropped
        );
    }
    // A channel does not count what the store had no room for.
    if refused > session.rejected && !full {
        let _ = writeln!(wrong, "LOST: session {number} misses {refused} refused ones, counted {}", session.rejected);
    }
    // It may have been told of a drop that did not come about: one for each publisher at work.
    let told = session.told_until_drained;
    if told > session.dropped + 16 {
        let _ = writeln!(wrong, "TOLD: session {number} of {told} drops, counted {}", session.dropped);
    }
}

/// A ring has one order, in which no message comes behind one whose publish began when its own had already returned.
fn check_causes(number: u64, session: &Session, publishes: &HashMap<u64, Vec<Publish>>, wrong: &mut String) {
    let mut latest = (0, (0, 0));
    for &(publisher, seq) in &session.order {
        let Some(publish) = publishes.get(&publisher).and_then(|list| list.get(seq as usize)) else { continue };
        if publish.answered > 0 && publish.answered < latest.0 {
            let _ = writeln!(
                wrong,
                "ORDER: session {number} got {:?} before {:?}, which was published first",
                latest.1,
                (publisher, seq)
            );
            return;
        }
        latest = latest.max((publish.begun, (publisher, seq)));
    }
}

/// What is in a store that nobody uses and that has been cleaned, apart from what belongs there.
pub fn rubbish(run: &Path) -> Vec<String> {
    fn walk(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            found.push(entry.path());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = Vec::new();
    walk(run, &mut found);
    let name = |path: &std::path::PathBuf| path.strip_prefix(run).unwrap().to_str().unwrap().to_string();
    let belongs = ["store", "store/tmp", "store/.pubsub", "store/.pubsub/store", "go", "stop", "end", "full"];
    let of_the_test = |name: &String| {
        // An empty directory beside the store, of one who was killed in making the store.
        name.ends_with(".journal") || name.ends_with(".err") || name.starts_with(".pubsub.")
    };
    found.iter().map(name).filter(|name| !belongs.contains(&name.as_str()) && !of_the_test(name)).collect()
}
