// Prints what came to a topic since it ran last, whether or not it ran when that was published: the topic keeps a history, and
// the file keeps the place in it. The first time, the last ten messages: node history.js TOPIC FILE
'use strict';

const fs = require('node:fs');
const { Channel, createTopic } = require('pubsub');

const [topic, path] = process.argv.slice(2);
if (path === undefined) {
  console.error('usage: node history.js TOPIC FILE');
  process.exit(2);
}

try {
  createTopic(topic, { historyMessages: 1000 });
} catch (error) {
  if (error.code !== 'PS_ERR_EXISTS') throw error;
}

let place;
if (fs.existsSync(path)) {
  const [epoch, offset] = fs.readFileSync(path, 'utf8').trim().split(' ').map(BigInt);
  place = { epoch, offset };
}

const channel = new Channel(topic, place ? { resume: place } : { replayLast: 10 });
for (let message = channel.fetch(); message; message = channel.fetch()) {
  if (message.kind !== 'data') continue; // the topic has just been deleted
  if (place && message.epoch !== place.epoch) console.log('(the topic was created anew)');
  if (message.droppedBefore > 0) console.log(`(${message.droppedBefore} before this are not kept any more)`);
  console.log(`${message.offset} ${message.text}`);
  place = message; // its epoch and offset
}
channel.close();
if (place) fs.writeFileSync(path, `${place.epoch} ${place.offset}\n`);
