'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: pause } = require('node:timers/promises');
const { test } = require('node:test');
const { ownStore, program } = require('./helpers');

const store = ownStore();
const { Channel, Publisher, createTopic, deleteTopic, publish, topicHistory, topics } = require('..');

const SOON = { timeout: 120000 };
const TRANSPORTS = ['ring', 'files'];

/** Publishes the numbers from one up to another. */
function feed(topic, from, to) {
  const publisher = new Publisher(topic);
  for (let n = from; n < to; n++) publisher.publish(String(n));
  publisher.close();
}

/** Offsets and contents. */
const told = (messages) => messages.map((message) => `${message.offset}=${message.text}`).join(' ');

test('topics are created, listed and deleted', () => {
  assert.deepEqual(topics(), []);
  createTopic('t.b');
  createTopic('t.a', { historyMessages: 3, historyBytes: 1 << 20, historyTtl: 3600000 });
  const channel = new Channel('t.+');
  feed('t.a', 0, 5);
  const [a, b] = topics();
  assert.ok(a.bytesInHistory > 0 && a.epoch !== b.epoch && typeof a.epoch === 'bigint');
  assert.ok(Math.abs(a.createdUs / 1000 - Date.now()) < 3600000);
  const { bytesInHistory, createdUs, epoch, ...rest } = a;
  assert.deepEqual(rest, { topic: 't.a', subscribers: 1, messagesPublished: 5, messagesInHistory: 3, nextOffset: 6n });
  assert.deepEqual({ ...b, createdUs, epoch }, { topic: 't.b', subscribers: 1, messagesPublished: 0, messagesInHistory: 0, bytesInHistory: 0, epoch, nextOffset: 1n, createdUs });
  deleteTopic('t.b');
  assert.deepEqual(topics().map(({ topic }) => topic), ['t.a']);
  deleteTopic('t.a');
  channel.close();
});

test('a history has what was published', () => {
  createTopic('t.a');
  assert.deepEqual(topicHistory('t.a'), []);
  publish('t.a', '\0one', { n: 1, unit: '°C' });
  publish('t.a', '');
  const [first, second] = topicHistory('t.a');
  assert.deepEqual([first.topic, first.text, first.headers], ['t.a', '\0one', { n: 1, unit: '°C' }]);
  assert.deepEqual([second.content.length, second.headersJson, second.kind], [0, '{}', 'data']);
  assert.deepEqual([first.offset, second.offset, first.epoch], [1n, 2n, topics()[0].epoch]);
  assert.ok(first.id < second.id && Math.abs(first.date - Date.now()) < 3600000);
  assert.equal(told(topicHistory('t.a', { last: 1 })), '2=');
  assert.deepEqual(topicHistory('t.a', { last: 0 }), []);
  deleteTopic('t.a');
});

test('lists and histories leave no memory behind', async () => {
  const { code, stdout, stderr } = await program(
    `
    const { createTopic, deleteTopic, publish, topicHistory, topics } = require('.');
    createTopic('t.large');
    for (let i = 0; i < 100; i++) publish('t.large', Buffer.alloc(1000));
    const grown = (rounds) => {
      gc();
      const before = process.memoryUsage().rss;
      for (let i = 0; i < rounds; i++) {
        topics();
        topicHistory('t.large');
        if (i % 50 === 0) gc();
      }
      gc();
      return process.memoryUsage().rss - before;
    };
    grown(200);
    console.log(grown(1000));
    deleteTopic('t.large');`,
    [],
    () => {},
    ['--expose-gc'],
  );
  assert.equal(code, 0, stderr);
  // A thousand histories of a hundred messages are 100 MB.
  assert.ok(Number(stdout) < 30e6, stdout);
});

test('age bounds a history', async () => {
  createTopic('t.short', { historyTtl: 20 });
  publish('t.short', 'old');
  const end = Date.now() + SOON.timeout;
  while (topicHistory('t.short').length > 0) {
    assert.ok(Date.now() < end);
    await pause(2);
  }
  deleteTopic('t.short');
});

