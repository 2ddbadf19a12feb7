// The dashboard and the browser client in a real browser: headless Chromium, driven by playwright-core.
//
// PUBSUB names the command, SENDER a C program that publishes; a screenshot goes to SCREENSHOT if that is set. Prints a
// line like cargo's, so that scripts/test.sh counts it.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { once } from 'node:events';
import readline from 'node:readline';
import { chromium } from 'playwright-core';

const command = process.env.PUBSUB;
const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const directory = mkdtempSync('/dev/shm/t-browser-');
const environment = { ...process.env, PUBSUB_HOME: `${directory}/store` };
const gateways = [];

async function serve(...args) {
  const child = spawn(command, ['--quiet', 'serve', ...args], { env: environment, stdio: ['ignore', 'pipe', 'inherit'] });
  gateways.push(child);
  const [line] = await once(readline.createInterface({ input: child.stdout }), 'line');
  const url = line.replace('listening on ', '');
  return { child, url, address: url.replace('http://', '') };
}

async function stop(gateway, signal = 'SIGTERM') {
  gateway.child.kill(signal);
  if (gateway.child.exitCode === null && gateway.child.signalCode === null) await once(gateway.child, 'exit');
}

const publish = (topic, message) => execFileSync(command, ['--quiet', 'pub', topic, message], { env: environment });

/** A page whose console errors and requests to elsewhere are failures. */
async function open(browser, url, own) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 900 } });
  const page = await context.newPage();
  page.wrong = [];
  page.on('console', (message) => message.type() === 'error' && page.wrong.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => page.wrong.push(`error: ${error.message}`));
  page.on('request', (request) => {
    if (new URL(request.url()).host !== own) page.wrong.push(`request: ${request.url()}`);
  });
  await page.goto(url);
  return page;
}

const connected = (page) => page.waitForSelector('#connection[data-state="open"]');
const shows = (page, text) => page.waitForFunction((text) => document.getElementById('messages').innerText.includes(text), text);

/** Messages for the page that stops: fewer than a connection's queue takes, so that the quick one gets each, however slow. */
const COUNT = 5000;

