//! A WebSocket client.

use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, Message, WebSocket};

use crate::http;

pub struct Client {
    pub socket: WebSocket<TcpStream>,
}

/// What a connection got next.
#[derive(Debug)]
pub enum Received {
    Frame(Value),
    Closed(Option<CloseFrame>),
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        Client::try_connect(address, "/ws", &[]).unwrap_or_else(|status| panic!("HTTP {status}"))
    }

    /// The status of the answer when it is none.
    pub fn try_connect(address: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Result<Client, u16> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tungstenite::client(request, http::connect(address)) {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    pub fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    pub fn send_json(&mut self, value: Value) {
        self.send(&value.to_string());
    }

    /// The next thing that comes.
    pub fn next(&mut self) -> Received {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Received::Frame(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(frame)) => return Received::Closed(frame),
                Ok(Message::Binary(bytes)) => panic!("a binary frame: {bytes:?}"),
                Ok(_) => {}
                Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_) | Error::Protocol(_)) => {
                    return Received::Closed(None);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next frame.
    pub fn frame(&mut self) -> Value {
        match self.next() {
            Received::Frame(frame) => frame,
            Received::Closed(frame) => panic!("closed: {frame:?}"),
        }
    }

    /// The next frame, which is a message.
    pub fn message(&mut self) -> Value {
        let frame = self.frame();
        assert_eq!(frame["action"], "message", "{frame}");
        frame
    }

    /// The contents of the next messages.
    pub fn messages(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.message()["message"].take()).collect()
    }

    /// The code of the close that comes next.
    pub fn closed(&mut self) -> u16 {
        match self.next() {
            Received::Closed(Some(frame)) => frame.code.into(),
            other => panic!("no close: {other:?}"),
        }
    }

    /// The code of the error that comes next.
    pub fn refusal(&mut self) -> String {
        let frame = self.frame();
        assert_eq!(frame["action"], "error", "{frame}");
        assert!(frame["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{frame}");
        frame["error"]["code"].as_str().unwrap().to_owned()
    }

    /// Sends a request and reads its acknowledgement.
    pub fn ask(&mut self, mut request: Value) -> Value {
        request["request_id"] = json!("the-request");
        let topic = request["topic"].clone();
        self.send_json(request);
        let ack = self.frame();
        assert_eq!(
            (&ack["action"], &ack["request_id"], &ack["topic"]),
            (&json!("ack"), &json!("the-request"), &topic),
            "{ack}"
        );
        ack
    }

    pub fn subscribe(&mut self, topic: &str, replay_last: u32) -> Value {
        self.ask(json!({"action": "subscribe", "topic": topic, "replay_last": replay_last}))
    }

    /// What was sent before is done, and nothing else has come.
    pub fn assert_quiet(&mut self) {
        self.send(r#"{"action":"ping"}"#);
        assert_eq!(self.frame(), json!({"action": "pong"}));
    }
}
