// Types of pubsub.js, the browser client of `pubsub serve`.

/** What JSON can say. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A place in a topic's history: behind the message that has this epoch and offset. */
export interface Position {
  epoch: string;
  offset: string;
}

/** A message's frame, as the gateway sent it. */
export interface MessageFrame {
  action: 'message';
  topic: string;
  /** The pattern that it was heard through, when that is not the topic. */
  pattern?: string;
  message: Json;
  /** A program's message that is not JSON. */
  content_base64?: string;
  /** A decimal number of up to 64 bits. */
  id: string;
  /** RFC 3339. */
  timestamp: string;
  /** Managed topics: which history, and where in it. */
  epoch?: string;
  offset?: string;
}

/** Codes are listed in docs/gateway.md. Beside the gateway's there are `closed`, `subscribed` and `unknown`. */
export class PubSubError extends Error {
  readonly code: string;
  constructor(code: string, message: string);
}

export type State = 'connecting' | 'open' | 'waiting' | 'closed';

export interface Options {
  /** A key or a JWT. */
  token?: string;
  /** Called at each change; `waiting` tells why the connection was lost and for how many milliseconds it waits. */
  onState?: (state: State, detail: { code?: number; reason?: string; pause?: number }) => void;
  /** Errors that belong to no subscription with an `onError` of its own; without it they go to the console. */
  onError?: (error: PubSubError) => void;
  /** Milliseconds between signs of life; 20,000. */
  pingEvery?: number;
}

export interface SubscribeOptions {
  /** So many of the last messages first; the gateway's default is 100. Used once: later it resumes. */
  replayLast?: number;
  /** Begin behind this position. */
  since?: Position;
  /** What the gateway does when this client does not keep up; `disconnect` (the default) is followed by resuming. */
  overflow?: 'disconnect' | 'drop_oldest';
  /** It is live. `recovered` is false when something was missed for good. */
  onSubscribed?: (info: { recovered: boolean; resumed: boolean }) => void;
  /** Messages were lost here; `missed` is undefined when nobody knows how many. */
  onGap?: (info: { missed: number | undefined }) => void;
  /** The topic was deleted; the subscription has ended. */
  onDeleted?: () => void;
  /** The gateway refused it; the subscription has ended. */
  onError?: (error: PubSubError) => void;
}

export interface Subscription {
  readonly topic: string;
  /** Where it is; null for patterns and before the first answer. */
  readonly position: Position | null;
  unsubscribe(): void;
}

export class PubSub {
  /** `url`: of the WebSocket; without it `/ws` of the page's own server. */
  constructor(url?: string | URL, options?: Options);
  readonly state: State;
  /**
   * `message` is JSON's value, or bytes where a program published no JSON. `text` is the frame as it came, for numbers that
   * JavaScript's cannot hold.
   */
  subscribe(
    topic: string,
    onMessage: (message: Json | Uint8Array, frame: MessageFrame, text: string) => void,
    options?: SubscribeOptions,
  ): Subscription;
  /** `message` is anything that `JSON.stringify` makes JSON of; what it does not, such as a function, rejects. */
  publish(topic: string, message: NonNullable<unknown> | null): Promise<void>;
  ping(): Promise<void>;
  close(): void;
}
