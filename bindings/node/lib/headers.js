'use strict';

// Headers travel as JSON in Python's dialect: with NaN, Infinity and integers of any size, and 21.0 is another type than
// 21. JSON.parse and JSON.stringify know none of these.

const { ps, check, out } = require('./native');
const { refusal, wrongType } = require('./errors');

// As the library has it: deeper JSON is no headers.
const MAX_DEPTH = 1000;

/** A number that is a float for other languages, also when it is whole: `float(21)` travels as 21.0. */
class Float {
  constructor(value) {
    if (typeof value !== 'number') throw wrongType('a float', 'a number', value);
    this.value = value;
    Object.freeze(this);
  }
  valueOf() {
    return this.value;
  }
}

const float = (value) => new Float(value);

function writeFloat(value) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value < 0 ? '-Infinity' : 'Infinity';
  const digits = Object.is(value, -0) ? '-0' : String(value);
  return /[.e]/.test(digits) ? digits : `${digits}.0`;
}

function write(value, name, depth) {
  if (depth > MAX_DEPTH) throw refusal('PS_ERR_INVALID_HEADERS', `header '${name}' is nested deeper than ${MAX_DEPTH}, or holds itself`);
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value);
    case 'number':
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? String(value) : writeFloat(value);
    case 'boolean':
    case 'bigint':
      return String(value);
    case 'object':
      if (value === null) return 'null';
      if (value instanceof Float) return writeFloat(value.value);
      if (Array.isArray(value)) return `[${value.map((item) => write(item, name, depth + 1)).join(', ')}]`;
      if (value instanceof Map || isPlain(value)) return writeEntries(value, name, depth);
  }
  throw wrongType(`header '${name}'`, 'a string, number, bigint, boolean, null, array or plain object', value);
}

function isPlain(value) {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function writeEntries(value, name, depth) {
  const parts = [];
  for (const [key, item] of value instanceof Map ? value : Object.entries(value)) {
    if (typeof key !== 'string') throw wrongType('the name of a header', 'a string', key);
    if (item !== undefined) parts.push(`${JSON.stringify(key)}: ${write(item, name ?? key, depth + 1)}`);
  }
  return `{${parts.join(', ')}}`;
}

function mustBeHeaders(headers) {
  if (typeof headers !== 'object' || !(headers instanceof Map || isPlain(headers))) {
    throw wrongType('headers', 'a plain object or a Map', headers);
  }
}

/** Headers with others in place of those of the same names. */
function marked(headers, others) {
  const all = headers ?? {};
  mustBeHeaders(all);
  return new Map([...(all instanceof Map ? all : Object.entries(all)), ...others]);
}

/** The JSON text of headers; null for none. */
function format(headers) {
  if (headers === undefined || headers === null) return null;
  mustBeHeaders(headers);
  const json = writeEntries(headers, undefined, 0);
  return json === '{}' ? null : json;
}

/** Calls `use` with the library's form of headers, a pointer that is valid until it returns. */
function withHeaders(headers, use) {
  if (headers === undefined || headers === null) return use(null);
  const json = format(headers);
  if (json === null) return use(null);
  const utf8 = Buffer.from(json);
  check(ps.headersParse(utf8, utf8.length, out));
  const handle = out[0];
  try {
    return use(handle);
  } finally {
    ps.headersFree(handle);
  }
}

/** Reads what JSON.parse does not: one token after the other, nesting on a stack of its own. */
class Reader {
  constructor(json) {
    this.json = json;
    this.token =
      /[ \t\r\n]*(?:([{}[\],:])|("[^"\\]*(?:\\.[^"\\]*)*")|(-?(?:0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?)|(true|false|null|NaN|-?Infinity))[ \t\r\n]*/sy;
  }

  next() {
    const found = this.token.exec(this.json);
    if (!found) throw new SyntaxError('not JSON');
    return found;
  }

  value(found, depth) {
    const [, mark, string, number, fraction, exponent, word] = found;
    if (depth > MAX_DEPTH) throw new SyntaxError('too deep');
    if (string !== undefined) return JSON.parse(string);
    if (number !== undefined) {
      const value = Number(number);
      return fraction || exponent || Number.isSafeInteger(value) ? value : BigInt(number);
    }
    if (word !== undefined) {
      return { true: true, false: false, null: null, NaN, Infinity, '-Infinity': -Infinity }[word];
    }
    if (mark === '[') return this.array(depth);
    if (mark === '{') return this.object(depth);
    throw new SyntaxError('not JSON');
  }

  array(depth) {
    const items = [];
    let found = this.next();
    if (found[1] === ']') return items;
    for (;;) {
      items.push(this.value(found, depth + 1));
      found = this.next();
      if (found[1] === ']') return items;
      if (found[1] !== ',') throw new SyntaxError('not JSON');
      found = this.next();
    }
  }

  object(depth) {
    const object = {};
    let found = this.next();
    if (found[1] === '}') return object;
    for (;;) {
      if (found[2] === undefined || this.next()[1] !== ':') throw new SyntaxError('not JSON');
      const value = this.value(this.next(), depth + 1);
      // Not an assignment: a header may be called __proto__.
      Object.defineProperty(object, JSON.parse(found[2]), { value, enumerable: true, writable: true, configurable: true });
      found = this.next();
      if (found[1] === '}') return object;
      if (found[1] !== ',') throw new SyntaxError('not JSON');
      found = this.next();
    }
  }

  document() {
    const value = this.value(this.next(), 0);
    if (this.token.lastIndex !== this.json.length) throw new SyntaxError('not JSON');
    return value;
  }
}

/** The headers of a message; empty when they are no JSON object. */
function parse(json) {
  if (json === '{}') return {};
  try {
    // Sixteen digits in a row may be an integer that a double does not hold.
    const value = /\d{16}|NaN|Infinity/.test(json) ? new Reader(json).document() : JSON.parse(json);
    return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {};
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return {};
    throw error;
  }
}

module.exports = { Float, float, format, marked, parse, withHeaders };
