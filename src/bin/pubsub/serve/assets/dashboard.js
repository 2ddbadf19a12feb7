// The dashboard: figures by polling, messages by the client that everybody can use.
import { PubSub } from '/pubsub.js';

const REFRESH_MS = 1000;
/** Points of a chart: two minutes. */
const POINTS = 120;
/** Messages on the page; older ones go. */
const SHOWN = 500;
/** Rows of the table; with more topics than that, find them. */
const ROWS = 200;
/** A message that is longer is cut on the page. */
const LONGEST = 2000;
/** Numbers of a frame that is longer are shown as JavaScript has them. */
const EXACT = 20_000;
const NO_TOPICS = 'No topics yet. The first message or subscription makes one.';

const $ = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 });
const numbers = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
let token = sessionStorage.getItem('pubsub-token');
let bus = null;
let tail = null;
let paused = false;
let queue = [];
let stats = {};
let before = null;
const series = { in: [], out: [] };

// ---- requests ----

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (options.body) headers['Content-Type'] = 'application/json';
  const answer = await fetch(path, { ...options, headers, cache: 'no-store' });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => null);
  const text = problem?.error?.message ?? `HTTP ${answer.status}`;
  if (answer.status === 401) {
    $('login').hidden = false;
    if (token) say('login-state', text, true);
    // It would try again and again, and cannot be told why that fails.
    bus?.close();
    bus = null;
  }
  throw new Error(text);
}

/** For JSON.parse: numbers that stringify as they stand in the text, where the browser can do that. JavaScript's have fewer digits. */
function exact(key, value, context) {
  return typeof value === 'number' && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

function say(id, text, isBad = false) {
  $(id).textContent = text;
  $(id).classList.toggle('bad', isBad);
}

// ---- figures ----

function figure(text, name) {
  const line = text.split('\n').find((line) => line.startsWith(`${name} `));
  return line ? Number(line.slice(name.length + 1)) : 0;
}

async function refresh() {
  const now = performance.now();
  const [answers, health, metrics] = await Promise.all([
    ask('/stats').then((answer) => answer.json()),
    ask('/health').then((answer) => answer.json()),
    ask('/metrics').then((answer) => answer.text()),
  ]);
  $('login').hidden = true;
  const published = Object.values(answers.topics).reduce((sum, topic) => sum + topic.messages_published, 0);
  const sample = { now, topics: answers.topics, published, delivered: figure(metrics, 'pubsub_delivered_total') };
  const seconds = before ? (now - before.now) / 1000 : 0;
  // A topic that was deleted takes its count along, and a gateway that was started again begins at nothing.
  const rate = (after, earlier) => (seconds > 0 ? Math.max(0, after - earlier) / seconds : 0);
  stats = {};
  for (const [name, topic] of Object.entries(answers.topics)) {
    const earlier = before?.topics[name]?.messages_published ?? topic.messages_published;
    stats[name] = { ...topic, rate: rate(topic.messages_published, earlier) };
  }
  if (before) {
    const rateIn = Object.values(stats).reduce((sum, topic) => sum + topic.rate, 0);
    draw('in', rateIn);
    draw('out', rate(sample.delivered, before.delivered));
  }
  before = sample;
  $('uptime').textContent = duration(health.uptime_seconds);
  $('topic-count').textContent = numbers.format(Object.keys(stats).length);
  $('connections').textContent = numbers.format(figure(metrics, 'pubsub_connections'));
  $('too-slow').textContent = numbers.format(figure(metrics, 'pubsub_too_slow_total'));
  showTopics();
}

function duration(seconds) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([size]) => seconds >= size);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).map(([size, unit], i) => {
    const whole = i === 0 ? seconds : seconds % parts[first][0];
    return `${Math.floor(whole / size)} ${unit}`;
  }).join(' ');
}

