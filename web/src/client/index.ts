/** Watches of etcdREST for browsers and Node.js: typed messages that survive cuts, restarts and slow readers. */
import type { BackoffOptions } from "./backoff.ts";
import { type ConnectionState, Follower, type Ways } from "./follow.ts";
import type { WatchMessage, WatchParameters } from "./messages.ts";
import { SocketTransport } from "./socket.ts";
import { SseTransport } from "./sse.ts";
import type { Ticket, Token } from "./transport.ts";

export type { BackoffOptions } from "./backoff.ts";
export { closeCodes } from "./contract.ts";
export type { ClientMessage, EventKeyValue, KeyValue, Leader, Problem, Reconnect, ServerMessage, StreamProblemCode, WatchEvent } from "./contract.ts";
export { WatchError } from "./errors.ts";
export type { ConnectionState } from "./follow.ts";
export type { Created, Elected, Events, Progress, Reset, ResetReason, Snapshot, Synced, WatchMessage, WatchParameters } from "./messages.ts";
export type { Ticket, Token } from "./transport.ts";

/** Where the gateway is and how to reach it. */
export interface GatewayOptions {
  /** The gateway's URL, with the path that it has behind a proxy; in a page also a relative one. */
  url: string | URL;
  /**
   * Who is calling: what `Authorization` would carry, `Bearer` being implied. A function is asked again before the token expires, so that no
   * watch ends, and once when the gateway does not take it any more.
   */
  token?: Token;
  /** Instead of a token: gets a ticket for each connection, where the page itself has no token. */
  ticket?: Ticket;
  /** `auto`: a WebSocket, and Server-Sent Events where none comes through. */
  transport?: "auto" | "websocket" | "sse";
  /** How many bytes of messages may wait for the reader of a watch; 4 MiB when absent. */
  queueBytes?: number;
  backoff?: BackoffOptions;
  /** Implementations other than the global ones. */
  WebSocket?: typeof WebSocket;
  fetch?: typeof fetch;
}

/** A watch: its parameters as in the API, and how it is followed. */
export interface WatchOptions extends WatchParameters {
  /** Ends the watch; its reader gets the signal's reason. */
  signal?: AbortSignal;
  /** Is told what the connection does. */
  onState?: (state: ConnectionState) => void;
}

/** A gateway. Its watches share a WebSocket, which takes up to 1,000; there is no connection while there are none. */
export class Gateway {
  readonly #options: GatewayOptions;
  readonly #ways: Ways;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#ways = ways(options);
  }

  /**
   * Follows a key or a range: every change from the start on, in order, each once, all events of a revision together. It begins
   * when it is iterated. A connection that is cut is resumed, for as long as it takes; what cannot be resumed is a WatchError.
   * With `election` it is the leader of an election: first, and after each change of the leader or of its value.
   * With `snapshot` or `on_compacted: "resync"` there may be `reset` messages: forget what came before, a snapshot, or the leader, follows.
   */
  async *watch({ signal, onState, ...parameters }: WatchOptions): AsyncGenerator<WatchMessage, void, void> {
    const stop = new AbortController();
    const until = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    const follower = new Follower(this.#ways, parameters, {
      queueBytes: this.#options.queueBytes ?? 4 << 20,
      backoff: this.#options.backoff,
      renewable: typeof this.#options.token === "function" || this.#options.ticket !== undefined,
      onState: onState ?? (() => {}),
    });
    const running = follower.run(until);
    try {
      yield* follower.queue;
    } finally {
      stop.abort();
      follower.queue.end();
      await running;
    }
  }
}

/** Follows a key or a range of a gateway over a connection of its own. */
export function watch(options: GatewayOptions & WatchOptions): AsyncGenerator<WatchMessage, void, void> {
  const { url, token, ticket, transport, queueBytes, backoff, WebSocket, fetch, ...rest } = options;
  const connection = { url, token, ticket, transport, queueBytes, backoff, WebSocket, fetch };
  return new Gateway(connection as GatewayOptions).watch(rest);
}

function ways({ url, token, ticket, transport = "auto", WebSocket = globalThis.WebSocket, fetch = globalThis.fetch }: GatewayOptions): Ways {
  const base = new URL(url, globalThis.location?.href);
  base.pathname = `${base.pathname.replace(/\/$/, "")}/v1/watch`;
  const credentials = { token, ticket };
  const socket = new URL(base);
  socket.protocol = base.protocol === "https:" ? "wss:" : "ws:";
  return {
    websocket: transport !== "sse" && WebSocket ? new SocketTransport(socket, credentials, WebSocket) : undefined,
    // A browser's own fetch wants to be called on the window.
    sse: transport !== "websocket" && fetch ? new SseTransport(base, credentials, (...request) => fetch(...request)) : undefined,
  };
}
