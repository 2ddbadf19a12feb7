/// <reference types="node" />

import { EventEmitter } from 'node:events';

/** What a message holds: text travels as UTF-8. Nothing of it is kept after the call. */
export type Content = string | NodeJS.ArrayBufferView | ArrayBufferLike;

/** What a header may be. A number that is whole travels as an integer, other numbers as floats; see {@link float}. */
export type HeaderInput =
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | Float
  | readonly HeaderInput[]
  | { readonly [name: string]: HeaderInput }
  | ReadonlyMap<string, HeaderInput>;

/** Headers to publish, in the order in which they are given; those that are undefined are left out. */
export type HeadersInput = { readonly [name: string]: HeaderInput } | ReadonlyMap<string, HeaderInput>;

/** What a received header may be. Integers that a number cannot hold exactly are bigints. */
export type HeaderValue = string | number | bigint | boolean | null | HeaderValue[] | { [name: string]: HeaderValue };

/** A number that is a float for other languages, also when it is whole: `float(21)` travels as 21.0. */
export class Float {
  constructor(value: number);
  readonly value: number;
  valueOf(): number;
}

/** `new Float(value)`. */
export function float(value: number): Float;

/** The name of an error of the library. */
export type ErrorCode =
  | 'PS_ERR_INVALID_ARGUMENT'
  | 'PS_ERR_INVALID_TOPIC'
  | 'PS_ERR_INVALID_HEADERS'
  | 'PS_ERR_TOO_LARGE'
  | 'PS_ERR_CLOSED'
  | 'PS_ERR_NOT_FOUND'
  | 'PS_ERR_EXISTS'
  | 'PS_ERR_QUEUE_FULL'
  | 'PS_ERR_STORE_FULL'
  | 'PS_ERR_PERMISSION'
  | 'PS_ERR_CORRUPT'
  | 'PS_ERR_INTERRUPTED'
  | 'PS_ERR_UNSUPPORTED'
  | 'PS_ERR_IO'
  | 'PS_ERR_INTERNAL';

/** A failure. Its message says what failed, on which topic, path or value. Wrong types are a TypeError instead. */
export class PubSubError extends Error {
  constructor(message: string, code: ErrorCode, errno: number);
  readonly name: 'PubSubError';
  readonly code: ErrorCode;
  /** The same as a number: -8 for PS_ERR_QUEUE_FULL. */
  readonly errno: number;
}

/** A received message. It owns what it holds, and stays valid after its channel is closed. */
export class Message {
  private constructor();
  /** Unique in its store, rising along each publisher's messages. */
  readonly id: bigint;
  /** When it was published: microseconds since the Unix epoch. */
  readonly timestampUs: number;
  /** The same, in milliseconds. */
  readonly date: Date;
  /** The topic it was published to. */
  readonly topic: string;
  /** The receiver's own. Small ones share memory of 8 KiB, which each of them keeps alive. */
  readonly content: Buffer;
  /** The content as UTF-8. */
  readonly text: string;
  /** The headers' text as received; '{}' when there are none. */
  readonly headersJson: string;
  /** The headers; parsed at first use, empty when they are no JSON object. */
  readonly headers: { readonly [name: string]: HeaderValue };
  /** Messages that the channel lost just before this one (`fullPolicy: 'drop-oldest'`), or that a history did not have any more. */
  readonly droppedBefore: number;
  /** Which history of its managed topic the message is in; 0n for a topic that is not managed. */
  readonly epoch: bigint;
  /** Its place in that history, from 1n on; 0n for a topic that is not managed. */
  readonly offset: bigint;
  /**
   * 'data': somebody published it. 'topic-deleted': the managed topic `topic`, with the history `epoch`, was deleted. 'unknown': of
   * a later version of the library; ignore it.
   */
  readonly kind: 'data' | 'topic-deleted' | 'unknown';
  /**
   * Answers a request: publishes to its header `response-topic`, in the store that it came from, with its
   * `correlation-id` in place of any in `headers`. In the thread that received it, at any time.
   *
   * @returns How many channels took it; 0 when whoever asked waits no more.
   * @throws {PubSubError} PS_ERR_INVALID_ARGUMENT when the message asks for no reply; PS_ERR_INVALID_TOPIC when it asks for
   * one on what is no topic; as {@link publish}.
   */
  reply(data: Content, headers?: HeadersInput | null): number;
}

/** A place in the history of a managed topic: behind the message that has this epoch and offset. Offset 0n: before the first. */
export interface Position {
  readonly epoch: bigint | number;
  readonly offset: bigint | number;
}

