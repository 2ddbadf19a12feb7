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
const DATA_LEN = 48;
const TOPIC_LEN = 56;
const HEADERS_LEN = 60;
const KIND = 64;

const padded = (length) => Math.ceil(length / 8) * 8;

class Scratch {
  constructor(size) {
    this.memory = new ArrayBuffer(size);
    this.bytes = Buffer.from(this.memory);
    this.words = new BigUint64Array(this.memory);
    this.halves = new Uint32Array(this.memory);
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
    let at = 0;
    for (let i = 0; i < answer; i++) at = unpack(scratch, at, queue, true, this.#home);
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
    if (count > 0) unpack(own, 0, queue, false, this.#home);
    return count;
  }
}

const TOO_LARGE = -4;

/** Makes a message of the record at `at`; answers where the next one is. */
function unpack({ bytes, words, halves }, at, queue, copy, home) {
  const word = at / 8;
  const size = Number(words[word]);
  const dataLength = Number(words[word + DATA_LEN / 8]);
  const topicLength = halves[(at + TOPIC_LEN) / 4];
  const headersLength = halves[(at + HEADERS_LEN) / 4];
  const headersAt = at + RECORD + topicLength;
  const dataAt = at + padded(RECORD + topicLength + headersLength);
  let content;
  if (copy) {
    content = Buffer.allocUnsafe(dataLength);
    bytes.copy(content, 0, dataAt, dataAt + dataLength);
  } else {
    content = bytes.subarray(dataAt, dataAt + dataLength);
  }
  queue.push(
    new Message(
      words[word + 1],
      Number(BigInt.asIntN(64, words[word + 2])),
      bytes.toString('utf8', at + RECORD, headersAt),
      content,
      headersLength === 2 ? '{}' : bytes.toString('utf8', headersAt, headersAt + headersLength),
      Number(words[word + 3]),
      words[word + 4],
      words[word + 5],
      halves[(at + KIND) / 4],
      home,
    ),
  );
  return at + size;
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
