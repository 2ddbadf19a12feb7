// What a TypeScript program may and may not do with the browser client; compiled, never run.
import { PubSub, PubSubError, type Json, type MessageFrame, type Subscription } from '../../../../src/bin/pubsub/serve/assets/pubsub.js';

const bus = new PubSub('ws://127.0.0.1:8000/ws', { token: 'key', onState: (state, { pause }) => console.log(state, pause) });
const news: Subscription = bus.subscribe(
  'news',
  (message: Json | Uint8Array, frame: MessageFrame, text: string) => console.log(frame.topic, message, text),
  { replayLast: 5, onGap: ({ missed }) => console.log(missed?.toFixed()), onError: (error) => console.log(error.code) },
);
bus.subscribe('few', (message) => console.log(message));

interface Reading {
  celsius: number;
  at?: Date;
}
const reading: Reading = { celsius: 21 };
await bus.publish('climate', reading);
await bus.publish('climate', [reading, null, 'text', 1]);
await bus.publish('climate', null);
// @ts-expect-error: undefined is no JSON.
await bus.publish('climate', undefined);
// @ts-expect-error: a topic is a string.
bus.subscribe(7, () => {});
// @ts-expect-error: there is no such overflow.
bus.subscribe('news', () => {}, { overflow: 'explode' });
// @ts-expect-error: the position is read only.
news.position = null;

try {
  await bus.ping();
} catch (error) {
  if (error instanceof PubSubError) console.log(error.code);
}
news.unsubscribe();
bus.close();
