// pubsub.js: a client of `pubsub serve` for browsers (and Node 22), in one file without dependencies.
//
//   import { PubSub } from '/pubsub.js';
//   const bus = new PubSub('ws://127.0.0.1:8000/ws');
//   const news = bus.subscribe('news', (message, frame) => console.log(frame.topic, message), { replayLast: 5 });
//   await bus.publish('news', { text: 'Breaking news!' });
//   news.unsubscribe();
//
// It connects by itself, again and again with growing pauses, and each subscription of a topic then goes on behind the last
// message that it had. What was lost meanwhile is told (`onGap`), never hidden. Types: pubsub.d.ts.

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 15_000;
/** A silent connection is asked whether it is still there; browsers do not tell that a network has gone. */
const PING_EVERY_MS = 20_000;

/** The gateway refused a request, or the answer cannot come any more. `code` is for programs. */
export class PubSubError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'PubSubError';
    this.code = code;
  }
}

/** One subscription; made by `PubSub.subscribe`. */
class Subscription {
  constructor(bus, topic, onMessage, options) {
    this.topic = topic;
    this.bus = bus;
    this.onMessage = onMessage;
    this.options = options;
    /** Behind this message: `{epoch, offset}`, or null for patterns and before the first answer. */
    this.position = null;
    this.wasSubscribed = false;
    /** Since the gateway's answer. Before it, messages are those of an earlier subscription to the same topic. */
    this.isLive = false;
  }

  unsubscribe() {
    this.bus._unsubscribe(this);
  }
}

export class PubSub {
  constructor(url, options = {}) {
    this.url = url ?? defaultUrl();
    this.options = options;
    this.state = 'connecting';
    this.subscriptions = new Map();
    this.waiting = new Map();
    this.outbox = [];
    this.number = 0;
    this.failures = 0;
    this._open();
  }

  /** Subscribes to a topic or a pattern of topics (`=` one word, `+` one or more). One subscription a topic. */
  subscribe(topic, onMessage, options = {}) {
    if (this.state === 'closed') throw new PubSubError('closed', 'this client is closed');
    if (this.subscriptions.has(topic)) throw new PubSubError('subscribed', `'${topic}' is subscribed to already`);
    const subscription = new Subscription(this, topic, onMessage, options);
    this.subscriptions.set(topic, subscription);
    if (this.state === 'open') this._subscribe(subscription);
    return subscription;
  }

  /**
   * Publishes any JSON value. Resolves when the gateway has put it into the store. While there is no connection it waits
   * for one; if the connection breaks before the answer, it rejects with the code `unknown`: it may have been published.
   */
  async publish(topic, message) {
    // What cannot be JSON fails here, and not some time later.
    if (JSON.stringify(message) === undefined) throw new PubSubError('invalid_frame', 'a message is what JSON can say');
    return this._request({ action: 'publish', topic, message });
  }

  /** Asks the gateway for a sign of life. */
  ping() {
    return this._request({ action: 'ping' });
  }

  /** Ends the connection for good. */
  close() {
    if (this.state === 'closed') return;
    this._setState('closed');
    clearTimeout(this.timer);
    clearInterval(this.pulse);
    this._removeListeners?.();
    this.socket?.close(1000);
    this._rejectAll(new PubSubError('closed', 'this client was closed'), true);
  }

  _open() {
    this._setState('connecting');
    const token = this.options.token;
    const url = new URL(this.url, globalThis.location?.href);
    url.protocol = url.protocol.replace('http', 'ws');
    if (token) url.searchParams.set('access_token', token);
    let socket;
    try {
      socket = new WebSocket(url);
    } catch (error) {
      this._setState('closed');
      throw error;
    }
    this.socket = socket;
    socket.onopen = () => this._opened();
    socket.onmessage = (event) => {
      this.heard = true;
      this._received(JSON.parse(event.data), event.data);
    };
    socket.onclose = (event) => {
      if (this.socket === socket && this.state !== 'closed') this._lost(event);
    };
    this._watchNetwork();
  }

  _opened() {
    this._setState('open');
    this.heard = true;
    clearInterval(this.pulse);
    this.pulse = setInterval(() => this._pulse(), this.options.pingEvery ?? PING_EVERY_MS);
    for (const subscription of this.subscriptions.values()) this._subscribe(subscription);
    const outbox = this.outbox;
    this.outbox = [];
    for (const text of outbox) this.socket.send(text);
  }

  _pulse() {
    if (!this.heard) {
      this._abandon('no answer');
      return;
    }
    this.heard = false;
    this.socket.send('{"action":"ping"}');
  }

  /** Gives the connection up at once: a close handshake would wait for a peer that has gone. */
  _abandon(reason) {
    const socket = this.socket;
    if (!socket || this.state === 'closed' || this.state === 'waiting') return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this._lost({ code: 1006, reason });
  }

