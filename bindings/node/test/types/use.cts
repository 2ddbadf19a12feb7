// Compiled, not run: the same package for CommonJS.
import pubsub = require('pubsub');

export async function use(): Promise<void> {
  const channel: pubsub.Channel = new pubsub.Channel('news.+');
  const options: pubsub.ChannelOptions = {};
  for await (const message of channel) console.log(message.id + 1n, options);
  pubsub.publish('news.sport', 'x', null);
}
