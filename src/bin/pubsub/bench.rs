//! `pubsub bench`: how fast this machine and this store are, between two processes.
//!
//! The other process is this command again ([`peer`](crate::bench_peer)). What is measured is what programs see: messages
//! published *and* received, and the time from one process to the other and back.

#![forbid(unsafe_code)]

use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pubsub::{Channel, ChannelOptions, ErrorKind, Pattern, Payload, Publisher, PublisherOptions, Transport};
use serde_json::{Value, json};

use crate::bench_peer::{self, Manner, Peer, Waiting};
use crate::context::{Context, Failure, Outcome, counted};
use crate::disk::Disk;
use crate::output;
use crate::signals::Signals;
use crate::table::{amount, bytes, columns};
use crate::values;

/// Contents of these sizes.
const SIZES: [usize; 3] = [64, 1024, 64 * 1024];
/// Messages of a batch, unless their contents are large.
const BATCH: usize = 256;
/// A batch has no more bytes.
const BATCH_BYTES: usize = 1 << 20;
/// How long a publisher waits for room: the subscriber takes what it can, and nothing is lost.
const WAIT: Duration = Duration::from_secs(10);

/// Measure how fast this machine and this store are
#[derive(clap::Args)]
#[command(after_help = "\
Two processes: this one publishes, the other receives. Throughput is counted until the other one has received the last
message, so it is that of both sides together; a publisher that is faster waits for room. Latency is half a round trip:
'blocking' sleeps until a message comes, 'busy' asks again and again and needs a processor of its own.

Figures of a busy machine, or of one with a single processor, say little: the load is shown. What is published here
is received by every channel that matches it, such as one on '+', which slows it down; there is a note then.

With --json, one object: store, file_system, transport, processors, load, throughput (a list of size, manner,
messages_per_second, bytes_per_second), latency (a list of waiting, rounds, and best_us, median_us, p99_us).

Examples:
  pubsub bench
  pubsub bench --seconds 2                    each measurement longer: steadier
  PUBSUB_TRANSPORT=files pubsub bench         the other transport
  pubsub bench --home /var/tmp/store          a store on a disk")]
pub struct Args {
    /// How long each measurement takes
    #[arg(long, value_name = "SECONDS", default_value = "0.3", value_parser = values::seconds)]
    seconds: Duration,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// What the other process does; not for people
    #[arg(long, hide = true, value_name = "PEER", value_parser = bench_peer::parse)]
    peer: Option<Peer>,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let signals = Signals::catch().map_err(|error| Failure::io("catching signals", &error))?;
    if let Some(peer) = args.peer {
        return bench_peer::run(&peer, context, &signals);
    }
    let home = context.home().unwrap_or_else(|| pubsub::home());
    let bench =
        Bench { context, signals, seconds: args.seconds, topic: format!("pubsub-bench.{}", std::process::id()) };
    let listeners = bench.listeners()?;
    if listeners > 0 {
        context
            .say(&format!("what is published here also reaches {}; expect less", counted(listeners, "other channel")));
    }
    let transport = bench.transport()?;
    let disk = Disk::of(home).map_err(|errno| Failure::io(&context.home_shown(), &errno.into()))?;
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let load = load();
    if !args.json {
        let load = load.map_or_else(String::new, |load| format!(", load {load:.1}"));
        let head = format!(
            "{} ({}), {transport} transport; {}{load}\n",
            context.home_shown(),
            disk.kind,
            counted(processors as u64, "processor")
        );
        output::print(head.as_bytes())?;
    }
    let mut throughput = Vec::new();
    for size in SIZES {
        for manner in Manner::ALL {
            throughput.push((size, manner, bench.throughput(size, manner)?));
        }
    }
    if !args.json {
        output::print(throughput_text(&throughput).as_bytes())?;
    }
    let mut latency = Vec::new();
    for waiting in Waiting::ALL {
        latency.push((waiting, bench.latency(waiting)?));
    }
    if args.json {
        let object = json!({
            "store": home.to_string_lossy(),
            "file_system": disk.kind,
            "transport": transport,
            "processors": processors,
            "load": load,
            "throughput": throughput.iter().map(throughput_json).collect::<Vec<_>>(),
            "latency": latency.iter().map(|(waiting, times)| times.json(*waiting)).collect::<Vec<_>>(),
        });
        output::print(format!("{object}\n").as_bytes())?;
    } else {
        output::print(latency_text(&latency).as_bytes())?;
    }
    Ok(Outcome::Done)
}

