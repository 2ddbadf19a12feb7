// A subscriber of the demo, in JavaScript: an async iteration for each channel, all on one event loop.
//
//   node subscriber.mjs LEDGER PATTERN...
//
// Prints "READY" when its channels are open. Its standard input closes when all has been published: then the iterations are
// ended, and what is still there is taken. The ledger gets a line a message: pattern, topic, seq, checksum, when it was sent
// and when received (microseconds since the epoch).
import { writeFileSync } from 'node:fs';
import { Channel } from '../../bindings/node/index.mjs';

const SAMPLES = 2; // messages shown of each channel

// Date.now() has milliseconds only.
const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);

/** Adler-32 (RFC 1950), so that the ledgers show whether contents arrived unchanged. */
function checksum(data) {
  let a = 1;
  let b = 0;
  for (const byte of data) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return ((b << 16) | a) >>> 0;
}

class Subscription {
  constructor(pattern) {
    this.channel = new Channel(pattern);
    this.lines = [];
    this.latencies = [];
  }

  /** Receives until the signal, then takes what is still there. */
  async run(signal) {
    try {
      for await (const message of this.channel.messages({ signal })) this.add(message);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    for (let message; (message = this.channel.fetch()) !== null; ) this.add(message);
    console.log(`${this.channel.topic}: ${this.summary()}`);
    this.channel.close();
  }

  add(message) {
    const now = nowUs();
    const { seq, sent_us: sent } = message.headers;
    if (this.latencies.length < SAMPLES) console.log(message.topic, message.text);
    this.firstUs ??= now;
    this.lastUs = now;
    this.latencies.push(now - sent);
    this.lines.push([this.channel.topic, message.topic, seq, checksum(message.content), sent, now].join('\t'));
  }

  summary() {
    const count = this.latencies.length;
    if (count === 0) return 'nothing received';
    const sorted = this.latencies.sort((a, b) => a - b);
    const rate = Math.round((count * 1e6) / Math.max(this.lastUs - this.firstUs, 1));
    return `received ${count}, ${rate}/s, latency p50 ${sorted[count >> 1]} us, p99 ${sorted[Math.floor((count * 99) / 100)]} us`;
  }
}

const [ledger, ...patterns] = process.argv.slice(2);
if (patterns.length === 0) {
  console.error('usage: node subscriber.mjs LEDGER PATTERN...');
  process.exit(2);
}
const subscriptions = patterns.map((pattern) => new Subscription(pattern));
console.log('READY');

const published = new AbortController();
process.stdin.on('end', () => published.abort()).resume();
await Promise.all(subscriptions.map((subscription) => subscription.run(published.signal)));
writeFileSync(ledger, subscriptions.flatMap(({ lines }) => lines).map((line) => `${line}\n`).join(''));
