'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { setImmediate: turn } = require('node:timers/promises');
const { spawn } = require('node:child_process');
const { test } = require('node:test');
const { Worker } = require('node:worker_threads');
const { ownStore, program } = require('./helpers');

const store = ownStore();
const { Channel, Publisher, publish, request } = require('..');

const SOON = { timeout: 120000 };

/** Answers what comes to a pattern with "re " and its content, until it is closed. */
function serve(pattern, options) {
  const channel = new Channel(pattern, options);
  channel.on('message', (message) => message.reply(`re ${message.text}`));
  return channel;
}

const inboxes = (home = store) => fs.readdirSync(home).filter((name) => name.startsWith('reply.'));

test('a reply answers its request', async () => {
  const channel = new Channel('rpc.=');
  channel.on('message', (message) => {
    assert.equal(message.headers.n, 5);
    assert.notEqual(message.headers['correlation-id'], 'passed on');
    assert.equal(message.reply(message.text.toUpperCase(), { ok: true, 'correlation-id': null }), 1);
  });
  const publisher = new Publisher('rpc.a');
  const headers = { n: 5, 'correlation-id': 'passed on' };
  for (const ask of [
    () => request('rpc.a', 'question', headers, SOON),
    () => request('rpc.a', 'question', new Map(Object.entries(headers))),
    () => publisher.request('question', headers, SOON),
  ]) {
    const reply = await ask();
    assert.equal(reply.text, 'QUESTION');
    assert.equal(reply.headers.ok, true);
  }
  publisher.close();
  channel.close();
});

test('nobody listens, or nothing can be asked', async () => {
  await assert.rejects(request('rpc.nobody', 'x'), { code: 'PS_ERR_NOT_FOUND', errno: -6, message: /'rpc\.nobody'/ });
  const publisher = new Publisher('rpc.nobody');
  await assert.rejects(publisher.request('x'), { code: 'PS_ERR_NOT_FOUND' });
  publisher.close();
  await assert.rejects(publisher.request('x'), { code: 'PS_ERR_CLOSED' });
  await assert.rejects(request('no topic', 'x'), { code: 'PS_ERR_INVALID_TOPIC' });
  await assert.rejects(request('rpc.nobody', 5), TypeError);
  await assert.rejects(request('rpc.nobody', 'x', 'headers'), TypeError);
  await assert.rejects(request('rpc.nobody', 'x', null, { timeout: -1 }), { code: 'PS_ERR_INVALID_ARGUMENT' });
  await assert.rejects(request('rpc.nobody', 'x', null, { signal: 5 }), TypeError);
  await assert.rejects(request('rpc.nobody', 'x', null, { patience: 5 }), { code: 'PS_ERR_INVALID_ARGUMENT' });
});

test('a late reply answers no other request', async () => {
  const channel = new Channel('rpc.late');
  assert.equal(await request('rpc.late', 'late', null, { timeout: 0 }), null);
  assert.equal(await request('rpc.late', 'late', null, { timeout: 5 }), null);
  const controller = new AbortController();
  const aborted = request('rpc.late', 'late', null, { signal: controller.signal });
  await turn();
  controller.abort(new Error('enough'));
  await assert.rejects(aborted, { message: 'enough' });
  await assert.rejects(request('rpc.late', 'never asked', null, { signal: controller.signal }), { message: 'enough' });
  const late = channel.fetchBatch();
  assert.equal(late.length, 3);
  const asked = request('rpc.late', 'now', null, SOON);
  const now = await channel.receive();
  for (const message of late) assert.equal(message.reply('late'), 1);
  now.reply('right');
  assert.equal((await asked).text, 'right');
  assert.equal(now.reply('a second one'), 1);
  channel.close();
});

test('a thousand requests share one inbox', async () => {
  const channel = new Channel('rpc.thousand');
  const publisher = new Publisher('rpc.thousand');
  const asked = Array.from({ length: 1000 }, (_, i) =>
    i % 2 ? publisher.request(String(i)) : request('rpc.thousand', String(i), null, SOON),
  );
  const messages = [];
  while (messages.length < 1000) messages.push(...(await channel.receiveBatch()));
  assert.equal(inboxes().length, 1);
  for (const message of messages.reverse()) assert.equal(message.reply(`re ${message.text}`), 1);
  const replies = await Promise.all(asked);
  assert.deepEqual(
    replies.map((reply) => reply.text),
    Array.from({ length: 1000 }, (_, i) => `re ${i}`),
  );
  publisher.close();
  channel.close();
});

test('a replier may ask first', async () => {
  const back = serve('rpc.back');
  const front = new Channel('rpc.front');
  front.on('message', async (message) => message.reply((await request('rpc.back', message.text)).content));
  assert.equal((await request('rpc.front', 'x', null, SOON)).text, 're x');
  back.close();
  front.close();
});