test('another store has topics of its own', () => {
  const home = path.join(store, 'another');
  assert.deepEqual(topics(home), []);
  createTopic('t.a', { home });
  const back = new Channel('back', { home });
  const publisher = new Publisher('t.a', { home });
  publisher.publish('?', { 'response-topic': 'back' });
  publisher.close();
  assert.equal(topicHistory('t.a', { home })[0].reply('!'), 1);
  assert.equal(back.fetch().text, '!');
  back.close();
  assert.throws(() => topicHistory('t.a'), { code: 'PS_ERR_NOT_FOUND' });
  const channel = new Channel('t.=', { home, replayLast: 5 });
  assert.equal(told(channel.fetchBatch()), '1=?');
  channel.close();
  deleteTopic('t.a', { home });
  fs.rmSync(home, { recursive: true });
});

test('errors of managed topics', () => {
  const failsWith = (code, call) => assert.throws(call, { name: 'PubSubError', code });
  assert.throws(() => deleteTopic('t.none'), { code: 'PS_ERR_NOT_FOUND', errno: -6, message: /'t\.none' is not managed/ });
  failsWith('PS_ERR_NOT_FOUND', () => topicHistory('t.none'));
  failsWith('PS_ERR_NOT_FOUND', () => new Channel('t.none', { resume: { epoch: 1n, offset: 1n } }));
  createTopic('t.a');
  failsWith('PS_ERR_EXISTS', () => createTopic('t.a'));
  failsWith('PS_ERR_INVALID_ARGUMENT', () => new Channel('t.=', { resume: { epoch: 1n, offset: 1n } }));
  for (const call of [createTopic, deleteTopic, topicHistory]) {
    for (const topic of ['', 't.=', 'a b', 'a\0b']) failsWith('PS_ERR_INVALID_TOPIC', () => call(topic));
    assert.throws(() => call(5), TypeError);
    assert.throws(() => call('t.a', { home: 5 }), TypeError);
    failsWith('PS_ERR_INVALID_ARGUMENT', () => call('t.a', { other: 5 }));
  }
  for (const options of [{ historyMessages: -1 }, { historyMessages: 2 ** 32 }, { historyMessages: 2 ** 27 }, { historyBytes: 2 ** 60 }, { historyTtl: 0 }, { historyTtl: 0.5 }, { home: 'a\0b' }]) {
    failsWith('PS_ERR_INVALID_ARGUMENT', () => createTopic('t.b', options));
  }
  for (const options of [{ replayLast: -1 }, { replayLast: 2 ** 32 }, { resume: { epoch: -1n, offset: 0n } }, { resume: { epoch: 0n, offset: 2n ** 64n } }]) {
    failsWith('PS_ERR_INVALID_ARGUMENT', () => new Channel('t.a', options));
  }
  for (const options of [{ replayLast: '1' }, { resume: 5 }, { resume: {} }, { resume: { epoch: '1', offset: 1n } }]) {
    assert.throws(() => new Channel('t.a', options), TypeError);
  }
  failsWith('PS_ERR_INVALID_ARGUMENT', () => topicHistory('t.a', { last: -1 }));
  assert.throws(() => topics(5), TypeError);
  deleteTopic('t.a');
});

test('a replay goes on live, however it is received', async () => {
  const ways = {
    fetch: (channel) => Array.from({ length: 5 }, () => channel.fetch()),
    fetchBatch: (channel) => [...channel.fetchBatch(2), ...channel.fetchBatch()],
    receive: async (channel) => [await channel.receive(SOON), ...(await channel.receiveBatch(4, SOON))],
    iteration: async (channel) => {
      const messages = [];
      for await (const message of channel) if (messages.push(message) === 5) return messages;
    },
    events: (channel) =>
      new Promise((resolve) => {
        const messages = [];
        channel.on('message', (message) => messages.push(message) === 5 && resolve(messages));
      }),
  };
  for (const transport of TRANSPORTS) {
    for (const [name, receive] of Object.entries(ways)) {
      createTopic('t.a');
      feed('t.a', 0, 10);
      const channel = new Channel('t.=', { replayLast: 3, transport });
      feed('t.a', 10, 12);
      const messages = await receive(channel);
      assert.equal(told(messages), '8=7 9=8 10=9 11=10 12=11', `${name} over ${transport}`);
      assert.ok(messages.every(({ epoch, droppedBefore }) => epoch === topics()[0].epoch && droppedBefore === 0));
      assert.equal(channel.fetch(), null);
      channel.close();
      deleteTopic('t.a');
    }
  }
});

