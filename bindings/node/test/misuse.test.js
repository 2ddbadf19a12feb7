'use strict';

// Each of these is an error of the language's own, or a clean end: never a crash, never a hang.

const assert = require('node:assert/strict');
const path = require('node:path');
const { once } = require('node:events');
const { Worker } = require('node:worker_threads');
const { setImmediate: turn } = require('node:timers/promises');
const { test } = require('node:test');
const { ownStore, program } = require('./helpers');

const store = ownStore();
const { Channel, PubSubError, Publisher, cleanup, createStore, list, publish } = require('..');

/** The channels' directories in the store. */
const channels = () => list().map((entry) => entry.topic);

const closed = { name: 'PubSubError', code: 'PS_ERR_CLOSED', errno: -5 };
const wrongType = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
const invalid = { name: 'PubSubError', code: 'PS_ERR_INVALID_ARGUMENT', errno: -1 };

test('use after close, and closing twice', async () => {
  const channel = new Channel('closed');
  publish('closed', 'x');
  channel.close();
  channel.close();
  assert.equal(channel.closed, true);
  assert.equal(channel.topic, 'closed');
  assert.ok(channel.path);
  for (const use of [() => channel.fetch(), () => channel.fetchBatch(), () => channel.stats()]) assert.throws(use, closed);
  await assert.rejects(channel.receive(), closed);
  await assert.rejects(channel.receive({ timeout: 0 }), closed);
  await assert.rejects(channel.receiveBatch(), closed);
  for await (const message of channel) assert.fail(message.text);
  channel.on('message', () => assert.fail());
  await channel[Symbol.asyncDispose]();

  const publisher = new Publisher('closed');
  publisher.close();
  publisher.close();
  publisher[Symbol.dispose]();
  for (const use of [() => publisher.publish('x'), () => publisher.publishBatch(['x']), () => publisher.publishPacked('x', [1])]) {
    assert.throws(use, closed);
  }
  await turn();
});

test('closing where messages are handled', async () => {
  const emitter = new Channel('inside');
  const iterated = new Channel('inside');
  for (let i = 0; i < 10; i++) publish('inside', String(i));
  let emitted = 0;
  emitter.on('message', () => {
    emitted++;
    emitter.close();
  });
  let seen = 0;
  for await (const message of iterated) {
    assert.equal(message.text, '0');
    seen++;
    iterated.close();
  }
  while (!emitter.closed) await turn();
  await turn();
  assert.deepEqual([emitted, seen], [1, 1]);
});

test('wrong types', async () => {
  const channel = new Channel('types');
  const publisher = new Publisher('types');
  for (const wrong of [undefined, null, 5, 5n, {}, [], () => {}, Symbol('x'), true, Buffer.from('x')]) {
    assert.throws(() => publish(wrong, 'x'), wrongType);
    assert.throws(() => new Channel(wrong), wrongType);
    assert.throws(() => new Publisher(wrong), wrongType);
    if (wrong != null) {
      assert.throws(() => list(wrong), wrongType);
      assert.throws(() => cleanup(wrong), wrongType);
      assert.throws(() => createStore(wrong), wrongType);
      assert.throws(() => new Channel('types', { home: wrong }), wrongType);
    }
  }
  for (const wrong of [undefined, null, 5, 5n, {}, [], () => {}, true, new Date()]) {
    assert.throws(() => publish('types', wrong), wrongType);
    assert.throws(() => publisher.publish(wrong), wrongType);
    assert.throws(() => publisher.publishBatch(['fine', wrong]), wrongType);
    assert.throws(() => publisher.publishPacked(wrong, [1]), wrongType);
  }
  assert.throws(() => publisher.publishBatch('abc'), wrongType);
  assert.throws(() => publisher.publishPacked('abc', 3), wrongType);
  assert.throws(() => publisher.publishPacked('abc', ['1']), wrongType);
  assert.throws(() => publisher.publishPacked('abc', [undefined]), wrongType);
  assert.throws(() => publisher.publishPacked('abc', [-1]), invalid);
  assert.throws(() => publisher.publishPacked('abc', [1, 1, 2]), invalid);
  assert.throws(() => publisher.publishPacked('abc', new Uint32Array([4])), invalid);
  assert.throws(() => new Channel('types', 5), wrongType);
  assert.throws(() => new Channel('types', { capacity: 5 }), { ...invalid, message: /capacityMessages/ });
  assert.throws(() => new Channel('types', { capacityBytes: -1 }), invalid);
  assert.throws(() => new Channel('types', { capacityBytes: 1.5 }), invalid);
  assert.throws(() => new Channel('types', { capacityMessages: '5' }), wrongType);
  assert.throws(() => new Channel('types', { fullPolicy: 'block' }), invalid);
  assert.throws(() => Channel('types'), TypeError);
  assert.throws(() => Channel.prototype.fetch.call({}), TypeError);
  await assert.rejects(channel.receive({ signal: {} }), wrongType);
  await assert.rejects(channel.receive({ timeout: '5' }), wrongType);
  for (const timeout of [-1, 2 ** 31, NaN, 0.5]) await assert.rejects(channel.receive({ timeout }), invalid);
  await assert.rejects(channel.receiveBatch(0), invalid);
  assert.throws(() => channel.fetchBatch('5'), wrongType);
  assert.equal(channel.fetch(), null);
  channel.close();
});

