'use strict';

// With unmodified formix-pubsub programs, both directions. PUBSUB_FORMIX_PYTHON is a Python that has formix-pubsub; make
// test sets it.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { test } = require('node:test');
const { ownStore } = require('./helpers');

ownStore();
const { Channel, float, publish } = require('..');

const python = process.env.PUBSUB_FORMIX_PYTHON;
const options = { skip: python ? false : 'PUBSUB_FORMIX_PYTHON is not set' };

/** Runs a program of formix-pubsub's on this store; `line(text)` is called with each line that it prints. */
function formix(text, line = () => {}) {
  const child = spawn(python, ['-u', '-c', text]);
  let rest = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    lines.forEach(line);
  });
  child.stderr.setEncoding('utf8').on('data', (data) => (errors += data));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`formix: ${code}: ${errors}`))));
  });
}

test('what formix publishes wakes a waiting receiver: every kind of content and header', options, async () => {
  const channel = new Channel('formix.+');
  const sent = formix(`
import time
from pubsub import publish
publish("formix.text", "grüße".encode(), {"n": 90, "f": 21.0, "nan": float("nan"), "big": 2**70, "b": True, "none": None, "l": [1, "x"]})
publish("formix.binary", bytes(range(256)))
publish("formix.empty", b"")
publish("formix.large", bytes(1024 * 1024))
for i in range(500):
    while publish("formix.many", str(i).encode()) == 0: pass # two ids may collide
    if i % 50 == 0: time.sleep(0.01)
`);
  const text = await channel.receive();
  assert.equal(text.text, 'grüße');
  assert.deepEqual(text.headers, { n: 90, f: 21, nan: NaN, big: 2n ** 70n, b: true, none: null, l: [1, 'x'] });
  assert.ok((await channel.receive()).content.equals(Buffer.from(Array.from({ length: 256 }, (_, i) => i))));
  assert.equal((await channel.receive()).content.length, 0);
  assert.ok((await channel.receive()).content.equals(Buffer.alloc(1024 * 1024)));
  const numbers = [];
  while (numbers.length < 500) numbers.push(Number((await channel.receive()).text));
  // formix's ids of one moment have no order among them.
  assert.deepEqual(numbers.sort((a, b) => a - b), Array.from({ length: 500 }, (_, i) => i));
  await sent;
  assert.equal(channel.fetch(), null);
  channel.close();
});

test('formix receives what this package publishes', options, async () => {
  const lines = [];
  let ready;
  const listening = new Promise((resolve) => (ready = resolve));
  const ended = formix(
    `
import json, time
from pubsub import Channel, fetch
channel = Channel("node.=")
channel.open()
print("ready")
left = 4
until = time.monotonic() + 120
while left and time.monotonic() < until:
    message = fetch(channel)
    if message is None:
        time.sleep(0.001)
        continue
    print(message.topic, len(message.content), sum(message.content), json.dumps(message.headers))
    left -= 1
channel.close()
`,
    (line) => (line === 'ready' ? ready() : lines.push(line)),
  );
  await Promise.race([listening, ended]);
  assert.equal(publish('node.text', 'abc', { n: 1, f: float(21), big: 2n ** 70n, nan: NaN, t: 'ü' }), 1);
  publish('node.empty', '');
  publish('node.binary', Buffer.from([255, 0, 1]));
  publish('node.large', Buffer.alloc(1024 * 1024, 1));
  await ended;
  assert.deepEqual(lines, [
    'node.text 3 294 {"n": 1, "f": 21.0, "big": 1180591620717411303424, "nan": NaN, "t": "\\u00fc"}',
    'node.empty 0 0 {}',
    'node.binary 3 256 {}',
    'node.large 1048576 1048576 {}',
  ]);
});
