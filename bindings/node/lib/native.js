'use strict';

// The library and its functions. koffi takes numbers for pointers and trusts them, so nothing from outside reaches these
// functions before its type was checked (arguments.js), and no handle after it was closed.

const fs = require('node:fs');
const path = require('node:path');
const koffi = require('koffi');
const { PubSubError } = require('./errors');

/** Where the library may be, in the order in which it is looked for. */
function candidates() {
  if (process.env.PUBSUB_LIBRARY) return [process.env.PUBSUB_LIBRARY];
  const root = path.join(__dirname, '..', '..', '..');
  // Inside the repository, what was built there; a package that was installed elsewhere has no Cargo.toml above it.
  const built = fs.existsSync(path.join(root, 'Cargo.toml'))
    ? [process.env.CARGO_TARGET_DIR ?? path.join(root, 'target'), path.join(root, 'build')]
    : [];
  const files = built.map((directory) => path.join(directory, 'release', 'libpubsub.so'));
  return [...files.filter((file) => fs.existsSync(file)), 'libpubsub.so.0'];
}

function load() {
  const failures = [];
  for (const file of candidates()) {
    try {
      return koffi.load(file);
    } catch (error) {
      failures.push(`${file}: ${error.message}`);
    }
  }
  throw new Error(
    `libpubsub cannot be loaded (${failures.join('; ')}). Install it (make install in its repository, then ldconfig), ` +
      "or name the file in the environment's PUBSUB_LIBRARY.",
  );
}

const lib = load();

const STORE_OPTIONS = koffi.struct({ size: 'uint32_t', mode: 'uint32_t', group: 'const char *' });
const CHANNEL_OPTIONS = koffi.struct({
  size: 'uint32_t',
  full_policy: 'uint32_t',
  transport: 'uint32_t',
  reserved: 'uint32_t',
  capacity_bytes: 'uint64_t',
  capacity_messages: 'uint64_t',
  home: 'const char *',
  replay_last: 'uint32_t',
  resume: 'uint32_t',
  resume_epoch: 'uint64_t',
  resume_offset: 'uint64_t',
});
const PUBLISHER_OPTIONS = koffi.struct({ size: 'uint32_t', full_timeout_ms: 'uint32_t', home: 'const char *' });
const TOPIC_OPTIONS = koffi.struct({
  size: 'uint32_t',
  history_messages: 'uint32_t',
  history_bytes: 'uint64_t',
  history_ttl_ms: 'int64_t',
  home: 'const char *',
});
const TOPIC_STATS = koffi.struct({
  size: 'uint32_t',
  reserved: 'uint32_t',
  topic: 'const char *',
  subscribers: 'uint64_t',
  messages_published: 'uint64_t',
  messages_in_history: 'uint64_t',
  bytes_in_history: 'uint64_t',
  epoch: 'uint64_t',
  next_offset: 'uint64_t',
  created_us: 'int64_t',
});
const STATS = koffi.struct({
  size: 'uint32_t',
  transport: 'uint32_t',
  alive: 'bool',
  foreign: 'bool',
  pid: 'int64_t',
  unread_messages: 'uint64_t',
  unread_bytes: 'uint64_t',
  capacity_messages: 'uint64_t',
  capacity_bytes: 'uint64_t',
  received: 'uint64_t',
  rejected: 'uint64_t',
  dropped: 'uint64_t',
  malformed: 'uint64_t',
  topic: 'const char *',
  path: 'const char *',
});

const options = (type) => koffi.pointer(type);

const ps = {
  version: lib.func('ps_version', 'str', []),
  errorName: lib.func('ps_error_name', 'str', ['int']),
  lastError: lib.func('ps_last_error', 'str', []),
  lastRejected: lib.func('ps_last_rejected', 'uint32_t', []),
  home: lib.func('ps_home', 'str', []),
  storeCreate: lib.func('ps_store_create', 'int', ['str', options(STORE_OPTIONS)]),
  cleanup: lib.func('ps_cleanup', 'int64_t', ['str']),
  headersParse: lib.func('ps_headers_parse', 'int', ['void *', 'size_t', 'void *']),
  headersFree: lib.func('ps_headers_free', 'void', ['void *']),
  channelOpen: lib.func('ps_channel_open', 'int', ['str', options(CHANNEL_OPTIONS), 'void *']),
  channelClose: lib.func('ps_channel_close', 'int', ['void *']),
  channelPath: lib.func('ps_channel_path', 'str', ['void *']),
  channelFd: lib.func('ps_channel_fd', 'int', ['void *']),
  channelFeed: lib.func('ps_channel_feed', 'int', ['void *', 'void *', 'size_t']),
  channelStats: lib.func('ps_channel_stats_get', 'int', ['void *', 'void *']),
  channelList: lib.func('ps_channel_list', 'int64_t', ['str', 'void *']),
  channelListFree: lib.func('ps_channel_list_free', 'void', ['void *', 'size_t']),
  fetchPacked: lib.func('ps_fetch_packed', 'int', ['void *', 'void *', 'size_t', 'int64_t', 'void *']),
  publish: lib.func('ps_publish', 'int', ['str', 'void *', 'size_t', 'void *']),
  publisherOpen: lib.func('ps_publisher_open', 'int', ['str', options(PUBLISHER_OPTIONS), 'void *']),
  publisherPublish: lib.func('ps_publisher_publish', 'int', ['void *', 'void *', 'size_t', 'void *']),
  publisherPublishPacked: lib.func('ps_publisher_publish_packed', 'int64_t', ['void *', 'void *', 'void *', 'size_t', 'void *']),
  publisherClose: lib.func('ps_publisher_close', 'void', ['void *']),
  topicCreate: lib.func('ps_topic_create', 'int', ['str', options(TOPIC_OPTIONS)]),
  topicDelete: lib.func('ps_topic_delete', 'int', ['str', 'str']),
  topicList: lib.func('ps_topic_list', 'int64_t', ['str', 'void *']),
  topicListFree: lib.func('ps_topic_list_free', 'void', ['void *', 'size_t']),
  topicHistory: lib.func('ps_topic_history', 'int64_t', ['str', 'str', 'uint32_t', 'void *']),
  messageListFree: lib.func('ps_message_list_free', 'void', ['void *', 'size_t']),
};

