//! A channel in an event loop: publishes each line of the standard input, and prints what others (and it itself)
//! publish. Ends with its input.
//!
//! ```text
//! event_loop PATTERN TOPIC
//! ```

use pubsub::{Channel, ChannelOptions};
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::exit;

/// The descriptor stays readable as long as a message waits, so take them until there is none.
fn print_all(channel: &mut Channel) -> pubsub::Result<()> {
    while let Some(message) = channel.fetch()? {
        println!("{}: {}", message.topic(), String::from_utf8_lossy(message.data()));
    }
    Ok(())
}

/// Waits until one of the descriptors is readable, or at its end.
fn wait(polled: &mut [libc::pollfd]) -> io::Result<()> {
    loop {
        // SAFETY: the pointer and the length are those of one slice, borrowed for the call.
        if unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) } >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn run(pattern: &str, topic: &str) -> Result<(), Box<dyn Error>> {
    let mut channel = Channel::open(pattern, &ChannelOptions::default())?;
    let poll_in = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut polled = [poll_in(channel.fd()?), poll_in(libc::STDIN_FILENO)];
    println!("listening on {pattern}");

    // Not `Stdin` itself: what its buffer holds, poll knows nothing of.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        wait(&mut polled)?;
        print_all(&mut channel)?;
        if polled[1].revents == 0 {
            continue;
        }
        let len = input.read(&mut buffer)?;
        if len == 0 {
            print_all(&mut channel)?;
            channel.close()?;
            return Ok(());
        }
        // A line may come in several pieces: its start stays in `line`.
        for &byte in &buffer[..len] {
            if byte == b'\n' {
                pubsub::publish(topic, &line, None)?;
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pattern, topic] = arguments.as_slice() else {
        eprintln!("usage: event_loop PATTERN TOPIC");
        exit(2);
    };
    if let Err(error) = run(pattern, topic) {
        eprintln!("event_loop: {error}");
        exit(1);
    }
}
