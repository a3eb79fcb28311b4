import type { ClientMessage, Problem, ServerMessage } from "./contract.ts";
import { parse, type WatchParameters } from "./messages.ts";
import type { Outcome } from "./outcome.ts";
import { current, defaultHeartbeat, type Sink, type Token, type Transport } from "./transport.ts";
import { silence, Watchdog } from "./watchdog.ts";

/** Watches over one WebSocket, which stands as long as there are any. */
export class SocketTransport implements Transport {
  readonly #open: () => Promise<Socket>;
  #socket: Promise<Socket> | undefined;

  constructor(url: URL, token: Token | undefined, WebSocketClass: typeof WebSocket) {
    this.#open = async () => {
      const credentials = await current(token);
      return new Socket(new WebSocketClass(url, "etcdrest.v1"), credentials);
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

  constructor(ws: WebSocket, token: string | undefined) {
    this.#ws = ws;
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
    if (message.type === "error") this.#failed(id, message.error);
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

  #over(outcome: Outcome): void {
    this.leaving = true;
    this.#watchdog?.stop();
    const entries = [...this.#watches.values()];
    this.#watches.clear();
    for (const { over } of entries) over(outcome);
  }
}
