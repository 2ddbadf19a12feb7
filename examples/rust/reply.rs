//! Answers each request with its text in capitals: COUNT of them, or until the standard input ends.
//!
//! ```text
//! reply PATTERN [COUNT]
//! ```

#![forbid(unsafe_code)]

use pubsub::{Channel, ChannelOptions, ErrorKind};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::process::exit;
use std::thread;

fn main() -> pubsub::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (pattern, wanted) = match arguments.as_slice() {
        [pattern] => (pattern, None),
        [pattern, count] => match count.parse::<u64>() {
            Ok(count) if count > 0 => (pattern, Some(count)),
            _ => usage(),
        },
        _ => usage(),
    };
    let mut channel = Channel::open(pattern, &ChannelOptions::default())?;
    println!("listening on {pattern}");

    // Another thread ends the wait; a signal handler may do the same.
    let interrupter = channel.interrupter();
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        interrupter.interrupt();
    });

    let mut answered = 0;
    let ended = channel.subscribe(
        |request| {
            match pubsub::reply(request, &request.data().to_ascii_uppercase(), None) {
                Ok(channels) => {
                    println!("{}: {}", request.topic(), if channels > 0 { "answered" } else { "too late" });
                    answered += 1;
                }
                // It asks for no reply, for instance (ErrorKind::InvalidArgument).
                Err(error) => eprintln!("{error}"),
            }
            if Some(answered) == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
        None,
    );
    match ended {
        Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
        _ => channel.close(),
    }
}

fn usage() -> ! {
    eprintln!("usage: reply PATTERN [COUNT]");
    exit(2);
}
