'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { once } = require('node:events');
const { setImmediate: turn } = require('node:timers/promises');
const { test } = require('node:test');
const { ownStore, program } = require('./helpers');

ownStore();
const { Channel, Publisher, publish } = require('..');

test('receive waits for a message, and takes what is there', async () => {
  const channel = new Channel('wait');
  publish('wait', 'before');
  assert.equal((await channel.receive()).text, 'before');
  const waiting = channel.receive();
  await turn();
  publish('wait', 'after');
  assert.equal((await waiting).text, 'after');
  // Again and again: what was read from the descriptor is handed back.
  for (let i = 0; i < 300; i++) {
    const next = channel.receive();
    if (i % 3 === 0) await turn();
    publish('wait', String(i));
    assert.equal((await next).text, String(i));
  }
  channel.close();
});

test('messages of another process wake a waiting receiver', async () => {
  const channel = new Channel('other.+');
  const child = program(`
    const { Publisher } = require('.');
    const p = new Publisher('other.process');
    (async () => {
      for (let i = 0; i < 2000; i++) {
        p.publish(String(i));
        if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })();`);
  for (let i = 0; i < 2000; i++) assert.equal((await channel.receive()).text, String(i));
  assert.equal((await child).code, 0);
  assert.equal(channel.fetch(), null);
  channel.close();
});

test('several receivers are served in their order, each message once', async () => {
  const channel = new Channel('turns');
  const waiting = Array.from({ length: 10 }, () => channel.receive());
  await turn();
  new Publisher('turns').publishBatch(Array.from({ length: 10 }, (_, i) => String(i)));
  assert.deepEqual((await Promise.all(waiting)).map((m) => m.text).join(''), '0123456789');
  channel.close();
});

test('a timeout ends a wait with null, and takes no message from the next', async () => {
  const channel = new Channel('late');
  const began = performance.now();
  assert.equal(await channel.receive({ timeout: 30 }), null);
  assert.ok(performance.now() - began >= 28);
  assert.equal(await channel.receive({ timeout: 0 }), null);
  assert.deepEqual(await channel.receiveBatch(5, { timeout: 5 }), []);
  publish('late', 'x');
  assert.equal((await channel.receive({ timeout: 0 })).text, 'x');
  publish('late', 'y');
  assert.equal((await channel.receive({ timeout: 10000 })).text, 'y');
  channel.close();
});

test('a signal ends a wait with its reason, and takes no message from the next', async () => {
  const channel = new Channel('abort');
  const controller = new AbortController();
  const waiting = channel.receive({ signal: controller.signal, timeout: 60000 });
  const patient = channel.receive();
  await turn();
  controller.abort();
  await assert.rejects(waiting, { name: 'AbortError' });
  publish('abort', 'x');
  assert.equal((await patient).text, 'x');
  publish('abort', 'y');
  const reason = new Error('enough');
  await assert.rejects(channel.receive({ signal: AbortSignal.abort(reason) }), reason);
  assert.equal((await channel.receive({ signal: AbortSignal.timeout(60000) })).text, 'y');
  await assert.rejects(channel.receive({ signal: AbortSignal.timeout(10) }), { name: 'TimeoutError' });
  channel.close();
});

test('an ended wait leaves no listener on its signal', async () => {
  const { getEventListeners } = require('node:events');
  const channel = new Channel('listeners');
  const { signal } = new AbortController();
  for (let i = 0; i < 20; i++) {
    const waiting = channel.receive({ signal });
    publish('listeners', 'x');
    await waiting;
  }
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  channel.close();
});

test('iteration brings every message in order, until the channel is closed', async () => {
  const channel = new Channel('each');
  const texts = [];
  setImmediate(() => {
    for (let i = 0; i < 500; i++) publish('each', String(i));
  });
  for await (const message of channel) {
    texts.push(message.text);
    if (texts.length === 500) setImmediate(() => channel.close());
  }
  assert.deepEqual(texts, Array.from({ length: 500 }, (_, i) => String(i)));
});

