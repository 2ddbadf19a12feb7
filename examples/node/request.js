// Asks on one topic, several questions at once, and prints the replies: node request.js TOPIC TEXT [TEXT…]
'use strict';

const { Publisher } = require('pubsub');

const [topic, ...questions] = process.argv.slice(2);
if (questions.length === 0) {
  console.error('usage: node request.js TOPIC TEXT [TEXT…]');
  process.exit(2);
}

async function main() {
  const publisher = new Publisher(topic);
  const replies = await Promise.all(questions.map((text) => publisher.request(text, null, { timeout: 5000 })));
  questions.forEach((question, i) => console.log(`${question}: ${replies[i]?.text ?? 'no reply in time'}`));
  if (replies.includes(null)) process.exitCode = 1;
  publisher.close();
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
