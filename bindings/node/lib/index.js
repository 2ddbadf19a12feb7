'use strict';

const { Channel } = require('./channel');
const { Message } = require('./message');
const { Publisher, lastRejected, publish } = require('./publisher');
const { Float, float } = require('./headers');
const { PubSubError } = require('./errors');
const { request } = require('./rpc');
const { cleanup, createStore, home, list, version } = require('./store');

module.exports = {
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
};
