import pubsub from './lib/index.js';

export const {
  Channel,
  Float,
  Message,
  PubSubError,
  Publisher,
  cleanup,
  createStore,
  float,
  home,
  lastRejected,
  list,
  publish,
  request,
  version,
} = pubsub;
export default pubsub;
