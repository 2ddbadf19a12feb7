//! The gateway beside nats-server's WebSocket, in one run, driven by one native client.
//!
//!     cargo bench --features serve --bench gateway -- [--seconds S] [--subscribers 1,10,100,500] [--in-flight 1,64] [--idle N] \
//!         [--gateway OPTION]...
//!
//! A message is JSON of 100 bytes with the time at which it was sent. The publisher, a connection of its own, keeps so many
//! messages in flight: the next one is sent when a message has reached all subscribers. Counted are deliveries a second, and the
//! time from sending to receiving. nats-server (apt install nats-server) is left out where there is none.

#![forbid(unsafe_code)]

mod load;
mod wire;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use load::{Outcome, Peer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

struct Options {
    seconds: f64,
    subscribers: Vec<usize>,
    in_flight: Vec<u64>,
    idle: usize,
    /// For `pubsub serve`.
    gateway: Vec<String>,
}

fn options() -> Options {
    let mut options = Options {
        seconds: 3.0,
        subscribers: vec![1, 10, 100, 500],
        in_flight: vec![1, 64],
        idle: 1000,
        gateway: Vec::new(),
    };
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(name) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{name} needs a value"));
        match name.as_str() {
            "--seconds" => options.seconds = value().parse().expect("a number of seconds"),
            "--subscribers" => options.subscribers = list(&value()),
            "--in-flight" => options.in_flight = list(&value()).into_iter().map(|n| n as u64).collect(),
            "--gateway" => options.gateway.push(value()),
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

fn gateway(home: &std::path::Path, args: &[String]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pubsub"));
    command.args(["--quiet", "serve", "--bind", "127.0.0.1:0"]).args(args);
    command.env("PUBSUB_HOME", home).stdout(Stdio::piped());
    let mut child = command.spawn().expect("starting the gateway");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").expect(&line).parse().unwrap();
    Server { child, address }
}

fn nats(directory: &std::path::Path) -> Option<Server> {
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
    let gateway = gateway(&directory.path().join("store"), &options.gateway);
    let nats = nats(directory.path());
    if nats.is_none() {
        println!("nats-server is not there (apt install nats-server): the gateway alone");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // First, while nothing is allocated that could be used again.
    if options.idle > 0 {
        for (name, peer, server) in [("gateway", Peer::Gateway, Some(&gateway)), ("nats", Peer::Nats, nats.as_ref())] {
            let Some(server) = server else { continue };
            idle(&runtime, name, peer, server, options.idle);
        }
    }
    println!(
        "{:>11} {:>9}  {:>30}  {:>30}  ratio",
        "subscribers", "in flight", "gateway: 1/s, p50, p99", "nats: 1/s, p50, p99"
    );
    for &subscribers in &options.subscribers {
        for &in_flight in &options.in_flight {
            let run = |peer, address| {
                let run = load::run(peer, address, subscribers, in_flight, Duration::from_secs_f64(options.seconds));
                runtime.block_on(run)
            };
            let ours = run(Peer::Gateway, gateway.address);
            let theirs = nats.as_ref().map(|nats| run(Peer::Nats, nats.address));
            let shown = |outcome: &Outcome| {
                format!("{:>10.0} {:>8.0} us {:>6.0} us", outcome.per_second, outcome.p50_us, outcome.p99_us)
            };
            let ratio =
                theirs.as_ref().map_or(String::new(), |theirs| format!("{:.2}", ours.per_second / theirs.per_second));
            let theirs = theirs.as_ref().map_or(String::new(), shown);
            println!("{subscribers:>11} {in_flight:>9}  {:>30}  {theirs:>30}  {ratio}", shown(&ours));
        }
    }
}

fn idle(runtime: &tokio::runtime::Runtime, name: &str, peer: Peer, server: &Server, count: usize) {
    let (before, _) = server.costs();
    let connections = runtime.block_on(load::connect_all(peer, server.address, count));
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
