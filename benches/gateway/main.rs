//! The gateway beside nats-server's WebSocket, in one run, driven by one native client.
//!
//!     cargo bench --features serve --bench gateway -- [--seconds S] [--subscribers 1,10,100,500] [--in-flight 1,64] [--idle N] \
//!         [--rounds N] [--gateway OPTION]... [--against COMMAND]
//!
//! A message is JSON of 100 bytes with the time at which it was sent. The publisher, a connection of its own, keeps so many
//! messages in flight: the next one is sent when a message has reached all subscribers. Counted are deliveries a second, and the
//! time from sending to receiving: medians of the rounds, in which the servers take turns. nats-server (apt install nats-server)
//! is left out where there is none, and where another build of the command takes its place.

#![forbid(unsafe_code)]

mod load;
mod wire;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use load::{Load, Peer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

struct Options {
    /// Of measuring, for each line and server.
    seconds: f64,
    rounds: usize,
    subscribers: Vec<usize>,
    in_flight: Vec<u64>,
    idle: usize,
    /// For `pubsub serve`.
    gateway: Vec<String>,
    /// The command of another build.
    against: Option<PathBuf>,
}

fn options() -> Options {
    let mut options = Options {
        seconds: 2.7,
        rounds: 9,
        subscribers: vec![1, 10, 100, 500],
        in_flight: vec![1, 64],
        idle: 1000,
        gateway: Vec::new(),
        against: None,
    };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(name) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{name} needs a value"));
        match name.as_str() {
            "--seconds" => options.seconds = value().parse().expect("a number of seconds"),
            "--subscribers" => options.subscribers = list(&value()),
            "--in-flight" => options.in_flight = list(&value()).into_iter().map(|n| n as u64).collect(),
            "--gateway" => options.gateway.push(value()),
            "--rounds" => options.rounds = value().parse().expect("a number of rounds"),
            "--against" => options.against = Some(value().into()),
            "--idle" => options.idle = value().parse().expect("a number of connections"),
            other => panic!("no option {other}"),
        }
    }
    options
}

fn list(text: &str) -> Vec<usize> {
    text.split(',').map(|n| n.parse().expect("numbers with commas between them")).collect()
}

/// A server that is stopped in the end.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Resident memory of its own, in KiB, and the processor time that it had, in seconds.
    fn costs(&self) -> (u64, f64) {
        let read = |name| std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap();
        let status = read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let memory = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // utime and stime, in ticks of 10 ms.
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        (memory, ticks as f64 / 100.0)
    }
}

fn gateway(command: &Path, home: &Path, args: &[String]) -> Server {
    let mut command = Command::new(command);
    command.args(["--quiet", "serve", "--bind", "127.0.0.1:0"]).args(args);
    command.env("PUBSUB_HOME", home).stdout(Stdio::piped());
    let mut child = command.spawn().expect("starting the gateway");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").expect(&line).parse().unwrap();
    Server { child, address }
}

fn nats(directory: &Path) -> Option<Server> {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (client, address) = (free(), free());
    let config = directory.join("nats.conf");
    let text =
        format!("listen: \"{client}\"\nmax_connections: 20000\nwebsocket {{ listen: \"{address}\", no_tls: true }}\n");
    std::fs::File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
    let mut command = Command::new("nats-server");
    command.arg("-c").arg(&config).stderr(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().ok()?;
    let server = Server { child, address };
    let start = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "nats-server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(server)
}

fn main() {
    let options = options();
    // As many descriptors as this process may have: here, and for the servers that it starts.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(
        hard as usize > options.idle + 1000,
        "the limit of open files (ulimit -Hn) is too low for so many connections"
    );
    let directory = tempfile::Builder::new().prefix("b-gateway-").tempdir_in("/dev/shm").unwrap();
    let gateway = |command: &Path, store| gateway(command, &directory.path().join(store), &options.gateway);
    let ours = gateway(Path::new(env!("CARGO_BIN_EXE_pubsub")), "store");
    let (name, peer, other) = match &options.against {
        Some(command) => ("other", Peer::Gateway, Some(gateway(command, "other"))),
        None => ("nats", Peer::Nats, nats(directory.path())),
    };
    if other.is_none() {
        println!("nats-server is not there (apt install nats-server): the gateway alone");
    }
    let servers: Vec<(&str, Peer, Server)> =
        [Some(("gateway", Peer::Gateway, ours)), other.map(|server| (name, peer, server))]
            .into_iter()
            .flatten()
            .collect();
    // First, while nothing is allocated that could be used again.
    if options.idle > 0 {
        for (name, peer, server) in &servers {
            idle(name, *peer, server, options.idle);
        }
    }
    print!("{:>11} {:>9}", "subscribers", "in flight");
    servers.iter().for_each(|(name, ..)| print!("  {:>30}", format!("{name}: 1/s, p50, p99")));
    println!("  ratio");
    for &subscribers in &options.subscribers {
        for &in_flight in &options.in_flight {
            line(&options, &servers, subscribers, in_flight);
        }
    }
}

/// One line of the table.
fn line(options: &Options, servers: &[(&str, Peer, Server)], subscribers: usize, in_flight: u64) {
    let load = |(_, peer, server): &(&str, Peer, Server)| Load::new(*peer, server.address, subscribers, in_flight);
    let mut loads: Vec<Load> = servers.iter().map(load).collect();
    let time = Duration::from_secs_f64(options.seconds / options.rounds as f64);
    let mut rounds: Vec<Vec<_>> = Vec::new();
    for number in 0..options.rounds {
        let mut outcomes = Vec::new();
        let order = 0..loads.len();
        // Each of them is the first in every other round.
        let order: Vec<usize> = if number % 2 == 0 { order.collect() } else { order.rev().collect() };
        for index in order {
            outcomes.push((index, loads[index].run(time)));
        }
        outcomes.sort_by_key(|(index, _)| *index);
        rounds.push(outcomes.into_iter().map(|(_, outcome)| outcome).collect());
    }
    print!("{subscribers:>11} {in_flight:>9}");
    for index in 0..servers.len() {
        let of = |part: fn(&load::Outcome) -> f64| quantile(rounds.iter().map(|round| part(&round[index])), 0.5);
        let [rate, p50, p99] = [of(|o| o.per_second), of(|o| o.p50_us), of(|o| o.p99_us)];
        print!("  {:>30}", format!("{rate:>10.0} {p50:>8.0} us {p99:>6.0} us"));
    }
    if servers.len() > 1 {
        let ratio = |part| quantile(rounds.iter().map(|round| round[0].per_second / round[1].per_second), part);
        print!("  {:.2} ({:.2}-{:.2})", ratio(0.5), ratio(0.0), ratio(1.0));
    }
    println!();
}

fn quantile(values: impl Iterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * part) as usize]
}

fn idle(name: &str, peer: Peer, server: &Server, count: usize) {
    let (before, _) = server.costs();
    let connections = load::connect_all(peer, server.address, count);
    std::thread::sleep(Duration::from_secs(1));
    let (after, busy) = server.costs();
    std::thread::sleep(Duration::from_secs(5));
    let used = server.costs().1 - busy;
    println!(
        "{name}: {count} idle subscribers cost {:.1} KiB each, and {:.1} % of a core",
        (after.saturating_sub(before)) as f64 / count as f64,
        used / 5.0 * 100.0
    );
    drop(connections);
}
