// Answers each request with its text in capitals, until Ctrl-C or a number of messages: node reply.mjs PATTERN [COUNT]
import { Channel } from 'pubsub';

const [pattern, count = Infinity] = process.argv.slice(2);
if (pattern === undefined) {
  console.error('usage: node reply.mjs PATTERN [COUNT]');
  process.exit(2);
}

const channel = new Channel(pattern);
// Closing it ends the loop below.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => channel.close());
console.error(`listening on ${channel.topic}`);

let seen = 0;
for await (const message of channel) {
  try {
    const taken = message.reply(message.text.toUpperCase());
    console.log(`${message.topic}: ${taken > 0 ? 'answered' : 'too late'}`);
  } catch (error) {
    console.error(error.message); // no request
  }
  if (++seen >= Number(count)) channel.close();
}