test('leaving an iteration leaves the channel open', async () => {
  const channel = new Channel('leave');
  publish('leave', 'a');
  publish('leave', 'b');
  for await (const message of channel) {
    assert.equal(message.text, 'a');
    break;
  }
  assert.equal(channel.fetch().text, 'b');
  const controller = new AbortController();
  setImmediate(() => controller.abort());
  await assert.rejects(async () => {
    for await (const message of channel.messages({ signal: controller.signal })) assert.fail(message.text);
  }, { name: 'AbortError' });
  channel.close();
});

test('an iterator that is ended while it waits takes no message', async () => {
  const channel = new Channel('ended');
  const iterator = channel.messages();
  const pending = [iterator.next(), iterator.next()];
  await turn();
  await iterator.return();
  publish('ended', 'x');
  assert.deepEqual(await Promise.all(pending), Array(2).fill({ done: true, value: undefined }));
  assert.equal(channel.fetch().text, 'x');
  channel.close();
});

test('what a fetch brought along reaches those who wait at once', async () => {
  const channel = new Channel('along');
  const times = [];
  // Not by the look that is taken once a second; a busy machine may be slow once.
  do {
    const waiting = channel.receive();
    const began = performance.now();
    for (const content of ['a', 'b', 'c']) publish('along', content);
    assert.equal(channel.fetch().text, 'a');
    assert.equal((await waiting).text, 'b');
    times.push(performance.now() - began);
    assert.equal(channel.fetch().text, 'c');
  } while (times.at(-1) >= 700 && times.length < 4);
  assert.ok(times.at(-1) < 700, `it waited: ${times}`);
  channel.close();
});

test('receiveBatch waits for the first and takes the rest along', async () => {
  const channel = new Channel('batch');
  const waiting = channel.receiveBatch(3);
  await turn();
  new Publisher('batch').publishBatch(['a', 'b', 'c', 'd', 'e']);
  const texts = (await waiting).map((m) => m.text);
  while (texts.length < 5) {
    const more = await channel.receiveBatch();
    assert.ok(more.length > 0);
    texts.push(...more.map((m) => m.text));
  }
  assert.deepEqual(texts, ['a', 'b', 'c', 'd', 'e']);
  channel.close();
});

test('an emitter emits every message, while somebody listens', async () => {
  const channel = new Channel('emits');
  publish('emits', 'a');
  assert.equal((await once(channel, 'message'))[0].text, 'a');
  publish('emits', 'b');
  await turn();
  const seen = [];
  const listener = (message) => {
    seen.push(message.text);
    if (message.text === 'c') channel.off('message', listener);
  };
  channel.on('message', listener);
  publish('emits', 'c');
  publish('emits', 'd');
  while (seen.length < 2) await turn();
  for (let i = 0; i < 5; i++) await turn();
  assert.deepEqual(seen, ['b', 'c']);
  assert.equal(channel.fetch().text, 'd');
  // Who waits comes first.
  const waiting = channel.receive();
  channel.on('message', listener);
  publish('emits', 'e');
  publish('emits', 'f');
  assert.equal((await waiting).text, 'e');
  while (seen.length < 3) await turn();
  assert.equal(seen[2], 'f');
  channel.removeAllListeners();
  const closed = once(channel, 'close');
  channel.close();
  await closed;
});

test('a message larger than a crossing comes in its turn', async () => {
  const channel = new Channel('sizes');
  const waiting = Array.from({ length: 3 }, () => channel.receive());
  await turn();
  publish('sizes', 'small');
  publish('sizes', Buffer.alloc(2_000_000, 'b'));
  publish('sizes', 'last');
  assert.deepEqual((await Promise.all(waiting)).map((m) => m.content.length), [5, 2_000_000, 4]);
  channel.close();
});

