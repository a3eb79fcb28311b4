// Going on after whatever happens to a connection.
import assert from "node:assert/strict";
import { test } from "node:test";
import { closeCodes } from "../src/client/contract.ts";
import { type ConnectionState, Gateway, watch, WatchError } from "../src/client/index.ts";
import { problem, serve } from "./server.ts";
import { brief, created, epoch, on, progress, put, quick, take } from "./shared.ts";

test("a watch that is cut goes on after its last revision", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, prefix: "app/", prev_kv: true, backoff: quick });
  const first = changes.next();
  const one = await peers.next();
  const asked = await one.next("watch");
  assert.deepEqual(asked, { op: "watch", id: asked.id, prefix: "app/", prev_kv: true });
  one.send(...on(asked.id, created(16), put(17), progress(20)));
  assert.equal(brief((await first).value!), "created 16");
  assert.deepEqual((await take(changes, 2)).map(brief), ["events 17", "progress 20"]);
  one.cut();

  const next = changes.next();
  const two = await peers.next();
  const again = await two.next("watch");
  assert.deepEqual(again, { op: "watch", id: again.id, prefix: "app/", prev_kv: true, start_revision: 21, epoch });
  two.send(...on(again.id, created(20), put(21)));
  assert.equal(brief((await next).value!), "events 21");
  await changes.return();
  assert.equal(await two.closed, 1000);
});

test("a start and an epoch of the caller are sent, also after a cut before anything came", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, key: "k", start_revision: 5, epoch, backoff: quick });
  const first = changes.next();
  for (let tries = 0; tries < 2; tries++) {
    const peer = await peers.next();
    const asked = await peer.next("watch");
    assert.deepEqual([asked.start_revision, asked.epoch], [5, epoch]);
    if (tries === 0) peer.cut();
    else peer.send(...on(asked.id, created(4), put(5)));
  }
  assert.equal(brief((await first).value!), "created 4");
  assert.deepEqual((await take(changes, 1)).map(brief), ["events 5"]);
  await changes.return();
});

test("what a server sends twice is given once", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, key: "k" });
  const first = changes.next();
  const peer = await peers.next();
  const { id } = await peer.next("watch");
  peer.send(...on(id, created(1), put(2), put(2), progress(1), { type: "from later versions" }, put(3)));
  await first;
  assert.deepEqual((await take(changes, 2)).map(brief), ["events 2", "events 3"]);
  await changes.return();
});

for (const [text, { name, reconnect, sent }] of Object.entries(closeCodes)) {
  if (!sent) continue;
  test(`close code ${text} (${name}): reconnect ${reconnect}`, async (t) => {
    const { url, peers } = await serve(t);
    const changes = watch({ url, key: "k", backoff: quick });
    const first = changes.next();
    const peer = await peers.next();
    const { id } = await peer.next("watch");
    peer.send(...on(id, created(1)));
    await first;
    peer.close(Number(text));
    const next = changes.next();
    if (reconnect === "no") {
      await assert.rejects(next, (error: WatchError) => error.code === "closed" && error.revision === 1 && error.message.includes(text));
      assert.equal(peers.size, 0);
      return;
    }
    const other = await peers.next();
    const asked = await other.next("watch");
    assert.equal(asked.start_revision, 2);
    other.send(...on(asked.id, created(1), put(2)));
    assert.equal(brief((await next).value!), "events 2");
    await changes.return();
  });
}

test("draining: waits as long as it is told, and takes another socket", async (t) => {
  const { url, peers } = await serve(t);
  const states: ConnectionState[] = [];
  const changes = watch({ url, key: "k", backoff: quick, onState: (state) => states.push(state) });
  const first = changes.next();
  const peer = await peers.next();
  const { id } = await peer.next("watch");
  const told = performance.now();
  peer.send(...on(id, created(1)), { type: "error", id, error: problem("draining", { retryable: true, retry_after_ms: 120 }) });
  await first;
  const next = changes.next();
  const other = await peers.next();
  assert.ok(performance.now() - told >= 115, "waited");
  const asked = await other.next("watch");
  other.send(...on(asked.id, created(1), put(2)));
  await next;
  assert.deepEqual(states.map((s) => s.state), ["connecting", "live", "waiting", "connecting", "live"]);
  await changes.return();
});

