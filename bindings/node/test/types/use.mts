// Compiled, not run: what the types allow and what they refuse, for ES modules.
import { Channel, type Message, Publisher, PubSubError, cleanup, createStore, float, home, list, publish, request } from 'pubsub';
import { createTopic, deleteTopic, topicHistory, topics } from 'pubsub';
import pubsub from 'pubsub';

export async function use(signal: AbortSignal): Promise<void> {
  await using channel = new Channel('news.+', { fullPolicy: 'drop-oldest', capacityMessages: 10, home: home() });
  for await (const message of channel) {
    const id: bigint = message.id;
    const content: Buffer = message.content;
    console.log(id, content, message.headers['minute'], message.date.getTime());
  }
  for await (const message of channel.messages({ signal })) console.log(message.text);
  const certain: Message = await channel.receive();
  const also: Message = await channel.receive({ signal });
  const perhaps: Message | null = await channel.receive({ signal, timeout: 10 });
  const many: Message[] = await channel.receiveBatch(10, { timeout: 5 });
  channel.on('message', (message) => console.log(message.topic.length));
  channel.once('error', (error) => console.log(error.message));
  const prefetched: number = channel.stats().prefetched;
  console.log(certain, also, perhaps, many, prefetched, channel.fetch()?.id, channel.fetchBatch().length);

  const delivered: number = publish('news.sport', new Uint8Array(3), { minute: 90, temperature: float(21), big: 2n ** 64n });
  using publisher = new Publisher('news.sport');
  publisher.publish('3:1', new Map([['ground', 'home']]));
  publisher.publishBatch(['a', Buffer.from('b'), { content: new ArrayBuffer(2), headers: { nested: [1, { a: null }] } }]);
  publisher.publishPacked('abc', [1, 2]);
  pubsub.publish('news.sport', 'x');
  const reply: Message = await request('math.double', '21', { unit: 'm' }, { signal });
  const timely: Message | null = await publisher.request('21', null, { timeout: 100 });
  const taken: number = reply.reply(Buffer.from('42'), new Map([['ok', true]]));
  console.log(timely, taken);
  createTopic('news.sport', { historyMessages: 1000, historyTtl: 86400000 });
  const last: Message | undefined = topicHistory('news.sport', { last: 1, home: home() })[0];
  const offset: bigint | undefined = topics()[0]?.nextOffset;
  new Channel('news.sport', last ? { resume: last } : { replayLast: 10 }).close();
  new Channel('news.sport', { resume: { epoch: 5n, offset: 0 } }).close();
  if (certain.kind === 'topic-deleted') deleteTopic(certain.topic, { home: home() });
  console.log(offset, certain.epoch + certain.offset);
  createStore('/tmp/x', { mode: 0o770, group: 'users' });
  console.log(delivered, cleanup(), list('/tmp/x')[0]?.foreign);
  try {
    publish('x', 'y');
  } catch (error) {
    if (error instanceof PubSubError && error.code === 'PS_ERR_QUEUE_FULL') console.log(error.errno);
  }
}

export function refused(channel: Channel): void {
  // @ts-expect-error a content is not a number
  publish('x', 5);
  // @ts-expect-error nothing else happens when full
  new Channel('x', { fullPolicy: 'block' });
  // @ts-expect-error an id is a bigint
  const id: number = channel.fetch()!.id;
  // @ts-expect-error a timeout may bring nothing
  const message: Promise<Message> = channel.receive({ timeout: 5 });
  // @ts-expect-error a reply may not come in time
  const reply: Promise<Message> = request('x', 'y', null, { timeout: 5 });
  console.log(reply);
  // @ts-expect-error a place has an offset, too
  new Channel('x', { resume: { epoch: 5n } });
  // @ts-expect-error kinds have names
  if (channel.fetch()!.kind === 1) return;
  // @ts-expect-error there is no such code
  if (new PubSubError('', 'PS_ERR_IO', -14).code === 'PS_ERR_NONE') console.log(id, message);
  // @ts-expect-error messages come from channels
  new pubsub.Message();
}
