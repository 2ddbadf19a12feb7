//! What holds for any message and any headers, and for known messages with bytes changed; and Python's own word on JSON.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{HeaderValue, Headers, fuzzing, golden, json, python_float, v1};

/// Any text, with what JSON treats specially often in it.
fn any_text() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![
            any::<char>(),
            (0u8..=0x7f).prop_map(char::from),
            prop::sample::select(&['"', '\\', '\0', '\u{7f}', '\u{2028}', '\u{fffd}', '😀'][..]),
        ],
        0..12,
    )
    .prop_map(String::from_iter)
}

/// Any number but NaN, which equals nothing.
fn any_double() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits).prop_filter("NaN equals nothing", |number| !number.is_nan())
}

fn any_value() -> impl Strategy<Value = HeaderValue> {
    let nested = prop::sample::select(&["[]", "{}", "[1,{\"a\":[null]}]", "123456789012345678901", "\"\\ud800\""][..]);
    prop_oneof![
        Just(HeaderValue::Null),
        any::<bool>().prop_map(HeaderValue::Bool),
        any::<i64>().prop_map(HeaderValue::Int),
        any_double().prop_map(HeaderValue::Double),
        any_text().prop_map(HeaderValue::String),
        nested.prop_map(|text| HeaderValue::Other(text.to_owned())),
        any_text().prop_map(HeaderValue::Other),
    ]
}

fn any_headers() -> impl Strategy<Value = Headers> {
    vec((any_text(), any_value()), 0..24).prop_map(|entries| {
        let mut headers = Headers::new();
        for (name, value) in entries {
            headers.set(name, value);
        }
        headers
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn headers_survive_their_journey_as_json(headers in any_headers()) {
        let text = headers.to_json();
        prop_assert_eq!(json::check(&text), Ok(()));
        prop_assert_eq!(Headers::parse(&text).unwrap(), headers);
    }

    #[test]
    fn messages_survive_their_journey_as_bytes(
        (id, timestamp) in any::<(u64, u64)>(),
        topic in any_text(),
        headers in any_headers(),
        data in vec(any::<u8>(), 0..100),
        trailing in vec(any::<u8>(), 0..10),
    ) {
        let json = headers.to_json();
        let mut bytes = Vec::new();
        v1::write_prefix(&mut bytes, id, timestamp, &topic, &json, data.len() as u32);
        let len = bytes.len();
        bytes.extend_from_slice(&data);
        bytes.extend_from_slice(&trailing);
        let (prefix, content) = v1::parse(&bytes).unwrap();
        prop_assert_eq!((prefix.id, prefix.timestamp_us, prefix.len), (id, timestamp, len));
        prop_assert_eq!((prefix.topic, prefix.headers_json, content), (&topic[..], &json[..], &data[..]));
        fuzzing::message(&bytes);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        fuzzing::message(&bytes);
        let mut framed = Vec::new();
        v1::write_prefix(&mut framed, 1, 2, "", &String::from_utf8_lossy(&bytes), 0);
        fuzzing::message(&framed);
    }

    #[test]
    fn any_text_made_of_json_s_characters_is_read_or_refused(text in "[\\[\\]{}:,\"\\\\ u0-9dDeE+.a-]{0,40}") {
        fuzzing::headers(&text);
        fuzzing::headers(&format!("{{\"a\":{text}}}"));
    }
}

/// The fuzz target's promises on the vectors and on changes of them; the same ones in every run.
#[test]
fn changed_messages_are_read_or_refused() {
    let seeds = golden::seeds();
    let mut random = StdRng::seed_from_u64(1);
    for seed in &seeds {
        fuzzing::message(seed);
    }
    for _ in 0..6000 {
        let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..=bytes.len());
            match random.random_range(0..6) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, random.random()),
                2 => {
                    let other = &seeds[random.random_range(0..seeds.len())];
                    let from = random.random_range(0..=other.len());
                    let to = random.random_range(from..=other.len());
                    bytes.splice(at..at, other[from..to].iter().copied());
                }
                3 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
                4 if at + 4 <= bytes.len() => bytes[at..at + 4].fill(0xff),
                _ if at < bytes.len() => bytes[at] = b"{}[]\",:0-e\\u"[random.random_range(0..12)],
                _ => {}
            }
        }
        fuzzing::message(&bytes);
    }
}

/// Runs `program` in Python with `input` on its standard input, line by line; one line comes back for each.
fn python(program: &str, input: &str) -> Vec<String> {
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("this test compares with Python's json and needs python3 in PATH: {error}"));
    // The programs read all of their input before they write.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "python3 failed: {}", output.status);
    let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), input.lines().count());
    lines
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[test]
fn floats_are_written_as_this_machine_s_python_writes_them() {
    let mut random = StdRng::seed_from_u64(2);
    let mut numbers: Vec<f64> = (0..2000).map(|_| f64::from_bits(random.random())).collect();
    numbers.extend((-330..310).flat_map(|exponent| {
        let power: f64 = format!("1e{exponent}").parse().unwrap();
        let next = |step: u64| f64::from_bits(power.to_bits().wrapping_add(step));
        [power, next(1), next(u64::MAX), -power * 1.5]
    }));
    numbers.extend((0..1000).map(|_| random.random_range(-1e6..1e6)));
    numbers.extend((0..64).map(|bit| (1u64 << bit) as f64 + 0.5));
    let input: String = numbers.iter().map(|number| format!("{:016x}\n", number.to_bits())).collect();
    let program = "
import json, struct, sys
for line in sys.stdin.read().split():
    print(json.dumps(struct.unpack('>d', bytes.fromhex(line))[0]))
";
    for (number, expected) in numbers.iter().zip(python(program, &input)) {
        let mut text = String::new();
        python_float::write(&mut text, *number);
        assert_eq!(text, expected, "{number:e}");
    }
}

