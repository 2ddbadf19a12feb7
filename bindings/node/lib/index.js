'use strict';

const { Channel } = require('./channel');
const { Message } = require('./message');
const { Publisher, lastRejected, publish } = require('./publisher');
const { Float, float } = require('./headers');
const { PubSubError } = require('./errors');
const { request } = require('./rpc');
const { cleanup, createStore, home, list, version } = require('./store');
const { createTopic, deleteTopic, topicHistory, topics } = require('./topics');

module.exports = {
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
};
