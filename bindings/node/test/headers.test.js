'use strict';

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { ownStore } = require('./helpers');

ownStore();
const { Channel, float, publish } = require('..');
const { parse } = require('../lib/headers');

function travelled(headers) {
  const channel = new Channel('headers');
  try {
    publish('headers', '', headers);
    return channel.fetch();
  } finally {
    channel.close();
  }
}

test('every type travels', () => {
  const headers = {
    text: 'ü "quoted" \n \u{1f600}',
    nul: 'a\0b',
    integer: -5,
    safe: Number.MAX_SAFE_INTEGER,
    big: 2n ** 63n,
    huge: -(10n ** 40n),
    half: 0.5,
    yes: true,
    no: false,
    nothing: null,
    list: [1, 'a', null, [2n ** 60n], { x: {} }],
    nested: { a: { b: 'c' } },
    __proto_: 1,
    '': 'empty name',
    nan: NaN,
    up: Infinity,
    down: -Infinity,
  };
  assert.deepEqual(travelled(headers).headers, headers);
});

test('a float stays one for other languages', () => {
  const { headers, headersJson } = travelled({ f: float(21), i: 21, zero: -0, large: 2 ** 60, nan: float(NaN), tiny: 1e-7, vast: 1e300 });
  assert.equal(headersJson, '{"f": 21.0, "i": 21, "zero": -0.0, "large": 1.152921504606847e+18, "nan": NaN, "tiny": 1e-07, "vast": 1e+300}');
  assert.deepEqual(headers, { f: 21, i: 21, zero: -0, large: 2 ** 60, nan: NaN, tiny: 1e-7, vast: 1e300 });
});

test('Maps, undefined, and names of JavaScript', () => {
  assert.deepEqual(travelled(new Map([['a', new Map([['b', 1]])]])).headers, { a: { b: 1 } });
  assert.equal(travelled({ a: undefined }).headersJson, '{}');
  assert.equal(travelled(null).headersJson, '{}');
  const hostile = travelled(new Map([['__proto__', 1], ['constructor', 12345678901234567890n]])).headers;
  assert.equal(Object.getOwnPropertyDescriptor(hostile, '__proto__').value, 1);
  assert.equal(Object.getPrototypeOf(hostile), Object.prototype);
  assert.equal(hostile.constructor, 12345678901234567890n);
});

test('what is no header is refused', () => {
  const self = {};
  self.self = self;
  assert.throws(() => publish('x', '', self), { code: 'PS_ERR_INVALID_HEADERS', message: /'self'/ });
  for (const headers of ['{}', 5, [], new Date(), { a: () => {} }, { a: Symbol('s') }, { a: new Date() }, new Map([[1, 2]])]) {
    assert.throws(() => publish('x', '', headers), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  }
});

test('JSON of Python is read, and what is none reads as empty', () => {
  const value = parse('{"big": 12345678901234567890, "n": [NaN, -Infinity, 1.5e3, -0], "t": "\\u00fc\\"NaN", "d": 1, "d": {"x": []}, "e": {}}');
  assert.deepEqual(value, { big: 12345678901234567890n, n: [NaN, -Infinity, 1500, -0], t: 'ü"NaN', d: { x: [] }, e: {} });
  for (const text of [
    '', '[]', '5', 'null', '{', '{"a"}', '{"a":NaN', '{"a":NaN,}', '{"a":NaN}}', '{"a":NaN} x', '{,"a":NaN}', '{"a":[NaN,]}', '{"a":[NaN,1', '{a:NaN}',
    '{"a":[,NaN]}', '{"a":NaN "b":1}', '{"a":"\\x NaN"}', '{"a":"\nNaN"}', '[NaN]', '{"a": 1234567890123456789,', `{"a": NaN, "b": ${'['.repeat(100000)}`,
    `{"a": NaN, "b": ${'['.repeat(2000)}${']'.repeat(2000)}}`,
  ]) {
    assert.deepEqual(parse(text), {}, text.slice(0, 40));
  }
  assert.deepEqual(parse('{"a": 012345678901234567}'), {});
});
