// Prints what matches, until Ctrl-C or a number of messages: node subscribe.mjs PATTERN [COUNT]
import { Channel } from 'pubsub';

const [pattern, count = Infinity] = process.argv.slice(2);
if (pattern === undefined) {
  console.error('usage: node subscribe.mjs PATTERN [COUNT]');
  process.exit(2);
}

const channel = new Channel(pattern);
// Closing it ends the loop below.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => channel.close());
console.error(`listening on ${channel.topic}`);

let seen = 0;
for await (const message of channel) {
  console.log(message.topic, message.headersJson, message.text);
  for (const [name, value] of Object.entries(message.headers)) console.log(`  ${name}: ${value} (${typeof value})`);
  if (++seen >= Number(count)) channel.close();
}
