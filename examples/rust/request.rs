//! Asks all questions on a topic at once, each in a thread of its own, and prints the replies.
//!
//! ```text
//! request TOPIC TEXT...
//! ```

#![forbid(unsafe_code)]

use pubsub::{Publisher, PublisherOptions};
use std::process::exit;
use std::thread;
use std::time::Duration;

fn main() -> pubsub::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [topic, questions @ ..] = arguments.as_slice() else { usage() };
    if questions.is_empty() {
        usage();
    }
    let publisher = Publisher::open(topic, &PublisherOptions::default())?;
    let ask = |question: &String| publisher.request(question.as_bytes(), None, Some(Duration::from_secs(5)));
    let replies: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> = questions.iter().map(|question| scope.spawn(move || ask(question))).collect();
        asking.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    });
    for (question, reply) in questions.iter().zip(replies) {
        // An error: nobody listens (ErrorKind::NotFound), for instance.
        match reply? {
            Some(reply) => println!("{question}: {}", String::from_utf8_lossy(reply.data())),
            None => println!("{question}: no reply in time"),
        }
    }
    Ok(())
}

fn usage() -> ! {
    eprintln!("usage: request TOPIC TEXT...");
    exit(2);
}