test('an inbox that somebody deletes is made anew', async () => {
  const channel = serve('rpc.deleted');
  const silent = new Channel('rpc.silent');
  for (let i = 0; i < 3; i++) {
    assert.equal((await request('rpc.deleted', 'x', null, SOON)).text, 're x');
    // Who waits meanwhile is told.
    const told = assert.rejects(request('rpc.silent', 'x'), { code: 'PS_ERR_CORRUPT' });
    await silent.receive();
    for (const name of inboxes()) fs.rmSync(path.join(store, name), { recursive: true });
    await told;
  }
  channel.close();
  silent.close();
});

test('requests and replies in another store', async () => {
  const home = path.join(store, '..', `${path.basename(store)}-other`);
  const channel = serve('rpc.a', { home });
  const publisher = new Publisher('rpc.a', { home });
  assert.equal((await publisher.request('x', null, SOON)).text, 're x');
  assert.equal(inboxes(home).length, 1);
  await assert.rejects(request('rpc.a', 'x'), { code: 'PS_ERR_NOT_FOUND' });
  publisher.close();
  channel.close();
  fs.rmSync(home, { recursive: true });
});

test('what asks for no reply gets none', async () => {
  const channel = new Channel('rpc.none');
  const answers = new Channel('rpc.answers');
  for (const [headers, code] of [
    [{}, 'PS_ERR_INVALID_ARGUMENT'],
    [{ 'response-topic': 5 }, 'PS_ERR_INVALID_ARGUMENT'],
    [{ 'response-topic': 'a.+' }, 'PS_ERR_INVALID_TOPIC'],
  ]) {
    publish('rpc.none', 'x', headers);
    assert.throws(() => channel.fetch().reply('y'), { code });
  }
  for (const id of ['1', 17, null, 2n ** 70n, [1, { a: 2 }]]) {
    publish('rpc.none', 'x', { 'response-topic': 'rpc.answers', 'correlation-id': id });
    channel.fetch().reply('y');
    assert.deepEqual(answers.fetch().headers, { 'correlation-id': id });
  }
  channel.close();
  answers.close();
});

test('a process ends though it has asked, and leaves nothing', async () => {
  const channel = serve('rpc.exit');
  const silent = new Channel('rpc.silent');
  const { code, stdout, stderr } = await program(`
    const { request } = require('.');
    request('rpc.exit', 'x').then((reply) => {
      console.log(reply.text);
    });
    setTimeout(() => {}, 50);
  `);
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 're x\n', stderr: '' });
  // In the midst of a request.
  const amid = await program(`
    require('.').request('rpc.silent', 'x');
    setImmediate(() => process.exit(3));
  `);
  assert.deepEqual([amid.code, amid.stderr], [3, '']);
  assert.equal(inboxes().length, inboxes().filter((name) => name.endsWith(`_${process.pid}`)).length);
  channel.close();
  silent.close();
});

test('worker threads ask, too', async () => {
  const channel = serve('rpc.worker');
  const replies = await Promise.all(
    Array.from(
      { length: 3 },
      (_, i) =>
        new Promise((resolve, reject) => {
          const worker = new Worker(
            `const { parentPort, workerData } = require('node:worker_threads');
             require('.').request('rpc.worker', workerData).then((reply) => parentPort.postMessage(reply.text));`,
            { eval: true, workerData: String(i) },
          );
          worker.on('error', reject);
          worker.on('message', (text) => worker.on('exit', () => resolve(text)));
        }),
    ),
  );
  assert.deepEqual(replies, ['re 0', 're 1', 're 2']);
  channel.close();
});

const python = process.env.PUBSUB_FORMIX_PYTHON;

test('formix-pubsub on either side', { skip: python ? false : 'PUBSUB_FORMIX_PYTHON is not set' }, async () => {
  const formix = (text) => {
    const child = spawn(python, ['-u', '-c', text], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdout.setEncoding('utf8');
    return child;
  };
  const server = formix(`
from pubsub import Channel, publish, fetch
import time
with Channel(topic="rpc.formix") as channel:
    print("ready")
    while (request := fetch(channel)) is None:
        time.sleep(0.001)
    headers = {"correlation-id": request.headers["correlation-id"]}
    publish(request.headers["response-topic"], b"Processed: " + request.content, headers=headers)
`);
  await new Promise((resolve) => server.stdout.once('data', resolve));
  assert.equal((await request('rpc.formix', 'Calculate 2 + 2', null, SOON)).text, 'Processed: Calculate 2 + 2');
  const channel = serve('rpc.ours');
  const client = formix(`
from pubsub import Channel, publish, fetch
import time
with Channel(topic="rpc.responses.client1") as channel:
    publish("rpc.ours", b"x", headers={"response-topic": "rpc.responses.client1", "correlation-id": "1763"})
    while (reply := fetch(channel)) is None:
        time.sleep(0.001)
    print(f"{reply.content} {reply.headers}")
`);
  const said = await new Promise((resolve) => client.stdout.once('data', resolve));
  assert.equal(said.trim(), "b're x' {'correlation-id': '1763'}");
  channel.close();
});
