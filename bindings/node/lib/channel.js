'use strict';

const { EventEmitter } = require('node:events');
const { ps, check, opened, channelStats, sizes } = require('./native');
const { Bell } = require('./bell');
const { Fetcher, Queue } = require('./message');
const { refusal, wrongType } = require('./errors');
const args = require('./arguments');

// How often a waiting receiver looks although nothing woke it. Messages wake it; a channel whose directory was deleted by
// somebody does not.
const RELOOK_MS = 1000;

// What the programs that receive may take of a turn of the event loop before everything else gets its own.
const LONGEST_TURN_MS = 5;

const FOREVER = {};

const OPTIONS = ['home', 'capacityBytes', 'capacityMessages', 'fullPolicy', 'transport', 'replayLast', 'resume'];

/** What belongs to the library: apart from the Channel, so that it can be closed when that is garbage. */
class Native {
  handle;
  bell = null;

  constructor(handle) {
    this.handle = handle;
    open.add(this);
  }

  close() {
    const handle = this.handle;
    if (handle === 0n) return;
    this.handle = 0n;
    open.delete(this);
    this.bell?.close();
    check(ps.channelClose(handle));
  }
}

// What is open in this thread.
const open = new Set();

const forgotten = new FinalizationRegistry((native) => {
  try {
    native.close();
  } catch {
    // Nobody is there to be told.
  }
});

process.on('exit', () => {
  for (const native of open) {
    try {
      native.close();
    } catch {
      // Whoever opens a channel next removes what could not be removed.
    }
  }
});

/** The receiving end: one subscription with a queue of its own. See index.d.ts. */
class Channel extends EventEmitter {
  #topic;
  #path;
  #native;
  #queue = new Queue();
  #fetcher;
  // Who waits for messages, in order: { max, resolve, reject, end }.
  #waiting = [];
  // Set while this turn of the event loop hands out messages: its callback goes on.
  #nextTurn = null;
  #turnBegan = 0;
  // Whether this turn has had its fetch.
  #fetched = false;
  #relook = null;
  #pumping = false;
  // Whether messages go to listeners of 'message'.
  #flowing = false;

  constructor(pattern, options) {
    super();
    args.topic(pattern);
    const o = args.options('the options of a channel', options, OPTIONS);
    const resume = o.resume ?? undefined;
    if (resume !== undefined && typeof resume !== 'object') throw wrongType('resume', 'an object', resume);
    // Its messages know where replies to them go.
    this.#fetcher = new Fetcher(args.home(o.home));
    const settings = {
      size: sizes.channel,
      full_policy: args.oneOf('fullPolicy', o.fullPolicy, ['reject', 'drop-oldest']),
      transport: args.oneOf('transport', o.transport, ['default', 'ring', 'files']),
      reserved: 0,
      capacity_bytes: args.count('capacityBytes', o.capacityBytes),
      capacity_messages: args.count('capacityMessages', o.capacityMessages),
      home: args.optionalText('home', o.home),
      replay_last: args.count('replayLast', o.replayLast, args.LARGEST_U32),
      resume: resume ? 1 : 0,
      resume_epoch: resume ? args.word('the epoch of resume', resume.epoch) : 0,
      resume_offset: resume ? args.word('the offset of resume', resume.offset) : 0,
    };
    this.#native = new Native(opened((out) => ps.channelOpen(pattern, settings, out)));
    forgotten.register(this, this.#native, this);
    this.#topic = pattern;
    this.#path = ps.channelPath(this.#native.handle);
  }

  get topic() {
    return this.#topic;
  }

  get path() {
    return this.#path;
  }

  get closed() {
    return this.#native.handle === 0n;
  }

  fetch() {
    this.#mustBeOpen();
    return this.#queue.length > 0 || this.#fill() ? this.#queue.shift() : null;
  }

  fetchBatch(max = Infinity) {
    positive(max);
    this.#mustBeOpen();
    if (this.#queue.length === 0) this.#fill();
    return this.#queue.take(max);
  }

  receive(options) {
    const message = options === undefined ? this.#ready() : null;
    return message === null ? this.#receiveSlowly(options) : Promise.resolve(message);
  }

  async #receiveSlowly(options) {
    const [first] = await this.#wait(1, options);
    return first ?? null;
  }

  /** The next message, if it is here and nobody waits longer; null: there is more to it. It saves waiting for what is there. */
  #ready() {
    return this.#queue.length > 0 && this.#waiting.length === 0 && !this.#turnIsOver() ? this.#queue.shift() : null;
  }

