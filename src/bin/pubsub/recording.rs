//! The file of `pubsub record`: docs/recording-format.md describes it byte by byte.
//!
//! A header, then entries, each with its length and checksum in front, so that a file that was cut short anywhere is
//! read up to the cut, and no damaged entry is taken for a whole one.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

use crc32fast::Hasher;

const MAGIC: &[u8; 8] = b"PSRECORD";
const VERSION: u32 = 1;
const HEADER: usize = 32;
/// Length and checksum, before each entry.
const FRAME: usize = 12;
/// What an entry begins with: its kind.
const KIND: usize = 4;
/// The fixed part of a message's entry.
const FIXED: usize = 40;
const MESSAGE: u32 = 1;
const END: u32 = 2;
/// A message has three parts of at most 4 GiB - 1 each.
const LONGEST: u64 = FIXED as u64 + 3 * u32::MAX as u64;

/// A message in a recording.
#[derive(Debug, PartialEq)]
pub struct Entry<'a> {
    /// When it was published, microseconds from the recording's start.
    pub after_us: u64,
    pub id: u64,
    /// Microseconds since the Unix epoch, as its publisher said.
    pub timestamp_us: i64,
    pub topic: &'a str,
    /// As received, byte for byte.
    pub headers_json: &'a str,
    pub data: &'a [u8],
}

/// Writes a recording.
pub struct Writer<W> {
    out: W,
    entry: Vec<u8>,
    messages: u64,
}

impl<W: Write> Writer<W> {
    /// Begins one that starts at this time.
    pub fn new(mut out: W, started_us: u64) -> io::Result<Writer<W>> {
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&0u32.to_le_bytes());
        header.extend_from_slice(&started_us.to_le_bytes());
        header.extend_from_slice(&0u32.to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        out.write_all(&header)?;
        Ok(Writer { out, entry: Vec::new(), messages: 0 })
    }

    /// Adds a message.
    pub fn write(&mut self, message: &Entry) -> io::Result<()> {
        // Lengths of topics and headers are 32 bits in every message there is.
        let length = |text: &str| u32::try_from(text.len()).map_err(io::Error::other);
        let (topic_len, headers_len) = (length(message.topic)?, length(message.headers_json)?);
        self.entry.clear();
        self.entry.extend_from_slice(&MESSAGE.to_le_bytes());
        self.entry.extend_from_slice(&topic_len.to_le_bytes());
        self.entry.extend_from_slice(&headers_len.to_le_bytes());
        self.entry.extend_from_slice(&0u32.to_le_bytes());
        self.entry.extend_from_slice(&message.after_us.to_le_bytes());
        self.entry.extend_from_slice(&message.id.to_le_bytes());
        self.entry.extend_from_slice(&message.timestamp_us.to_le_bytes());
        self.entry.extend_from_slice(message.topic.as_bytes());
        self.entry.extend_from_slice(message.headers_json.as_bytes());
        // The content is not copied: it may be large.
        self.frame(message.data)?;
        self.messages += 1;
        Ok(())
    }

