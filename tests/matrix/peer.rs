//! The matrix's program in Rust: see README.md.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, Write};
use std::time::Duration;

use pubsub::{Channel, ChannelOptions, HeaderValue, Headers};

const PATIENCE: Duration = Duration::from_secs(20);

type Answer = Result<String, Box<dyn Error>>;

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<String, Box<dyn Error>> {
    let digits = |i: usize| text.get(i..i + 2).ok_or("half a byte");
    let bytes = (0..text.len())
        .step_by(2)
        .map(|i| Ok(u8::from_str_radix(digits(i)?, 16)?))
        .collect::<Result<Vec<u8>, Box<dyn Error>>>()?;
    Ok(String::from_utf8(bytes)?)
}

fn read_headers(list: &str) -> Result<Headers, Box<dyn Error>> {
    let mut headers = Headers::new();
    for item in list.split(',').filter(|_| list != "-") {
        let [name, kind, value] = item.split(':').collect::<Vec<_>>()[..] else {
            return Err(format!("not a header: {item}").into());
        };
        let value = match kind {
            "n" => HeaderValue::Null,
            "b" => HeaderValue::Bool(value == "1"),
            "i" => HeaderValue::Int(value.parse()?),
            "d" => HeaderValue::Double(f64::from_bits(u64::from_str_radix(value, 16)?)),
            "s" => HeaderValue::String(unhex(value)?),
            "j" => HeaderValue::Other(unhex(value)?),
            _ => return Err(format!("unknown type of a header: {item}").into()),
        };
        headers.set(unhex(name)?, value);
    }
    Ok(headers)
}

fn written(headers: &Headers) -> String {
    let items: Vec<String> = headers
        .iter()
        .map(|(name, value)| {
            let value = match value {
                HeaderValue::Null => "n:".to_string(),
                HeaderValue::Bool(value) => format!("b:{}", u8::from(*value)),
                HeaderValue::Int(value) => format!("i:{value}"),
                HeaderValue::Double(value) => format!("d:{:016x}", value.to_bits()),
                HeaderValue::String(value) => format!("s:{}", hex(value)),
                HeaderValue::Other(value) => format!("j:{}", hex(value)),
            };
            format!("{}:{value}", hex(name))
        })
        .collect();
    if items.is_empty() { "-".to_string() } else { items.join(",") }
}

fn fetch(channels: &mut [Channel], index: &str, path: &str, timeout: Duration) -> Answer {
    let channel = channels.get_mut(index.parse::<usize>()?).ok_or("there is no such channel")?;
    let Some(message) = channel.fetch_wait(Some(timeout))? else {
        return Ok("nothing".to_string());
    };
    fs::write(path, message.data())?;
    Ok(format!("message {} {}", message.topic(), written(&message.headers())))
}

fn obey(line: &str, channels: &mut Vec<Channel>) -> Answer {
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["open", pattern] => {
            channels.push(Channel::open(pattern, &ChannelOptions::default())?);
            Ok("opened".to_string())
        }
        ["fetch", index, path] => fetch(channels, index, path, PATIENCE),
        ["try", index, path] => fetch(channels, index, path, Duration::ZERO),
        ["publish", topic, path, headers] => {
            let count = pubsub::publish(topic, &fs::read(path)?, Some(&read_headers(headers)?))?;
            Ok(format!("published {count}"))
        }
        ["close"] => {
            channels.drain(..).try_for_each(Channel::close)?;
            Ok("closed".to_string())
        }
        _ => Err(format!("unknown command: {line}").into()),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut channels = Vec::new();
    for line in io::stdin().lock().lines() {
        let answer = obey(&line?, &mut channels)?;
        let mut out = io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
