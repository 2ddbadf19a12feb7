'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { ownStore, program } = require('./helpers');

const store = ownStore();
const { Channel, Publisher, cleanup, createStore, home, lastRejected, list, publish, version } = require('..');

test('a message arrives with all that it has', () => {
  const before = Date.now();
  const channel = new Channel('news.+');
  assert.equal(publish('news.sport', '3:1 ü', { ground: 'home', minute: 90 }), 1);
  const message = channel.fetch();
  assert.equal(typeof message.id, 'bigint');
  assert.equal(message.topic, 'news.sport');
  assert.ok(Buffer.isBuffer(message.content));
  assert.equal(message.text, '3:1 ü');
  assert.deepEqual(message.headers, { ground: 'home', minute: 90 });
  assert.equal(message.headersJson, '{"ground": "home", "minute": 90}');
  assert.ok(message.date.getTime() >= before - 1 && message.date.getTime() <= Date.now());
  assert.equal(message.droppedBefore, 0);
  assert.deepEqual([message.kind, message.epoch, message.offset], ['data', 0n, 0n]);
  assert.equal(channel.fetch(), null);
  channel.close();
});

test('contents of every kind', () => {
  const channel = new Channel('kinds');
  const big = Buffer.alloc(1024 * 1024, 'abc');
  const huge = Buffer.alloc(3 * 1024 * 1024 + 5, 'xyz');
  const memory = new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7]);
  const shared = new Uint8Array(new SharedArrayBuffer(2)).fill(9);
  const contents = [
    ['', Buffer.alloc(0)],
    ['text', Buffer.from('text')],
    ['a\0b', Buffer.from([97, 0, 98])],
    [Buffer.from([255, 0, 254]), Buffer.from([255, 0, 254])],
    [memory.subarray(2, 5), Buffer.from([2, 3, 4])],
    [new Uint16Array(memory.buffer, 2, 1), Buffer.from([2, 3])],
    [new DataView(memory.buffer, 1, 2), Buffer.from([1, 2])],
    [memory.buffer, Buffer.from(memory)],
    [shared, Buffer.from([9, 9])],
    [shared.buffer, Buffer.from([9, 9])],
    [new ArrayBuffer(0), Buffer.alloc(0)],
    [big, big],
    [huge, huge],
    ['behind', Buffer.from('behind')],
  ];
  for (const [content] of contents) assert.equal(publish('kinds', content), 1);
  for (const [, expected] of contents) assert.ok(channel.fetch().content.equals(expected), `${expected.length} bytes`);
  assert.equal(channel.fetch(), null);
  channel.close();
});

test('a content is its own: later fetches and closing leave it', () => {
  const channel = new Channel('own');
  publish('own', 'first');
  const first = channel.fetch();
  for (let i = 0; i < 2000; i++) publish('own', 'x'.repeat(100));
  while (channel.fetch());
  channel.close();
  assert.equal(first.text, 'first');
});

test('order, ids, and every way to publish many', () => {
  const channel = new Channel('many');
  const publisher = new Publisher('many');
  publisher.publish('0');
  assert.equal(publisher.publishBatch(['1', Buffer.from('2'), { content: '3', headers: { n: 3 } }, { content: '4', headers: { n: 3 } }]), 4);
  assert.equal(publisher.publishBatch([]), 0);
  assert.equal(publisher.publishPacked('567', [1, 1, 1], { packed: true }), 3);
  assert.equal(publisher.publishPacked(Buffer.from('89'), new Uint32Array([1, 1, 0])), 3);
  const messages = channel.fetchBatch();
  assert.deepEqual(messages.map((m) => m.text), ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '']);
  assert.deepEqual(messages.map((m) => m.headersJson), ['{}', '{}', '{}', '{"n": 3}', '{"n": 3}', ...Array(3).fill('{"packed": true}'), '{}', '{}', '{}']);
  for (let i = 1; i < messages.length; i++) assert.ok(messages[i].id > messages[i - 1].id);
  publisher.close();
  channel.close();
});

test('large batches travel in pieces, in order', () => {
  const channel = new Channel('pieces');
  const publisher = new Publisher('pieces');
  const contents = Array.from({ length: 50 }, (_, i) => Buffer.alloc(100_000, i));
  assert.equal(publisher.publishBatch(contents), 50);
  for (const content of contents) assert.ok(channel.fetch().content.equals(content));
  publisher.close();
  channel.close();
});

test('one crossing brings many messages, and no more than a turn of the event loop has time for', () => {
  const channel = new Channel('crossing');
  for (let i = 0; i < 1000; i++) publish('crossing', 'x');
  channel.fetch();
  const { prefetched, unreadMessages } = channel.stats();
  assert.ok(prefetched > 50, `${prefetched} came along`);
  assert.equal(prefetched + unreadMessages, 999);
  assert.ok(unreadMessages > 100, `${unreadMessages} were left`);
  channel.close();
});

