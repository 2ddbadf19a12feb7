// The two ends of each kind. Run as a program it is the receiving one.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { Channel, Publisher } = require('..');
const zeromq = require('zeromq');

const BATCH = 256;

function look(content, size) {
  if (content.length !== size) throw new Error(`${content.length} bytes came instead of ${size}`);
}

exports.pubsub = {
  async sender(address, way) {
    const publisher = new Publisher('bench.there');
    const answers = way === 'echo' ? new Channel('bench.back') : null;
    const send = {
      // Publishing is a call that returns, and a full channel an error: then the program waits for something.
      async single(payload, count) {
        for (let i = 0; i < count; ) {
          try {
            publisher.publish(payload);
            i++;
          } catch (error) {
            if (error.code !== 'PS_ERR_QUEUE_FULL') throw error;
            await sleep(1);
          }
        }
      },
      async batch(payload, count) {
        let batch = Array(BATCH).fill(payload);
        for (let left = count; left > 0; ) {
          if (left < BATCH) batch = batch.slice(0, left);
          try {
            left -= publisher.publishBatch(batch);
          } catch (error) {
            if (error.code !== 'PS_ERR_QUEUE_FULL') throw error;
            await sleep(1);
          }
        }
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

  async receive({ count, size, way }, ready) {
    const channel = new Channel('bench.there');
    const back = way === 'echo' ? new Publisher('bench.back') : null;
    ready();
    for (let received = 0; received < count; ) {
      if (way === 'batch') {
        const messages = await channel.receiveBatch();
        for (const message of messages) look(message.content, size);
        received += messages.length;
        continue;
      }
      const message = await channel.receive();
      look(message.content, size);
      received++;
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

  async receive({ count, size, way, address }, ready) {
    const socket = way === 'echo' ? new zeromq.Pair() : new zeromq.Pull();
    await socket.bind(address);
    ready();
    for (let received = 0; received < count; ) {
      const parts = await socket.receive();
      for (const part of parts) look(part, size);
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
