'use strict';

const { ps, check, channelList, sizes } = require('./native');
const args = require('./arguments');

/** The default store's directory. */
function home() {
  return ps.home();
}

/** The library's version. */
function version() {
  return ps.version();
}

/** The channels of a store, dead ones marked. */
function list(home) {
  return channelList(args.optionalText('home', home));
}

/** Removes what dead processes left in a store; answers how many channels that were. */
function cleanup(home) {
  return Number(check(ps.cleanup(args.optionalText('home', home))));
}

/** Makes a store, for instance one that a group shares. */
function createStore(home, options) {
  const { mode, group } = args.options('the options of a store', options, ['mode', 'group']);
  const settings = { size: sizes.store, mode: args.count('mode', mode, 0o7777), group: args.optionalText('group', group) };
  check(ps.storeCreate(args.optionalText('home', home), settings));
}

module.exports = { cleanup, createStore, home, list, version };