test('a full channel rejects: single, in a batch, and next to one that takes it', () => {
  const channel = new Channel('full', { capacityMessages: 2 });
  assert.equal(new Publisher('full').publishBatch([{ content: 'a', headers: { a: 1 } }, 'b', 'c']), 2);
  assert.throws(() => publish('full', 'd'), { name: 'PubSubError', code: 'PS_ERR_QUEUE_FULL', errno: -8, message: /full/ });
  assert.throws(() => new Publisher('full').publishBatch(['e', 'f']), { code: 'PS_ERR_QUEUE_FULL' });
  assert.equal(lastRejected(), 1);
  const other = new Channel('full');
  assert.equal(publish('full', 'g'), 1);
  assert.equal(lastRejected(), 1);
  assert.equal(channel.stats().rejected, 4);
  channel.close();
  assert.equal(publish('full', 'h'), 1);
  assert.equal(lastRejected(), 0);
  other.close();
});

test('a full channel drops the oldest and says how many', () => {
  const channel = new Channel('drops', { capacityMessages: 2, fullPolicy: 'drop-oldest' });
  for (const content of ['a', 'b', 'c', 'd', 'e']) publish('drops', content);
  assert.deepEqual(channel.fetchBatch().map((m) => [m.text, m.droppedBefore]), [['d', 3], ['e', 0]]);
  assert.equal(channel.stats().dropped, 3);
  channel.close();
});

test('fetchBatch takes no more than asked, and the rest stays', () => {
  const channel = new Channel('some');
  for (const content of ['a', 'b', 'c']) publish('some', content);
  assert.deepEqual(channel.fetchBatch(2).map((m) => m.text), ['a', 'b']);
  assert.deepEqual(channel.fetchBatch(2).map((m) => m.text), ['c']);
  assert.deepEqual(channel.fetchBatch(2), []);
  channel.close();
});

test('stats and the list', () => {
  const channel = new Channel('seen.=', { capacityMessages: 10, capacityBytes: 4096, transport: 'files' });
  publish('seen.a', 'x');
  publish('seen.a', 'y');
  const figures = channel.stats();
  assert.deepEqual(
    { ...figures, unreadBytes: 0, path: '' },
    {
      topic: 'seen.=', path: '', pid: process.pid, alive: true, foreign: false, transport: 'files', unreadMessages: 2, unreadBytes: 0,
      capacityMessages: 10, capacityBytes: 4096, received: 0, rejected: 0, dropped: 0, malformed: 0, prefetched: 0,
    },
  );
  assert.ok(figures.unreadBytes > 2 * 33);
  assert.equal(figures.path, channel.path);
  assert.equal(channel.topic, 'seen.=');
  channel.fetch();
  assert.equal(channel.stats().prefetched, 1);
  assert.equal(list().find((entry) => entry.path === channel.path).topic, 'seen.=');
  channel.close();
  assert.deepEqual(list().filter((entry) => entry.topic === 'seen.='), []);
});

test('stores of their own', async () => {
  const other = `${store}/other`;
  createStore(other, { mode: 0o770 });
  assert.throws(() => createStore(other), { code: 'PS_ERR_EXISTS' });
  assert.throws(() => createStore(`${store}/x`, { group: 'no-such-group' }), { code: 'PS_ERR_NOT_FOUND' });
  assert.equal(home(), store);
  assert.match(version(), /^\d+\.\d+\.\d+/);
  const channel = new Channel('here', { home: other });
  const publisher = new Publisher('here', { home: other });
  assert.equal(publish('here', 'not there'), 0);
  assert.equal(publisher.publish('there'), 1);
  assert.equal(channel.fetch().text, 'there');
  assert.deepEqual(list(other).map((entry) => entry.topic), ['here']);
  channel.close();

  const killed = await program("new (require('./lib').Channel)('left', { home: process.argv[1] }); process.kill(process.pid, 'SIGKILL')", [other]);
  assert.equal(killed.signal, 'SIGKILL', killed.stderr);
  assert.deepEqual(list(other).map((entry) => [entry.topic, entry.alive]), [['left', false]]);
  assert.equal(cleanup(other), 1);
  assert.deepEqual(list(other), []);
});

test('ES modules have the same', async () => {
  const module = await import('pubsub');
  const { default: whole, ...names } = module;
  assert.deepEqual(Object.keys(names).sort(), Object.keys(require('..')).sort());
  assert.equal(whole, require('..'));
  assert.equal(module.publish, publish);
});
