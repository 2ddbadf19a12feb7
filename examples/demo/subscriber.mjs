// JavaScript's part in the demo: an async iteration for each channel, and a timer that publishes, all on one event loop.
//
//   node subscriber.mjs PREFIX PUBLISHED LEDGER PATTERN...
//
// Prints "READY" when its channels are open. A line "publish N" on its standard input makes it publish N readings of Node's
// memory, on PREFIX.node.heap, while it goes on receiving, and then print "PUBLISHED". Its standard input closes when all has
// been published: then the iterations are ended, and what is still there is taken. LEDGER gets a line a message received
// (pattern, topic, seq, checksum, when it was sent and when received in microseconds since the epoch), PUBLISHED a line a
// message sent, as those of the other programs.
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Channel, publish } from '../../bindings/node/index.mjs';

const SAMPLES = 2; // messages shown of each channel
const INTERVAL = 10; // milliseconds between two readings

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

/** Publishes a reading at each tick, `count` in all. */
function publishReadings(topic, path, count) {
  const lines = [];
  const timer = setInterval(() => {
    const seq = lines.length;
    const content = Buffer.from(JSON.stringify({ seq, used: process.memoryUsage().heapUsed }));
    const taken = publish(topic, content, { seq, sent_us: nowUs() });
    lines.push(`${[topic, seq, checksum(content), taken].join('\t')}\n`);
    if (lines.length < count) return;
    clearInterval(timer);
    writeFileSync(path, lines.join('')); // complete, before anyone is told
    console.log(`published ${count} readings on 1 topic`);
    console.log('PUBLISHED');
  }, INTERVAL);
  return timer;
}

const [prefix, sent, ledger, ...patterns] = process.argv.slice(2);
if (patterns.length === 0) {
  console.error('usage: node subscriber.mjs PREFIX PUBLISHED LEDGER PATTERN...');
  process.exit(2);
}
const subscriptions = patterns.map((pattern) => new Subscription(pattern));
const published = new AbortController();
const running = Promise.all(subscriptions.map((subscription) => subscription.run(published.signal)));
console.log('READY');

let timer;
for await (const line of createInterface({ input: process.stdin })) {
  timer = publishReadings(`${prefix}.node.heap`, sent, Number(line.split(' ')[1]));
}
// All has been published, or nobody wants it any more.
clearInterval(timer);
published.abort();
await running;
writeFileSync(ledger, subscriptions.flatMap(({ lines }) => lines).map((line) => `${line}\n`).join(''));
