'use strict';

/** What the library, or this package in its name, refused. `code` is the name of a PS_ERR_*, `errno` its number. */
class PubSubError extends Error {
  constructor(message, code, errno) {
    super(message);
    this.code = code;
    this.errno = errno;
  }
}
// As Node's own errors have it: not enumerable, shared.
Object.defineProperty(PubSubError.prototype, 'name', { value: 'PubSubError', configurable: true, writable: true });

const NUMBERS = Object.freeze({
  PS_ERR_INVALID_ARGUMENT: -1,
  PS_ERR_INVALID_TOPIC: -2,
  PS_ERR_INVALID_HEADERS: -3,
  PS_ERR_TOO_LARGE: -4,
  PS_ERR_CLOSED: -5,
  PS_ERR_NOT_FOUND: -6,
});

/** An error that this package finds before the library is asked. */
function refusal(code, message) {
  return new PubSubError(message, code, NUMBERS[code]);
}

/** An argument of the wrong type: Node's own kind of error. */
function wrongType(what, expected, value) {
  const found = value === null ? 'null' : typeof value === 'object' ? (value.constructor?.name ?? 'an object') : typeof value;
  const error = new TypeError(`${what} must be ${expected}, not ${found}`);
  error.code = 'ERR_INVALID_ARG_TYPE';
  return error;
}

module.exports = { PubSubError, refusal, wrongType };