test('however messages are taken, each comes once and in its order', async () => {
  const channel = new Channel('mixed.=');
  const publishers = 3;
  const each = 3000;
  const children = Array.from({ length: publishers }, (_, n) =>
    program(`
      const { Publisher } = require('.');
      const p = new Publisher('mixed.p${n}');
      (async () => {
        for (let i = 0; i < ${each}; i++) {
          p.publish(String(i));
          if (i % 97 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
        }
      })();`),
  );
  const next = new Map();
  let received = 0;
  const take = (message) => {
    if (!message) return;
    assert.equal(Number(message.text), next.get(message.topic) ?? 0, message.topic);
    next.set(message.topic, Number(message.text) + 1);
    received++;
  };
  const listener = (message) => take(message);
  const ways = [
    () => channel.receive({ timeout: 1 }).then(take),
    () => channel.receive({ timeout: 0 }).then(take),
    () => channel.receive({ timeout: 50, signal: AbortSignal.timeout(1) }).then(take, () => {}),
    () => channel.receiveBatch(7, { timeout: 1 }).then((messages) => messages.forEach(take)),
    async () => take(channel.fetch()),
    async () => channel.fetchBatch(5).forEach(take),
    async () => {
      const iterator = channel.messages();
      const pending = iterator.next().then(({ value }) => take(value));
      await turn();
      await iterator.return();
      await pending;
    },
    async () => {
      channel.on('message', listener);
      await turn();
      channel.off('message', listener);
    },
  ];
  let step = 0;
  const until = performance.now() + 200000;
  // One way after the other, so that the order can be seen; the numbers are those of a simple generator.
  for (let seed = 1; received < publishers * each && performance.now() < until; step++) {
    seed = (seed * 1103515245 + 12345) % 2 ** 31;
    await ways[(seed >> 8) % ways.length]();
  }
  assert.equal(received, publishers * each, `after ${step} steps`);
  for (const child of children) assert.equal((await child).code, 0);
  assert.equal(channel.fetch(), null);
  channel.close();
});

test('closing ends all waits and iterations', async () => {
  const channel = new Channel('closing');
  const waits = [channel.receive(), channel.receive({ timeout: 60000 }), channel.receiveBatch(4)];
  const iteration = (async () => {
    for await (const message of channel) assert.fail(message.text);
    return 'ended';
  })();
  await turn();
  channel.close();
  for (const wait of waits) await assert.rejects(wait, { name: 'PubSubError', code: 'PS_ERR_CLOSED', errno: -5, message: /'closing'/ });
  assert.equal(await iteration, 'ended');
});

test('a channel whose directory was deleted says so to those who wait', async () => {
  const channel = new Channel('deleted');
  const waiting = channel.receive();
  const failed = new Promise((resolve) => channel.on('error', resolve));
  channel.on('message', () => assert.fail());
  await turn();
  fs.rmSync(channel.path, { recursive: true });
  await assert.rejects(waiting, { code: 'PS_ERR_CORRUPT' });
  assert.equal((await failed).code, 'PS_ERR_CORRUPT');
  channel.close();
});

test('who waits keeps the process alive, an open channel alone does not', async () => {
  const idle = await program("const { Channel } = require('.'); const c = new Channel('idle'); c.receive({ timeout: 5 }).then(() => console.log('idle'))");
  assert.deepEqual(idle, { code: 0, signal: null, stdout: 'idle\n', stderr: '' });
  const waiting = await program(
    "const { Channel } = require('.'); const c = new Channel('alive'); c.on('message', (m) => { console.log(m.text); if (m.text === 'end') c.removeAllListeners(); }); console.log('ready')",
    [],
    (child) => {
      child.stdout.once('data', () => {
        publish('alive', 'one');
        setTimeout(() => publish('alive', 'end'), 200);
      });
    },
  );
  assert.deepEqual(waiting, { code: 0, signal: null, stdout: 'ready\none\nend\n', stderr: '' });
});
