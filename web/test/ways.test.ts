// The two ways to a gateway, and who is calling.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Gateway, watch, type WatchError } from "../src/client/index.ts";
import { problem, serve } from "./server.ts";
import { brief, created, epoch, on, put, quick, take } from "./shared.ts";

test("where no WebSocket comes through, Server-Sent Events do", async (t) => {
  const { url, streams } = await serve(t, { sockets: false });
  const changes = watch({ url, prefix: "app/", backoff: quick });
  const first = changes.next();
  const one = await streams.next();
  assert.equal(one.request.headers.accept, "text/event-stream");
  assert.deepEqual(one.asked, { prefix: "app/" });
  one.send(created(16), put(17));
  await first;
  await take(changes, 1);
  one.cut();
  const next = changes.next();
  const two = await streams.next();
  assert.deepEqual(two.asked, { prefix: "app/", start_revision: "18", epoch });
  two.send(created(17), put(18));
  assert.equal(brief((await next).value!), "events 18");
  await changes.return();
  await two.closed;
});

test("a gateway that is not there yet is waited for", async (t) => {
  const { url, peers } = await serve(t);
  let tries = 0;
  class Absent extends WebSocket {
    constructor(to: string | URL, protocols?: string | string[]) {
      super(++tries < 3 ? "ws://127.0.0.1:1" : to, protocols);
    }
  }
  const absent: typeof fetch = () => Promise.reject(new TypeError("no route"));
  const changes = watch({ url, key: "k", backoff: quick, WebSocket: Absent, fetch: absent });
  const first = changes.next();
  const peer = await peers.next();
  const { id } = await peer.next("watch");
  peer.send(...on(id, created(1)));
  await first;
  assert.equal(tries, 3);
  await changes.return();
});

test("a refusal over HTTP is its problem", async (t) => {
  const { url, streams } = await serve(t);
  const first = watch({ url, key: "k", start_revision: 2, transport: "sse" }).next();
  (await streams.next()).refuse(410, problem("compacted", { status: 410, compact_revision: 900 }));
  await assert.rejects(first, (error: WatchError) => error.code === "compacted" && error.problem?.compact_revision === 900 && error.revision === 1);
});

test("a passing refusal, in a stream or by a proxy, is tried again", async (t) => {
  const { url, streams } = await serve(t);
  const changes = watch({ url, key: "k", transport: "sse", backoff: quick });
  const first = changes.next();
  const one = await streams.next();
  one.send({ type: "error", error: problem("unavailable", { retryable: true }) });
  one.response.end();
  (await streams.next()).refuse(502);
  const three = await streams.next();
  three.response.writeHead(200, { "Content-Type": "text/event-stream" });
  three.response.end("retry: 60\n\n");
  const cut = performance.now();
  const four = await streams.next();
  assert.ok(performance.now() - cut >= 55, "waits as long as `retry` says");
  four.send(created(1));
  await first;
  await changes.return();
});

test("an answer that is no stream fails", async (t) => {
  const { url, streams } = await serve(t);
  const first = watch({ url, key: "k", transport: "sse" }).next();
  (await streams.next()).refuse(200);
  await assert.rejects(first, /HTTP 200/);
});

test("a silent stream is dead", async (t) => {
  const { url, streams } = await serve(t);
  const changes = watch({ url, key: "k", transport: "sse", heartbeat: 0.2, backoff: quick });
  const first = changes.next();
  const one = await streams.next();
  one.send(created(1));
  await first;
  const next = changes.next();
  await one.closed;
  const two = await streams.next();
  two.send(created(1), put(2));
  assert.equal(brief((await next).value!), "events 2");
  await changes.return();
});

