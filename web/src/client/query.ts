import type { WatchParameters } from "./messages.ts";

const keys = ["key", "prefix", "from", "to", "election"] as const;

/** The parameters as a query. Keys that are not text are spelled in base64url, and then all are. */
export function query(parameters: WatchParameters): URLSearchParams {
  const out = new URLSearchParams();
  const binary = keys.some((name) => parameters[`${name}_base64`] !== undefined);
  if (binary) out.set("key_encoding", "base64url");
  for (const name of keys) {
    const text = parameters[name];
    const bytes = parameters[`${name}_base64`];
    if (bytes !== undefined) out.set(name, urlSafe(bytes));
    else if (text !== undefined) out.set(name, binary ? base64url(text) : text);
  }
  for (const type of parameters.events ?? []) out.append("events", type);
  for (const name of ["start_revision", "epoch", "snapshot", "prev_kv", "keys_only", "encoding", "heartbeat", "timeout", "on_compacted"] as const) {
    const value = parameters[name];
    if (value !== undefined) out.set(name, String(value));
  }
  return out;
}

function base64url(text: string): string {
  return urlSafe(btoa(String.fromCharCode(...new TextEncoder().encode(text))));
}

function urlSafe(base64: string): string {
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