function draw(name, rate) {
  const points = series[name];
  points.push(rate);
  if (points.length > POINTS) points.shift();
  const top = Math.max(1, ...points);
  const x = (i) => 240 - (points.length - 1 - i) * (240 / (POINTS - 1));
  const line = points.map((value, i) => `${x(i).toFixed(1)},${(58 - (value / top) * 54).toFixed(1)}`);
  const chart = $(`chart-${name}`);
  chart.replaceChildren(shape('polygon', `${x(0)},60 ${line.join(' ')} 240,60`), shape('polyline', line.join(' ')));
  const text = numbers.format(rate);
  $(`chart-${name}-now`).textContent = `${text}/s, at most ${numbers.format(top)}/s`;
  $(`rate-${name}`).textContent = text;
}

function shape(name, points) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  element.setAttribute('points', points);
  return element;
}

// ---- topics ----

function showTopics() {
  const wanted = $('filter').value.trim();
  const names = Object.keys(stats).filter((name) => name.includes(wanted)).sort();
  const rows = new Map([...$('topic-rows').children].map((row) => [row.dataset.topic, row]));
  const shown = names.slice(0, ROWS);
  shown.forEach((name, index) => {
    const row = rows.get(name) ?? topicRow(name);
    rows.delete(name);
    const { subscribers, rate, messages_published: published, messages_in_history: kept } = stats[name];
    [subscribers, rate, published, kept].forEach((value, i) => {
      row.children[i + 1].textContent = numbers.format(value);
    });
    // Rows stay where they are unless they must move: whoever is about to press a button keeps it, and the focus.
    if ($('topic-rows').children[index] !== row) $('topic-rows').insertBefore(row, $('topic-rows').children[index] ?? null);
  });
  for (const row of rows.values()) row.remove();
  $('no-topics').hidden = names.length > 0;
  $('no-topics').textContent = wanted ? `No topic has ${wanted} in its name.` : NO_TOPICS;
  $('more-topics').hidden = names.length <= ROWS;
  $('more-topics').textContent = `${numbers.format(names.length - ROWS)} more: say a part of the name to find them`;
}

function topicRow(name) {
  const row = document.createElement('tr');
  row.dataset.topic = name;
  for (let i = 0; i < 6; i++) row.append(document.createElement('td'));
  // A long name breaks behind its dots.
  name.split(/(?<=\.)/).forEach((word) => row.firstChild.append(word, document.createElement('wbr')));
  row.lastChild.append(
    button('Tail', `Tail of ${name}`, () => listen(name)),
    ' ',
    button('History', `History of ${name}`, () => showHistory(name)),
    ' ',
    button('Delete', `Delete ${name}`, () => remove(name)),
  );
  return row;
}

function button(text, label, action) {
  const element = document.createElement('button');
  element.type = 'button';
  element.textContent = text;
  element.setAttribute('aria-label', label);
  element.addEventListener('click', action);
  return element;
}

async function remove(name) {
  if (!confirm(`Delete ${name} and its history? Its subscribers are disconnected.`)) return;
  try {
    await ask(`/topics/${encodeURIComponent(name)}`, { method: 'DELETE' });
  } catch (error) {
    alert(error.message);
  }
  tick();
}

async function showHistory(name) {
  $('history-title').textContent = `History of ${name}`;
  $('history-messages').replaceChildren();
  say('history-state', 'reading');
  $('history').showModal();
  try {
    const answer = await ask(`/topics/${encodeURIComponent(name)}/messages?limit=200`);
    const page = JSON.parse(await answer.text(), exact);
    $('history-messages').replaceChildren(...page.messages.map((frame) => messageRow(frame)).reverse());
    say('history-state', `the last ${page.messages.length}, newest first`);
  } catch (error) {
    say('history-state', error.message, true);
  }
}

// ---- the tail ----

function connect() {
  bus?.close();
  bus = new PubSub(undefined, {
    token,
    onState: (state, { pause }) => {
      $('connection').dataset.state = state;
      const texts = { open: 'connected', connecting: 'connecting', closed: 'closed' };
      $('connection').textContent = texts[state] ?? `offline, again in ${numbers.format(pause / 1000)} s`;
    },
    onError: (error) => say('tail-state', error.message, true),
  });
  tail = null;
  listen($('pattern').value);
}

