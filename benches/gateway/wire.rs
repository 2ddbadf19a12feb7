//! As much of the WebSocket as a load needs: frames of clients are masked with zeros, those of servers are taken apart.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use memchr::memmem;
use socket2::{Domain, SockRef, Socket, Type};

use crate::load::Peer;

/// What a read takes at most.
const READ_MAX: usize = 256 << 10;

/// For what is read, one for all connections.
pub struct Space(Vec<u8>);

impl Space {
    pub fn new() -> Space {
        Space(vec![0; READ_MAX])
    }
}

/// Reads frames and puts their payloads together.
pub struct Connection {
    pub stream: TcpStream,
    /// Half a head.
    head: Vec<u8>,
    payload: Vec<u8>,
    /// Bytes of the current frame's payload that are still to come.
    rest: usize,
}

/// So many connections come from one address of this machine: it has some 28,000 ports to give.
const OF_ONE_ADDRESS: usize = 5_000;

impl Connection {
    /// The `number`th connection.
    pub fn open(address: SocketAddr, peer: Peer, number: usize) -> Connection {
        let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + (number / OF_ONE_ADDRESS) as u32);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of this machine");
        socket.connect(&address.into()).expect("connecting");
        let mut stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        let path = if peer == Peer::Gateway { "/ws" } else { "/" };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut raw = Vec::new();
        let end = loop {
            let mut part = [0; 4096];
            let count = stream.read(&mut part).unwrap();
            assert!(count > 0, "no answer to the handshake");
            raw.extend_from_slice(&part[..count]);
            if let Some(end) = memmem::find(&raw, b"\r\n\r\n") {
                break end + 4;
            }
        };
        assert!(raw.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&raw));
        let mut connection = Connection { stream, head: Vec::new(), payload: Vec::new(), rest: 0 };
        connection.take_apart(&raw[end..]);
        connection
    }

    /// Reads what there is, and answers the payloads so far.
    pub fn receive(&mut self, space: &mut Space) -> &[u8] {
        loop {
            match self.stream.read(&mut space.0) {
                Ok(0) => panic!("the server has closed the connection"),
                Ok(count) => {
                    self.take_apart(&space.0[..count]);
                    // Less than was asked for is all that there was.
                    if count < space.0.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("receiving: {error}"),
            }
        }
        &self.payload
    }

    fn take_apart(&mut self, bytes: &[u8]) {
        let head = std::mem::take(&mut self.head);
        let whole;
        let mut bytes = bytes;
        if !head.is_empty() {
            whole = [&head, bytes].concat();
            bytes = &whole;
        }
        loop {
            let (take, behind) = bytes.split_at(self.rest.min(bytes.len()));
            self.payload.extend_from_slice(take);
            self.rest -= take.len();
            bytes = behind;
            if self.rest > 0 || bytes.is_empty() {
                return;
            }
            let (head, len) = match bytes {
                [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
                [_, 127, len @ ..] if len.len() >= 8 => {
                    (10, u64::from_be_bytes(len[..8].try_into().expect("8 bytes")) as usize)
                }
                [_, len @ ..=125, ..] => (2, usize::from(*len)),
                _ => return self.head.extend_from_slice(bytes),
            };
            bytes = &bytes[head..];
            self.rest = len;
        }
    }

    /// Drops so many bytes of the payloads, at most all.
    pub fn consume(&mut self, bytes: usize) {
        if bytes >= self.payload.len() { self.payload.clear() } else { drop(self.payload.drain(..bytes)) }
    }

    /// Waits for something, and drops everything up to it.
    pub fn wait_for(&mut self, wanted: &[u8]) {
        let mut part = [0; 4096];
        while memmem::find(&self.payload, wanted).is_none() {
            let count = self.stream.read(&mut part).unwrap();
            assert!(count > 0, "closed");
            self.take_apart(&part[..count]);
        }
        self.payload.clear();
    }

    /// From now on it is read when there is something to read, and messages are not acknowledged one by one.
    ///
    /// By default the kernel acknowledges each as soon as it is read, which costs the machine about as much as sending it. Told not
    /// to, it waits for a second one, or for 40 ms.
    pub fn poll(&self) {
        self.stream.set_nonblocking(true).unwrap();
        SockRef::from(&self.stream).set_tcp_quickack(false).expect("delayed acknowledgements");
    }

    /// Sends a frame.
    pub fn send(&mut self, payload: &[u8]) {
        let mut frame = Vec::new();
        append(&mut frame, payload);
        self.stream.write_all(&frame).unwrap();
    }
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
