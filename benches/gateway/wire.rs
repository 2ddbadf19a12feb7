//! As much of the WebSocket as a load needs: frames of clients are masked with zeros, those of servers are taken apart.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::load::{Peer, find};

/// Reads frames and puts their payloads together.
pub struct Reader {
    stream: OwnedReadHalf,
    raw: Vec<u8>,
    payload: Vec<u8>,
    /// Bytes of the current frame's payload that are still to come.
    rest: usize,
}

pub struct Writer {
    pub stream: OwnedWriteHalf,
}

/// So many connections come from one address of this machine: it has some 28,000 ports to give.
const OF_ONE_ADDRESS: usize = 5_000;

/// The `number`th connection.
pub async fn connect(address: SocketAddr, peer: Peer, number: usize) -> (Reader, Writer) {
    let socket = TcpSocket::new_v4().expect("a socket");
    let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + (number / OF_ONE_ADDRESS) as u32);
    socket.bind((from, 0).into()).expect("an address of this machine");
    let stream = socket.connect(address).await.expect("connecting");
    stream.set_nodelay(true).unwrap();
    let (mut read, mut write) = stream.into_split();
    let path = if peer == Peer::Gateway { "/ws" } else { "/" };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    write.write_all(request.as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    let end = loop {
        assert!(read.read_buf(&mut raw).await.unwrap() > 0, "no answer to the handshake");
        if let Some(end) = find(&raw, b"\r\n\r\n") {
            break end + 4;
        }
    };
    assert!(raw.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&raw));
    raw.drain(..end);
    (Reader { stream: read, raw, payload: Vec::new(), rest: 0 }, Writer { stream: write })
}

impl Reader {
    /// Waits for more bytes. False: there are none to come.
    pub async fn more(&mut self) -> bool {
        if self.raw.is_empty() {
            self.raw.reserve(32 << 10);
            if !matches!(self.stream.read_buf(&mut self.raw).await, Ok(1..)) {
                return false;
            }
        }
        let mut used = 0;
        loop {
            let bytes = &self.raw[used..];
            let take = self.rest.min(bytes.len());
            self.payload.extend_from_slice(&bytes[..take]);
            self.rest -= take;
            used += take;
            let bytes = &self.raw[used..];
            if self.rest > 0 || bytes.len() < 2 {
                break;
            }
            let (head, len) = match bytes[1] & 0x7f {
                126 if bytes.len() >= 4 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
                127 if bytes.len() >= 10 => (10, u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize),
                len @ ..=125 => (2, usize::from(len)),
                _ => break,
            };
            used += head;
            self.rest = len;
        }
        self.raw.drain(..used);
        if !self.raw.is_empty() {
            // Half a head: the next read brings the rest of it.
            self.raw.reserve(32 << 10);
            if !matches!(self.stream.read_buf(&mut self.raw).await, Ok(1..)) {
                return false;
            }
        }
        true
    }

    /// The payloads so far.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Drops so many bytes of them.
    pub fn consume(&mut self, bytes: usize) {
        self.payload.drain(..bytes);
    }

    /// Waits for something, and drops everything up to it.
    pub async fn wait_for(&mut self, wanted: &[u8]) {
        loop {
            if find(&self.payload, wanted).is_some() {
                self.payload.clear();
                return;
            }
            assert!(self.more().await, "closed");
        }
    }
}

impl Writer {
    pub async fn frame(&mut self, payload: &[u8]) {
        let mut frame = Vec::new();
        Writer::append(&mut frame, payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Appends a frame of a client.
    pub fn append(out: &mut Vec<u8>, payload: &[u8]) {
        out.push(0x81);
        match payload.len() {
            len @ ..=125 => out.push(0x80 | len as u8),
            len => {
                out.push(0x80 | 126);
                out.extend_from_slice(&u16::try_from(len).expect("a short frame").to_be_bytes());
            }
        }
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(payload);
    }
}