test('a replay among live publishers has no gap and no duplicate', async () => {
  // More than this test falls behind on a busy machine.
  createTopic('t.fed', { historyMessages: 1000000 });
  const FEED = `
    const { Publisher } = require('.');
    const publisher = new Publisher('t.fed');
    let n = 0;
    (function some() {
      for (let i = 0; i < 8; i++) publisher.publish(process.pid + ' ' + n++);
      setTimeout(some, 1);
    })();
    process.stdin.on('end', () => process.exit(0)).resume();`;
  const children = [];
  const ended = [1, 2].map(() => program(FEED, [], (child) => children.push(child)));
  try {
    const end = Date.now() + SOON.timeout;
    while (new Set(topicHistory('t.fed').map((message) => message.text.split(' ')[0])).size < 2) {
      assert.ok(Date.now() < end);
      await pause(2);
    }
    for (let turn = 0; turn < 20; turn++) {
      const transport = TRANSPORTS[turn % 2];
      const channel = new Channel('t.=', { replayLast: 50, transport, capacityMessages: 1000000 });
      const began = topics()[0].nextOffset;
      const seen = new Set();
      // Each publisher's last number. The order of what is live may differ between publishers; each has its own.
      const last = new Map();
      const live = new Set();
      while (live.size < 2) {
        const { offset, text } = await channel.receive(SOON);
        const [from, number] = text.split(' ').map(Number);
        if (seen.size === 0) assert.ok(offset < began, 'nothing was replayed');
        assert.ok(!seen.has(offset), `${offset} twice over ${transport}`);
        if (last.has(from)) assert.equal(number, last.get(from) + 1, transport);
        last.set(from, number);
        seen.add(offset);
        if (offset > began + 50n) live.add(from);
      }
      channel.close();
    }
  } finally {
    for (const child of children) child.stdin.end(); // else they go on for ever
  }
  for (const { code, stderr } of await Promise.all(ended)) assert.equal(code, 0, stderr);
  deleteTopic('t.fed');
});

test('resuming gives what was missed', () => {
  for (const transport of TRANSPORTS) {
    createTopic('t.a', { historyMessages: 5 });
    let channel = new Channel('t.a', { transport });
    feed('t.a', 0, 3);
    let last = channel.fetchBatch()[2];
    channel.close();

    feed('t.a', 3, 6);
    channel = new Channel('t.a', { resume: last, transport });
    feed('t.a', 6, 7);
    let missed = channel.fetchBatch();
    assert.equal(told(missed), '4=3 5=4 6=5 7=6');
    assert.ok(missed.every(({ droppedBefore }) => droppedBefore === 0));
    channel.close();

    last = missed[3];
    feed('t.a', 7, 20);
    channel = new Channel('t.a', { resume: { epoch: last.epoch, offset: Number(last.offset) }, transport });
    missed = channel.fetchBatch();
    assert.equal(told(missed), '16=15 17=16 18=17 19=18 20=19');
    assert.equal(missed[0].droppedBefore, 8);
    channel.close();
    deleteTopic('t.a');
  }
});

test('resuming across a deletion tells of another epoch', () => {
  createTopic('t.a');
  let channel = new Channel('t.a');
  feed('t.a', 0, 3);
  const last = channel.fetchBatch()[2];
  channel.close();
  deleteTopic('t.a');
  createTopic('t.a');
  feed('t.a', 10, 12);
  channel = new Channel('t.a', { resume: last });
  feed('t.a', 12, 13);
  const messages = channel.fetchBatch();
  assert.equal(told(messages), '1=10 2=11 3=12');
  assert.ok(messages.every(({ epoch }) => epoch === topics()[0].epoch && epoch !== last.epoch));
  channel.close();
  deleteTopic('t.a');
});

test('a deletion is told on exactly that topic', () => {
  for (const transport of TRANSPORTS) {
    createTopic('t.a');
    const { epoch } = topics()[0];
    const exact = new Channel('t.a', { transport });
    const wild = new Channel('t.=', { transport });
    feed('t.a', 0, 1);
    deleteTopic('t.a');
    feed('t.a', 1, 2);
    const messages = exact.fetchBatch();
    assert.deepEqual(messages.map(({ kind }) => kind), ['data', 'topic-deleted', 'data']);
    assert.deepEqual([messages[1].topic, messages[1].content.length, messages[1].epoch], ['t.a', 0, epoch]);
    assert.deepEqual([messages[2].epoch, messages[2].offset], [0n, 0n]);
    assert.equal(told(wild.fetchBatch()), '1=0 0=1');
    exact.close();
    wild.close();
  }
});
