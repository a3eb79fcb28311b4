import type { Problem } from "./contract.ts";
import { EventParser } from "./eventstream.ts";
import { parse, type WatchParameters } from "./messages.ts";
import type { Outcome } from "./outcome.ts";
import { query } from "./query.ts";
import { addressed, type Credentials, current, defaultHeartbeat, type Sink, type Transport } from "./transport.ts";
import { silence, Watchdog } from "./watchdog.ts";

/**
 * Watches over Server-Sent Events, one connection each, read by fetch: unlike an EventSource it can authenticate, sees the
 * status and the problem of a refusal, and leaves in the socket what its reader has no room for.
 */
export class SseTransport implements Transport {
  readonly #url: URL;
  readonly #credentials: Credentials;
  readonly #fetch: typeof fetch;

  constructor(url: URL, credentials: Credentials, fetcher: typeof fetch) {
    this.#url = url;
    this.#credentials = credentials;
    this.#fetch = fetcher;
  }

  async watch(parameters: WatchParameters, sink: Sink, signal: AbortSignal): Promise<Outcome> {
    const dead = new AbortController();
    const connection: Connection = { reached: false, retry: undefined, watchdog: undefined };
    connection.watchdog = new Watchdog(silence(parameters.heartbeat ?? defaultHeartbeat), () => dead.abort(new Error("nothing came for 2.5 heartbeats")));
    try {
      const answer = await this.#ask(parameters, AbortSignal.any([signal, dead.signal]));
      connection.reached = true;
      if (!answer.body || !isOf(answer, "text/event-stream")) return await refusal(answer);
      return await this.#read(answer.body, sink, connection);
    } catch (error) {
      if (signal.aborted) return { how: "end" };
      return { how: "lost", reason: String(error), reached: connection.reached, retry: connection.retry };
    } finally {
      connection.watchdog?.stop();
      dead.abort(); // lets go of what is not read to its end
    }
  }

  async #ask(parameters: WatchParameters, signal: AbortSignal): Promise<Response> {
    const asked = new URL(this.#url);
    asked.search = query(parameters).toString();
    const url = await addressed(asked, this.#credentials);
    const headers = new Headers({ Accept: "text/event-stream" });
    const token = await current(this.#credentials.token);
    if (token !== undefined) headers.set("Authorization", `Bearer ${token}`);
    return this.#fetch(url, { headers, signal, cache: "no-store", credentials: "omit" });
  }

  async #read(body: ReadableStream<Uint8Array>, sink: Sink, connection: Connection): Promise<Outcome> {
    const events = new EventParser();
    const text = new TextDecoder();
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { how: "lost", reason: "the stream was cut", reached: true, retry: connection.retry };
      connection.watchdog?.seen();
      let room = true;
      for (const { data, retry } of events.feed(text.decode(value, { stream: true }))) {
        connection.retry = retry ?? connection.retry;
        const message = parse(data);
        if (!message) continue;
        if (message.type === "end") return { how: "end" };
        if (message.type === "error") return { how: "problem", problem: message.error };
        room = sink.take(message, data?.length ?? 0);
      }
      if (!room) await pause(sink, connection);
    }
  }
}

interface Connection {
  reached: boolean;
  retry: number | undefined;
  watchdog: Watchdog | undefined;
}

/** While nobody reads the connection, its silence means nothing. */
async function pause(sink: Sink, { watchdog }: Connection): Promise<void> {
  watchdog?.stop();
  await sink.room();
  watchdog?.start();
}

function isOf(answer: Response, mediaType: string): boolean {
  return answer.headers.get("Content-Type")?.startsWith(mediaType) ?? false;
}

async function refusal(answer: Response): Promise<Outcome> {
  if (isOf(answer, "application/problem+json")) return { how: "problem", problem: (await answer.json()) as Problem };
  return { how: "refused", status: answer.status };
}
