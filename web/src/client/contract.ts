// Made from api/asyncapi.yaml by `go generate ./api`; a test holds it against the contract.

/** The parameters of a watch. Exactly one of `key`, `prefix`, `from` with or without `to`, or `to` alone, and `election` names what to watch; keys that are not text are given in the `_base64` form. */
export interface WatchRequest {
  op: "watch";
  id: Id;
  /** Watch one key. */
  key?: string;
  /** The same, as base64. */
  key_base64?: string;
  /** Watch the keys that begin with this. Empty, every key. */
  prefix?: string;
  /** The same, as base64. */
  prefix_base64?: string;
  /** Watch the keys from this one on, before `to` where that is given. */
  from?: string;
  /** The same, as base64. */
  from_base64?: string;
  /** The keys before this one. */
  to?: string;
  /** The same, as base64. */
  to_base64?: string;
  /** Observe the election of that name: its leader first, then each other leader and each value that the leader proclaims. Instead of keys; not together with `snapshot`, `events`, `prev_kv` and `keys_only`. */
  election?: string;
  /** The same, as base64. */
  election_base64?: string;
  /** The first revision wanted; the next one when absent. Not together with `snapshot`. */
  start_revision?: number;
  /** The epoch in which `start_revision` was seen; in another one the answer is `epoch_changed`. */
  epoch?: string;
  /** The present state first, then its changes, without a gap and without overlap. */
  snapshot?: boolean;
  /** Each event has, in `prev_kv`, the key-value from before it, unless that has been compacted. */
  prev_kv?: boolean;
  /** Only events of these types; both when absent. */
  events?: Array<"put" | "delete">;
  /** Leave the values out. */
  keys_only?: boolean;
  /** The form of keys and values. */
  encoding?: "auto" | "base64" | "json";
  /** After how many seconds without a message `progress` is sent. */
  heartbeat?: number;
  /** After how many seconds the watch ends, with `end`; never when absent. */
  timeout?: number;
  /** What to do when changes are gone: end with `compacted` or `too_far_behind`, or `reset` and send a new snapshot. */
  on_compacted?: "fail" | "resync";
}

/** End a watch, or stop renewing a lease. */
export interface CancelRequest {
  op: "cancel";
  id: Id;
}

/** Ask how far a watch is. */
export interface ProgressRequest {
  op: "progress";
  id: Id;
}

/** Say who is calling. */
export interface AuthRequest {
  op: "auth";
  /** What `Authorization` would carry, `Bearer` being implied. */
  token: string;
}

/** Hold a lease. */
export interface LeaseRequest {
  op: "lease";
  id: Id;
  /** For how many seconds it outlives the socket. */
  ttl: number;
}

/** Ask whether the socket lives. */
export interface PingRequest {
  op: "ping";
}

/** The id of a watch or lease on its socket, chosen by the client; it may be used again once its `error` or `end` has come. */
export type Id = string;

/** The watch stands. */
export interface Created {
  type: "created";
  id?: Id;
  /** Every change after it will be delivered. */
  revision: number;
  /** The name of the store's history in which revisions mean something. */
  epoch: string;
}

/** A part of the present state. */
export interface Snapshot {
  type: "snapshot";
  id?: Id;
  /** Key-values in the order of their keys. */
  kvs: Array<KeyValue>;
}

/** The snapshot is complete. */
export interface Synced {
  type: "synced";
  id?: Id;
  /** The revision of the snapshot. */
  revision: number;
}

/** Forget the state; a snapshot follows. */
export interface Reset {
  type: "reset";
  id?: Id;
  /** The history that was to come is gone, or lies too far back to be caught up with. */
  reason: "compacted" | "too_far_behind";
}

/** Who leads from a revision on. */
export interface Elected {
  type: "leader";
  id?: Id;
  /** The revision of the change; of the first message, that at which the watch begins. */
  revision: number;
  /** The leader; null when nobody stands. */
  leader: Leader | null;
}

/** The leader of an election and its value: exactly one of `owner_key` and `owner_key_base64`, and exactly one of `value`, `value_base64` and `value_json`. */
export interface Leader {
  /** The leader's key; goes into `if_lock`. */
  owner_key?: string;
  /** The leader's key as base64. */
  owner_key_base64?: string;
  /** The leader's lease, where the key tells it. */
  lease?: string;
  /** The key's create revision. It grows with each leader. */
  fencing_token: number;
  /** The value as text. */
  value?: string;
  /** The value as base64. */
  value_base64?: string;
  value_json?: AnyJson;
}

/** All changes of one revision. */
export interface Events {
  type: "events";
  id?: Id;
  /** The revision of every one of the events. */
  revision: number;
  /** In etcd's order. */
  events: Array<WatchEvent>;
}

/** Everything up to a revision has been delivered. */
export interface Progress {
  type: "progress";
  id?: Id;
  /** No event at or below it will follow. */
  revision: number;
}

/** What went wrong. */
export interface ErrorMessage {
  type: "error";
  id?: Id;
  error: Problem;
}

/** The watch is over. */
export interface End {
  type: "end";
  id?: Id;
}

/** The caller is known. */
export interface Authenticated {
  type: "authenticated";
  /** When the credentials expire; absent when they do not. */
  expires_at?: string;
}

/** The lease is granted and kept. */
export interface Lease {
  type: "lease";
  id: Id;
  /** The lease; keys are attached to it by `lease` of a PUT. */
  lease: string;
  /** The seconds that etcd granted. */
  ttl: number;
}

/** The socket lives. */
export interface Pong {
  type: "pong";
}