test('what is no topic, pattern or store', () => {
  assert.throws(() => publish('no topic', 'x'), { code: 'PS_ERR_INVALID_TOPIC', errno: -2, message: /no topic/ });
  assert.throws(() => publish('a\0b', 'x'), { code: 'PS_ERR_INVALID_TOPIC' });
  assert.throws(() => new Channel('a\0b'), { code: 'PS_ERR_INVALID_TOPIC' });
  assert.throws(() => new Publisher('a.+'), { code: 'PS_ERR_INVALID_TOPIC' });
  assert.throws(() => new Channel('\ud800'), { code: 'PS_ERR_INVALID_TOPIC' });
  assert.throws(() => new Channel('x', { home: `${store}\0` }), invalid);
  assert.throws(() => new Channel('x', { home: '/proc/no-store' }), PubSubError);
  assert.throws(() => new Channel('x', { transport: 'none' }), invalid);
});

test('a listener that throws is an uncaught exception, and takes no message from the others', async () => {
  const result = await program(`
    const { Channel, publish } = require('.');
    process.on('uncaughtException', (error) => console.log('uncaught', error.message));
    const channel = new Channel('throws');
    const listener = (m) => {
      if (m.text === '9') channel.close();
      throw new Error(m.text);
    };
    channel.on('message', listener);
    setImmediate(() => { for (let i = 0; i < 10; i++) publish('throws', String(i)); });`);
  assert.equal(result.stdout, Array.from({ length: 10 }, (_, i) => `uncaught ${i}\n`).join(''), result.stderr);
  assert.equal(result.code, 0);
});

test('a listener that throws harms no receiver', async () => {
  const result = await program(`
    const { Channel, publish } = require('.');
    process.on('uncaughtException', (error) => console.log('uncaught', error.message));
    const channel = new Channel('throws');
    publish('throws', 'for the receiver');
    publish('throws', 'for the listener');
    channel.on('message', (m) => { throw new Error(m.text); });
    channel.receive().then((m) => { console.log(m.text); setTimeout(() => channel.close(), 20); }, console.log);`);
  assert.deepEqual(result.stdout.split('\n').sort(), ['', 'for the receiver', 'uncaught for the listener'], result.stderr);
});

test('a process that ends leaves no open channel', async () => {
  const before = channels();
  const ends = {
    'by itself': ['', 0],
    'by process.exit': ['process.exit(3)', 3],
    'by an exception': ["throw new Error('planned')", 1],
    'by a rejection': ["Promise.reject(new Error('planned'))", 1],
    'while it waits': ['channel.receive(); for (const c of more) c.receive(); setTimeout(() => process.exit(4), 20)', 4],
    'in a listener': ["channel.on('message', () => process.exit(5)); publish('ending', 'x')", 5],
    'in an exit listener': ["process.on('exit', () => channel.fetch())", 1],
  };
  for (const [how, [text, code]] of Object.entries(ends)) {
    const result = await program(`
      const { Channel, Publisher, publish } = require('.');
      const channel = new Channel('ending');
      const more = Array.from({ length: 5 }, () => new Channel('ending.+'));
      const publisher = new Publisher('ending');
      publisher.publish('x');
      channel.fetch();
      ${text}`);
    assert.deepEqual([result.code, result.signal], [code, null], `${how}: ${result.stderr}`);
    assert.deepEqual(channels(), before, how);
  }
  const interrupted = await program("const { Channel } = require('.'); new Channel('ending').receive(); console.log('ready')", [], (child) => {
    child.stdout.once('data', () => child.kill('SIGINT'));
  });
  assert.equal(interrupted.signal, 'SIGINT');
  cleanup();
  assert.deepEqual(channels(), before);
});

