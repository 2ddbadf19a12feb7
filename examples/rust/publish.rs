//! Publishes each argument after the topic as a message.
//!
//! ```text
//! publish TOPIC TEXT...
//! ```

#![forbid(unsafe_code)]

use pubsub::{HeaderValue, Headers};
use std::process::exit;

fn main() -> pubsub::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [topic, texts @ ..] = arguments.as_slice() else {
        eprintln!("usage: publish TOPIC TEXT...");
        exit(2);
    };
    for (number, text) in (1..).zip(texts) {
        let mut headers = Headers::new();
        headers.set("number", HeaderValue::Int(number));
        let channels = pubsub::publish(topic, text.as_bytes(), Some(&headers))?;
        println!("{channels} channels took '{text}'");
    }
    Ok(())
}
