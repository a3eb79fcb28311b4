// Observing an election.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Elected } from "../src/client/index.ts";
import { watch, type WatchMessage } from "../src/client/index.ts";
import { cutter } from "./cutter.ts";
import { gateway } from "./gateway.ts";
import { serve } from "./server.ts";
import { brief, created, epoch, on, quick, take } from "./shared.ts";

const leads = (revision: number, value?: string): Elected => ({
  type: "leader",
  revision,
  leader: value === undefined ? null : { owner_key: "e/1", lease: "0000000000000001", fencing_token: 1, value },
});

test("an observer that is cut before it knows the leader asks anew, and behind that it resumes", async (t) => {
  const { url, peers } = await serve(t);
  const stream = watch({ url, election: "e", backoff: quick });
  const first = stream.next();
  const one = await peers.next();
  const asked = await one.next("watch");
  assert.deepEqual(asked, { op: "watch", id: asked.id, election: "e" });
  one.send(...on(asked.id, created(16)));
  assert.equal(brief((await first).value!), "created 16");
  one.cut();

  const second = stream.next();
  const two = await peers.next();
  const again = await two.next("watch");
  assert.deepEqual(again, { op: "watch", id: again.id, election: "e" });
  two.send(...on(again.id, created(18), leads(18, "a"), leads(18, "a"), leads(20)));
  assert.deepEqual((await second).value, leads(18, "a"));
  assert.deepEqual(await take(stream, 1), [leads(20)]);
  two.cut();

  const third = stream.next();
  const three = await peers.next();
  const resumed = await three.next("watch");
  assert.deepEqual(resumed, { op: "watch", id: resumed.id, election: "e", start_revision: 21, epoch });
  three.send(...on(resumed.id, created(20), { type: "reset", reason: "compacted" }));
  assert.equal(brief((await third).value!), "reset compacted");
  three.cut();

  const fourth = stream.next();
  const four = await peers.next();
  const anew = await four.next("watch");
  assert.deepEqual(anew, { op: "watch", id: anew.id, election: "e" });
  four.send(...on(anew.id, created(30), leads(30, "b")));
  assert.deepEqual((await fourth).value, leads(30, "b"));
  await stream.return();
});

/** Reads the next leaders, each as its value. */
async function leaders(stream: AsyncGenerator<WatchMessage>, count: number): Promise<unknown[]> {
  const out: unknown[] = [];
  while (out.length < count) {
    const [message] = await take(stream, 1);
    if (message?.type === "leader") out.push(message.leader?.value ?? null);
  }
  return out;
}

for (const transport of ["websocket", "sse"] as const) {
  test(`${transport}: each leader is told, through cuts`, async (t) => {
    const g = await gateway(t);
    const way = await cutter(t, g.url);
    const stream = watch({ url: way.url, transport, election: "jobs/ä", backoff: quick });
    assert.deepEqual(await leaders(stream, 1), [null]);
    const path = "/v1/elections/jobs%2F%C3%A4";
    const want: unknown[] = [];
    for (const value of ["a", "b", "c"]) {
      const { lease } = await g.send("POST", path, { value, ttl: 60 }) as { lease: string };
      await g.send("PUT", `${path}?lease=${lease}`, { value: `${value}2` });
      way.cut();
      await g.send("DELETE", `${path}?lease=${lease}`);
      want.push(value, `${value}2`, null);
    }
    assert.deepEqual(await leaders(stream, want.length), want);
    await stream.return();
  });
}