function listen(pattern) {
  $('pattern').value = pattern;
  if (!bus) return say('tail-state', 'not connected: a key is needed', true);
  tail?.unsubscribe();
  say('tail-state', `listening to ${pattern}`);
  tail = bus.subscribe(pattern, (_, frame, text) => queue.push({ frame, text }), {
    replayLast: Math.max(0, Math.min(1000, Number($('replay').value) || 0)),
    // A page that does not keep up is to show what is new, not to be disconnected.
    overflow: 'drop_oldest',
    onGap: ({ missed }) => queue.push({ frame: { gap: missed } }),
    onDeleted: () => say('tail-state', `${pattern} was deleted`, true),
    onError: (error) => say('tail-state', error.message, true),
  });
  return undefined;
}

/** Shows what came, once a frame of the screen: a flood costs no more than what fits on the page. */
function show() {
  if (queue.length > 0 && !paused) {
    const whole = ({ frame, text }) => (text?.length <= EXACT ? JSON.parse(text, exact) : frame);
    const rows = queue.slice(-SHOWN).map((item) => messageRow(whole(item)));
    queue = [];
    const list = $('messages');
    const follows = list.scrollTop < 4;
    list.prepend(...rows.reverse());
    while (list.childElementCount > SHOWN) list.lastElementChild.remove();
    if (follows) list.scrollTop = 0;
  }
  if (queue.length > 10 * SHOWN) queue = queue.slice(-SHOWN);
  // Tabs in the background get no frames, but time.
  if (document.hidden) setTimeout(show, 250);
  else requestAnimationFrame(show);
}

function messageRow(frame) {
  const row = document.createElement('li');
  if ('gap' in frame || frame.action === 'gap') {
    const missed = frame.gap ?? frame.missed;
    row.className = 'gap';
    row.textContent = missed === undefined ? 'messages were missed here' : `${numbers.format(missed)} messages were missed here`;
    return row;
  }
  const time = document.createElement('time');
  time.dateTime = frame.timestamp;
  time.textContent = clock.format(new Date(frame.timestamp));
  const topic = document.createElement('span');
  topic.className = 'topic';
  topic.textContent = frame.topic;
  const text = frame.content_base64 === undefined ? JSON.stringify(frame.message) : `base64 ${frame.content_base64}`;
  row.append(time, topic, text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
  return row;
}

// ---- what people do ----

$('tail-form').addEventListener('submit', (event) => {
  event.preventDefault();
  listen($('pattern').value.trim());
});
$('pause').addEventListener('click', () => {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', String(paused));
  $('pause').textContent = paused ? 'Go on' : 'Pause';
});
$('clear').addEventListener('click', () => {
  queue = [];
  $('messages').replaceChildren();
});
$('filter').addEventListener('input', showTopics);
$('create').addEventListener('submit', async (event) => {
  event.preventDefault();
  try {
    await ask('/topics', { method: 'POST', body: JSON.stringify({ name: $('create-name').value }) });
    $('create-name').value = '';
  } catch (error) {
    alert(error.message);
  }
  tick();
});
$('publish-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  let text = $('publish-message').value;
  try {
    JSON.parse(text);
  } catch {
    // Then it is text, and a JSON string.
    text = JSON.stringify(text);
  }
  say('publish-state', '');
  try {
    // Not by the client, which would publish JavaScript's idea of a number instead of what stands there.
    const path = `/topics/${encodeURIComponent($('publish-topic').value)}/messages`;
    await ask(path, { method: 'POST', body: `{"message":${text}}` });
    say('publish-state', 'published');
  } catch (error) {
    say('publish-state', error.message, true);
  }
});
$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token').value.trim();
  sessionStorage.setItem('pubsub-token', token);
  connect();
  tick();
});

let timer = null;
async function tick() {
  clearTimeout(timer);
  try {
    await refresh();
    if (!bus) connect();
  } catch (error) {
    before = null;
    if (!bus && $('login').hidden) connect();
  }
  timer = setTimeout(tick, REFRESH_MS);
}

tick();
show();
