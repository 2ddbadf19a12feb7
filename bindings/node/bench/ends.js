// The two ends of each kind. Run as a program it is the receiving one.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { Channel, Publisher } = require('..');
const zeromq = require('zeromq');

const BATCH = 256;

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

exports.pubsub = {
  async sender(address, way) {
    const publisher = new Publisher('bench.there');
    const answers = way === 'echo' ? new Channel('bench.back') : null;
    const send = {
      async single(payload, count) {
        for (let i = 0; i < count; i++) await whenThereIsRoom(() => publisher.publish(payload));
      },
      async batch(payload, count) {
        const batch = Array(BATCH).fill(payload);
        for (let left = count; left > 0; ) left -= await whenThereIsRoom(() => publisher.publishBatch(batch.slice(0, left)));
      },
      async echo(payload, count) {
        for (let i = 0; i < count; i++) {
          publisher.publish(payload);
          await answers.receive();
        }
      },
    };
    const close = () => {
      publisher.close();
      answers?.close();
    };
    return { send: send[way], close };
  },

  async receive({ count, way }, ready) {
    const channel = new Channel('bench.there');
    const back = way === 'echo' ? new Publisher('bench.back') : null;
    ready();
    for (let i = 0; i < count; i++) {
      const message = await channel.receive();
      if (back !== null) back.publish(message.content);
    }
    channel.close();
  },
};

// PUSH and PULL, since PUB drops what a slow subscriber does not take. zeromq.js sends no batches: many
// parts of one message come nearest.
exports.zeromq = {
  async sender(address, way) {
    const socket = way === 'echo' ? new zeromq.Pair() : new zeromq.Push({ sendHighWaterMark: 1000 });
    socket.connect(address);
    const send = {
      async single(payload, count) {
        for (let i = 0; i < count; i++) await socket.send(payload);
      },
      async batch(payload, count) {
        for (let left = count; left > 0; left -= BATCH) await socket.send(Array(Math.min(BATCH, left)).fill(payload));
      },
      async echo(payload, count) {
        for (let i = 0; i < count; i++) {
          await socket.send(payload);
          await socket.receive();
        }
      },
    };
    return { send: send[way], close: () => socket.close() };
  },

  async receive({ count, way, address }, ready) {
    const socket = way === 'echo' ? new zeromq.Pair() : new zeromq.Pull();
    await socket.bind(address);
    ready();
    for (let received = 0; received < count; ) {
      const parts = await socket.receive();
      received += parts.length;
      if (way === 'echo') await socket.send(parts);
    }
    socket.close();
  },
};

if (require.main === module) {
  const scenario = JSON.parse(process.argv[2]);
  exports[scenario.kind]
    .receive(scenario, () => process.send('ready'))
    .then(() => process.send('done'))
    .catch((error) => {
      console.error(error);
      process.exit(1);
    });
}