export interface ChannelOptions {
  /** The store's directory; default: {@link home}. */
  home?: string | undefined;
  /** Bound of the unread bytes; default (and 0): 64 MiB. A larger message is taken only into an empty queue. */
  capacityBytes?: number | undefined;
  /** Bound of the unread messages; default (and 0): 16384. */
  capacityMessages?: number | undefined;
  /** What a full channel does: refuses the next message (the default), or drops the oldest. */
  fullPolicy?: 'reject' | 'drop-oldest' | undefined;
  /** How messages travel; default: what the environment's PUBSUB_TRANSPORT says, else the ring. */
  transport?: 'default' | 'ring' | 'files' | undefined;
  /**
   * Begin with the last so many messages of each managed topic that matches, oldest first; then everything newer, without a gap and
   * none twice. Default: 0.
   */
  replayLast?: number | undefined;
  /**
   * Begin behind this message (or what has its `epoch` and `offset`), on a managed topic without wildcards: with everything that
   * the history has from there on, then what is new. What it does not have any more is told by `droppedBefore` of the first message,
   * or by another `epoch`: the topic was deleted and created again, and this begins with all that it has.
   */
  resume?: Position | undefined;
}

export interface ReceiveOptions {
  /** Ends the wait: the promise is rejected with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** How long to wait, in milliseconds, at most 2147483647; 0 does not wait; default (and Infinity): without end. */
  timeout?: number | undefined;
}

/** A channel as its receiver or a monitor sees it. Of a foreign one only topic, path, pid, alive and the unread figures. */
export interface Stats {
  /** The topic or pattern it was opened with. */
  topic: string;
  /** Its directory. */
  path: string;
  /** The receiver's process id, as the receiver's own namespace knows it. */
  pid: number;
  /** Whether its receiver lives. */
  alive: boolean;
  /** Whether it is a formix-pubsub channel. */
  foreign: boolean;
  transport: 'ring' | 'files';
  unreadMessages: number;
  unreadBytes: number;
  capacityMessages: number;
  capacityBytes: number;
  /** Messages fetched so far, those that are prefetched included. */
  received: number;
  /** Messages refused because it was full. */
  rejected: number;
  /** Messages dropped to make room. */
  dropped: number;
  /** Entries that could not be parsed. */
  malformed: number;
}

/**
 * The receiving end: one subscription with a queue of its own. Each message goes to one of those who receive: first to
 * who waits in `receive` or an iteration, in the order in which they came, then to the listeners of 'message'.
 *
 * Behind the first message, more are taken from the queue in the same crossing into the library, at most once in a turn
 * of the event loop; what a program that ends has not received of these is gone, as it would be from the queue.
 *
 * It keeps the process alive while somebody waits or listens. It belongs to the thread that opened it.
 *
 * Events: 'message' for each message; 'error' when that fails, once, until a listener is added again; 'close'.
 *
 * ```js
 * const channel = new Channel('news.+');
 * for await (const message of channel) console.log(message.topic, message.text, message.headers);
 * ```
 */
export class Channel extends EventEmitter implements AsyncIterable<Message> {
  /**
   * Opens a channel on a topic or pattern: it receives what is published to matching topics from now on.
   *
   * @param pattern Words of `[a-zA-Z0-9-]` between dots, at most 200 bytes; `=` stands for one word or a part of it, `+`
   * for one or more words (`logs.=.error`, `logs.+`).
   * @throws {PubSubError} PS_ERR_INVALID_TOPIC; PS_ERR_INVALID_ARGUMENT; PS_ERR_UNSUPPORTED for a ring where memory
   * cannot be shared (a network file system, say); PS_ERR_PERMISSION, PS_ERR_STORE_FULL or PS_ERR_IO for the store; with
   * `resume` PS_ERR_NOT_FOUND when the topic is not managed.
   */
  constructor(pattern: string, options?: ChannelOptions);

  /** The topic or pattern that it was opened with. */
  readonly topic: string;
  /** Its directory. */
  readonly path: string;
  readonly closed: boolean;

  /** The next message, if there is one; never waits. @throws {PubSubError} */
  fetch(): Message | null;
  /** What is there, up to `max` messages (default: a crossing's worth); never waits. @throws {PubSubError} */
  fetchBatch(max?: number): Message[];

  /**
   * The next message; waits for one. `null` when the timeout is over.
   *
   * Rejected with the signal's reason; with PS_ERR_CLOSED, also when the channel is closed meanwhile; with PS_ERR_CORRUPT
   * when somebody deleted its directory; with PS_ERR_TOO_LARGE or PS_ERR_IO.
   */
  receive(options?: { signal?: AbortSignal | undefined; timeout?: undefined }): Promise<Message>;
  receive(options: ReceiveOptions): Promise<Message | null>;
  /** Waits for the first, then takes what is there, up to `max`; empty when the timeout is over. */
  receiveBatch(max?: number, options?: ReceiveOptions): Promise<Message[]>;