/** The answer of a function of the library, or its error thrown. To be called before anything else asks the library. */
function check(answer) {
  if (answer < 0) throw new PubSubError(ps.lastError(), ps.errorName(answer), answer);
  return answer;
}

// Where functions write one pointer or length. They are read at once, and nothing here runs twice at a time.
const out = new BigUint64Array(1);

/** The handle that an opening function writes. */
function opened(open) {
  check(open(out));
  return out[0];
}

function numbersOf(stats) {
  return {
    topic: stats.topic,
    path: stats.path,
    pid: Number(stats.pid),
    alive: stats.alive,
    foreign: stats.foreign,
    transport: stats.transport === 1 ? 'ring' : 'files',
    unreadMessages: Number(stats.unread_messages),
    unreadBytes: Number(stats.unread_bytes),
    capacityMessages: Number(stats.capacity_messages),
    capacityBytes: Number(stats.capacity_bytes),
    received: Number(stats.received),
    rejected: Number(stats.rejected),
    dropped: Number(stats.dropped),
    malformed: Number(stats.malformed),
  };
}

function channelStats(handle) {
  const memory = Buffer.alloc(koffi.sizeof(STATS));
  memory.writeUInt32LE(memory.length, 0);
  check(ps.channelStats(handle, memory));
  return numbersOf(koffi.decode(memory, STATS));
}

/** What `read` makes of each address of an array that `call` writes and `free` frees. */
function listed(call, free, read) {
  const count = Number(check(call(out)));
  if (count === 0) return [];
  const list = out[0];
  try {
    return Array.from(koffi.decode(list, 'uint64_t', count), (entry) => read(BigInt(entry)));
  } finally {
    free(list, count);
  }
}

function channelList(home) {
  return listed((out) => ps.channelList(home, out), ps.channelListFree, (entry) => numbersOf(koffi.decode(entry, STATS)));
}

function topicList(home) {
  return listed((out) => ps.topicList(home, out), ps.topicListFree, (entry) => {
    const stats = koffi.decode(entry, TOPIC_STATS);
    return {
      topic: stats.topic,
      subscribers: Number(stats.subscribers),
      messagesPublished: Number(stats.messages_published),
      messagesInHistory: Number(stats.messages_in_history),
      bytesInHistory: Number(stats.bytes_in_history),
      epoch: BigInt(stats.epoch),
      nextOffset: BigInt(stats.next_offset),
      createdUs: Number(stats.created_us),
    };
  });
}

/** Each ps_message of a history, as `read(words, bytes)` makes it: its words, and the bytes at an address. */
function topicHistory(topic, home, last, read) {
  const WORDS = 12; // of ps_message
  const bytes = (address, length) => Buffer.from(koffi.decode(address, 'uint8_t', Number(length)));
  return listed((out) => ps.topicHistory(topic, home, last, out), ps.messageListFree, (entry) =>
    read(Array.from(koffi.decode(entry, 'uint64_t', WORDS), BigInt), bytes),
  );
}

let fcntl;

/** Another descriptor of what `fd` is: a socket of Node's closes its own. */
function duplicate(fd) {
  // The C library is in every process already, under whatever name.
  fcntl ??= koffi.load(null).func('int fcntl(int, int, ...)');
  const F_DUPFD_CLOEXEC = 1030; // Linux
  const copy = fcntl(fd, F_DUPFD_CLOEXEC, 'int', 3);
  if (copy < 0) {
    const name = Object.entries(koffi.os.errno).find(([, number]) => number === koffi.errno())?.[0] ?? koffi.errno();
    throw new PubSubError(`a channel's descriptor cannot be duplicated: ${name}; see ulimit -n`, 'PS_ERR_IO', -14);
  }
  return copy;
}

module.exports = {
  ps,
  check,
  out,
  opened,
  channelStats,
  channelList,
  topicList,
  topicHistory,
  duplicate,
  sizes: {
    store: koffi.sizeof(STORE_OPTIONS),
    channel: koffi.sizeof(CHANNEL_OPTIONS),
    publisher: koffi.sizeof(PUBLISHER_OPTIONS),
    topic: koffi.sizeof(TOPIC_OPTIONS),
  },
};
