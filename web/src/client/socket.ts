import type { ClientMessage, Problem, ServerMessage } from "./contract.ts";
import { parse, type WatchParameters } from "./messages.ts";
import type { Outcome } from "./outcome.ts";
import { addressed, type Credentials, current, defaultHeartbeat, type Sink, type Transport } from "./transport.ts";
import { silence, Watchdog } from "./watchdog.ts";

/** Watches over one WebSocket, which stands as long as there are any. */
export class SocketTransport implements Transport {
  readonly #open: () => Promise<Socket>;
  #socket: Promise<Socket> | undefined;

  constructor(url: URL, credentials: Credentials, WebSocketClass: typeof WebSocket) {
    const { token } = credentials;
    this.#open = async () => {
      const first = await current(token);
      const renew = typeof token === "function" ? async () => token() : undefined;
      return new Socket(new WebSocketClass(await addressed(url, credentials), "etcdrest.v1"), first, renew);
    };
  }

  async watch(parameters: WatchParameters, sink: Sink, signal: AbortSignal): Promise<Outcome> {
    try {
      const socket = await this.#join();
      return signal.aborted ? socket.leave() : await socket.watch(parameters, sink, signal);
    } catch (error) { // the credentials, or a URL that is none
      this.#socket = undefined;
      return { how: "lost", reason: String(error), reached: false };
    }
  }

  async #join(): Promise<Socket> {
    this.#socket ??= this.#open();
    const socket = await this.#socket;
    if (!socket.leaving) return socket;
    this.#socket = undefined;
    return this.#join();
  }
}

/** How long a handshake may take, in milliseconds. */
const handshakeTime = 10_000;

/** After which part of their time credentials are renewed. */
const renewAfter = 0.8;

/** What a timer can wait at most, in milliseconds. */
const longestTimer = 2 ** 31 - 1;

/** A watch on a socket. */
interface Entry {
  readonly parameters: WatchParameters;
  readonly sink: Sink;
  readonly over: (outcome: Outcome) => void;
}

class Socket {
  /** No more watches may join: it closes, or will. */
  leaving = false;
  readonly #ws: WebSocket;
  readonly #watches = new Map<string, Entry>();
  #lastId = 0;
  #opened = false;
  /** What concerns the socket, if it was the last thing said: then it is why the socket closes. */
  #problem: Problem | undefined;
  #watchdog: Watchdog | undefined;
  readonly #renew: (() => Promise<string>) | undefined;
  #renewal: ReturnType<typeof setTimeout> | undefined;

  /** `token` is said first, if there is one; `renew` gives the next, before it expires. */
  constructor(ws: WebSocket, token: string | undefined, renew: (() => Promise<string>) | undefined) {
    this.#ws = ws;
    this.#renew = renew;
    ws.onopen = () => {
      this.#opened = true;
      this.#watch();
      if (token !== undefined) this.#send({ op: "auth", token });
      for (const [id, entry] of this.#watches) this.#start(id, entry);
    };
    ws.onmessage = ({ data }) => this.#receive(data);
    // A handshake that fails is an error, which not every implementation lets a close follow.
    ws.onerror = () => this.#over({ how: "closed", code: 1006, opened: this.#opened, problem: this.#problem });
    ws.onclose = ({ code }) => this.#over({ how: "closed", code, opened: this.#opened, problem: this.#problem });
  }

  watch(parameters: WatchParameters, sink: Sink, signal: AbortSignal): Promise<Outcome> {
    return new Promise((resolve) => {
      const id = `w${++this.#lastId}`;
      const stop = (): void => this.#cancel(id, { how: "end" });
      signal.addEventListener("abort", stop, { once: true });
      const over = (outcome: Outcome): void => {
        signal.removeEventListener("abort", stop);
        resolve(outcome);
      };
      const entry = { parameters, sink, over };
      this.#watches.set(id, entry);
      this.#watch();
      if (this.#opened) this.#start(id, entry);
    });
  }

  /** Closes the socket if nobody needs it. */
  leave(): Outcome {
    if (this.#watches.size === 0) {
      this.leaving = true;
      this.#watchdog?.stop();
      clearTimeout(this.#renewal);
      this.#ws.close(1000);
    }
    return { how: "end" };
  }

  #send(message: ClientMessage): void {
    this.#ws.send(JSON.stringify(message));
  }

  #start(id: string, { parameters }: Entry): void {
    this.#send({ op: "watch", id, ...parameters });
  }

  /** Ends a watch here, and asks the gateway to end it there; what is under way for it is let pass. */
  #cancel(id: string, outcome: Outcome): void {
    if (this.#opened && !this.leaving) this.#send({ op: "cancel", id });
    this.#finish(id, outcome);
  }

  #finish(id: string, outcome: Outcome): void {
    const entry = this.#watches.get(id);
    this.#watches.delete(id);
    if (this.#watches.size > 0) this.#watch();
    else this.leave();
    entry?.over(outcome);
  }

  #receive(text: unknown): void {
    this.#watchdog?.seen();
    const message = parse(text);
    if (!message) return;
    this.#problem = undefined;
    const id = "id" in message ? message.id : undefined;
    if (message.type === "authenticated") this.#expires(message.expires_at);
    else if (message.type === "error") this.#failed(id, message.error);
    else if (id !== undefined) this.#deliver(id, message, (text as string).length);
  }

  #deliver(id: string, message: ServerMessage, size: number): void {
    const entry = this.#watches.get(id);
    if (!entry) return;
    delete (message as { id?: string }).id;
    if (message.type === "end") this.#finish(id, { how: "end" });
    // A WebSocket cannot be told to wait, so a watch whose reader is behind leaves it, and comes back.
    else if (!entry.sink.take(message, size)) this.#cancel(id, { how: "behind" });
  }

  #failed(id: string | undefined, problem: Problem): void {
    if (problem.code === "draining") this.leaving = true;
    if (id === undefined) this.#problem = problem;
    else this.#finish(id, { how: "problem", problem });
  }

  /** Watches over the connection by the shortest heartbeat, and before that over the handshake. */
  #watch(): void {
    const heartbeats = [...this.#watches.values()].map(({ parameters }) => parameters.heartbeat ?? defaultHeartbeat);
    const limit = this.#opened ? silence(Math.min(...heartbeats)) : handshakeTime;
    const reason = this.#opened ? "nothing came for 2.5 heartbeats" : "the handshake took too long";
    this.#watchdog?.stop();
    this.#watchdog = new Watchdog(limit, () => {
      this.#over({ how: "lost", reason, reached: this.#opened });
      this.#ws.close();
    });
  }

  /** Renews the credentials before they expire, so that no watch ends. When that fails, the gateway ends them, and says why. */
  #expires(at: string | undefined): void {
    clearTimeout(this.#renewal);
    const left = at === undefined ? 0 : Date.parse(at) - Date.now();
    if (!this.#renew || !(left > 0)) return;
    const renew = this.#renew;
    this.#renewal = setTimeout(async () => {
      const token = await renew().catch(() => undefined);
      if (token !== undefined && !this.leaving) this.#send({ op: "auth", token });
    }, Math.min(left * renewAfter, longestTimer));
  }

  #over(outcome: Outcome): void {
    this.leaving = true;
    clearTimeout(this.#renewal);
    this.#watchdog?.stop();
    const entries = [...this.#watches.values()];
    this.#watches.clear();
    for (const { over } of entries) over(outcome);
  }
}
