// The C interface through ffi-napi, for programs that have it already: node ffi-napi.js PATTERN [COUNT]
//
// The package `pubsub` does all this with koffi, at a hundredth of the cost of a call; ffi-napi also crashes in worker
// threads. It is installed without its install script: npm install --ignore-scripts ffi-napi ref-napi
'use strict';

const net = require('node:net');
const ffi = require('ffi-napi');

const ps = ffi.Library(process.env.PUBSUB_LIBRARY ?? 'libpubsub.so.0', {
  ps_last_error: ['string', []],
  ps_publish: ['int', ['string', 'pointer', 'size_t', 'pointer']],
  ps_channel_open: ['int', ['string', 'pointer', 'pointer']],
  ps_channel_close: ['int', ['pointer']],
  ps_channel_fd: ['int', ['pointer']],
  ps_channel_feed: ['int', ['pointer', 'pointer', 'size_t']],
  ps_fetch_packed: ['int', ['pointer', 'pointer', 'size_t', 'int64', 'pointer']],
});
const libc = ffi.Library(null, { dup: ['int', ['int']] });

function check(answer) {
  if (answer < 0) throw new Error(ps.ps_last_error());
  return answer;
}

const [pattern = 'news.+', count = '1'] = process.argv.slice(2);
const out = Buffer.alloc(8);
check(ps.ps_channel_open(pattern, null, out));
const channel = out.readPointer(0);

// Many messages in one call, without a struct to describe: see ps_packed_record in pubsub.h.
const records = Buffer.alloc(64 * 1024);
function fetch() {
  const messages = [];
  const found = check(ps.ps_fetch_packed(channel, records, records.length, 0, out));
  for (let i = 0, at = 0; i < found; i++) {
    const topicAt = at + 72;
    const headersAt = topicAt + records.readUInt32LE(at + 56);
    const headersEnd = headersAt + records.readUInt32LE(at + 60);
    const dataAt = Math.ceil(headersEnd / 8) * 8;
    messages.push({
      topic: records.toString('utf8', topicAt, headersAt),
      headers: records.toString('utf8', headersAt, headersEnd),
      text: records.toString('utf8', dataAt, dataAt + Number(records.readBigUInt64LE(at + 48))),
    });
    at += Number(records.readBigUInt64LE(at));
  }
  return messages;
}

let left = Number(count);
function drain() {
  for (let messages = fetch(); messages.length > 0 && left > 0; messages = fetch()) {
    for (const { topic, headers, text } of messages.slice(0, left)) {
      console.log(topic, headers, text);
      left--;
    }
  }
  if (left > 0) return;
  // Of another topic, so that the channel does not hear it.
  const done = Buffer.from('done');
  check(ps.ps_publish('ffi-napi.done', done, done.length, null));
  bell.destroy();
  check(ps.ps_channel_close(channel));
}

// Node waits by reading: what it read goes back before the next fetch. The socket closes its descriptor, so it gets a
// copy.
const bell = new net.Socket({ fd: libc.dup(check(ps.ps_channel_fd(channel))), readable: true, writable: false });
bell.on('data', (bytes) => {
  check(ps.ps_channel_feed(channel, bytes, bytes.length));
  drain();
});
console.error(`listening on ${pattern}`);
drain();
