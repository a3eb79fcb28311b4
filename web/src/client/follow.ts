import { Backoff, type BackoffOptions, sleep } from "./backoff.ts";
import type { ServerMessage } from "./contract.ts";
import { WatchError } from "./errors.ts";
import type { Reset, WatchMessage, WatchParameters } from "./messages.ts";
import { decide, type Outcome } from "./outcome.ts";
import { Position } from "./position.ts";
import { Queue } from "./queue.ts";
import type { Sink, Transport } from "./transport.ts";

/** What the connection of a watch does, for those who show it. */
export type ConnectionState =
  | { state: "connecting" }
  | { state: "live" }
  /** It tries again in so many milliseconds; `error` is why. */
  | { state: "waiting"; wait: number; error: WatchError };

/** How a watch is followed, beside its parameters. */
export interface FollowOptions {
  /** How many bytes of messages may wait for their reader. */
  queueBytes: number;
  backoff: BackoffOptions | undefined;
  /** Whether `authenticate` can get credentials that are not the ones that failed. */
  renewable: boolean;
  onState: (state: ConnectionState) => void;
}

/** The ways to the gateway, the preferred one first. */
export interface Ways {
  websocket: Transport | undefined;
  sse: Transport | undefined;
}

/** Follows a watch over as many connections as it takes, and puts what comes into its queue. It is used once. */
export class Follower implements Sink {
  readonly queue: Queue<WatchMessage>;
  readonly #position: Position;
  readonly #ways: Ways;
  readonly #resync: boolean;
  readonly #options: FollowOptions;
  #way: keyof Ways;
  /** Credentials have been renewed, and nothing has come since. */
  #renewed = false;

  constructor(ways: Ways, parameters: WatchParameters, options: FollowOptions) {
    this.#ways = ways;
    this.#way = ways.websocket ? "websocket" : "sse";
    this.#options = options;
    this.#position = new Position(parameters);
    this.#resync = parameters.on_compacted === "resync";
    this.queue = new Queue(options.queueBytes);
  }

  /** Runs until the watch is over; the queue tells its reader how. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#options.backoff);
    const abort = (): void => {
      this.queue.clear();
      this.queue.fail(signal.reason);
    };
    signal.addEventListener("abort", abort, { once: true });
    try {
      for (;;) {
        signal.throwIfAborted();
        this.#options.onState({ state: "connecting" });
        const start = performance.now();
        const outcome = await this.#connect(signal);
        signal.throwIfAborted();
        const wait = this.#next(outcome, () => backoff.next(performance.now() - start));
        if (wait === undefined) return this.queue.end();
        await this.queue.room();
        await sleep(wait, signal);
        if (this.#position.withinSnapshot) this.#restart("interrupted");
      }
    } catch (error) {
      this.queue.fail(error);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  take(message: ServerMessage, size: number): boolean {
    if (message.type === "created") this.#options.onState({ state: "live" });
    this.#renewed = false;
    if (!this.#position.note(message)) return true;
    const replaces = message.type === "progress" && this.queue.last?.type === "progress";
    if (replaces) this.queue.dropLast();
    return this.queue.push(message as WatchMessage, size);
  }

  room(): Promise<void> {
    return this.queue.room();
  }

  #connect(signal: AbortSignal): Promise<Outcome> {
    const transport = this.#ways[this.#way];
    if (!transport) throw new WatchError("lost", "there is neither a WebSocket nor fetch here");
    return transport.watch(this.#position.parameters, this, signal);
  }

  /** Tells how long to wait before the next connection, undefined when the watch is over; throws when it failed. */
  #next(outcome: Outcome, backoff: () => number): number | undefined {
    this.#choose(outcome);
    const next = decide(outcome);
    switch (next.do) {
      case "stop":
        return undefined;
      case "fail":
        throw this.#final(next.error);
      case "authenticate":
        if (!this.#options.renewable || this.#renewed) throw this.#final(next.error);
        this.#renewed = true;
        return backoff();
      case "resync":
        if (!this.#resync) throw this.#final(errorOf(outcome));
        this.#restart(next.reason);
        return backoff();
      case "resume":
        if (!next.error) return 0;
        return this.#announce(Math.max(next.wait, backoff()), next.error);
    }
  }

  #announce(wait: number, error: WatchError): number {
    this.#options.onState({ state: "waiting", wait, error });
    return wait;
  }

  /** Takes the other way where this one does not lead to the gateway, and where a snapshot is longer than the queue. */
  #choose(outcome: Outcome): void {
    if (!this.#ways.websocket || !this.#ways.sse) return;
    if (outcome.how === "closed" && !outcome.opened) this.#way = "sse";
    else if (outcome.how === "lost" && !outcome.reached) this.#way = this.#way === "sse" ? "websocket" : "sse";
    else if (outcome.how === "behind" && this.#position.withinSnapshot) this.#way = "sse";
  }

  #restart(reason: Reset["reason"]): void {
    this.#position.restart();
    this.queue.push({ type: "reset", reason }, 0);
  }

  #final(error: WatchError): WatchError {
    return new WatchError(error.code, error.message, error.problem, this.#position.revision);
  }
}

function errorOf(outcome: Outcome): WatchError {
  if (outcome.how !== "problem") return new WatchError(outcome.how, "the watch cannot go on");
  const { problem } = outcome;
  return new WatchError(problem.code, `${problem.title}: ${problem.detail}`, problem);
}
