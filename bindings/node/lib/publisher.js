'use strict';

const path = require('node:path');
const { ps, check, opened, sizes } = require('./native');
const { withHeaders, format } = require('./headers');
const { refusal, wrongType } = require('./errors');
const args = require('./arguments');

/** Publishes one message to a topic of the default store; answers how many channels took it. */
function publish(topic, data, headers) {
  args.topic(topic);
  const content = args.bytes(data);
  return withHeaders(headers, (handle) => check(ps.publish(topic, content, content.byteLength, handle)));
}

/** How many matching channels refused this thread's last publish. */
function lastRejected() {
  return ps.lastRejected();
}

const forgotten = new FinalizationRegistry((handle) => ps.publisherClose(handle));

// Batches are copied together, in pieces of so many bytes and messages. The memory is this thread's for good: making it costs
// more than the copy.
const PIECE = 256 * 1024;
const LONGEST = 4096;
const piece = Buffer.allocUnsafeSlow(PIECE);
const lengths = new Uint32Array(LONGEST);

/** The sending end of one topic. See index.d.ts. */
class Publisher {
  #topic;
  #home;
  #handle;

  constructor(topic, options) {
    args.topic(topic);
    const { home } = args.options('the options of a publisher', options, ['home']);
    const settings = { size: sizes.publisher, full_timeout_ms: 0, home: args.optionalText('home', home) };
    this.#handle = opened((out) => ps.publisherOpen(topic, settings, out));
    forgotten.register(this, this.#handle, this);
    this.#topic = topic;
    this.#home = home === undefined || home === null ? undefined : path.resolve(home);
  }

  get topic() {
    return this.#topic;
  }

  get closed() {
    return this.#handle === 0n;
  }

  publish(data, headers) {
    this.#mustBeOpen();
    const content = args.bytes(data);
    // Most have none, and a closure costs as much as the rest.
    if (headers === undefined) return check(ps.publisherPublish(this.#handle, content, content.byteLength, null));
    return withHeaders(headers, (handle) => check(ps.publisherPublish(this.#handle, content, content.byteLength, handle)));
  }

  async request(data, headers, options) {
    this.#mustBeOpen();
    // Which requires this file.
    return require('./rpc').ask(this.#home, this.#topic, headers, options, (all) => this.publish(data, all));
  }

  publishBatch(messages) {
    this.#mustBeOpen();
    if (!Array.isArray(messages)) throw wrongType('a batch', 'an array', messages);
    // All are looked at before the first is published: a mistake in the program publishes none.
    const items = messages.map(item);
    let handled = 0;
    while (handled < items.length) {
      const { count, headers } = nextPiece(items, handled);
      let published;
      try {
        published = this.#publishPiece(items, handled, count, headers);
      } catch (error) {
        // As one batch: an error is told only when the first message has it.
        if (handled > 0) return handled;
        throw error;
      }
      handled += published;
      if (published < count) break;
    }
    return handled;
  }

  publishPacked(data, lengths, headers) {
    this.#mustBeOpen();
    const content = args.bytes(data);
    const counts = lengths instanceof Uint32Array ? lengths : lengthsOf(lengths);
    let total = 0;
    for (const length of counts) total += length;
    // The library trusts the lengths.
    if (total > content.byteLength) {
      throw refusal('PS_ERR_INVALID_ARGUMENT', `the lengths of a packed batch add up to ${total}, its data has ${content.byteLength} bytes`);
    }
    return this.#publishPacked(content, counts, counts.length, headers);
  }

  close() {
    const handle = this.#handle;
    if (handle === 0n) return;
    this.#handle = 0n;
    forgotten.unregister(this);
    ps.publisherClose(handle);
  }

  [Symbol.dispose]() {
    this.close();
  }

  async [Symbol.asyncDispose]() {
    this.close();
  }

  #mustBeOpen() {
    if (this.closed) throw refusal('PS_ERR_CLOSED', `the publisher of '${this.#topic}' is closed`);
  }

  #publishPiece(items, from, count, headers) {
    if (count === 1) {
      this.publish(contentOf(items[from]), headers);
      return 1;
    }
    for (let i = 0, at = 0; i < count; i++) {
      const content = contentOf(items[from + i]);
      piece.set(content, at);
      lengths[i] = content.byteLength;
      at += content.byteLength;
    }
    return this.#publishPacked(piece, lengths, count, headers);
  }

  #publishPacked(data, lengths, count, headers) {
    return withHeaders(headers, (handle) =>
      Number(check(ps.publisherPublishPacked(this.#handle, data, lengths, count, handle))),
    );
  }
}

/** One entry of a batch: its content, or one with headers of its own. */
function item(entry) {
  if (entry instanceof Uint8Array) return entry;
  if (entry === null || typeof entry !== 'object' || !('content' in entry) || ArrayBuffer.isView(entry)) return args.bytes(entry);
  const json = format(entry.headers);
  const content = args.bytes(entry.content);
  return json === null ? content : { content, headers: entry.headers, json };
}

const isContent = (item) => item instanceof Uint8Array;
const contentOf = (item) => (isContent(item) ? item : item.content);
const jsonOf = (item) => (isContent(item) ? null : item.json);

/** How many of the items, from one on, travel in one crossing: those with the same headers, and not too much. */
function nextPiece(items, from) {
  const json = jsonOf(items[from]);
  const end = Math.min(items.length, from + LONGEST);
  let bytes = 0;
  let at = from;
  for (; at < end; at++) {
    const { byteLength } = contentOf(items[at]);
    if (jsonOf(items[at]) !== json || (at > from && bytes + byteLength > PIECE)) break;
    bytes += byteLength;
  }
  return { count: at - from, headers: json === null ? undefined : items[from].headers };
}

function lengthsOf(lengths) {
  if (!Array.isArray(lengths)) throw wrongType('the lengths of a packed batch', 'a Uint32Array or an array', lengths);
  return Uint32Array.from(lengths, (length) => {
    if (length === undefined) throw wrongType('a length', 'a number', length);
    return args.count('a length', length, 2 ** 32 - 1);
  });
}

module.exports = { Publisher, lastRejected, publish };
