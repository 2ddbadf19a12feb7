import pubsub from './lib/index.js';

export const {
  Channel,
  Float,
  Message,
  PubSubError,
  Publisher,
  cleanup,
  createStore,
  createTopic,
  deleteTopic,
  float,
  home,
  lastRejected,
  list,
  publish,
  request,
  topicHistory,
  topics,
  version,
} = pubsub;
export default pubsub;
