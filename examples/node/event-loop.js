// A channel beside other events: publishes each line of the standard input, prints what others (and it itself) publish,
// and how often its clock ticked. Ends with its input: node event-loop.js PATTERN TOPIC
'use strict';

const readline = require('node:readline');
const { Channel, publish } = require('pubsub');

const [pattern, topic] = process.argv.slice(2);
if (topic === undefined) {
  console.error('usage: node event-loop.js PATTERN TOPIC');
  process.exit(2);
}

const channel = new Channel(pattern);
channel.on('message', (message) => console.log(`${message.topic}: ${message.text}`));
channel.on('error', (error) => console.error(error.message));

let ticks = 0;
const clock = setInterval(() => ticks++, 100);

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => publish(topic, line));
lines.on('close', () => {
  // Once what was just published has been printed.
  setImmediate(function end() {
    const { unreadMessages, prefetched } = channel.stats();
    if (unreadMessages + prefetched > 0) return setImmediate(end);
    clearInterval(clock);
    channel.close();
    console.error(`the clock ticked ${ticks} times`);
  });
});
console.error(`listening on ${pattern}`);