/** One change of one key. */
export interface WatchEvent {
  /** What happened. */
  type: "put" | "delete";
  kv: EventKeyValue;
  prev_kv?: KeyValue;
}

/** Any JSON value. */
export type AnyJson = unknown;

/** A key and its value: exactly one of `key` and `key_base64`, and exactly one of `value`, `value_base64` and `value_json` (none of them with `keys_only`). */
export interface KeyValue {
  /** The key as text. */
  key?: string;
  /** The key as base64. */
  key_base64?: string;
  /** The value as text. */
  value?: string;
  /** The value as base64. */
  value_base64?: string;
  value_json?: AnyJson;
  /** The revision at which the key was created. */
  create_revision: number;
  /** The revision of the last write. */
  mod_revision: number;
  /** How often the key was written since its creation. */
  version: number;
  /** The lease that the key is attached to. */
  lease?: string;
}

/** The key-value of an event; a deletion has only the key and its `mod_revision`. */
export interface EventKeyValue {
  /** The key as text. */
  key?: string;
  /** The key as base64. */
  key_base64?: string;
  /** The value as text. */
  value?: string;
  /** The value as base64. */
  value_base64?: string;
  value_json?: AnyJson;
  /** The revision at which the key was created. */
  create_revision?: number;
  /** The revision of the change. */
  mod_revision: number;
  /** How often the key was written since its creation. */
  version?: number;
  /** The lease that the key was attached to. */
  lease?: string;
}

/** An error (RFC 9457). The members up to `request_id` tell every problem; the others are there when they have something to say. */
export interface Problem {
  /** Leads to the page about the code. */
  type: string;
  /** The same for every occurrence of the code. */
  title: string;
  /** The HTTP status. */
  status: number;
  /** The stable name of the problem. */
  code: string;
  /** What happened here, and what would be right. */
  detail: string;
  /** A next step. */
  hint?: string;
  /** Whether the same request can succeed later, unchanged. */
  retryable: boolean;
  /** What a failed write did: nothing, or nobody knows. */
  outcome?: "not_applied" | "unknown";
  /** How long to wait before sending again. */
  retry_after_ms?: number;
  /** The request's id; the gateway's log knows it. */
  request_id: string;
  /** etcd's own status code, where etcd said something. */
  grpc_code?: number;
  /** etcd's own words. */
  grpc_message?: string;
  /** The faults of the input one by one. */
  errors?: Array<Fault>;
  /** The last revision delivered, to resume after; of `future_revision`, where the store is. */
  revision?: number;
  /** The oldest revision that can be read. */
  compact_revision?: number;
  /** The limit that was exceeded. */
  limit?: number;
}

/** One fault of the input; exactly one of `pointer` and `parameter`. */
export interface Fault {
  /** A JSON Pointer (RFC 6901) to the member at fault, the whole body being the empty pointer. */
  pointer?: string;
  /** The query, path or header parameter at fault. */
  parameter?: string;
  /** The kind of the fault. */
  code: string;
  /** What is wrong, and what would be right. */
  detail: string;
}

/** The codes of the problems that a stream can end with. */
export type StreamProblemCode = "invalid_argument" | "invalid_json" | "unknown_field" | "unauthenticated" | "auth_expired" | "permission_denied" | "reserved" | "lease_not_found" | "request_too_large" | "result_too_large" | "future_revision" | "epoch_changed" | "failed_precondition" | "compacted" | "rate_limited" | "unavailable" | "overloaded" | "draining" | "internal" | "not_supported" | "upstream_corrupt" | "deadline_exceeded" | "no_space" | "duplicate_id" | "slow_consumer" | "too_far_behind" | "revision_too_large";

/** What a client sends over a WebSocket. */
export type ClientMessage = WatchRequest | CancelRequest | ProgressRequest | AuthRequest | LeaseRequest | PingRequest;

/** What the gateway sends. */
export type ServerMessage = Created | Snapshot | Synced | Reset | Elected | Events | Progress | ErrorMessage | End | Authenticated | Lease | Pong;

/** What to do when a socket closes: connect anew, connect and resume each watch, or stop. */
export type Reconnect = "yes" | "resume" | "no";

export const closeCodes: Readonly<Record<number, { name: string; reconnect: Reconnect; sent: boolean }>> = {
  1000: { name: "normal", reconnect: "no", sent: true },
  1001: { name: "draining", reconnect: "resume", sent: true },
  1002: { name: "protocol error", reconnect: "no", sent: true },
  1003: { name: "binary", reconnect: "no", sent: true },
  1005: { name: "no code", reconnect: "resume", sent: false },
  1006: { name: "cut", reconnect: "resume", sent: false },
  1007: { name: "invalid UTF-8", reconnect: "no", sent: true },
  1009: { name: "too big", reconnect: "no", sent: true },
  1011: { name: "internal", reconnect: "resume", sent: true },
  1013: { name: "try again later", reconnect: "resume", sent: true },
  4400: { name: "bad protocol", reconnect: "no", sent: true },
  4401: { name: "authentication missing or expired", reconnect: "no", sent: true },
  4403: { name: "forbidden", reconnect: "no", sent: true },
  4408: { name: "authentication time-out", reconnect: "yes", sent: true },
  4409: { name: "conflict", reconnect: "no", sent: true },
  4410: { name: "gone", reconnect: "no", sent: true },
  4429: { name: "over a limit", reconnect: "resume", sent: true },
  4490: { name: "slow consumer", reconnect: "resume", sent: true },
  4501: { name: "not supported", reconnect: "no", sent: true },
  4504: { name: "time-out", reconnect: "resume", sent: true },
};
