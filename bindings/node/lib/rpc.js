'use strict';

// Request and reply: a request's headers say where its reply is to go, and how it is to be marked.

const crypto = require('node:crypto');
const fs = require('node:fs');
const { Channel } = require('./channel');
const { Publisher, publish } = require('./publisher');
const { marked } = require('./headers');
const { refusal } = require('./errors');
const args = require('./arguments');

const RESPONSE_TOPIC = 'response-topic';
const CORRELATION_ID = 'correlation-id';

/** A channel for the replies to this thread's requests in one store. While none waits, it keeps no process alive. */
class Inbox {
  #channel;
  #name = crypto.randomBytes(12).toString('hex');
  #asked = 0;
  // Who waits, by correlation id: { resolve, reject }.
  #waiting = new Map();
  #retired = false;
  #take = (message) => {
    const id = message.headers[CORRELATION_ID];
    this.#waiting.get(id)?.resolve(message);
  };

  constructor(home) {
    // It rejects when it is full, as it may be with large replies for a moment: dropping the oldest would lose replies that
    // are waited for, and whoever replies is told.
    this.#channel = new Channel(`reply.${this.#name}`, { home });
    this.#channel.on('error', (error) => {
      for (const waiter of this.#waiting.values()) waiter.reject(error);
    });
  }

  /** Whether nobody has deleted it, alone or with its store. */
  get usable() {
    return fs.existsSync(this.#channel.path);
  }

  /** No new requests: it closes with the last that waits. */
  retire() {
    this.#retired = true;
    if (this.#waiting.size === 0) this.#close();
  }

  /** Publishes by `send` and waits: the reply, or null when the time is up. */
  ask(topic, headers, { signal, timeout }, send) {
    // What came since nobody waited must not keep out the reply.
    if (this.#waiting.size === 0) while (this.#channel.fetchBatch().length > 0);
    const id = `${this.#name}-${++this.#asked}`;
    const request = marked(headers, [
      [RESPONSE_TOPIC, this.#channel.topic],
      [CORRELATION_ID, id],
    ]);
    if (send(request) === 0) {
      throw refusal('PS_ERR_NOT_FOUND', `nobody listens on '${topic}': no channel matches it; start who answers first`);
    }
    // No reply is handed out before the event loop's next turn.
    return new Promise((resolve, reject) => {
      const end = (settle) => (value) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        this.#waiting.delete(id);
        if (this.#waiting.size === 0) {
          this.#channel.off('message', this.#take);
          if (this.#retired) this.#close();
        }
        settle(value);
      };
      const waiter = { resolve: end(resolve), reject: end(reject) };
      const aborted = () => waiter.reject(signal.reason);
      const timer = timeout === undefined ? null : setTimeout(waiter.resolve, timeout, null);
      signal?.addEventListener('abort', aborted);
      if (this.#waiting.size === 0) this.#channel.on('message', this.#take);
      this.#waiting.set(id, waiter);
    });
  }

  #close() {
    try {
      this.#channel.close();
    } catch {
      // Whoever opens a channel next removes what could not be removed.
    }
  }
}

// This thread's, by the store's directory; undefined: the default one.
const inboxes = new Map();

/** Publishes a request by `send(headers)`; a promise of its reply. */
async function ask(home, topic, headers, options, send) {
  const patience = args.patience('the options of a request', options);
  patience.signal?.throwIfAborted();
  let inbox = inboxes.get(home);
  if (inbox !== undefined && !inbox.usable) {
    inboxes.delete(home);
    inbox.retire();
    inbox = undefined;
  }
  if (inbox === undefined) {
    inbox = new Inbox(home);
    inboxes.set(home, inbox);
  }
  return inbox.ask(topic, headers, patience, send);
}

/** Publishes a request to a topic of the default store; a promise of its reply. See index.d.ts. */
async function request(topic, data, headers, options) {
  args.topic(topic);
  return ask(undefined, topic, headers, options, (all) => publish(topic, data, all));
}

/** Answers a message that came from the store at `home`. */
function reply(message, home, data, headers) {
  const { [RESPONSE_TOPIC]: topic, [CORRELATION_ID]: id } = message.headers;
  if (typeof topic !== 'string') {
    const what = topic === undefined ? 'has no header' : 'has no text in its header';
    throw refusal('PS_ERR_INVALID_ARGUMENT', `the message on '${message.topic}' asks for no reply: it ${what} '${RESPONSE_TOPIC}'`);
  }
  const all = marked(headers, id === undefined ? [] : [[CORRELATION_ID, id]]);
  if (home === undefined) return publish(topic, data, all);
  const publisher = new Publisher(topic, { home });
  try {
    return publisher.publish(data, all);
  } finally {
    publisher.close();
  }
}

module.exports = { ask, reply, request };
