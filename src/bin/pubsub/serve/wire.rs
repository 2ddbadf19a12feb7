//! The WebSocket's bytes. What comes is taken apart by tungstenite, which also answers pings and closes; what goes is encoded once
//! for all connections that it goes to.

#![forbid(unsafe_code)]

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{Frame as Protocol, FrameHeader};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

use super::awake::Pace;

/// Read buffer of a connection. tungstenite's own 128 KiB would cost every idle connection as much.
const READ_BUFFER: usize = 4 << 10;
/// What one read takes at most. It lies on the stack while it is read, so it costs an idle connection nothing.
const READ_MAX: usize = 16 << 10;

/// A text frame of the server's, which is not masked: the same bytes for everybody, in one piece, since each connection's write
/// would pay for a second one.
#[derive(Debug)]
pub struct Frame {
    bytes: Vec<u8>,
    head_len: usize,
}

/// The longest head of a frame that is not masked.
const HEAD_MAX: usize = 10;

impl From<String> for Frame {
    fn from(text: String) -> Frame {
        let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        let len = text.len() as u64;
        let mut head = [0; HEAD_MAX];
        // Writing into memory that is large enough cannot fail.
        let _ = header.format(len, &mut &mut head[..]);
        let head_len = header.len(len);
        let mut bytes = text.into_bytes();
        bytes.splice(..0, head[..head_len].iter().copied());
        Frame { bytes, head_len }
    }
}

impl Frame {
    /// The length of its text, in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.head_len
    }

    /// Its text.
    pub fn text(&self) -> &str {
        // It was a string.
        std::str::from_utf8(&self.bytes[self.head_len..]).unwrap_or_default()
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Appends a text frame as it goes over the wire.
pub fn append(bytes: &mut Vec<u8>, text: String) {
    bytes.extend_from_slice(Frame::from(text).bytes());
}

/// Is anybody there?
pub fn ping() -> Vec<u8> {
    formatted(Protocol::ping(Bytes::new()))
}

/// The last frame, and why.
pub fn close(code: CloseCode, reason: &'static str) -> Vec<u8> {
    formatted(Protocol::close(Some(CloseFrame { code, reason: reason.into() })))
}

fn formatted(frame: Protocol) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into memory cannot fail.
    let _ = frame.format(&mut bytes);
    bytes
}

/// What a connection's peer sends.
pub struct Incoming {
    socket: OwnedReadHalf,
    context: WebSocketContext,
    buffers: Buffers,
    pace: Pace,
}

/// tungstenite's view of the socket.
struct Buffers {
    /// Read and not taken apart yet: from `used` on.
    read: Vec<u8>,
    used: usize,
    /// Answers to pings and closes.
    answers: Vec<u8>,
}

impl Read for Buffers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.read.get(self.used..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        if len == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        buffer[..len].copy_from_slice(&rest[..len]);
        self.used += len;
        Ok(len)
    }
}

impl Write for Buffers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.answers.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What [`Incoming::next`] found.
pub enum Next {
    /// A message, or a frame that is answered already.
    Message(Message),
    /// Nothing whole: [read](Incoming::read) on.
    More,
    /// It was closed in good order.
    Closed,
    /// It sent a frame that is too large.
    TooLarge,
    /// It sent text that is not UTF-8.
    NotUtf8,
    /// It broke the protocol.
    Broken,
    /// It has gone.
    Gone,
}

impl Incoming {
    /// Of a socket from which `read` was read already. Frames have at most `limit` bytes.
    pub fn new(socket: OwnedReadHalf, read: &[u8], limit: usize) -> Incoming {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let context = WebSocketContext::new(Role::Server, Some(config));
        Incoming {
            socket,
            context,
            buffers: Buffers { read: read.to_vec(), used: 0, answers: Vec::new() },
            pace: Pace::new(),
        }
    }

    /// The next of what was read.
    pub fn next(&mut self) -> Next {
        match self.context.read(&mut self.buffers) {
            Ok(message) => Next::Message(message),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Next::More,
            Err(Error::ConnectionClosed) => Next::Closed,
            Err(Error::Capacity(_)) => Next::TooLarge,
            Err(Error::Utf8(_)) => Next::NotUtf8,
            Err(Error::Protocol(_) | Error::AttackAttempt) => Next::Broken,
            Err(_) => Next::Gone,
        }
    }

    /// What pings and closes are to be answered with, as it goes over the wire.
    pub fn answers(&mut self) -> Option<Vec<u8>> {
        if self.buffers.answers.is_empty() { None } else { Some(std::mem::take(&mut self.buffers.answers)) }
    }

    /// Waits for more. False: there is none to come.
    pub async fn read(&mut self) -> bool {
        // An idle connection keeps no memory of what it sent.
        (self.buffers.read, self.buffers.used) = (Vec::new(), 0);
        self.pace.waits(self.socket.as_ref());
        let read = poll_fn(|cx| self.poll_read(cx)).await;
        self.pace.came(self.buffers.read.len());
        read
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut space = [MaybeUninit::<u8>::uninit(); READ_MAX];
        let mut buffer = ReadBuf::uninit(&mut space);
        let result = ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer));
        self.buffers.read.extend_from_slice(buffer.filled());
        (result.is_ok() && !self.buffers.read.is_empty()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_head_that_their_length_asks_for() {
        for (len, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let text = "x".repeat(len);
            let frame = Frame::from(text.clone());
            assert_eq!((frame.len(), frame.text(), frame.bytes().len()), (len, text.as_str(), head + len));
            assert_eq!((frame.bytes()[0], &frame.bytes()[head..]), (0x81, text.as_bytes()));
        }
        assert_eq!(Frame::from("ab".to_owned()).bytes(), b"\x81\x02ab");
        assert_eq!(&ping()[..], b"\x89\x00");
        assert_eq!(&close(CloseCode::Normal, "x")[..], b"\x88\x03\x03\xe8x");
    }
}