  /**
   * The messages, without end: until the channel is closed, or the signal is aborted (which throws its reason). Leaving
   * the loop leaves the channel open.
   */
  messages(options?: { signal?: AbortSignal | undefined }): AsyncIterableIterator<Message>;
  [Symbol.asyncIterator](): AsyncIterableIterator<Message>;

  /** Counters and bounds, now; and how many messages are fetched and not received. @throws {PubSubError} */
  stats(): Stats & { prefetched: number };

  /**
   * Closes the channel: what is unread is gone, those who wait get PS_ERR_CLOSED, iterations end. A second close does nothing.
   *
   * @throws {PubSubError} PS_ERR_PERMISSION or PS_ERR_IO when its directory cannot be removed; it is closed all the same.
   */
  close(): void;
  [Symbol.asyncDispose](): Promise<void>;

  on(event: 'message', listener: (message: Message) => void): this;
  on(event: 'error', listener: (error: Error) => void): this;
  on(event: 'close', listener: () => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
  once(event: 'message', listener: (message: Message) => void): this;
  once(event: 'error', listener: (error: Error) => void): this;
  once(event: 'close', listener: () => void): this;
  once(event: string | symbol, listener: (...args: any[]) => void): this;
}

/**
 * Publishes one message to a topic of the default store. When it returns, the message is in the store and survives the
 * publisher's death. Short, and synchronous: it waits for nobody.
 *
 * @param topic 1 to 200 of `[a-zA-Z0-9.-]`.
 * @returns How many channels took it; 0 when none matches. {@link lastRejected} says how many refused.
 * @throws {PubSubError} PS_ERR_INVALID_TOPIC; PS_ERR_INVALID_HEADERS; PS_ERR_TOO_LARGE; when none took it and some refused
 * PS_ERR_STORE_FULL, PS_ERR_PERMISSION or PS_ERR_IO, else PS_ERR_QUEUE_FULL.
 */
export function publish(topic: string, data: Content, headers?: HeadersInput | null): number;

/** How many matching channels refused this thread's last publish: they were full or could not be written. */
export function lastRejected(): number;

export interface RequestOptions {
  /** Ends the wait: the promise is rejected with the signal's reason. A reply that comes later is dropped. */
  signal?: AbortSignal | undefined;
  /** How long to wait, in milliseconds, at most 2147483647; default (and Infinity): without end. */
  timeout?: number | undefined;
}

/**
 * Publishes a request to a topic of the default store, and waits for its reply. It carries the headers `response-topic`
 * and `correlation-id`, in place of any by these names; whoever receives it answers with {@link Message.reply}, or as
 * formix-pubsub's documentation shows. When several do, the first reply is it. All requests of a thread share one channel
 * for their replies, which stays open until the process exits; only one that waits keeps the process alive.
 *
 * @returns The reply; null when none comes in time. What comes later is dropped.
 * @throws {PubSubError} (the promise is rejected) PS_ERR_NOT_FOUND, at once, when nobody listens on the topic; as
 * {@link publish}.
 */
export function request(
  topic: string,
  data: Content,
  headers?: HeadersInput | null,
  options?: Omit<RequestOptions, 'timeout'>,
): Promise<Message>;
export function request(
  topic: string,
  data: Content,
  headers?: HeadersInput | null,
  options?: RequestOptions,
): Promise<Message | null>;

export interface PublisherOptions {
  /** The store's directory; default: {@link home}. */
  home?: string | undefined;
}

/** One message of a batch. */
export type BatchItem = Content | { content: Content; headers?: HeadersInput | null | undefined };

/** The sending end of one topic; faster than {@link publish} for many messages. It belongs to the thread that opened it. */
export class Publisher {
  /** @param topic 1 to 200 of `[a-zA-Z0-9.-]`, no wildcards. @throws {PubSubError} */
  constructor(topic: string, options?: PublisherOptions);

  readonly topic: string;
  readonly closed: boolean;

