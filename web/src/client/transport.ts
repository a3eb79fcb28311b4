import type { ServerMessage } from "./contract.ts";
import type { WatchParameters } from "./messages.ts";
import type { Outcome } from "./outcome.ts";

/** Takes what one connection of a watch delivers. */
export interface Sink {
  /** Takes a message of a text so long, and tells whether there is room for more. It never throws. */
  take(message: ServerMessage, size: number): boolean;
  /** Waits until there is room again. */
  room(): Promise<void>;
}

/** A way to the gateway. */
export interface Transport {
  /** Runs a watch until its connection ends, and tells how; it never rejects. The signal ends it. */
  watch(parameters: WatchParameters, sink: Sink, signal: AbortSignal): Promise<Outcome>;
}

/** Gives the credentials of the caller, afresh whenever they are needed. */
export type Token = string | (() => string | Promise<string>);

/** Gets a ticket for one connection, from a server that bought it: `POST /v1/auth/tickets` with the path `/v1/watch`. */
export type Ticket = () => string | Promise<string>;

/** How a client says who it is. */
export interface Credentials {
  readonly token: Token | undefined;
  readonly ticket: Ticket | undefined;
}

/** The URL of a connection, with a ticket of its own where there are tickets. */
export async function addressed(url: URL, { ticket }: Credentials): Promise<URL> {
  if (!ticket) return url;
  const own = new URL(url);
  own.searchParams.set("ticket", await ticket());
  return own;
}

export async function current(token: Token | undefined): Promise<string | undefined> {
  return typeof token === "function" ? token() : token;
}

/** What the gateway does without `heartbeat`, in seconds. */
export const defaultHeartbeat = 15;
