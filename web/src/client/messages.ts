import type * as contract from "./contract.ts";

type WithoutId<T> = Omit<T, "id">;

/** The parameters of a watch, as in the API. */
export type WatchParameters = Omit<contract.WatchRequest, "op" | "id">;

/** Why what was delivered is void: what the gateway says, and two reasons that only a client meets. */
export type ResetReason =
  | contract.Reset["reason"]
  /** What comes next lies so far back that the gateway does not catch up with it. */
  | "too_far_behind"
  /** The store was replaced: its revisions name other states now. */
  | "epoch_changed"
  /** The connection was cut within a snapshot, which therefore begins anew. */
  | "interrupted";

export type Created = WithoutId<contract.Created>;
export type Snapshot = WithoutId<contract.Snapshot>;
export type Synced = WithoutId<contract.Synced>;
export type Reset = { type: "reset"; reason: ResetReason };
export type Elected = WithoutId<contract.Elected>;
export type Events = WithoutId<contract.Events>;
export type Progress = WithoutId<contract.Progress>;

/** What a watch delivers. `end` ends the iteration and `error` becomes an exception, so neither is here. */
export type WatchMessage = Created | Snapshot | Synced | Reset | Events | Elected | Progress;

/** Parses a message. What is not one, or is of a later version's type, is undefined: a client lets it pass. */
export function parse(text: unknown): contract.ServerMessage | undefined {
  if (typeof text !== "string") return undefined;
  try {
    const message: unknown = JSON.parse(text);
    return isMessage(message) ? message : undefined;
  } catch {
    return undefined;
  }
}

function isMessage(message: unknown): message is contract.ServerMessage {
  return typeof message === "object" && message !== null && "type" in message && typeof message.type === "string";
}
