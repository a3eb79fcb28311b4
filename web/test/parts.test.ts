// The parts that need no connection.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff, sleep } from "../src/client/backoff.ts";
import { closeCodes } from "../src/client/contract.ts";
import { EventParser } from "../src/client/eventstream.ts";
import { decide } from "../src/client/outcome.ts";
import { query } from "../src/client/query.ts";
import { Queue } from "../src/client/queue.ts";

test("events are cut at any byte", () => {
  const text = 'retry: 2140\n\nid: e-16\ndata: {"type":"created"}\n\n: note\r\ndata:a\r\ndata: b\r\n\r\nevent\n\ndata\n\n';
  const want = [{ retry: 2140 }, { data: '{"type":"created"}' }, { data: "a\nb" }, { data: "" }];
  for (let size = 1; size <= text.length; size++) {
    const parser = new EventParser();
    const got = [];
    for (let at = 0; at < text.length; at += size) got.push(...parser.feed(text.slice(at, at + size)));
    assert.deepEqual(got, want, `in pieces of ${size}`);
  }
});

test("an event that is not complete is not given", () => {
  assert.deepEqual(new EventParser().feed("data: 1\ndata: 2\n"), []);
});

test("parameters become a query", () => {
  assert.equal(String(query({ prefix: "a/ü", snapshot: true, events: ["put", "delete"], heartbeat: 5 })), "prefix=a%2F%C3%BC&events=put&events=delete&snapshot=true&heartbeat=5");
  assert.equal(String(query({ prefix: "" })), "prefix=");
});

test("a key that is not text makes all keys base64url", () => {
  assert.equal(String(query({ from: "ü", to_base64: "/+8=" })), "key_encoding=base64url&from=w7w&to=_-8");
});

test("waits grow, are jittered and start again after a long connection", () => {
  const backoff = new Backoff({ initial: 100, max: 1000 });
  for (const bound of [100, 200, 400, 800, 1000, 1000]) {
    const wait = backoff.next(0);
    assert.ok(wait >= 0 && wait <= bound, `waits ${wait}, want at most ${bound}`);
  }
  assert.ok(backoff.next(1001) <= 100);
  const many = new Set(Array.from({ length: 50 }, () => new Backoff().next(0)));
  assert.ok(many.size > 40, "the waits of 50 clients differ");
});

test("a sleep ends with its signal's reason", async () => {
  const stop = new AbortController();
  const sleeping = sleep(60_000, stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(sleeping, /enough/);
  await assert.rejects(sleep(1, stop.signal), /enough/);
});

test("each close code of the contract leads to what it says", () => {
  for (const [code, { reconnect }] of Object.entries(closeCodes)) {
    const next = decide({ how: "closed", code: Number(code), opened: true });
    const want = { yes: "resume", resume: "resume", no: code === "4401" ? "authenticate" : "fail" }[reconnect];
    assert.equal(next.do, want, `code ${code}, reconnect ${reconnect}`);
  }
  assert.equal(decide({ how: "closed", code: 4999, opened: true }).do, "resume");
});

test("an answer that is not the gateway's is tried again when it can pass", () => {
  const next = (status: number): string => decide({ how: "refused", status }).do;
  assert.deepEqual([502, 503, 429, 408].map(next), ["resume", "resume", "resume", "resume"]);
  assert.deepEqual([200, 403, 404].map(next), ["fail", "fail", "fail"]);
});

test("a queue holds its sender back and loses nothing", async () => {
  const queue = new Queue<number>(10);
  assert.equal(queue.push(1, 9), true);
  assert.equal(queue.push(2, 9), false);
  assert.equal(queue.push(3, 90), false);
  let free = false;
  const room = queue.room().then(() => (free = true));
  const reader = queue[Symbol.asyncIterator]();
  assert.equal((await reader.next()).value, 1);
  assert.equal((await reader.next()).value, 2);
  assert.equal(free, false);
  assert.equal((await reader.next()).value, 3);
  await room;
  queue.push(4, 1);
  queue.fail(new Error("over"));
  assert.equal((await reader.next()).value, 4);
  await assert.rejects(reader.next(), /over/);
});
