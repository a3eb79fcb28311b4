// Against the real thing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Events, Gateway, watch, type WatchError, type WatchMessage } from "../src/client/index.ts";
import { cutter } from "./cutter.ts";
import { gateway, guarded } from "./gateway.ts";
import { brief, quick, take } from "./shared.ts";

/** The events' keys and values, by revision. */
const told = ({ revision, events }: Events): unknown[] => [revision, ...events.map(({ type, kv }) => `${type} ${kv.key}=${kv.value}`)];

/** Reads the next revisions that changed something. */
async function changes(stream: AsyncGenerator<WatchMessage>, count: number): Promise<Events[]> {
  const out: Events[] = [];
  while (out.length < count) {
    const [message] = await take(stream, 1);
    if (message?.type === "events") out.push(message);
  }
  return out;
}

for (const transport of ["websocket", "sse"] as const) {
  test(`${transport}: what is written is told, a transaction at once`, async (t) => {
    const g = await gateway(t);
    const stream = watch({ url: g.url, transport, prefix: "app/", prev_kv: true });
    const [created] = await take(stream, 1);
    assert.ok(created?.type === "created" && created.epoch.includes("."), `got ${JSON.stringify(created)}`);
    const first = await g.put("app/a", "ä€😀");
    await g.put("other", "x");
    await g.send("POST", "/v1/txn", { then: [{ delete: { key: "app/a" } }, { put: { key: "app/b", value: "2" } }] });
    const [put, txn] = await changes(stream, 2);
    assert.deepEqual(told(put!), [first, "put app/a=ä€😀"]);
    assert.deepEqual(told(txn!), [first + 2, "delete app/a=undefined", "put app/b=2"]);
    assert.equal(txn!.events[0]!.prev_kv?.value, "ä€😀");
    await stream.return();
  });

  test(`${transport}: a snapshot, then what follows it`, async (t) => {
    const g = await gateway(t);
    for (const key of ["a", "b", "c"]) await g.put(key, "1");
    const stream = watch({ url: g.url, transport, prefix: "", snapshot: true });
    const keys: unknown[] = [];
    let synced = 0;
    while (synced === 0) {
      const [message] = await take(stream, 1);
      if (message?.type === "snapshot") keys.push(...message.kvs.map((kv) => kv.key));
      if (message?.type === "synced") synced = message.revision;
    }
    assert.deepEqual(keys, ["a", "b", "c"]);
    const revision = await g.put("d", "1");
    assert.equal(revision, synced + 1);
    assert.deepEqual((await changes(stream, 1)).map(told), [[revision, "put d=1"]]);
    await stream.return();
  });

  test(`${transport}: cuts lose nothing and repeat nothing`, async (t) => {
    const g = await gateway(t);
    const way = await cutter(t, g.url);
    const stream = watch({ url: way.url, transport, prefix: "n/", backoff: quick });
    await take(stream, 1);
    const count = 60;
    const writing = (async () => {
      for (let n = 0; n < count; n++) {
        await g.put(`n/${n}`, String(n));
        if (n % 10 === 9) way.cut();
      }
    })();
    const got = await changes(stream, count);
    await writing;
    assert.deepEqual(got.flatMap(({ events }) => events.map(({ kv }) => kv.value)), Array.from({ length: count }, (_, n) => String(n)));
    await stream.return();
  });

  test(`${transport}: a start that is gone, or not there yet, or of another store`, async (t) => {
    const g = await gateway(t);
    await g.put("a", "1");
    await g.put("a", "2");
    const last = await g.put("a", "3");
    await g.send("POST", "/v1/maintenance/compact", { revision: last });
    const failure = (parameters: object): Promise<WatchError> =>
      watch({ url: g.url, transport, key: "a", ...parameters }).next().then(() => Promise.reject(new Error("it began")), (error: unknown) => error as WatchError);
    const compacted = await failure({ start_revision: last - 1 });
    assert.deepEqual([compacted.code, compacted.problem?.compact_revision], ["compacted", last]);
    assert.equal((await failure({ start_revision: last + 100 })).code, "future_revision");
    assert.equal((await failure({ start_revision: last, epoch: "0000000000000000.0000000000000000" })).code, "epoch_changed");

    const stream = watch({ url: g.url, transport, key: "a", start_revision: last - 1, on_compacted: "resync" });
    const got: string[] = [];
    while (!got.at(-1)?.startsWith("synced")) got.push(...(await take(stream, 1)).map(brief));
    assert.deepEqual(got.map((m) => m.replace(/ \d+$/, "")), ["created", "reset compacted", "snapshot", "synced"]);
    await stream.return();
  });
}