    /// Ends the recording in good order: it lacks so many messages, which its channels had no room for.
    pub fn finish(mut self, lost: u64) -> io::Result<W> {
        self.entry.clear();
        self.entry.extend_from_slice(&END.to_le_bytes());
        self.entry.extend_from_slice(&0u32.to_le_bytes());
        self.entry.extend_from_slice(&self.messages.to_le_bytes());
        self.entry.extend_from_slice(&lost.to_le_bytes());
        self.frame(&[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// So that what was written until now survives this process.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Writes `entry` and what belongs behind it.
    fn frame(&mut self, behind: &[u8]) -> io::Result<()> {
        let length = (self.entry.len() + behind.len()) as u64;
        let mut hasher = Hasher::new();
        hasher.update(&length.to_le_bytes());
        hasher.update(&self.entry);
        hasher.update(behind);
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&hasher.finalize().to_le_bytes())?;
        self.out.write_all(&self.entry)?;
        self.out.write_all(behind)
    }
}

/// How a recording ended.
#[derive(Debug, PartialEq)]
pub enum End {
    /// In good order; it lacks so many messages.
    Whole { lost: u64 },
    /// Its writer was killed, or the file was cut: what is missing cannot be known.
    Cut,
}

/// Why a file cannot be played (on).
#[derive(Debug)]
pub enum Unreadable {
    /// It is no recording, or one of another version.
    NoRecording(String),
    /// The bytes from this place on are not what was written.
    Damaged(u64),
    Io(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Unreadable {
        Unreadable::Io(error)
    }
}

/// Reads a recording.
pub struct Reader<R> {
    input: R,
    entry: Vec<u8>,
    /// Bytes read so far.
    position: u64,
    end: Option<End>,
}

impl<R: Read> Reader<R> {
    pub fn new(mut input: R) -> Result<Reader<R>, Unreadable> {
        let mut header = Vec::with_capacity(HEADER);
        input.by_ref().take(HEADER as u64).read_to_end(&mut header)?;
        let no = |why: &str| Err(Unreadable::NoRecording(why.to_owned()));
        if header.len() < HEADER || !header.starts_with(MAGIC) {
            return no("is no recording of 'pubsub record'");
        }
        let version = u32_at(&header, 8);
        if version != VERSION {
            return no(&format!("is a recording of version {version}, and this program knows {VERSION}"));
        }
        if crc32fast::hash(&header[..HEADER - 4]) != u32_at(&header, HEADER - 4) {
            return no("has a damaged header");
        }
        Ok(Reader { input, entry: Vec::new(), position: HEADER as u64, end: None })
    }

    /// Bytes read so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How it ended, once there was no message any more.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The next message; `None` at the [end](Reader::end).
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Unreadable> {
        loop {
            if self.end.is_some() || !self.read_entry()? {
                self.end.get_or_insert(End::Cut);
                return Ok(None);
            }
            match u32_at(&self.entry, 0) {
                MESSAGE => break,
                END if self.entry.len() >= 24 => self.end = Some(End::Whole { lost: u64_at(&self.entry, 16) }),
                // Of a later minor version: not to be played.
                _ => {}
            }
        }
        message(&self.entry).map(Some).ok_or(Unreadable::Damaged(self.position - self.entry.len() as u64))
    }

    /// Reads the next entry; false when the file ends before or in it.
    fn read_entry(&mut self) -> Result<bool, Unreadable> {
        let place = self.position;
        let mut frame = Vec::with_capacity(FRAME);
        self.input.by_ref().take(FRAME as u64).read_to_end(&mut frame)?;
        self.position += frame.len() as u64;
        if frame.len() < FRAME {
            return Ok(false);
        }
        let length = u64_at(&frame, 0);
        if length == 0 && self.is_zero_to_the_end(&frame)? {
            // A file system that lost power may leave zeros where the length of a file had grown already.
            return Ok(false);
        }
        if !(KIND as u64..=LONGEST).contains(&length) {
            return Err(Unreadable::Damaged(place));
        }
        // Grows with what is there, whatever the length claims.
        self.entry.clear();
        self.input.by_ref().take(length).read_to_end(&mut self.entry)?;
        self.position += self.entry.len() as u64;
        if (self.entry.len() as u64) < length {
            return Ok(false);
        }
        let mut hasher = Hasher::new();
        hasher.update(&frame[..8]);
        hasher.update(&self.entry);
        if hasher.finalize() != u32_at(&frame, 8) {
            return Err(Unreadable::Damaged(place));
        }
        Ok(true)
    }

    fn is_zero_to_the_end(&mut self, frame: &[u8]) -> io::Result<bool> {
        let mut piece = [0; 4096];
        let mut zero = frame.iter().all(|&byte| byte == 0);
        while zero {
            match self.input.read(&mut piece)? {
                0 => break,
                n => zero = piece[..n].iter().all(|&byte| byte == 0),
            }
        }
        Ok(zero)
    }
}

/// Reads the entry of a message; `None` when its lengths or texts cannot be.
fn message(entry: &[u8]) -> Option<Entry<'_>> {
    let texts = entry.get(FIXED..)?;
    let (topic, rest) = texts.split_at_checked(u32_at(entry, 4) as usize)?;
    let (headers, data) = rest.split_at_checked(u32_at(entry, 8) as usize)?;
    Some(Entry {
        after_us: u64_at(entry, 16),
        id: u64_at(entry, 24),
        timestamp_us: u64_at(entry, 32) as i64,
        topic: std::str::from_utf8(topic).ok()?,
        headers_json: std::str::from_utf8(headers).ok()?,
        data,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(i: u64, data: &'a [u8]) -> Entry<'a> {
        Entry { after_us: i * 10, id: i, timestamp_us: -7, topic: "a.b", headers_json: "{\"x\":  1}", data }
    }

    fn recording() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), 5).unwrap();
        for i in 0..4 {
            writer.write(&entry(i, &vec![i as u8; i as usize * 5])).unwrap();
        }
        writer.finish(3).unwrap()
    }

    /// How many messages come, and what comes then.
    fn read(bytes: &[u8]) -> (u64, Result<Option<bool>, Unreadable>) {
        let mut reader = match Reader::new(bytes) {
            Ok(reader) => reader,
            Err(error) => return (0, Err(error)),
        };
        let mut count = 0;
        loop {
            match reader.next() {
                Ok(Some(message)) => {
                    assert_eq!(message, entry(count, &vec![count as u8; count as usize * 5]));
                    count += 1;
                }
                Ok(None) => {
                    assert!(reader.next().unwrap().is_none());
                    return (count, Ok(reader.end().map(|end| *end == End::Whole { lost: 3 })));
                }
                Err(error) => return (count, Err(error)),
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert!(matches!(read(&recording()), (4, Ok(Some(true)))));
    }

    #[test]
    fn the_example_in_the_description_of_the_format_is_one_and_is_what_is_written() {
        let page = include_str!("../../../docs/recording-format.md");
        let block = page.split("```hex recording\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let bytes: Vec<u8> = block
            .lines()
            .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        let message = Entry {
            after_us: 6_331,
            id: 7_353_634_020_377_358_336,
            timestamp_us: 1_795_320_805_756_191,
            topic: "news.sports",
            headers_json: "{\"lap\": 3}",
            data: b"3:1",
        };
        let mut reader = Reader::new(&bytes[..]).unwrap();
        assert_eq!(reader.next().unwrap(), Some(Entry { ..message }));
        assert!(reader.next().unwrap().is_none());
        assert_eq!(reader.end(), Some(&End::Whole { lost: 0 }));
        let mut writer = Writer::new(Vec::new(), 1_795_320_805_749_860).unwrap();
        writer.write(&message).unwrap();
        assert_eq!(writer.finish(0).unwrap(), bytes);
    }

    #[test]
    fn a_recording_cut_anywhere_is_read_up_to_the_cut() {
        let whole = recording();
        let ends: Vec<usize> = (0..5)
            .scan(HEADER, |at, i| {
                let end = *at;
                *at += FRAME + FIXED + 3 + 9 + i * 5;
                Some(end)
            })
            .collect();
        for cut in HEADER..whole.len() {
            let messages = ends.iter().filter(|end| **end <= cut).count() as u64 - 1;
            let mut bytes = whole[..cut].to_vec();
            assert!(matches!(read(&bytes), (n, Ok(Some(false))) if n == messages), "cut at {cut}");
            // As a file system may leave it that lost its power.
            if ends.contains(&cut) {
                bytes.resize(whole.len() + 5000, 0);
                assert!(matches!(read(&bytes), (n, Ok(Some(false))) if n == messages), "zeros at {cut}");
            }
        }
    }

    #[test]
    fn damaged_bytes_are_never_taken_for_messages() {
        let whole = recording();
        for at in 0..whole.len() {
            for flip in [1, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                // A length that was made longer looks like a cut.
                match read(&bytes) {
                    (count, Err(Unreadable::Damaged(place))) => assert!(count <= 4 && place <= at as u64),
                    (0, Err(Unreadable::NoRecording(_))) => assert!(at < HEADER),
                    (count, Ok(Some(false))) => assert!(count <= 4),
                    other => panic!("{at}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn hostile_lengths_take_no_memory() {
        let mut bytes = recording();
        for length in [u64::MAX, LONGEST, LONGEST + 1, 3, 0] {
            bytes[HEADER..HEADER + 8].copy_from_slice(&length.to_le_bytes());
            assert!(matches!(read(&bytes), (0, Err(Unreadable::Damaged(_)) | Ok(Some(false)))));
        }
        assert!(matches!(read(b""), (0, Err(Unreadable::NoRecording(_)))));
        assert!(matches!(read(b"PSRECORD\x02\0\0\0aaaaaaaaaaaaaaaaaaaaaaaaaaa"), (0, Err(Unreadable::NoRecording(_)))));
    }
}
