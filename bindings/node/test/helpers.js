'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { after } = require('node:test');

/** A store of this test file's own, removed after it. To be called before the package is used. */
function ownStore() {
  const base = fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir();
  const store = fs.mkdtempSync(path.join(base, 't-node-'));
  process.env.PUBSUB_HOME = store;
  after(() => fs.rmSync(store, { recursive: true, force: true }));
  return store;
}

/** Runs a program of Node's, given as text; `use(child)` may talk to it; it may have so many files open.
 * Answers { code, signal, stdout, stderr }. */
function program(text, args = [], use = () => {}, flags = [], openFiles = 'unlimited') {
  const limit = openFiles === 'unlimited' ? '' : `ulimit -n ${openFiles}; `;
  const command = ['-c', `${limit}exec "$0" "$@"`, process.execPath, ...flags, '-e', text, '--', ...args];
  const child = spawn('/bin/sh', command, { cwd: path.join(__dirname, '..') });
  const result = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (data) => (result.stdout += data));
  child.stderr.setEncoding('utf8').on('data', (data) => (result.stderr += data));
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ ...result, code, signal }));
  });
  use(child);
  return ended;
}

module.exports = { ownStore, program };
