// Compares this package with zeromq.js: node bench/main.js [SCALE]
//
// Two processes, one sends and the other receives all of it; both kinds in one run, in turns, and medians of what came out.
// SCALE (1) multiplies the number of messages. The store is a temporary one.
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { fork } = require('node:child_process');

const scale = Number(process.argv[2] ?? 1);
const base = fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir();
const directory = fs.mkdtempSync(path.join(base, 't-node-bench-'));
process.env.PUBSUB_HOME = directory;
const ends = require('./ends');

const SCENARIOS = [
  { name: '64 B, one by one', size: 64, count: 400_000, way: 'single' },
  { name: '64 B, 256 at a time', size: 64, count: 1_000_000, way: 'batch' },
  { name: '64 KiB, one by one', size: 64 * 1024, count: 8_000, way: 'single' },
  { name: '1 MiB, one by one', size: 1024 * 1024, count: 500, way: 'single' },
  { name: 'half a round trip, 64 B', size: 64, count: 10_000, way: 'echo' },
];

const ROUNDS = 3;
const median = (figures) => figures.sort((a, b) => a - b)[Math.floor(figures.length / 2)];

/** Messages a second; for echoes, microseconds one way. */
async function measure(kind, { size, count: full, way }) {
  const count = Math.max(16, Math.round(full * scale));
  const address = `ipc://${directory}/${kind}-${way}-${size}`;
  const child = fork(path.join(__dirname, 'ends.js'), [JSON.stringify({ kind, count, size, way, address })]);
  const told = (what) =>
    new Promise((resolve, reject) => {
      child.on('message', (message) => message === what && resolve());
      child.on('exit', (code) => code && reject(new Error(`the other end of ${kind} ended with ${code}`)));
    });
  const done = told('done');
  done.catch(() => {});
  await told('ready');
  const sender = await ends[kind].sender(address, way);
  const payload = Buffer.alloc(size, 'x');
  const began = performance.now();
  await sender.send(payload, count);
  if (way !== 'echo') await done;
  const seconds = (performance.now() - began) / 1000;
  await done;
  sender.close();
  if (child.connected) child.disconnect();
  await new Promise((resolve) => (child.exitCode === null ? child.once('exit', resolve) : resolve()));
  return way === 'echo' ? (seconds / count / 2) * 1e6 : count / seconds;
}

async function main() {
  console.log(`${'two processes, received per second'.padEnd(36)}${'zeromq'.padStart(12)}${'pubsub'.padStart(12)}${'ratio'.padStart(8)}`);
  for (const scenario of SCENARIOS) {
    const figures = { zeromq: [], pubsub: [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const kind of ['zeromq', 'pubsub']) figures[kind].push(await measure(kind, scenario));
    }
    const [zeromq, pubsub] = [median(figures.zeromq), median(figures.pubsub)];
    const echo = scenario.way === 'echo';
    const show = (figure) => (echo ? `${figure.toFixed(0)} µs` : figure.toFixed(0)).padStart(12);
    const ratio = echo ? zeromq / pubsub : pubsub / zeromq;
    console.log(`${scenario.name.padEnd(36)}${show(zeromq)}${show(pubsub)}${ratio.toFixed(3).padStart(8)}`);
  }
  crossings();
}

/** What the package itself costs: calls that move no message. */
function crossings() {
  const { Channel, Publisher } = require('..');
  const publisher = new Publisher('nobody.listens');
  const payload = Buffer.alloc(64);
  const count = Math.max(1000, Math.round(200_000 * scale));
  const timed = (name, per, call) => {
    call();
    const began = performance.now();
    for (let i = 0; i < count / per; i++) call();
    console.log(`${name.padEnd(48)}${(((performance.now() - began) * 1e6) / count).toFixed(0).padStart(8)} ns`);
  };
  timed('publish that finds no channel', 1, () => publisher.publish(payload));
  timed('publish with headers that finds no channel', 1, () => publisher.publish(payload, { n: 1, unit: 'celsius' }));
  const batch = Array(256).fill(payload);
  timed('the same, a message of a batch of 256', 256, () => publisher.publishBatch(batch));
  const data = Buffer.concat(batch);
  const lengths = new Uint32Array(256).fill(64);
  timed('the same, packed', 256, () => publisher.publishPacked(data, lengths));
  const channel = new Channel('nobody.publishes');
  timed('fetch that finds no message', 1, () => channel.fetch());
  channel.close();
  publisher.close();
}

main()
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => fs.rmSync(directory, { recursive: true, force: true }));