fn throughput_text(results: &[(usize, Manner, f64)]) -> String {
    let mut header = vec!["  CONTENT".to_owned()];
    header.extend(Manner::ALL.map(|manner| manner.words().to_owned()));
    let mut rows = vec![header];
    for of_size in results.chunks(Manner::ALL.len()) {
        let mut row = vec![format!("  {}", bytes(of_size[0].0 as u64))];
        row.extend(
            of_size
                .iter()
                .map(|(size, _, rate)| format!("{}/s  {}/s", amount(*rate), bytes((rate * *size as f64) as u64))),
        );
        rows.push(row);
    }
    let rows: Vec<[String; 4]> = rows.into_iter().filter_map(|row| row.try_into().ok()).collect();
    format!("\nmessages published and received\n{}", columns([false, true, true, true], &rows))
}

fn throughput_json((size, manner, rate): &(usize, Manner, f64)) -> Value {
    json!({
        "size": size,
        "manner": manner.name(),
        "messages_per_second": rate.round(),
        "bytes_per_second": (rate * *size as f64).round(),
    })
}

fn latency_text(results: &[(Waiting, Times)]) -> String {
    let mut rows = vec![["  WAITING", "BEST", "MEDIAN", "99 %", "ROUNDS"].map(str::to_owned)];
    for (waiting, times) in results {
        let [best, median, p99] = [0.0, 0.5, 0.99].map(|part| format!("{:.1} µs", times.at(part)));
        rows.push([format!("  {}", waiting.name()), best, median, p99, times.sorted.len().to_string()]);
    }
    format!(
        "\nhalf a round trip between two processes, {}\n{}",
        bytes(SIZES[0] as u64),
        columns([false, true, true, true, true], &rows)
    )
}

/// The load of the last minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// Half round trips, nanoseconds, sorted.
struct Times {
    sorted: Vec<u64>,
}

impl Times {
    /// What this part of them does not exceed, in microseconds.
    fn at(&self, part: f64) -> f64 {
        let index = ((self.sorted.len() as f64 * part) as usize).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(index).copied().unwrap_or(0) as f64 / 1000.0
    }

    fn json(&self, waiting: Waiting) -> Value {
        json!({
            "waiting": waiting.name(),
            "rounds": self.sorted.len(),
            "best_us": self.at(0.0),
            "median_us": self.at(0.5),
            "p99_us": self.at(0.99),
        })
    }
}

struct Bench<'a> {
    context: &'a Context,
    signals: Signals,
    seconds: Duration,
    /// What all topics of this run begin with.
    topic: String,
}

