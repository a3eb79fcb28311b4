// Snapshots, and what makes a watch begin anew.
import assert from "node:assert/strict";
import { test } from "node:test";
import { watch, type WatchError } from "../src/client/index.ts";
import { problem, serve } from "./server.ts";
import { brief, created, on, put, quick, take } from "./shared.ts";

const part = { type: "snapshot", kvs: [{ key: "k", value: "v", create_revision: 1, mod_revision: 1, version: 1 }] };
const synced = (revision: number): object => ({ type: "synced", revision });

test("after its snapshot a watch goes on without another one", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, prefix: "", snapshot: true, backoff: quick });
  const reading = take(changes, 5);
  const one = await peers.next();
  const asked = await one.next("watch");
  assert.equal(asked.snapshot, true);
  one.send(...on(asked.id, created(9), part, part, synced(9), put(10)));
  assert.deepEqual((await reading).map(brief), ["created 9", "snapshot", "snapshot", "synced 9", "events 10"]);
  one.cut();
  const next = changes.next();
  const two = await peers.next();
  const again = await two.next("watch");
  assert.deepEqual([again.snapshot, again.start_revision], [undefined, 11]);
  two.send(...on(again.id, created(10), put(11)));
  assert.equal(brief((await next).value!), "events 11");
  await changes.return();
});

test("a snapshot that is cut begins anew, and the reader is told", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, prefix: "", snapshot: true, backoff: quick });
  const reading = take(changes, 6);
  const one = await peers.next();
  one.send(...on((await one.next("watch")).id, created(9), part));
  one.cut();
  const two = await peers.next();
  const again = await two.next("watch");
  assert.deepEqual([again.snapshot, again.start_revision, again.epoch], [true, undefined, undefined]);
  two.send(...on(again.id, created(12), part, synced(12)));
  assert.deepEqual((await reading).map(brief), ["created 9", "snapshot", "reset interrupted", "created 12", "snapshot", "synced 12"]);
  await changes.return();
});

for (const code of ["compacted", "too_far_behind", "epoch_changed"]) {
  test(`${code} is an error unless a new snapshot is asked for`, async (t) => {
    const { url, peers } = await serve(t);
    const changes = watch({ url, key: "k", backoff: quick });
    const reading = take(changes, 2);
    const peer = await peers.next();
    const { id } = await peer.next("watch");
    peer.send(...on(id, created(1), put(7)), { type: "error", id, error: problem(code, { compact_revision: 900 }) });
    await reading;
    await assert.rejects(changes.next(), (error: WatchError) => error.code === code && error.revision === 7 && error.problem?.compact_revision === 900);
  });

  test(`${code} leads to a new snapshot where that is asked for`, async (t) => {
    const { url, peers } = await serve(t);
    const changes = watch({ url, key: "k", on_compacted: "resync", backoff: quick });
    const reading = take(changes, 6);
    const one = await peers.next();
    const asked = await one.next("watch");
    one.send(...on(asked.id, created(1), put(7)), { type: "error", id: asked.id, error: problem(code) });
    const two = await peers.next();
    const again = await two.next("watch");
    assert.deepEqual([again.snapshot, again.start_revision, again.epoch, again.on_compacted], [true, undefined, undefined, "resync"]);
    two.send(...on(again.id, created(3), part, synced(3)));
    assert.deepEqual((await reading).map(brief), ["created 1", "events 7", `reset ${code}`, "created 3", "snapshot", "synced 3"]);
    await changes.return();
  });
}

test("a reset by the gateway is passed on, and a cut behind it asks for the snapshot again", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, key: "k", start_revision: 2, on_compacted: "resync", backoff: quick });
  const reading = take(changes, 6);
  const one = await peers.next();
  one.send(...on((await one.next("watch")).id, created(9), { type: "reset", reason: "compacted" }, part));
  one.cut();
  const two = await peers.next();
  const again = await two.next("watch");
  assert.deepEqual([again.snapshot, again.start_revision], [true, undefined]);
  two.send(...on(again.id, created(9), part, synced(9)));
  assert.deepEqual((await reading).map(brief), ["created 9", "reset compacted", "snapshot", "reset interrupted", "created 9", "snapshot"]);
  await changes.return();
});