/// A text that is JSON, or was before a character was changed.
fn nearly_json(random: &mut StdRng) -> String {
    fn value(random: &mut StdRng, depth: u32, out: &mut String) {
        const SCALARS: &[&str] = &[
            "0",
            "-0",
            "-0.0",
            "1",
            "-12",
            "1.5",
            "1E+2",
            "1e-7",
            "1e400",
            "12345678901234567890",
            "9223372036854775807",
            "true",
            "false",
            "null",
            "NaN",
            "Infinity",
            "-Infinity",
            "\"\"",
            "\"a\"",
            "\"é😀\"",
            "\"\\u00e9\\n\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\\ud83dx\"",
            "\"\\\"\\\\\\/\"",
            "\"\\u0000\u{7f}\"",
        ];
        let space = |random: &mut StdRng| ["", "", "", " ", "\n\t", "\r "][random.random_range(0..6)];
        let items = random.random_range(0..4);
        match random.random_range(0..if depth > 3 { 6 } else { 9 }) {
            0..6 => out.push_str(SCALARS[random.random_range(0..SCALARS.len())]),
            kind => {
                out.push(if kind == 6 { '[' } else { '{' });
                for i in 0..items {
                    out.push_str(if i > 0 { "," } else { "" });
                    out.push_str(space(random));
                    if kind != 6 {
                        let name = ["a", "b", "\\u0061", "ключ", "\\ud800"][random.random_range(0..5)];
                        let _ = write!(out, "\"{name}\"{}:{}", space(random), space(random));
                    }
                    value(random, depth + 1, out);
                    out.push_str(space(random));
                }
                out.push(if kind == 6 { ']' } else { '}' });
            }
        }
    }
    let mut text = String::new();
    value(random, 0, &mut text);
    if random.random_bool(0.6) {
        let mut chars: Vec<char> = text.chars().collect();
        let at = random.random_range(0..=chars.len());
        let new = [
            ',', ':', '"', '\\', '[', ']', '{', '}', '0', '.', 'e', '-', '+', ' ', '\u{b}', '\u{a0}', '\u{feff}', 'N',
            '\0',
        ];
        let new = new[random.random_range(0..new.len())];
        match random.random_range(0..3) {
            0 => chars.insert(at, new),
            1 if at < chars.len() => chars[at] = new,
            _ if at < chars.len() => drop(chars.remove(at)),
            _ => {}
        }
        text = chars.into_iter().collect();
    }
    text
}

#[test]
fn json_is_read_as_this_machine_s_python_reads_it() {
    let mut random = StdRng::seed_from_u64(3);
    let texts: Vec<String> = (0..3000).map(|_| nearly_json(&mut random)).filter(|text| !text.is_empty()).collect();
    let input: String = texts.iter().map(|text| hex(text) + "\n").collect();
    // One answer for each text: X when it is refused, V when it is no object, and else every header as we should
    // have it, in a notation of lines that needs no JSON.
    let program = r#"
import json, struct, sys
def text(s):
    return s.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace').encode().hex()
def lone(s):
    return any(0xd800 <= ord(c) < 0xe000 for c in s)
def show(v):
    if v is None or isinstance(v, bool): return str(v)
    if isinstance(v, int): return 'i%d' % v if -2**63 <= v < 2**63 else 'o%d' % v
    if isinstance(v, float): return 'nan' if v != v else 'f' + struct.pack('>d', v).hex()
    if isinstance(v, str): return 'oS' if lone(v) else 's' + text(v)
    return 'oN'
for line in sys.stdin.read().split():
    try:
        v = json.loads(bytes.fromhex(line).decode())
    except ValueError:
        print('X')
        continue
    if not isinstance(v, dict): print('V')
    else: print('D', *(text(k) + '=' + show(x) for k, x in v.items()))
"#;
    let show = |value: &HeaderValue| match value {
        HeaderValue::Null => "None".to_owned(),
        HeaderValue::Bool(true) => "True".to_owned(),
        HeaderValue::Bool(false) => "False".to_owned(),
        HeaderValue::Int(number) => format!("i{number}"),
        HeaderValue::Double(number) if number.is_nan() => "nan".to_owned(),
        HeaderValue::Double(number) => format!("f{:016x}", number.to_bits()),
        HeaderValue::String(text) => format!("s{}", hex(text)),
        HeaderValue::Other(text) if text.starts_with('"') => "oS".to_owned(),
        HeaderValue::Other(text) if text.starts_with(['[', '{']) => "oN".to_owned(),
        HeaderValue::Other(text) => format!("o{text}"),
    };
    let mut kinds = [0; 3];
    for (text, expected) in texts.iter().zip(python(program, &input)) {
        let ours = match (json::check(text), Headers::parse(text)) {
            (Err(_), Err(_)) => "X".to_owned(),
            (Err(_), Ok(_)) => "refused and parsed".to_owned(),
            (Ok(()), Err(_)) => "V".to_owned(),
            (Ok(()), Ok(headers)) => {
                headers.iter().fold("D".to_owned(), |out, (name, value)| format!("{out} {}={}", hex(name), show(value)))
            }
        };
        assert_eq!(ours, expected, "{text:?}");
        kinds["XVD".find(&ours[..1]).unwrap()] += 1;
    }
    // The texts are worth the comparison only if there are enough of each kind.
    assert!(kinds.iter().all(|&count| count > 200), "{kinds:?}");
}
