'use strict';

const { ps, check, out, topicHistory } = require('./native');
const { parse } = require('./headers');

// By the library's numbers. Others are of later versions.
const KINDS = ['data', 'topic-deleted'];

/** A received message. It owns what it holds. */
class Message {
  #headers;
  // The store that it came from; undefined: the default one.
  #home;

  constructor(id, timestampUs, topic, content, headersJson, droppedBefore, epoch, offset, kind, home) {
    this.id = id;
    this.timestampUs = timestampUs;
    this.topic = topic;
    this.content = content;
    this.headersJson = headersJson;
    this.droppedBefore = droppedBefore;
    this.epoch = epoch;
    this.offset = offset;
    this.kind = KINDS[kind] ?? 'unknown';
    this.#home = home;
  }

  /** Parsed at first use. */
  get headers() {
    return (this.#headers ??= parse(this.headersJson));
  }

  get date() {
    return new Date(this.timestampUs / 1000);
  }

  get text() {
    return this.content.toString();
  }

  reply(data, headers) {
    return require('./rpc').reply(this, this.#home, data, headers); // which requires this file
  }
}

// ps_packed_record: offsets in bytes.
const RECORD = 72;
const TIMESTAMP = 16;
const DROPPED = 24;
const EPOCH = 32;
const OFFSET = 40;
const DATA_LEN = 48;
const TOPIC_LEN = 56;
const HEADERS_LEN = 60;
const KIND = 64;

const padded = (length) => Math.ceil(length / 8) * 8;

const HIGH_HALF = 2 ** 32;

/** Memory for packed records. */
class Scratch {
  constructor(size) {
    this.memory = new ArrayBuffer(size);
    this.bytes = Buffer.from(this.memory);
    this.words = new BigUint64Array(this.memory);
    this.halves = new Uint32Array(this.memory);
  }
}

// Words by the index of their lower half, without a bigint in between where none is asked for: it costs an allocation.
const number = (halves, at) => halves[at] + halves[at + 1] * HIGH_HALF;
const signed = (halves, at) => halves[at] + (halves[at + 1] | 0) * HIGH_HALF;
const mostlyZero = (halves, words, at) => (halves[at] === 0 && halves[at + 1] === 0 ? 0n : words[at / 2]);

// Longer texts are not worth comparing, nor keeping.
const REMEMBERED = 256;

/** A text that mostly is the one before. */
class Remembered {
  #bytes = Buffer.alloc(0);
  #text = '';

  /** The text of `length` bytes from `at` on. */
  read(bytes, at, length) {
    if (length > REMEMBERED) return bytes.toString('utf8', at, at + length);
    const known = this.#bytes;
    let same = length === known.length;
    for (let i = 0; same && i < length; i++) same = bytes[at + i] === known[i];
    if (!same) {
      this.#text = bytes.toString('utf8', at, at + length);
      this.#bytes = Buffer.from(bytes.subarray(at, at + length));
    }
    return this.#text;
  }
}

const LARGEST_CROSSING = 256 * 1024;
const SMALLEST_CROSSING = 8 * 1024;
// The first crossing, until it is known what one costs.
const FIRST_CROSSING = 16 * 1024;
// A crossing holds up the event loop: one that takes longer makes the next one smaller.
const LONGEST_CROSSING_MS = 2;

// Shared by all channels of this thread: its contents are copied out before anything else runs.
const scratch = new Scratch(LARGEST_CROSSING);

// Small contents are copied together, in pieces of about this many bytes, whole records as they lie there: a content that is
// kept keeps its piece, so pieces are small. A larger one is copied alone.
const PIECE = 8 * 1024;
const PIECE_SHARE = PIECE / 4;

/** Messages that were fetched and not received yet, first in first out. */
class Queue {
  #messages = [];
  #head = 0;

  get length() {
    return this.#messages.length - this.#head;
  }

  push(message) {
    this.#messages.push(message);
  }

  /** Takes the first, up to `max`. */
  take(max) {
    max = Math.ceil(max);
    if (max >= this.length) {
      const rest = this.#head === 0 ? this.#messages : this.#messages.slice(this.#head);
      this.clear();
      return rest;
    }
    const taken = this.#messages.slice(this.#head, this.#head + max);
    this.#messages.fill(undefined, this.#head, this.#head + max);
    this.#head += max;
    return taken;
  }

  shift() {
    const message = this.#messages[this.#head];
    // What was received must not be kept alive by what was not.
    this.#messages[this.#head++] = undefined;
    if (this.#head === this.#messages.length) this.clear();
    return message;
  }

  clear() {
    this.#messages = [];
    this.#head = 0;
  }
}

/** Takes messages from a channel, many in one crossing. */
class Fetcher {
  #crossing = FIRST_CROSSING;
  #home;
  #topic = new Remembered();
  #headers = new Remembered();

  constructor(home) {
    this.#home = home;
  }

  /** Fetches what is there, up to the size of a crossing, into the queue. Answers how many. */
  fetch(handle, queue) {
    const began = performance.now();
    const answer = ps.fetchPacked(handle, scratch.bytes, this.#crossing, 0, out);
    if (answer < 0) return this.#single(handle, queue, answer);
    if (answer === 0) return 0;
    const used = Number(out[0]);
    // Memory of contents, and of the scratch what it is a copy of.
    let piece = null;
    let from = 0;
    let to = 0;
    const { halves, memory } = scratch;
    for (let i = 0, at = 0; i < answer; i++) {
      const size = number(halves, at / 4);
      const alone = size > PIECE_SHARE;
      if (!alone && at + size > to) {
        from = at;
        to = Math.min(at + PIECE, used);
        piece = memory.slice(from, to);
      }
      queue.push(this.#unpack(scratch, at, alone ? null : piece, from));
      at += size;
    }
    const took = performance.now() - began;
    if (took > LONGEST_CROSSING_MS) {
      this.#crossing = Math.max(SMALLEST_CROSSING, this.#crossing / 2);
    } else if (took < LONGEST_CROSSING_MS / 4 && used > this.#crossing / 2) {
      this.#crossing = Math.min(LARGEST_CROSSING, this.#crossing * 2);
    }
    return answer;
  }

  /** A message that is larger than a crossing: into memory of its own, which it keeps. */
  #single(handle, queue, answer) {
    const needed = Number(out[0]);
    if (answer !== TOO_LARGE || needed <= this.#crossing) check(answer);
    const own = new Scratch(needed);
    const count = check(ps.fetchPacked(handle, own.bytes, needed, 0, out));
    if (count > 0) queue.push(this.#unpack(own, 0, own.memory, 0));
    return count;
  }

  /**
   * Makes a message of the record at `at`. Its content is a part of `piece`, memory that what lies from `from` on was copied to;
   * null: a copy.
   */
  #unpack(scratch, at, piece, from) {
    const { bytes, words, halves } = scratch;
    const half = at / 4;
    const topicLength = halves[half + TOPIC_LEN / 4];
    const headersLength = halves[half + HEADERS_LEN / 4];
    const headersAt = at + RECORD + topicLength;
    const dataAt = at + padded(RECORD + topicLength + headersLength);
    const dataLength = number(halves, half + DATA_LEN / 4);
    return new Message(
      words[at / 8 + 1],
      signed(halves, half + TIMESTAMP / 4),
      this.#topic.read(bytes, at + RECORD, topicLength),
      piece === null ? copied(bytes, dataAt, dataLength) : Buffer.from(piece, dataAt - from, dataLength),
      headersLength === 2 ? '{}' : this.#headers.read(bytes, headersAt, headersLength),
      number(halves, half + DROPPED / 4),
      mostlyZero(halves, words, half + EPOCH / 4),
      mostlyZero(halves, words, half + OFFSET / 4),
      halves[half + KIND / 4],
      this.#home,
    );
  }
}

const TOO_LARGE = -4;

function copied(bytes, at, length) {
  const copy = Buffer.allocUnsafe(length);
  bytes.copy(copy, 0, at, at + length);
  return copy;
}

/** The last messages of a managed topic. */
function history(topic, home, last) {
  // ps_message: id, timestamp_us, topic, its length, data, its length, headers, their length, kind and flags, dropped_before,
  // epoch, offset.
  return topicHistory(topic, home ?? null, last, (words, bytes) => {
    const [id, timestamp, name, nameLength, data, dataLength, headers, headersLength, kind, dropped, epoch, offset] = words;
    return new Message(
      id,
      Number(BigInt.asIntN(64, timestamp)),
      bytes(name, nameLength).toString(),
      bytes(data, dataLength),
      headersLength === 2n ? '{}' : bytes(headers, headersLength).toString(),
      Number(dropped),
      epoch,
      offset,
      Number(kind & 0xffffffffn),
      home,
    );
  });
}

module.exports = { Fetcher, Message, Queue, history };