test("a heartbeat certifies that nothing has happened", async (t) => {
  const g = await gateway(t);
  const stream = watch({ url: g.url, key: "a", heartbeat: 1 });
  await take(stream, 1);
  const revision = await g.put("b", "1");
  let progress = 0;
  while (progress < revision) {
    const [message] = await take(stream, 1);
    assert.equal(message?.type, "progress");
    if (message?.type === "progress") progress = message.revision;
  }
  await stream.return();
});

test("a range whose ends are not text", async (t) => {
  const g = await gateway(t);
  const way = new Gateway({ url: g.url, transport: "sse" });
  for (const stream of [watch({ url: g.url, from_base64: "/w==", to_base64: "//8=" }), way.watch({ from_base64: "/w==", to_base64: "//8=" })]) {
    await take(stream, 1);
    await g.send("PUT", "/v1/kv/%FF%00", { value_base64: "gA==" });
    const [put] = await changes(stream, 1);
    assert.deepEqual([put!.events[0]!.kv.key_base64, put!.events[0]!.kv.value_base64], ["/wA=", "gA=="]);
    await stream.return();
  }
});

test("a gateway that is stopped and started again is resumed", async (t) => {
  const g = await gateway(t);
  const states: string[] = [];
  const stream = watch({ url: g.url, key: "a", backoff: { initial: 20, max: 100 }, onState: (s) => states.push(s.state === "waiting" ? s.error.code : s.state) });
  await take(stream, 1);
  const before = await g.put("a", "1");
  assert.deepEqual((await changes(stream, 1)).map(told), [[before, "put a=1"]]);
  assert.equal(await g.stop(), 0);
  await g.start();
  const after = await g.put("a", "2");
  assert.deepEqual((await changes(stream, 1)).map(told), [[after, "put a=2"]]);
  assert.ok(states.includes("draining"), `the connection was ${states.join(", ")}`);
  await stream.return();
});

test("a reader that is slower than the writers gets everything", async (t) => {
  const g = await gateway(t);
  const way = new Gateway({ url: g.url, queueBytes: 4096, backoff: quick });
  const stream = way.watch({ prefix: "n/" });
  await take(stream, 1);
  const count = 100;
  for (let n = 0; n < count; n++) await g.put(`n/${n}`, `${n} ${"x".repeat(500)}`);
  const got = await changes(stream, count);
  assert.deepEqual(got.map(({ events }) => Number.parseInt(events[0]!.kv.value ?? "")), Array.from({ length: count }, (_, n) => n));
  await stream.return();
});

test("a token where nobody is asked for one", async (t) => {
  const g = await gateway(t);
  for (const transport of ["websocket", "sse"] as const) {
    const stream = watch({ url: g.url, transport, token: "t", key: "a" });
    await take(stream, 1);
    const revision = await g.put("a", "1");
    assert.deepEqual((await changes(stream, 1)).map(told), [[revision, "put a=1"]]);
    await stream.return();
  }
});

test("many watches over one socket", async (t) => {
  const g = await gateway(t);
  const way = new Gateway({ url: g.url, transport: "websocket" });
  const streams = Array.from({ length: 50 }, (_, n) => way.watch({ key: `k${n}` }));
  await Promise.all(streams.map((stream) => take(stream, 1)));
  const revisions = await Promise.all(streams.map((_, n) => g.put(`k${n}`, String(n))));
  const got = await Promise.all(streams.map((stream) => changes(stream, 1)));
  assert.deepEqual(got.map(([events]) => told(events!)), revisions.map((revision, n) => [revision, `put k${n}=${n}`]));
  await Promise.all(streams.map((stream) => stream.return()));
});

test("a token is renewed in the stream, and a ticket stands for one", async (t) => {
  const { g, token } = await guarded(t);
  let asked = 0;
  const renewed = watch({ url: g.url, token: () => (asked++, token(2)), transport: "websocket", key: "a" });
  const bought = watch({
    url: g.url, key: "a", transport: "sse",
    ticket: async () => (await g.send("POST", "/v1/auth/tickets", { path: "/v1/watch" }, token(60))).ticket as string,
  });
  await take(renewed, 1);
  await take(bought, 1);
  const end = Date.now() + 4000; // twice the life of a token
  for (let n = 0; Date.now() < end; n++) {
    await g.send("PUT", "/v1/kv/a", { value: String(n) }, token(60));
    const [event] = (await take(renewed, 1)) as Events[];
    assert.equal(event!.events[0]!.kv.value, String(n));
    await take(bought, 1);
  }
  assert.ok(asked >= 2, "the token was asked for again");
  await renewed.return();
  await bought.return();
  await assert.rejects(watch({ url: g.url, key: "a" }).next(), (error: WatchError) => error.code === "unauthenticated");
  await assert.rejects(watch({ url: g.url, key: "a", token: "x" }).next(), (error: WatchError) => error.code === "unauthenticated");
});
