import type { WatchMessage } from "../src/client/index.ts";

export const epoch = "cdf818194e3a8c32.5f0b3c2a9d7e4411";

export const created = (revision: number): object => ({ type: "created", revision, epoch });
export const progress = (revision: number): object => ({ type: "progress", revision });

/** The events of a revision that puts one key. */
export const put = (revision: number, value = "v"): object => ({
  type: "events",
  revision,
  events: [{ type: "put", kv: { key: "k", value, create_revision: 1, mod_revision: revision, version: revision } }],
});

/** Messages of one watch on a socket. */
export const on = (id: unknown, ...messages: object[]): object[] => messages.map((message) => ({ ...message, id }));

/** The quickest waits; a test says what it is about when it has others. */
export const quick = { initial: 1, max: 5 };

/** Reads so many messages. */
export async function take(watch: AsyncGenerator<WatchMessage>, count: number): Promise<WatchMessage[]> {
  const out: WatchMessage[] = [];
  while (out.length < count) {
    const { done, value } = await watch.next();
    if (done) throw new Error(`the watch ended after ${JSON.stringify(out)}`);
    out.push(value);
  }
  return out;
}

/** A message in short: its type, and its revision or reason. */
export function brief(message: WatchMessage): string {
  if ("revision" in message) return `${message.type} ${message.revision}`;
  return message.type === "reset" ? `reset ${message.reason}` : message.type;
}
