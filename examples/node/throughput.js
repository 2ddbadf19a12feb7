// How fast one thread publishes and another receives: node throughput.js [MESSAGES [BYTES]]
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { Worker, isMainThread, workerData } = require('node:worker_threads');
const { Channel, Publisher } = require('pubsub');

const BATCH = 256;

/** Waits while the receiver is behind, and leaves the event loop free meanwhile. */
async function whenThereIsRoom(publish) {
  for (;;) {
    try {
      return publish();
    } catch (error) {
      if (error.code !== 'PS_ERR_QUEUE_FULL') throw error;
      await sleep(1);
    }
  }
}

const ways = {
  'one by one': async (publisher, payload, count) => {
    for (let i = 0; i < count; i++) await whenThereIsRoom(() => publisher.publish(payload));
  },
  'in batches': async (publisher, payload, count) => {
    const batch = Array(BATCH).fill(payload);
    for (let left = count; left > 0; ) left -= await whenThereIsRoom(() => publisher.publishBatch(batch.slice(0, left)));
  },
  packed: async (publisher, payload, count) => {
    const data = Buffer.concat(Array(BATCH).fill(payload));
    const lengths = new Uint32Array(BATCH).fill(payload.length);
    for (let left = count; left > 0; ) left -= await whenThereIsRoom(() => publisher.publishPacked(data, lengths.subarray(0, left)));
  },
};

async function publishing({ way, count, size }) {
  const publisher = new Publisher('throughput');
  await ways[way](publisher, Buffer.alloc(size), count);
  publisher.close();
}

async function receiving(count, size) {
  for (const way of Object.keys(ways)) {
    const channel = new Channel('throughput');
    const began = performance.now();
    const worker = new Worker(__filename, { workerData: { way, count, size } });
    let failed = null;
    worker.on('error', (error) => {
      failed = error;
      channel.close();
    });
    let received = 0;
    while (received < count) received += (await channel.receiveBatch().catch((error) => Promise.reject(failed ?? error))).length;
    const seconds = (performance.now() - began) / 1000;
    channel.close();
    console.log(`${way}: ${Math.round(received / seconds)} messages a second`);
  }
}

if (isMainThread) receiving(Number(process.argv[2] ?? 20000), Number(process.argv[3] ?? 64));
else publishing(workerData);