  async receiveBatch(max = Infinity, options = undefined) {
    positive(max);
    return this.#wait(max, options);
  }

  [Symbol.asyncIterator]() {
    return this.messages();
  }

  messages(options) {
    const { signal } = args.options('the options of messages', options, ['signal']);
    let ended = false;
    const pending = new Set();
    const nextSlowly = async () => {
      if (!ended) {
        try {
          const messages = await this.#wait(1, { signal }, pending);
          if (messages.length > 0) return { done: false, value: messages[0] };
        } catch (error) {
          ended = true;
          if (!(this.closed && error.code === 'PS_ERR_CLOSED')) throw error;
        }
      }
      return { done: true, value: undefined };
    };
    return {
      next: () => {
        const message = ended || signal?.aborted ? null : this.#ready();
        return message === null ? nextSlowly() : Promise.resolve({ done: false, value: message });
      },
      return: async () => {
        ended = true;
        // Nobody wants their messages any more.
        for (const cancel of pending) cancel();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  stats() {
    this.#mustBeOpen();
    return { ...channelStats(this.#native.handle), prefetched: this.#queue.length };
  }

  close() {
    if (this.closed) return;
    forgotten.unregister(this);
    clearTimeout(this.#relook);
    clearImmediate(this.#nextTurn);
    this.#queue.clear();
    try {
      this.#native.close();
    } finally {
      this.#flowing = false;
      const error = this.#closedError();
      for (const waiter of this.#waiting.splice(0)) waiter.reject(error);
      process.nextTick(() => this.emit('close'));
    }
  }

  async [Symbol.asyncDispose]() {
    this.close();
  }

  // Every way to add and remove listeners; once() and prependOnceListener() come by these.
  on(event, listener) {
    super.on(event, listener);
    return this.#listenersChanged();
  }

  addListener(event, listener) {
    super.addListener(event, listener);
    return this.#listenersChanged();
  }

  prependListener(event, listener) {
    super.prependListener(event, listener);
    return this.#listenersChanged();
  }

  off(event, listener) {
    super.off(event, listener);
    return this.#listenersChanged();
  }

  removeListener(event, listener) {
    super.removeListener(event, listener);
    return this.#listenersChanged();
  }

  removeAllListeners(...events) {
    super.removeAllListeners(...events);
    return this.#listenersChanged();
  }

  #listenersChanged() {
    const flowing = !this.closed && this.listenerCount('message') > 0;
    if (flowing !== this.#flowing) {
      this.#flowing = flowing;
      // Not at once: the program may be about to add more.
      if (flowing) this.#pumpNextTurn();
      else this.#pump();
    }
    return this;
  }

  #closedError() {
    return refusal('PS_ERR_CLOSED', `the channel on '${this.#topic}' is closed`);
  }

  #mustBeOpen() {
    if (this.closed) throw this.#closedError();
  }

  /** Whether there is a message now. */
  #fill() {
    if (this.#fetcher.fetch(this.#native.handle, this.#queue) === 0) return false;
    // They would wait for the bell, which need not ring for what is here already.
    if (this.#waiting.length > 0 || this.#flowing) this.#pumpNextTurn();
    return true;
  }

  /** 1 to `max` messages; none when the time is up. While it waits, `pending` has a function that ends it with none. */
  #wait(max, options, pending) {
    const { signal, timeout } = options === undefined ? FOREVER : args.patience('the options of a receive', options);
    signal?.throwIfAborted();
    this.#mustBeOpen();
    // Only when nobody else waits longer; and while there is something, nothing is to be waited for.
    if (this.#waiting.length === 0 && this.#queue.length > 0 && !this.#turnIsOver()) return this.#queue.take(max);
    if (timeout === 0) {
      if (this.#waiting.length > 0) return [];
      if (this.#queue.length === 0) this.#fill();
      return this.#queue.take(max);
    }
    return new Promise((resolve, reject) => {
      let timer = null;
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', aborted);
        pending?.delete(cancel);
      };
      const waiter = {
        max,
        resolve: (messages) => {
          end();
          resolve(messages);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      const leave = () => this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      const aborted = () => {
        leave();
        waiter.reject(signal.reason);
        this.#pump();
      };
      const cancel = () => {
        leave();
        waiter.resolve([]);
        this.#pump();
      };
      signal?.addEventListener('abort', aborted);
      if (timeout !== undefined) timer = setTimeout(cancel, timeout);
      pending?.add(cancel);
      this.#waiting.push(waiter);
      this.#pump();
    });
  }

  /**
   * Hands messages to those who want them, until there are none or nobody wants any; then sees to it that it is called
   * again. It fetches once in a turn of the event loop, and hands out for a while: a flood leaves room for everything else.
   */
  #pump() {
    if (this.#pumping || this.closed) return;
    this.#pumping = true;
    const more = this.#handOut();
    this.#pumping = false;
    if (!more && !this.closed) this.#native.bell?.disarm();
  }

  /** Answers whether somebody wants more; then it is called again. Throws nothing. */
  #handOut() {
    while (this.#waiting.length > 0 || this.#flowing) {
      if ((this.#queue.length === 0 && !this.#refill()) || this.#turnIsOver()) return this.#waiting.length > 0 || this.#flowing;
      const waiter = this.#waiting.shift();
      if (waiter) {
        waiter.resolve(this.#queue.take(waiter.max));
        continue;
      }
      try {
        this.emit('message', this.#queue.shift());
      } catch (error) {
        // Uncaught, as in any emitter, whoever's call it was that came to this; the other messages go on.
        process.nextTick(() => {
          throw error;
        });
        if (!this.closed) this.#pumpNextTurn();
        return true;
      }
      if (this.closed) return false;
    }
    return false;
  }

  /** Whether there are messages to hand out now. If not, it has seen to it that #pump is called again. */
  #refill() {
    if (this.#fetched) return false;
    try {
      // Before the fetch that finds nothing, so that what comes after it rings.
      this.#native.bell ??= new Bell(this.#native);
      if (this.#fill()) {
        this.#fetched = true;
        return true;
      }
      this.#native.bell.arm(() => this.#pump());
    } catch (error) {
      this.#fail(error);
      return false;
    }
    // It keeps no process alive: the bell does.
    this.#relook ??= setTimeout(() => {
      this.#relook = null;
      this.#pump();
    }, RELOOK_MS).unref();
    return false;
  }

  /** Whether the turn has had its time. Otherwise it is under way now, and #pump is called in the next one. */
  #turnIsOver() {
    this.#pumpNextTurn();
    return performance.now() - this.#turnBegan > LONGEST_TURN_MS;
  }

  #pumpNextTurn() {
    if (this.#nextTurn !== null) return;
    this.#turnBegan = performance.now();
    this.#nextTurn = setImmediate(() => {
      this.#nextTurn = null;
      this.#fetched = false;
      this.#pump();
    });
  }

  #fail(error) {
    this.#native.bell?.disarm();
    for (const waiter of this.#waiting.splice(0)) waiter.reject(error);
    if (this.#flowing) {
      this.#flowing = false;
      process.nextTick(() => this.emit('error', error));
    }
  }
}

function positive(max) {
  if (typeof max !== 'number') throw wrongType('max', 'a number', max);
  if (!(max >= 1)) throw refusal('PS_ERR_INVALID_ARGUMENT', `max must be 1 or more, not ${max}`);
}

module.exports = { Channel };
