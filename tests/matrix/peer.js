// The matrix's program in JavaScript: see README.md.
'use strict';

const fs = require('node:fs');
const readline = require('node:readline');
const { Channel, float, publish } = require('../../bindings/node');

const PATIENCE = 20000;
const channels = [];

const hex = (text) => Buffer.from(text).toString('hex');
const unhex = (digits) => Buffer.from(digits, 'hex').toString();

const readers = {
  n: () => null,
  b: (value) => value === '1',
  i: (value) => (Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value)),
  d: (value) => float(Buffer.from(value, 'hex').readDoubleBE()),
  s: unhex,
  // JSON.parse would round an integer beyond 2^53.
  j: (value) => (/^-?\d+$/.test(unhex(value)) ? BigInt(unhex(value)) : JSON.parse(unhex(value))),
};

function readHeaders(list) {
  if (list === '-') return null;
  const headers = new Map();
  for (const item of list.split(',')) {
    const [name, type, value] = item.split(':');
    headers.set(unhex(name), readers[type](value));
  }
  return headers;
}

function writeDouble(value) {
  const bits = Buffer.alloc(8);
  bits.writeDoubleBE(value);
  return `d:${bits.toString('hex')}`;
}

function writeValue(value) {
  if (value === null) return 'n:';
  switch (typeof value) {
    case 'boolean':
      return `b:${Number(value)}`;
    case 'bigint':
      return `i:${value}`;
    case 'number':
      // JavaScript has one type for both: 21.0 is 21 here, as matrix.py knows.
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? `i:${value}` : writeDouble(value);
    case 'string':
      return `s:${hex(value)}`;
    default:
      return `j:${hex(JSON.stringify(value))}`;
  }
}

function writeHeaders(headers) {
  const items = Object.entries(headers).map(([name, value]) => `${hex(name)}:${writeValue(value)}`);
  return items.join(',') || '-';
}

function received(message, path) {
  if (message === null) return 'nothing';
  fs.writeFileSync(path, message.content);
  return `message ${message.topic} ${writeHeaders(message.headers)}`;
}

const commands = {
  open(pattern) {
    channels.push(new Channel(pattern));
    return 'opened';
  },
  async fetch(index, path) {
    return received(await channels[index].receive({ timeout: PATIENCE }), path);
  },
  try(index, path) {
    return received(channels[index].fetch(), path);
  },
  publish(topic, path, headers) {
    return `published ${publish(topic, fs.readFileSync(path), readHeaders(headers))}`;
  },
  close() {
    for (const channel of channels) channel.close();
    return 'closed';
  },
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, ...words] = line.split(' ');
    console.log(await commands[command](...words));
  }
}

main();
