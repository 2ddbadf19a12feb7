// Sends one message: node publish.js TOPIC DATA [KEY=VALUE…]
'use strict';

const { publish, lastRejected } = require('pubsub');

const [topic, data, ...pairs] = process.argv.slice(2);
if (data === undefined) {
  console.error('usage: node publish.js TOPIC DATA [KEY=VALUE…]');
  process.exit(2);
}

const headers = {};
for (const pair of pairs) {
  const [key, value = ''] = pair.split(/=(.*)/s);
  headers[key] = /^-?\d{1,15}$/.test(value) ? Number(value) : value;
}

try {
  console.log(`${publish(topic, data, headers)} channels took it`);
  if (lastRejected() > 0) console.error(`${lastRejected()} refused it`);
} catch (error) {
  if (error.code === 'PS_ERR_QUEUE_FULL') console.error(`nobody has room for it: ${error.message}`);
  else console.error(error.message);
  process.exitCode = 1;
}