  /** Publishes one message, as {@link publish} does. */
  publish(data: Content, headers?: HeadersInput | null): number;
  /** Publishes a request to its topic, in its store, and waits for the reply, as the function {@link request} does. */
  request(data: Content, headers?: HeadersInput | null, options?: Omit<RequestOptions, 'timeout'>): Promise<Message>;
  request(data: Content, headers?: HeadersInput | null, options?: RequestOptions): Promise<Message | null>;
  /**
   * Publishes many in order, as that many single publishes, but faster.
   *
   * @returns How many were handled, from the first: it stops before the first that would fail, and throws only when that
   * is the first.
   */
  publishBatch(messages: readonly BatchItem[]): number;
  /**
   * Publishes many that lie end to end in one buffer, all with the same headers: the least work for each.
   *
   * @param lengths How many bytes of it each message has.
   * @returns As {@link publishBatch}.
   */
  publishPacked(data: Content, lengths: Uint32Array | readonly number[], headers?: HeadersInput | null): number;

  /** A second close does nothing. */
  close(): void;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The default store's directory: PUBSUB_HOME, else /dev/shm/pubsub, else in the system's temporary directory. */
export function home(): string;
/** The version of the library that is loaded. */
export function version(): string;
/** The channels of a store, formix-pubsub's included, dead ones marked. @throws {PubSubError} */
export function list(home?: string): Stats[];
/** Removes what dead processes left in a store. @returns How many channels were removed. @throws {PubSubError} */
export function cleanup(home?: string): number;
/**
 * Makes a store, for instance one that a group shares. Others are made on first use, private to their user.
 *
 * @param options `mode`: 0o700, 0o770 or 0o777 (default: 0o770 with a group, else 0o700); `group`: by name or number.
 * @throws {PubSubError} PS_ERR_EXISTS when it is there; PS_ERR_NOT_FOUND for a group that is not known; …
 */
export function createStore(
  home?: string,
  options?: { mode?: number | undefined; group?: string | undefined },
): void;

export interface TopicOptions {
  /** The most messages kept; default (and 0): 100. */
  historyMessages?: number | undefined;
  /** The most bytes kept; default (and 0): 64 MiB. A message larger than that is kept alone. */
  historyBytes?: number | undefined;
  /** What is older, in milliseconds, is never returned; default: no limit of age. */
  historyTtl?: number | undefined;
  /** The store's directory; default: {@link home}. */
  home?: string | undefined;
}

/** A managed topic at one moment. */
export interface TopicStats {
  topic: string;
  /** Live channels that match it, wildcards included. */
  subscribers: number;
  /** Messages that entered its history since it was created. */
  messagesPublished: number;
  /** Messages in its history now, and their bytes as they are stored. */
  messagesInHistory: number;
  bytesInHistory: number;
  /** Tells this history from those of topics of the same name that were deleted before. */
  epoch: bigint;
  /** The offset that the next message gets; the first one is 1n. */
  nextOffset: bigint;
  /** When it was created: microseconds since the Unix epoch. */
  createdUs: number;
}

/**
 * Makes a topic that keeps a history: of what is published to it from now on, by every libpubsub program. Messages of
 * formix-pubsub programs enter it while the command `pubsub topics keep` runs. Channels begin with what it has kept by
 * `replayLast`, or where another one stopped by `resume`.
 *
 * @param topic 1 to 200 of `[a-zA-Z0-9.-]`.
 * @throws {PubSubError} PS_ERR_EXISTS when it is managed already; PS_ERR_INVALID_TOPIC; PS_ERR_INVALID_ARGUMENT for bounds that no
 * history can have; PS_ERR_UNSUPPORTED where the processor cannot do it; PS_ERR_STORE_FULL, PS_ERR_PERMISSION, PS_ERR_IO.
 */
export function createTopic(topic: string, options?: TopicOptions): void;
/**
 * Deletes a managed topic and its history. Channels on exactly that topic (not those whose wildcards match) receive a message
 * whose `kind` is 'topic-deleted'. Publishing to the topic goes on as to any other.
 *
 * @throws {PubSubError} PS_ERR_NOT_FOUND when it is not managed; PS_ERR_INVALID_TOPIC; PS_ERR_PERMISSION, PS_ERR_IO.
 */
export function deleteTopic(topic: string, options?: { home?: string | undefined }): void;
/** The managed topics of a store, sorted by name; those whose histories are damaged are left out. @throws {PubSubError} */
export function topics(home?: string): TopicStats[];
/**
 * The last messages of a managed topic, at most `last` (default: all), oldest first. Nobody's queue is touched.
 *
 * @throws {PubSubError} PS_ERR_NOT_FOUND when it is not managed; PS_ERR_CORRUPT when its history is damaged; PS_ERR_TOO_LARGE when
 * memory is short; PS_ERR_INVALID_TOPIC; PS_ERR_PERMISSION, PS_ERR_IO.
 */
export function topicHistory(
  topic: string,
  options?: { last?: number | undefined; home?: string | undefined },
): Message[];