for (const code of ["slow_consumer", "internal", "unavailable"]) {
  test(`${code}: resumes`, async (t) => {
    const { url, peers } = await serve(t);
    const changes = watch({ url, key: "k", backoff: quick });
    const first = changes.next();
    const peer = await peers.next();
    const { id } = await peer.next("watch");
    peer.send(...on(id, created(1), put(2)), { type: "error", id, error: problem(code, { retryable: code === "unavailable" }) });
    await first;
    await take(changes, 1);
    const next = changes.next();
    const other = await peers.next();
    const asked = await other.next("watch");
    assert.equal(asked.start_revision, 3);
    other.send(...on(asked.id, created(2), put(3)));
    assert.equal(brief((await next).value!), "events 3");
    await changes.return();
  });
}

test("silence is a dead connection", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, key: "k", heartbeat: 0.2, backoff: quick });
  const first = changes.next();
  const peer = await peers.next();
  const { id } = await peer.next("watch");
  const start = performance.now();
  peer.send(...on(id, created(1)));
  await first;
  const next = changes.next();
  const other = await peers.next();
  assert.ok(performance.now() - start >= 490, "not before 2.5 heartbeats");
  const asked = await other.next("watch");
  assert.equal(asked.start_revision, 2);
  other.send(...on(asked.id, created(1), put(2)));
  await next;
  await changes.return();
});

test("end ends the watch", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, key: "k", timeout: 1 });
  const first = changes.next();
  const peer = await peers.next();
  const { id } = await peer.next("watch");
  peer.send(...on(id, created(1), { type: "end" }));
  await first;
  assert.equal((await changes.next()).done, true);
  assert.equal(await peer.closed, 1000);
});

test("a signal ends the watch with its reason", async (t) => {
  const { url, peers } = await serve(t);
  const stop = new AbortController();
  const changes = watch({ url, key: "k", signal: stop.signal });
  const first = changes.next();
  const peer = await peers.next();
  const { id } = await peer.next("watch");
  peer.send(...on(id, created(1), put(2)));
  await first;
  await take(changes, 1);
  const next = changes.next();
  stop.abort(new Error("enough"));
  await assert.rejects(next, /enough/);
  assert.equal(await peer.closed, 1000);
  await assert.rejects(watch({ url, key: "k", signal: stop.signal }).next(), /enough/);
});

test("watches share a socket, and end by themselves", async (t) => {
  const { url, peers } = await serve(t);
  const gateway = new Gateway({ url, backoff: quick });
  const [a, b] = [gateway.watch({ key: "a" }), gateway.watch({ key: "b" })];
  const firsts = [a.next(), b.next()];
  const peer = await peers.next();
  const asked = [await peer.next("watch"), await peer.next("watch")];
  assert.notEqual(asked[0]!.id, asked[1]!.id);
  for (const { id } of asked) peer.send(...on(id, created(1)));
  await Promise.all(firsts);
  peer.send(...on(asked[1]!.id, put(2)), ...on(asked[0]!.id, put(3)));
  assert.deepEqual([...(await take(a, 1)), ...(await take(b, 1))].map(brief), ["events 3", "events 2"]);
  await a.return();
  assert.deepEqual(await peer.next("cancel"), { op: "cancel", id: asked[0]!.id });
  peer.send(...on(asked[1]!.id, put(4)));
  assert.deepEqual((await take(b, 1)).map(brief), ["events 4"]);
  await b.return();
  assert.equal(await peer.closed, 1000);
  assert.equal(peers.size, 0);
});