impl Bench<'_> {
    /// Living channels of others that match what will be published.
    fn listeners(&self) -> Result<u64, Failure> {
        let channels = pubsub::list_channels(self.context.home())?;
        let hears =
            |topic: &str| Pattern::parse(topic).is_ok_and(|pattern| pattern.matches(&format!("{}.x", self.topic)));
        Ok(channels.iter().filter(|channel| channel.alive && hears(&channel.topic)).count() as u64)
    }

    fn channel_options(&self) -> ChannelOptions {
        ChannelOptions { home: self.context.home().map(Into::into), ..ChannelOptions::default() }
    }

    fn publisher(&self, topic: &str) -> Result<Publisher, Failure> {
        let options = PublisherOptions { full_timeout: WAIT, home: self.context.home().map(Into::into) };
        Ok(Publisher::open(topic, &options)?)
    }

    fn transport(&self) -> Result<&'static str, Failure> {
        let channel = Channel::open(&format!("{}.transport", self.topic), &self.channel_options())?;
        Ok(if channel.stats()?.transport == Transport::Ring { "ring" } else { "files" })
    }

    /// An error when a signal has asked for the end.
    fn go_on(&self) -> Result<(), Failure> {
        self.signals.caught().map_or(Ok(()), |signal| Err(Failure::Interrupted(signal)))
    }

    /// Messages per second.
    fn throughput(&self, size: usize, manner: Manner) -> Result<f64, Failure> {
        let topic = format!("{}.{}.{size}", self.topic, manner.name());
        let mut other = Other::start(self.context, &Peer::Drain { topic: topic.clone(), manner })?;
        let publisher = self.publisher(&topic)?;
        let count = if manner == Manner::Single { 16 } else { BATCH.min(BATCH_BYTES / size).max(1) };
        let data = vec![b'x'; size * count];
        let payloads: Vec<_> = data.chunks(size).map(|data| Payload { data, headers: None }).collect();
        let lengths = vec![size as u32; count];
        let retry = |error: pubsub::Error| match error.kind() {
            // A signal ends the wait for room; what it wants is seen below.
            ErrorKind::Interrupted => Ok(0),
            _ => Err(error),
        };

        let (start, mut published) = (Instant::now(), 0);
        while start.elapsed() < self.seconds || published == 0 {
            self.go_on()?;
            let mut done = 0;
            while done < count {
                done += match manner {
                    Manner::Single => publisher.publish(payloads[done].data, None).map(|_| 1),
                    Manner::Batch => publisher.publish_batch(&payloads[done..]),
                    Manner::Packed => publisher.publish_packed(&data[done * size..], &lengths[done..], None),
                }
                .or_else(retry)?;
                if done < count {
                    self.go_on()?;
                }
            }
            published += count;
        }
        publisher.publish(bench_peer::LAST, None)?;
        other.expect("done")?;
        Ok(published as f64 / start.elapsed().as_secs_f64())
    }

    fn latency(&self, waiting: Waiting) -> Result<Times, Failure> {
        let (ping, pong) = (format!("{}.ping", self.topic), format!("{}.pong", self.topic));
        let mut channel = Channel::open(&pong, &self.channel_options())?;
        let other = Other::start(self.context, &Peer::Echo { from: ping.clone(), to: pong, waiting })?;
        let publisher = self.publisher(&ping)?;
        let data = [b'x'; SIZES[0]];
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < self.seconds || times.is_empty() {
            self.go_on()?;
            let sent = Instant::now();
            publisher.publish(&data, None)?;
            loop {
                let message = match waiting {
                    Waiting::Blocking => channel.fetch_wait(Some(Duration::from_secs(1))),
                    Waiting::Busy => channel.fetch(),
                };
                match message {
                    Ok(Some(message)) => {
                        black_box(message.data());
                        break;
                    }
                    Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
                    _ => self.go_on()?,
                }
            }
            times.push(sent.elapsed().as_nanos() as u64 / 2);
        }
        publisher.publish(bench_peer::LAST, None)?;
        other.end()?;
        times.sort_unstable();
        Ok(Times { sorted: times })
    }
}

/// The other process. Dropped, it is ended; it closes its channel by itself when this process has gone.
struct Other {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Other {
    /// Starts it; answers once it listens.
    fn start(context: &Context, peer: &Peer) -> Result<Other, Failure> {
        let failed = |error: &std::io::Error| Failure::io("starting the other process", error);
        let this = std::env::current_exe().map_err(|error| failed(&error))?;
        // Of a command that was replaced meanwhile, Linux still has the old file.
        let program = if this.exists() { this.as_path() } else { Path::new("/proc/self/exe") };
        let mut command = Command::new(program);
        command.args(["bench", "--quiet", "--peer", &peer.to_string()]);
        if let Some(home) = context.home() {
            command.arg("--home").arg(home);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(|error| failed(&error))?;
        let said = child.stdout.take().ok_or_else(|| Failure::Failed("the other process has no output".to_owned()))?;
        let mut other = Other { child, said: BufReader::new(said) };
        other.expect("ready")?;
        Ok(other)
    }

    fn expect(&mut self, wanted: &str) -> Result<(), Failure> {
        let mut line = String::new();
        self.said.read_line(&mut line).map_err(|error| Failure::io("listening to the other process", &error))?;
        if line.trim_end() == wanted {
            return Ok(());
        }
        Err(Failure::Failed(format!("the other process ended before it was {wanted}")))
    }

    fn end(mut self) -> Result<(), Failure> {
        self.expect("done")
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It ends by itself after its last message; a signal lets it close its channel.
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_sorted_times() {
        let times = Times { sorted: (1..=100).map(|us| us * 1000).collect() };
        assert_eq!((times.at(0.0), times.at(0.5), times.at(0.99), times.at(1.0)), (1.0, 51.0, 100.0, 100.0));
        assert_eq!(Times { sorted: Vec::new() }.at(0.5), 0.0);
    }
}