test("a token is sent first, and a new one is got when it expires", async (t) => {
  const { url, peers } = await serve(t);
  let tokens = 0;
  const gateway = new Gateway({ url, token: async () => `t${++tokens}`, backoff: quick });
  const changes = gateway.watch({ key: "k" });
  const first = changes.next();
  const one = await peers.next();
  assert.deepEqual(await one.next("auth"), { op: "auth", token: "t1" });
  const { id } = await one.next("watch");
  one.send({ type: "authenticated", expires_at: "2026-03-01T12:00:00Z" }, ...on(id, created(1)));
  await first;
  one.send({ type: "error", error: problem("auth_expired") });
  one.close(4401);
  const next = changes.next();
  const two = await peers.next();
  assert.equal((await two.next("auth")).token, "t2");
  const again = await two.next("watch");
  assert.equal(again.start_revision, 2);
  two.send({ type: "error", error: problem("unauthenticated") });
  two.close(4401);
  await assert.rejects(next, (error: WatchError) => error.code === "unauthenticated" && error.revision === 1);
  assert.equal(peers.size, 0, "new credentials that are no good are not tried again");
});

test("a gateway that authenticates nobody is no failure, and not the reason of a later one", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url, token: "t", key: "k", backoff: quick });
  const first = changes.next();
  const one = await peers.next();
  await one.next("auth");
  const { id } = await one.next("watch");
  one.send({ type: "error", error: problem("not_supported") }, ...on(id, created(1)));
  await first;
  one.close(1011);
  const next = changes.next();
  const two = await peers.next();
  await two.next("auth");
  two.send(...on((await two.next("watch")).id, created(1), put(2)));
  assert.equal(brief((await next).value!), "events 2");
  await changes.return();
});

test("over HTTP a token travels in a header", async (t) => {
  const { url, streams } = await serve(t);
  const first = watch({ url, key: "k", transport: "sse", token: "t1" }).next();
  const stream = await streams.next();
  assert.equal(stream.request.headers.authorization, "Bearer t1");
  stream.refuse(401, problem("unauthenticated", { status: 401 }));
  await assert.rejects(first, (error: WatchError) => error.code === "unauthenticated");
});

test("a path in the URL is kept", async (t) => {
  const { url, peers } = await serve(t);
  const changes = watch({ url: `${url}/etcd/`, key: "k" });
  const first = changes.next();
  const peer = await peers.next();
  assert.equal(peer.request.url, "/etcd/v1/watch");
  assert.equal(peer.request.headers["sec-websocket-protocol"], "etcdrest.v1");
  peer.send(...on((await peer.next("watch")).id, created(1)));
  await first;
  await changes.return();
});

test("a token is renewed on the socket before it expires", async (t) => {
  const { url, peers } = await serve(t);
  let tokens = 0;
  const changes = watch({ url, token: async () => `t${++tokens}`, key: "k", backoff: quick });
  const first = changes.next();
  const peer = await peers.next();
  await peer.next("auth");
  const { id } = await peer.next("watch");
  const end = Date.now() + 300;
  peer.send({ type: "authenticated", expires_at: new Date(end).toISOString() }, ...on(id, created(1)));
  await first;
  assert.deepEqual(await peer.next("auth"), { op: "auth", token: "t2" });
  assert.ok(Date.now() < end, "before the old one expires");
  peer.send({ type: "authenticated" }, ...on(id, put(2)));
  assert.equal(brief((await changes.next()).value!), "events 2");
  await changes.return();
  assert.equal(peers.size, 0, "nothing was connected again");
});

test("each connection has a ticket of its own", async (t) => {
  const { url, peers, streams } = await serve(t);
  let tickets = 0;
  const ticket = async (): Promise<string> => `ticket${++tickets}`;
  const changes = watch({ url, ticket, key: "k", backoff: quick });
  const first = changes.next();
  const one = await peers.next();
  assert.match(one.request.url!, /[?&]ticket=ticket1$/);
  one.send(...on((await one.next("watch")).id, created(1)));
  await first;
  one.close(4401);
  const next = changes.next();
  const two = await peers.next();
  assert.match(two.request.url!, /[?&]ticket=ticket2$/);
  two.send(...on((await two.next("watch")).id, created(1), put(2)));
  assert.equal(brief((await next).value!), "events 2");
  await changes.return();
  const refused = watch({ url, ticket, key: "k", transport: "sse", backoff: quick }).next();
  for (const name of [/ticket=ticket3/, /ticket=ticket4/]) { // once more, and then no more
    const stream = await streams.next();
    assert.match(stream.request.url!, name);
    stream.refuse(401, problem("unauthenticated", { status: 401 }));
  }
  await assert.rejects(refused, (error: WatchError) => error.code === "unauthenticated");
});