test('what is forgotten is closed by the garbage collector', async () => {
  const result = await program(`
    const { Channel, Publisher, list, publish } = require('.');
    (async () => {
      for (let i = 0; i < 20; i++) {
        const channel = new Channel('forgotten');
        new Publisher('forgotten').publish('x');
        await channel.receive();
        channel.once('message', () => {}).removeAllListeners();
      }
      // The timer that looks once a second holds its channel that long.
      for (let tries = 0; tries < 1000 && list().length > 1; tries++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      console.log(list().length <= 1);
    })();`, [], undefined, ['--expose-gc']);
  assert.equal(result.stdout, 'true\n', result.stderr);
});

test('a channel that waits is not garbage', async () => {
  const result = await program(`
    const { Channel, publish } = require('.');
    (() => { new Channel('kept').on('message', (m) => { console.log(m.text); process.exit(); }); })();
    let turns = 0;
    setInterval(() => { gc(); if (++turns === 10) publish('kept', 'still here'); if (turns > 200) process.exit(1); }, 2);`,
    [], undefined, ['--expose-gc']);
  assert.equal(result.stdout, 'still here\n', result.stderr);
});

test('worker threads have channels and publishers of their own', async () => {
  const before = channels();
  const text = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { Channel, publish } = require(workerData.module);
    const channel = new Channel('to.' + workerData.name);
    (async () => {
      parentPort.postMessage('ready');
      for await (const message of channel) {
        publish('from', workerData.name + ' heard ' + message.text);
        // Left open at the end.
        if (message.text === 'end') break;
      }
    })();`;
  const answers = new Channel('from');
  const names = ['a', 'b', 'c'];
  const workers = names.map((name) => new Worker(text, { eval: true, workerData: { module: path.join(__dirname, '..'), name } }));
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  const ended = workers.map((worker) => once(worker, 'exit'));
  for (const name of names) {
    for (let i = 0; i < 100; i++) publish(`to.${name}`, String(i));
    publish(`to.${name}`, 'end');
  }
  const heard = { a: [], b: [], c: [] };
  for (let i = 0; i < 303; i++) {
    const [, name, what] = /^(.) heard (.*)$/.exec((await answers.receive()).text);
    heard[name].push(what);
  }
  const expected = [...Array.from({ length: 100 }, (_, i) => String(i)), 'end'];
  assert.deepEqual(heard, { a: expected, b: expected, c: expected });
  for (const [code] of await Promise.all(ended)) assert.equal(code, 0);
  answers.close();
  assert.deepEqual(channels(), before);
});

test('a worker that is terminated while it waits harms nobody', async () => {
  const result = await program(`
    const { Worker } = require('node:worker_threads');
    const { Channel, publish } = require('.');
    (async () => {
      for (let i = 0; i < 5; i++) {
        const worker = new Worker("const { Channel } = require('.'); const c = new Channel('gone'); c.receive(); require('worker_threads').parentPort.postMessage(1)", { eval: true });
        await new Promise((resolve) => worker.once('message', resolve));
        await worker.terminate();
        publish('gone', 'x');
      }
      console.log('fine');
    })();`);
  assert.deepEqual([result.stdout, result.code], ['fine\n', 0], result.stderr);
  cleanup();
  assert.deepEqual(channels().filter((topic) => topic === 'gone'), []);
});

test('a process that is out of descriptors gets an error, and loses nothing', async () => {
  const result = await program(`
    const fs = require('node:fs');
    const { Channel, publish } = require('.');
    const channel = new Channel('limit', { transport: 'files' }); // a ring's messages take no descriptor
    publish('limit', 'x');
    const taken = [];
    try { for (;;) taken.push(fs.openSync('/dev/null')); } catch {}
    channel.receive().then(() => console.log('?'), (error) => {
      console.log(error.code);
      for (const fd of taken) fs.closeSync(fd);
      return channel.receive().then((m) => console.log(m.text));
    });`, [], undefined, [], 100);
  assert.equal(result.stdout, 'PS_ERR_IO\nx\n', result.stderr);
});

test('a library that is not there is an error that says what to do', async () => {
  const result = await program("process.env.PUBSUB_LIBRARY = '/no/such/library.so'; require('.')");
  assert.equal(result.code, 1);
  assert.match(result.stderr, /libpubsub cannot be loaded .*\/no\/such\/library\.so.*PUBSUB_LIBRARY/);
});

