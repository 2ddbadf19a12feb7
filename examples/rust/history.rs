//! Prints what came to a topic since it ran last, whether or not it ran when that was published: the topic keeps a history, and
//! the file keeps the place in it. The first time, the last ten messages.
//!
//! ```text
//! history TOPIC FILE
//! ```

#![forbid(unsafe_code)]

use pubsub::{Channel, ChannelOptions, ErrorKind, MessageKind, Resume, TopicOptions, create_topic};
use std::error::Error;
use std::fs;
use std::io;
use std::process::exit;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [topic, path] = arguments.as_slice() else {
        eprintln!("usage: history TOPIC FILE");
        exit(2);
    };
    match create_topic(topic, &TopicOptions { history_messages: 1000, ..Default::default() }) {
        Err(error) if error.kind() == ErrorKind::Exists => {}
        result => result?,
    }
    let mut place = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        text => Some(parse(&text?).ok_or_else(|| format!("{path} holds no place"))?),
    };
    let options = match place {
        Some(place) => ChannelOptions { resume: Some(place), ..Default::default() },
        None => ChannelOptions { replay_last: 10, ..Default::default() },
    };
    let mut channel = Channel::open(topic, &options)?;
    while let Some(message) = channel.fetch()? {
        if message.kind() != MessageKind::Data {
            continue; // the topic has just been deleted
        }
        if place.is_some_and(|before| before.epoch != message.epoch()) {
            println!("(the topic was created anew)");
        }
        if message.dropped_before() > 0 {
            println!("({} before this are not kept any more)", message.dropped_before());
        }
        println!("{} {}", message.offset(), String::from_utf8_lossy(message.data()));
        place = Some(Resume { epoch: message.epoch(), offset: message.offset() });
    }
    if let Some(Resume { epoch, offset }) = place {
        fs::write(path, format!("{epoch} {offset}\n"))?;
    }
    Ok(())
}

fn parse(text: &str) -> Option<Resume> {
    let (epoch, offset) = text.trim_end().split_once(' ')?;
    Some(Resume { epoch: epoch.parse().ok()?, offset: offset.parse().ok()? })
}