  _lost(event) {
    clearInterval(this.pulse);
    this.socket = null;
    this._rejectAll(new PubSubError('unknown', 'the connection broke before the answer came'), false);
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.failures);
    this.failures = Math.min(this.failures + 1, 16);
    // Spread over half the pause, so that the clients of a gateway that was started again do not all come at once.
    const pause = longest / 2 + Math.random() * (longest / 2);
    this._setState('waiting', { code: event.code, reason: event.reason, pause });
    this.timer = setTimeout(() => this._open(), pause);
  }

  _watchNetwork() {
    if (this._removeListeners || typeof globalThis.addEventListener !== 'function') return;
    const online = () => {
      if (this.state !== 'waiting') return;
      clearTimeout(this.timer);
      this.failures = 0;
      this._open();
    };
    const offline = () => {
      // A gateway on this machine is there without a network.
      if (!isLocal(this.url)) this._abandon('offline');
    };
    globalThis.addEventListener('online', online);
    globalThis.addEventListener('offline', offline);
    this._removeListeners = () => {
      globalThis.removeEventListener('online', online);
      globalThis.removeEventListener('offline', offline);
    };
  }

  _subscribe(subscription) {
    const { replayLast, overflow, since } = subscription.options;
    const frame = { action: 'subscribe', topic: subscription.topic, overflow };
    const position = subscription.position ?? since;
    if (position) frame.since = position;
    else if (subscription.wasSubscribed) frame.replay_last = 0;
    else if (replayLast !== undefined) frame.replay_last = replayLast;
    const isAgain = subscription.wasSubscribed;
    subscription.isLive = false;
    this._ask(frame, {
      resolve: (ack) => {
        if (this.subscriptions.get(subscription.topic) !== subscription) return;
        subscription.isLive = true;
        subscription.wasSubscribed = true;
        if (ack.epoch !== undefined) subscription.position = { epoch: ack.epoch, offset: ack.offset };
        // A pattern has no position to go on from, so something may have been missed.
        const recovered = ack.recovered ?? !isAgain;
        subscription.options.onSubscribed?.({ recovered, resumed: isAgain || since !== undefined });
        if (!recovered) subscription.options.onGap?.({ missed: undefined });
      },
      reject: (error) => {
        if (error.code === 'unknown' || error.code === 'closed') return; // It is asked for again, or never.
        this.subscriptions.delete(subscription.topic);
        this._report(subscription, error);
      },
    });
  }

  _unsubscribe(subscription) {
    if (this.subscriptions.get(subscription.topic) !== subscription) return;
    this.subscriptions.delete(subscription.topic);
    if (this.state === 'open') this._ask({ action: 'unsubscribe', topic: subscription.topic });
  }

  _request(frame) {
    if (this.state === 'closed') return Promise.reject(new PubSubError('closed', 'this client is closed'));
    return new Promise((resolve, reject) => this._ask(frame, { resolve: () => resolve(), reject }));
  }

  _ask(frame, { resolve = () => {}, reject = () => {} } = {}) {
    const id = String(++this.number);
    const text = JSON.stringify({ ...frame, request_id: id });
    const isSent = this.state === 'open';
    this.waiting.set(id, { resolve, reject, isSent: () => isSent || !this.outbox.includes(text) });
    if (isSent) this.socket.send(text);
    else this.outbox.push(text);
  }

  _rejectAll(error, withUnsent) {
    for (const [id, request] of [...this.waiting]) {
      if (!withUnsent && !request.isSent()) continue;
      this.waiting.delete(id);
      request.reject(error);
    }
  }

  _received(frame, text) {
    // A gateway that does something is there; the next pause is a short one again.
    if (frame.action !== 'error') this.failures = 0;
    if (frame.action === 'message') return this._message(frame, text);
    if (frame.request_id !== undefined) {
      const request = this.waiting.get(frame.request_id);
      this.waiting.delete(frame.request_id);
      if (frame.action === 'error') request?.reject(new PubSubError(frame.error.code, frame.error.message));
      else request?.resolve(frame);
      return undefined;
    }
    if (frame.action === 'gap') {
      const subscription = this.subscriptions.get(frame.topic);
      if (subscription?.isLive) subscription.options.onGap?.({ missed: frame.missed });
    } else if (frame.action === 'topic_deleted') {
      const subscription = this.subscriptions.get(frame.topic);
      this.subscriptions.delete(frame.topic);
      subscription?.options.onDeleted?.();
    } else if (frame.action === 'error') {
      this._report(null, new PubSubError(frame.error.code, frame.error.message));
    }
    return undefined;
  }

  _message(frame, text) {
    const subscription = this.subscriptions.get(frame.pattern ?? frame.topic);
    if (!subscription?.isLive) return;
    if (frame.pattern === undefined && frame.offset !== undefined) {
      subscription.position = { epoch: frame.epoch, offset: frame.offset };
    }
    const message = frame.content_base64 === undefined ? frame.message : bytes(frame.content_base64);
    try {
      subscription.onMessage(message, frame, text);
    } catch (error) {
      // A subscriber's mistake is its own; the others still get their messages.
      setTimeout(() => {
        throw error;
      });
    }
  }

  _report(subscription, error) {
    const report = subscription?.options.onError ?? this.options.onError;
    if (report) report(error);
    else console.error(`pubsub: ${error.message}`);
  }

  _setState(state, detail = {}) {
    this.state = state;
    this.options.onState?.(state, detail);
  }
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function defaultUrl() {
  if (!globalThis.location) throw new PubSubError('invalid_argument', 'the address of the gateway is missing');
  return new URL('/ws', globalThis.location.href).href;
}

function isLocal(url) {
  const { hostname } = new URL(url, globalThis.location?.href);
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}
