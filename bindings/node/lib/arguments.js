'use strict';

const path = require('node:path');
const { types } = require('node:util');
const { refusal, wrongType } = require('./errors');

/** A string that the library takes up to its NUL: it must not hold one of its own. */
function text(what, value, code = 'PS_ERR_INVALID_ARGUMENT') {
  if (typeof value !== 'string') throw wrongType(what, 'a string', value);
  if (value.includes('\0')) throw refusal(code, `${what} ${JSON.stringify(value)} holds a NUL`);
  return value;
}

/** The same, where undefined means the default. */
function optionalText(what, value) {
  return value === undefined || value === null ? null : text(what, value);
}

function topic(value) {
  return text('a topic', value, 'PS_ERR_INVALID_TOPIC');
}

/** A content as bytes; it is copied only when it is text. */
function bytes(data) {
  if (typeof data === 'string') return Buffer.from(data);
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (types.isAnyArrayBuffer(data)) return new Uint8Array(data);
  throw wrongType('a content', 'a string, a Buffer, a typed array, a DataView or an ArrayBuffer', data);
}

/** An integer of 0 or more that JavaScript holds exactly; 0 when undefined. */
function count(what, value, max = Number.MAX_SAFE_INTEGER) {
  if (value === undefined) return 0;
  if (typeof value !== 'number') throw wrongType(what, 'a number', value);
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw refusal('PS_ERR_INVALID_ARGUMENT', `${what} must be an integer from 0 to ${max}, not ${value}`);
  }
  return value;
}

const LARGEST_U32 = 2 ** 32 - 1;

/** An unsigned integer of 64 bits: a bigint, or a number that holds it exactly. */
function word(what, value) {
  if (typeof value === 'number') return BigInt(count(what, value));
  if (typeof value !== 'bigint') throw wrongType(what, 'a bigint', value);
  if (BigInt.asUintN(64, value) !== value) {
    throw refusal('PS_ERR_INVALID_ARGUMENT', `${what} must be from 0 to 2^64 - 1, not ${value}`);
  }
  return value;
}

/** A store's directory that stays what it is, whatever the working directory will be; undefined: the default one. */
function home(value) {
  return value === undefined || value === null ? undefined : path.resolve(text('home', value));
}

function oneOf(what, value, names) {
  if (value === undefined) return 0;
  const index = names.indexOf(value);
  if (index < 0) {
    const known = names.map((name) => `'${name}'`).join(', ');
    throw refusal('PS_ERR_INVALID_ARGUMENT', `${what} must be one of ${known}, not ${String(value)}`);
  }
  return index;
}

/** Options as an object that has no names but these. */
function options(what, value, names) {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object') throw wrongType(what, 'an object', value);
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) {
      throw refusal('PS_ERR_INVALID_ARGUMENT', `${what} have no '${name}'; they have ${names.join(', ')}`);
    }
  }
  return value;
}

// The longest that Node's timers can wait.
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** How long to wait: { signal, timeout }, both undefined when without end. */
function patience(what, value) {
  const { signal, timeout } = options(what, value, ['signal', 'timeout']);
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw wrongType('signal', 'an AbortSignal', signal);
  if (timeout === undefined || timeout === Infinity) return { signal };
  return { signal, timeout: count('timeout', timeout, LONGEST_TIMEOUT_MS) };
}

module.exports = { LARGEST_U32, bytes, count, home, oneOf, optionalText, options, patience, text, topic, word };