const tests = {
  async 'a page publishes, a C program publishes, and both are seen'(browser, gateway) {
    const page = await open(browser, gateway.url, gateway.address);
    await connected(page);
    await page.fill('#publish-topic', 'news.page');
    await page.fill('#publish-message', '{"text": "from the page"}');
    await page.click('#publish-form button');
    await page.waitForFunction(() => document.getElementById('publish-state').textContent === 'published');
    await shows(page, '"from the page"');
    if (process.env.SENDER) {
      execFileSync(process.env.SENDER, ['news.c', '{"text": "from C"}'], { env: environment });
    } else {
      publish('news.c', '{"text": "from C"}');
    }
    await shows(page, '"from C"');
    publish('news.page', 'not JSON');
    await shows(page, 'base64 bm90IEpTT04=');
    await page.waitForSelector('tr[data-topic="news.page"]');
    await page.click('tr[data-topic="news.page"] button:has-text("History")');
    await page.waitForFunction(() => document.getElementById('history-messages').innerText.includes('from the page'));
    await page.keyboard.press('Escape');
    assert.deepEqual(page.wrong, []);
    await page.context().close();
  },

  async 'markup in a message stays text'(browser, gateway) {
    const page = await open(browser, gateway.url, gateway.address);
    await connected(page);
    // The page is connected, and may not have subscribed yet; what came before that, it does not get.
    const seen = shows(page, '<img src=x').then(() => true);
    do {
      publish('markup', JSON.stringify('<img src=x onerror="window.broken = 1"><script>window.broken = 1</script>'));
    } while (!(await Promise.race([seen, new Promise((resolve) => setTimeout(resolve, 500))])));
    assert.equal(await page.evaluate(() => window.broken), undefined);
    assert.deepEqual(page.wrong, []);
    await page.context().close();
  },

  async 'numbers are published and shown as they stand'(browser, gateway) {
    const page = await open(browser, gateway.url, gateway.address);
    await connected(page);
    const text = '{"id": 9007199254740993, "rate": 1.0}';
    await page.fill('#publish-topic', 'numbers');
    await page.fill('#publish-message', text);
    await page.click('#publish-form button');
    await shows(page, '{"id":9007199254740993,"rate":1.0}');
    const history = await (await fetch(`${gateway.url}/topics/numbers/messages`)).text();
    assert.ok(history.includes(`"message":${text}`), history);
    await page.waitForSelector('tr[data-topic="numbers"]');
    await page.click('tr[data-topic="numbers"] button:has-text("History")');
    await page.waitForFunction(() => document.getElementById('history-messages').innerText.includes('9007199254740993'));
    assert.deepEqual(page.wrong, []);
    await page.context().close();
  },

  async 'a subscription hears nothing that was for an earlier one'(browser, gateway) {
    const page = await open(browser, gateway.url, gateway.address);
    const early = await page.evaluate(async () => {
      const { PubSub } = await import('/pubsub.js');
      const bus = new PubSub();
      let early = 0;
      for (let i = 0; i < 30; i++) {
        let isSubscribed = false;
        const subscribed = new Promise((resolve) => {
          const onSubscribed = () => resolve((isSubscribed = true));
          window.last = bus.subscribe('again.t', () => (early += isSubscribed ? 0 : 1), { replayLast: 0, onSubscribed });
        });
        await subscribed;
        // On their way when it ends.
        for (let n = 0; n < 20; n++) bus.publish('again.t', n);
        window.last.unsubscribe();
      }
      bus.close();
      return early;
    });
    assert.equal(early, 0);
    await page.context().close();
  },

  async 'who only publishes connects again as quickly the fifth time'(browser, gateway) {
    const page = await open(browser, gateway.url, gateway.address);
    const pauses = await page.evaluate(async () => {
      const { PubSub } = await import('/pubsub.js');
      const pauses = [];
      const bus = new PubSub(undefined, { onState: (state, { pause }) => state === 'waiting' && pauses.push(pause) });
      for (let i = 0; i < 5; i++) {
        await bus.publish('sender.t', i);
        bus._abandon('the test cuts it');
      }
      bus.close();
      return pauses;
    });
    assert.ok(pauses.length === 5 && Math.max(...pauses) <= 250, `${pauses}`);
    await page.context().close();
  },

  async 'topics are made, found and deleted with the keyboard alone'(browser, gateway) {
    const page = await open(browser, gateway.url, gateway.address);
    await connected(page);
    await page.focus('#create-name');
    await page.keyboard.type('made.here');
    await page.keyboard.press('Enter');
    await page.waitForSelector('tr[data-topic="made.here"]');
    await page.focus('#filter');
    await page.keyboard.type('made.h');
    await page.waitForFunction(() => document.querySelectorAll('#topic-rows tr').length === 1);
    page.on('dialog', (dialog) => dialog.accept());
    for (let i = 0; i < 10; i++) {
      await page.keyboard.press('Tab');
      if (await page.evaluate(() => document.activeElement.getAttribute('aria-label') === 'Delete made.here')) break;
    }
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelectorAll('#topic-rows tr').length === 0);
    assert.equal(await page.innerText('#no-topics'), 'No topic has made.h in its name.');
    assert.deepEqual(page.wrong, []);
    await page.context().close();
  },

  async 'a key is asked for, and one that is wrong is called that'(browser) {
    const keys = `${directory}/keys.json`;
    writeFileSync(keys, JSON.stringify({ keys: [{ key: 'the-key-of-this-test', pub: ['+'], sub: ['+'] }] }));
    const secured = await serve('--bind', '127.0.0.1:0', '--auth', keys);
    const page = await open(browser, secured.url, secured.address);
    await page.waitForSelector('#login:not([hidden])');
    await page.fill('#token', 'some-other-key-for-sure');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.getElementById('login-state').textContent.includes('unknown'));
    // What would need it says so.
    await page.click('#tail-button');
    assert.match(await page.innerText('#tail-state'), /key is needed/);
    await page.fill('#token', 'the-key-of-this-test');
    await page.keyboard.press('Enter');
    await connected(page);
    await page.waitForSelector('#login', { state: 'hidden' });
    assert.deepEqual(page.wrong.filter((wrong) => !wrong.includes('401') && !wrong.includes('WebSocket')), []);
    await page.context().close();
    await stop(secured);
  },

  async 'it fits a phone, and is light and dark'(browser, gateway) {
    const page = await open(browser, gateway.url, gateway.address);
    await connected(page);
    await page.setViewportSize({ width: 360, height: 740 });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'wider than the phone');
    const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await back();
    await page.emulateMedia({ colorScheme: 'dark' });
    assert.notEqual(await back(), light);
    await page.context().close();
  },

  async 'cut off and back again, the client resumes without gap or duplicate'(browser, gateway) {
    const page = await open(browser, gateway.url, gateway.address);
    await page.evaluate(async () => {
      const { PubSub } = await import('/pubsub.js');
      window.got = [];
      window.states = [];
      const bus = new PubSub(undefined, { onState: (state) => window.states.push(state) });
      window.bus = bus;
      await new Promise((resolve) => bus.subscribe('resume.t', (m) => window.got.push(m), { replayLast: 0, onSubscribed: resolve }));
    });
    publish('resume.t', '1');
    await page.waitForFunction(() => window.got.length === 1);
    // The gateway dies; programs go on; another one comes at the same address.
    await stop(gateway, 'SIGKILL');
    await page.waitForFunction(() => window.bus.state === 'waiting');
    publish('resume.t', '2');
    const waits = page.evaluate(() => window.bus.publish('resume.t', 4));
    publish('resume.t', '3');
    gateway.child = (await serve('--bind', gateway.address)).child;
    await waits;
    await page.waitForFunction(() => window.got.length === 4);
    assert.deepEqual(await page.evaluate(() => window.got), [1, 2, 3, 4]);
    await page.evaluate(() => window.bus.close());
    await page.context().close();
  },

  async 'offline and online again'(browser, gateway) {
    const page = await open(browser, gateway.url.replace('127.0.0.1', 'localhost'), gateway.address.replace('127.0.0.1', 'localhost'));
    await connected(page);
    await page.evaluate(async () => {
      const { PubSub } = await import('/pubsub.js');
      window.got = [];
      window.gaps = 0;
      window.bus = new PubSub(undefined, { pingEvery: 200 });
      const options = { replayLast: 0, onGap: () => window.gaps++ };
      await new Promise((resolve) => window.bus.subscribe('offline.t', (m) => window.got.push(m), { ...options, onSubscribed: resolve }));
    });
    // Nothing of the page's is cut by setOffline on a loopback WebSocket, so the socket itself goes.
    await page.evaluate(() => window.bus._abandon('the test cuts it'));
    publish('offline.t', '"meanwhile"');
    await page.waitForFunction(() => window.got.length === 1);
    assert.deepEqual(await page.evaluate(() => [window.got, window.gaps]), [['meanwhile'], 0]);
    assert.deepEqual(page.wrong, []);
    await page.context().close();
  },

  async 'a page that stops does not stop the others'(browser, gateway) {
    const [slow, quick] = await Promise.all([0, 1].map(() => open(browser, gateway.url, gateway.address)));
    await Promise.all([connected(slow), connected(quick)]);
    await quick.evaluate(async () => {
      const { PubSub } = await import('/pubsub.js');
      window.count = 0;
      window.bus = new PubSub();
      await new Promise((resolve) => window.bus.subscribe('busy.t', () => window.count++, { replayLast: 0, onSubscribed: resolve }));
    });
    // It does nothing for a while; its socket is not read.
    const hangs = slow.evaluate(() => {
      const end = performance.now() + 3000;
      while (performance.now() < end);
    });
    const lines = Array.from({ length: COUNT }, (_, n) => JSON.stringify({ n, padding: 'x'.repeat(500) })).join('\n');
    execFileSync(command, ['--quiet', 'pub', 'busy.t', '--lines'], { env: environment, input: lines });
    await quick.waitForFunction((count) => window.count === count, COUNT, { timeout: 60000 });
    await hangs;
    // The slow one shows the newest, and says what it missed, if it did.
    await shows(slow, `"n":${COUNT - 1}`);
    assert.deepEqual([...slow.wrong, ...quick.wrong], []);
    await Promise.all([slow, quick].map((page) => page.context().close()));
  },

  async 'a page from elsewhere can neither connect nor read'(browser, gateway) {
    const server = http.createServer((request, response) => {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>elsewhere</title>');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const elsewhere = `127.0.0.1:${server.address().port}`;
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`http://${elsewhere}/`);
    const found = await page.evaluate(async (url) => {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`);
      const opened = await new Promise((resolve) => {
        socket.onopen = () => resolve(true);
        socket.onerror = () => resolve(false);
      });
      const read = await fetch(`${url}/topics`).then(() => true, () => false);
      const blind = await fetch(`${url}/topics`, { method: 'POST', mode: 'no-cors', body: '{"name":"evil"}' }).then(() => true, () => false);
      return { opened, read, blind };
    }, gateway.url);
    assert.deepEqual([found.opened, found.read], [false, false]);
    const topics = await (await fetch(`${gateway.url}/topics`)).json();
    assert.ok(!topics.topics.some((topic) => topic.name === 'evil'));
    await context.close();
    server.close();
  },

  async 'a picture'(browser, gateway) {
    if (!process.env.SCREENSHOT) return;
    const page = await open(browser, gateway.url, gateway.address);
    await connected(page);
    await page.setViewportSize({ width: 1280, height: 860 });
    const rooms = ['kitchen', 'attic', 'cellar', 'garden'];
    for (const name of (await (await fetch(`${gateway.url}/topics`)).json()).topics.map((topic) => topic.name)) {
      await fetch(`${gateway.url}/topics/${name}`, { method: 'DELETE' });
    }
    for (const room of rooms) {
      await fetch(`${gateway.url}/topics`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name: `house.${room}.climate` }),
      });
    }
    await page.click('#clear');
    for (let i = 0; i < 60; i++) {
      const lines = rooms.slice(0, 1 + (i % 4)).map((room) => [room, JSON.stringify({ celsius: 17 + (i % 7), humidity: 40 + i })]);
      for (const [room, text] of lines) publish(`house.${room}.climate`, text);
      await page.waitForTimeout(100);
    }
    await page.waitForTimeout(500);
    await page.screenshot({ path: process.env.SCREENSHOT });
    await page.context().close();
  },
};

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
let passed = 0;
let failed = 0;
try {
  const gateway = await serve('--bind', '127.0.0.1:0');
  for (const [name, test] of Object.entries(tests)) {
    if (process.argv[2] && !name.includes(process.argv[2])) continue;
    try {
      await test(browser, gateway);
      passed += 1;
      console.log(`ok: ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED: ${name}\n${error.stack}`);
    }
  }
} finally {
  await browser.close();
  for (const child of gateways) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
}
console.log(`test result: ${failed === 0 ? 'ok' : 'FAILED'}. ${passed} passed; ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
