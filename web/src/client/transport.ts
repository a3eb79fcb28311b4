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

export async function current(token: Token | undefined): Promise<string | undefined> {
  return typeof token === "function" ? token() : token;
}

/** What the gateway does without `heartbeat`, in seconds. */
export const defaultHeartbeat = 15;
