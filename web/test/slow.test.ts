// Readers that are slower than what they watch.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Gateway, watch } from "../src/client/index.ts";
import { serve } from "./server.ts";
import { brief, created, on, progress, put, quick, take } from "./shared.ts";

const large = "x".repeat(1000);

test("a watch whose reader is behind leaves the socket and comes back; nothing is lost", async (t) => {
  const { url, peers } = await serve(t);
  const gateway = new Gateway({ url, queueBytes: 3000, backoff: quick });
  const [slow, other] = [gateway.watch({ key: "slow" }), gateway.watch({ key: "other" })];
  const firsts = [slow.next(), other.next()];
  const peer = await peers.next();
  const [a, b] = [await peer.next("watch"), await peer.next("watch")];
  peer.send(...on(a.id, created(1)), ...on(b.id, created(1)));
  await Promise.all(firsts);

  peer.send(...on(a.id, put(2, large), put(3, large), put(4, large), put(5, large), put(6, large)));
  assert.deepEqual(await peer.next("cancel"), { op: "cancel", id: a.id });
  peer.send(...on(b.id, put(6)));
  assert.deepEqual((await take(other, 1)).map(brief), ["events 6"]);
  assert.equal(peer.received.size, 0, "comes back only when there is room");

  const got = await take(slow, 2);
  const again = await peer.next("watch");
  assert.notEqual(again.id, a.id);
  const revision = again.start_revision as number;
  peer.send(...on(a.id, put(99)), ...on(again.id, created(revision - 1), put(revision), put(revision + 1)));
  got.push(...(await take(slow, revision - 2)));
  assert.deepEqual(got.map(brief), Array.from({ length: revision }, (_, i) => `events ${i + 2}`));
  await Promise.all([slow.return(), other.return()]);
});

test("over HTTP a reader that is behind leaves it in the socket", async (t) => {
  const { url, streams } = await serve(t);
  const changes = watch({ url, key: "k", transport: "sse", queueBytes: 2000, heartbeat: 0.4 });
  const first = changes.next();
  const stream = await streams.next();
  const count = 20_000; // more than all buffers on the way
  let sent = 0;
  const pour = (): void => {
    while (sent < count && !stream.response.writableNeedDrain) stream.send(sent === 0 ? created(1) : put(1 + sent, large)), sent++;
    if (sent < count) stream.response.once("drain", pour);
  };
  pour();
  await first;
  // Longer than the watchdog bears of a connection that is read.
  await new Promise((resolve) => setTimeout(resolve, 1200));
  assert.ok(sent < count, "the sender is held back");
  const got = await take(changes, count - 1);
  assert.deepEqual([brief(got[0]!), brief(got.at(-1)!)], ["events 2", `events ${count}`]);
  assert.equal(streams.size, 0, "on the same connection");
  await changes.return();
});

test("a snapshot that is longer than the queue comes over HTTP, which can wait", async (t) => {
  const { url, peers, streams } = await serve(t);
  const part = { type: "snapshot", kvs: [{ key: "k", value: large, create_revision: 1, mod_revision: 1, version: 1 }] };
  const changes = watch({ url, prefix: "", snapshot: true, queueBytes: 3000, backoff: quick });
  const first = changes.next();
  const peer = await peers.next();
  const { id } = await peer.next("watch");
  peer.send(...on(id, created(9), part, part, part, part));
  await first;
  assert.equal(await peer.closed, 1000);
  const parts = take(changes, 4);
  const stream = await streams.next();
  assert.equal(stream.asked.snapshot, "true");
  stream.send(created(9), ...Array<object>(10).fill(part), { type: "synced", revision: 9 });
  assert.deepEqual((await parts).map(brief), ["snapshot", "snapshot", "snapshot", "reset interrupted"]);
  const rest = await take(changes, 12);
  assert.deepEqual([brief(rest[0]!), brief(rest.at(-1)!)], ["created 9", "synced 9"]);
  await changes.return();
});

test("of heartbeats that nobody has read the last one is kept", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, key: "k" });
  const first = changes.next();
  const peer = await peers.next();
  const { id } = await peer.next("watch");
  peer.send(...on(id, created(1)));
  await first;
  peer.send(...on(id, progress(2), progress(3), progress(4), put(5)));
  peer.close(1002);
  await assert.rejects(peer.received.next());
  assert.deepEqual((await take(changes, 2)).map(brief), ["progress 4", "events 5"]);
  await assert.rejects(changes.next(), /1002/);
});
