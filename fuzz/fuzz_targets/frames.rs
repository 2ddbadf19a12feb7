//! Any text as a frame of a WebSocket of the gateway: it is parsed or refused, and what is answered is JSON and short. And any
//! bytes as a message: its frame is JSON.

#![no_main]

#[allow(dead_code)]
#[path = "../../src/bin/pubsub/serve/frames.rs"]
mod frames;

use frames::{Outgoing, Request};

fn is_object(frame: &str) {
    serde_json::from_str::<serde_json::Value>(frame).expect("an answer is JSON, and not too deep");
    assert!(frame.starts_with('{'));
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let out = Outgoing { topic: "t", pattern: None, data, is_json: false, id: 1, timestamp_us: data.len() as i64, position: None };
    is_object(&frames::message(&out));
    let Ok(text) = std::str::from_utf8(data) else { return };
    match frames::parse(text) {
        Ok(parsed) => {
            if let Request::Publish { message, .. } = &parsed.request {
                assert!(frames::depth(message.get().as_bytes()) < frames::DEPTH_MAX);
            }
            is_object(&frames::pong(parsed.request_id));
        }
        Err(bad) => {
            let frame = frames::error(&bad.refusal, bad.action.as_deref(), bad.request_id);
            is_object(&frame);
            assert!(frame.len() < 4096, "{} bytes", frame.len());
        }
    }
});
