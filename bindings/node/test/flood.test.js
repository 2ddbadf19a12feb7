'use strict';

// What a flood of messages does to the event loop, and to memory.

const assert = require('node:assert/strict');
const { monitorEventLoopDelay } = require('node:perf_hooks');
const { test } = require('node:test');
const v8 = require('node:v8');
const vm = require('node:vm');
const { ownStore, program } = require('./helpers');

ownStore();
const { Channel, Publisher } = require('..');

// Garbage that was not collected yet is no leak.
v8.setFlagsFromString('--expose-gc');
const collect = vm.runInNewContext('gc');

const FLOOD = `
  const { Publisher } = require('.');
  const [topic, count] = process.argv.slice(1);
  const publisher = new Publisher(topic);
  const wait = () => new Promise((resolve) => setTimeout(resolve, 1));
  (async () => {
    for (let i = 0; i < count; i++) {
      for (;;) {
        try { publisher.publish(String(i)); break; } catch (error) { if (error.code !== 'PS_ERR_QUEUE_FULL') throw error; await wait(); }
      }
    }
  })();`;

const COUNT = 10_000;

const readers = {
  'an iteration': async (channel, each) => {
    for await (const message of channel) if (each(message)) return;
  },
  'receive in a loop': async (channel, each) => {
    while (!each(await channel.receive()));
  },
  'an emitter': (channel, each) =>
    new Promise((resolve) => {
      channel.on('message', (message) => {
        if (each(message)) resolve(channel.removeAllListeners());
      });
    }),
};

for (const [name, read] of Object.entries(readers)) {
  test(`the event loop is never blocked: ${name}`, async (t) => {
    const channel = new Channel('flood');
    const publisher = program(FLOOD, ['flood', String(COUNT)]);
    // Thousands are there when reading begins, so that an iteration that never yields would be seen.
    while (channel.stats().unreadMessages < COUNT / 2) await new Promise((resolve) => setTimeout(resolve, 5));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    let ticks = 0;
    // Other programs share the machine's cores, so what counts is how much of a processor's time lies between two ticks.
    const busy = () => Object.values(process.cpuUsage()).reduce((sum, us) => sum + us / 1000, 0);
    const begin = busy();
    let [last, longest] = [begin, 0];
    const tick = () => {
      const now = busy();
      [last, longest] = [now, Math.max(longest, now - last)];
    };
    const ticking = setInterval(() => {
      ticks++;
      tick();
    }, 1);
    delay.enable();
    const began = performance.now();
    let next = 0;
    await read(channel, (message) => {
      assert.equal(message.text, String(next++));
      return next === COUNT;
    });
    const took = performance.now() - began;
    tick();
    delay.disable();
    clearInterval(ticking);
    assert.equal((await publisher).code, 0);
    channel.close();
    const ms = (ns) => (ns / 1e6).toFixed(1);
    t.diagnostic(`${COUNT} messages in ${took.toFixed(0)} ms, ${ticks} ticks; delay median ${ms(delay.percentile(50))} ms, 99 % ${ms(delay.percentile(99))} ms, most ${ms(delay.max)} ms`);
    const work = last - begin;
    t.diagnostic(`${work.toFixed(0)} ms of a processor, at most ${longest.toFixed(1)} between two ticks`);
    assert.ok(longest < Math.max(150, work / 4), `${longest} ms of ${work} without a tick`);
    assert.ok(ticks > work / 40, `${ticks} ticks in ${work} ms`);
  });
}

for (const [name, read] of Object.entries(readers)) {
  test(`nor by a reader that takes its time: ${name}`, async () => {
    const channel = new Channel('slow');
    const publisher = new Publisher('slow');
    publisher.publishBatch(Array(300).fill('x'));
    let turns = 0;
    let counting = true;
    setImmediate(function count() {
      turns++;
      if (counting) setImmediate(count);
    });
    let left = 300;
    await read(channel, () => {
      for (const until = performance.now() + 1; performance.now() < until; );
      return --left === 0;
    });
    counting = false;
    // All of them wait in the channel at once, and a turn's share is 5 ms.
    assert.ok(turns >= 30, `${turns} turns`);
    publisher.close();
    channel.close();
  });
}

test('nothing leaks', async (t) => {
  const total = Number(process.env.PUBSUB_LEAK_MESSAGES ?? 100_000);
  const channel = new Channel('leak');
  const publisher = new Publisher('leak');
  const batch = Array.from({ length: 250 }, (_, i) => ({ content: Buffer.alloc(1000, i), headers: { i } }));
  batch.push(...Array.from({ length: 250 }, () => Buffer.alloc(200)));
  const round = async () => {
    const sent = publisher.publishBatch(batch);
    for (let i = 0; i < sent; i++) {
      const message = await channel.receive();
      assert.equal(Object.keys(message.headers).length, i < 250 ? 1 : 0);
    }
    const waiting = channel.receive({ timeout: 60000, signal: AbortSignal.timeout(1) }).catch((error) => error);
    assert.equal((await waiting).name, 'TimeoutError');
    return sent;
  };
  const settled = () => {
    collect();
    const { rss, heapUsed, external } = process.memoryUsage();
    return { rss, heapUsed, external };
  };
  for (let done = 0; done < total / 5; ) done += await round();
  const before = settled();
  for (let done = 0; done < total; ) done += await round();
  const after = settled();
  const grown = Object.fromEntries(Object.entries(after).map(([key, value]) => [key, value - before[key]]));
  t.diagnostic(`after ${total} messages: ${JSON.stringify(grown)} bytes more`);
  // A hundred bytes kept of each message would be 10 MB.
  assert.ok(grown.heapUsed < total * 50 + 4e6, `heap: ${grown.heapUsed}`);
  assert.ok(grown.rss < total * 100 + 16e6, `rss: ${grown.rss}`);
  publisher.close();
  channel.close();
});

test('opening, publishing and closing leak nothing', async (t) => {
  const fs = require('node:fs');
  const cycle = async () => {
    const channel = new Channel('cycle');
    const publisher = new Publisher('cycle');
    const waiting = channel.receive();
    publisher.publish('x', { a: 1 });
    await waiting;
    channel.close();
    publisher.close();
  };
  for (let i = 0; i < 50; i++) await cycle();
  const descriptors = fs.readdirSync('/proc/self/fd').length;
  const { rss } = process.memoryUsage();
  for (let i = 0; i < 500; i++) await cycle();
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.diagnostic(`rss ${process.memoryUsage().rss - rss} bytes more after 500 channels`);
  assert.ok(fs.readdirSync('/proc/self/fd').length <= descriptors + 4);
  assert.ok(process.memoryUsage().rss - rss < 40e6);
});
