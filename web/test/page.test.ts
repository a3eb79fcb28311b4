// What docs/how-to/browsers.md has a page do, run as it stands there, against the real gateway. Node.js has what the browser has: fetch,
// WebSocket and, when asked for it, EventSource.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { test, type TestContext } from "node:test";
import { Gateway, type WatchMessage } from "../src/client/index.ts";
import { guarded } from "./gateway.ts";
import { Inbox } from "./inbox.ts";

const page = await readFile(new URL("../../docs/how-to/browsers.md", import.meta.url), "utf8");

/** The page's blocks in a language. */
function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map((found) => found[1]!);
}

/** Runs code of the page where these names are what they are in a page, and gives the value of an expression at its end. */
async function run(code: string, value: string, names: Record<string, unknown>): Promise<unknown> {
  const body = new Function(...Object.keys(names), `return (async () => { ${code}\nreturn ${value}; })()`);
  return body(...Object.values(names));
}

/** What fetch and EventSource are in a page of the gateway's own: relative URLs are the gateway's. */
function pageOf(url: string): { fetch: typeof fetch; EventSource: typeof EventSource } {
  return {
    fetch: (to, init) => fetch(new URL(String(to), url), init),
    EventSource: class extends EventSource {
      constructor(to: string | URL) {
        super(new URL(to, url));
      }
    },
  };
}

const base64url = (text: string): string => Buffer.from(text).toString("base64url");

test("a ticket lets an EventSource in", async (t) => {
  const { g, token } = await guarded(t);
  const [script, ...others] = blocks("js");
  assert.ok(script && others.length === 0, "the page has one script");
  const logged = new Inbox<WatchMessage>();
  const source = (await run(script, "source", { ...pageOf(g.url), token: token(60), console: { log: (m: WatchMessage) => logged.put(m) } })) as EventSource;
  t.after(() => source.close());
  source.onerror = () => logged.end();
  assert.equal((await logged.next()).type, "created");
  await g.send("PUT", "/v1/kv/app/k", { value: "v" }, token(60));
  const change = await logged.next();
  assert.equal(change.type === "events" && change.events[0]?.kv.key, "app/k");
});

/** Opens the socket that the page's table shows at this place. */
async function socket(t: TestContext, row: number, names: Record<string, unknown>): Promise<WebSocket> {
  const shown = [...page.matchAll(/`(new WebSocket\([^`]*\))`/g)].map((found) => found[1]!);
  assert.equal(shown.length, 2, "the table shows two sockets");
  const opened = (await run("", shown[row]!, { ...names, base64url, WebSocket })) as WebSocket;
  t.after(() => opened.close());
  await new Promise((resolve, reject) => {
    opened.onopen = resolve;
    opened.onerror = reject;
  });
  assert.equal(opened.protocol, "etcdrest.v1", "the token is never answered");
  return opened;
}

/** Says something and gives what is answered. */
async function ask(to: WebSocket, message: string): Promise<Record<string, unknown>> {
  const answer = new Promise<string>((resolve) => (to.onmessage = ({ data }) => resolve(data as string)));
  to.send(message);
  return JSON.parse(await answer) as Record<string, unknown>;
}

test("a WebSocket says who is calling, in either way, and stays known", async (t) => {
  const { g, token } = await guarded(t);
  const url = `${g.url.replace("http", "ws")}/v1/watch`;
  const exchange = /^> (.*)\n< (.*)$/m.exec(blocks("text")[0]!);
  assert.ok(exchange, "the page shows what is said");
  const auth = (): string => exchange[1]!.replace(/eyJ[^"]*/, token(60));
  for (const row of [0, 1]) {
    const open = await socket(t, row, { url, token: token(60) });
    if (row === 1) assert.equal((await ask(open, auth())).type, "authenticated");
    assert.equal((await ask(open, '{"op":"watch","id":"w","key":"k"}')).type, "created");
    const renewed = await ask(open, auth());
    assert.deepEqual(Object.keys(renewed), Object.keys(JSON.parse(exchange[2]!) as object), "as the page shows it");
  }
});

test("the client's two ways to be known", async (t) => {
  const { g, token } = await guarded(t);
  const shown = blocks("ts");
  assert.equal(shown.length, 2, "the page shows two");
  const server = async (): Promise<Response> => {
    const { ticket } = await g.send("POST", "/v1/auth/tickets", { path: "/v1/watch" }, token(60));
    return new Response(ticket as string);
  };
  for (const code of shown) {
    const here = stripTypeScriptTypes(code).replace("https://gate.example", g.url);
    const gateway = (await run(here, "gateway", { Gateway, session: { freshToken: () => token(60) }, fetch: server })) as Gateway;
    const changes = gateway.watch({ key: "k" });
    assert.equal((await changes.next()).value?.type, "created");
    await changes.return();
  }
});
