'use strict';

// Managed topics: topics that keep a history.

const { ps, check, topicList, sizes } = require('./native');
const { history } = require('./message');
const { refusal } = require('./errors');
const args = require('./arguments');

/** Makes a topic that keeps a history. */
function createTopic(topic, options) {
  args.topic(topic);
  const names = ['historyMessages', 'historyBytes', 'historyTtl', 'home'];
  const o = args.options('the options of a topic', options, names);
  if (o.historyTtl === 0) {
    throw refusal('PS_ERR_INVALID_ARGUMENT', 'historyTtl must be more than 0; leave it out for no limit of age');
  }
  const settings = {
    size: sizes.topic,
    history_messages: args.count('historyMessages', o.historyMessages, args.LARGEST_U32),
    history_bytes: args.count('historyBytes', o.historyBytes),
    history_ttl_ms: args.count('historyTtl', o.historyTtl),
    home: args.optionalText('home', o.home),
  };
  check(ps.topicCreate(topic, settings));
}

/** Deletes a managed topic and its history. */
function deleteTopic(topic, options) {
  args.topic(topic);
  const { home } = args.options('the options of deleteTopic', options, ['home']);
  check(ps.topicDelete(topic, args.optionalText('home', home)));
}

/** The managed topics of a store. */
function topics(home) {
  return topicList(args.optionalText('home', home));
}

/** The last messages of a managed topic, oldest first. */
function topicHistory(topic, options) {
  args.topic(topic);
  const { last = args.LARGEST_U32, home } = args.options('the options of topicHistory', options, ['last', 'home']);
  return history(topic, args.home(home), args.count('last', last, args.LARGEST_U32));
}

module.exports = { createTopic, deleteTopic, topicHistory, topics };
