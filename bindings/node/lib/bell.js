'use strict';

const net = require('node:net');
const { ps, check, duplicate } = require('./native');

// As much as the FIFO holds (64 KiB): one read empties it.
const ROOM = 64 * 1024;

// Shared by all channels of this thread: what was read is handed back before anything else runs.
const read = Buffer.allocUnsafeSlow(ROOM);

/**
 * The channel's descriptor, in the event loop. Node can only wait by reading, so what it read (message ids) goes back to
 * the channel before the next fetch.
 */
class Bell {
  // Called once when something arrived; null: nobody waits. It keeps the waiting channel from the garbage collector.
  #wake = null;
  #socket = null;
  #native;

  /** After this, whoever was told that there is no message is woken for the next. */
  constructor(native) {
    this.#native = native;
    check(ps.channelFd(native.handle));
  }

  get armed() {
    return this.#wake !== null;
  }

  /** Calls `wake` once when something arrives; keeps the process alive until then. */
  arm(wake) {
    this.#wake = wake;
    if (this.#socket === null || this.#socket.destroyed) this.#socket = this.#open();
    this.#socket.ref();
    this.#socket.resume();
  }

  disarm() {
    if (this.#wake === null) return;
    this.#wake = null;
    this.#socket.pause();
    this.#socket.unref();
  }

  close() {
    this.#wake = null;
    this.#socket?.destroy();
  }

  #open() {
    const socket = new net.Socket({
      fd: duplicate(check(ps.channelFd(this.#native.handle))),
      readable: true,
      writable: false,
      manualStart: true,
      onread: { buffer: read, callback: (length) => this.#rung(length) },
    });
    // It is destroyed then; the receiver, which looks once a second, opens another.
    socket.on('error', () => {});
    return socket;
  }

  /** Answers whether to go on reading. */
  #rung(length) {
    if (this.#native.handle === 0n) return false;
    // It fails only when the channel does, and then the fetch says so.
    ps.channelFeed(this.#native.handle, read, length);
    const wake = this.#wake;
    this.#wake = null;
    if (wake !== null) wake();
    return this.#wake !== null;
  }
}

module.exports = { Bell };
