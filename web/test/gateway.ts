// The real thing: the built gateway with an etcd inside it.
import { type ChildProcess, spawn } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const binary = process.env.GATEWAY ?? fileURLToPath(new URL("../../.tmp/gateway", import.meta.url));

/** A gateway that can be stopped and started again over the same data. */
export class Gateway {
  url = "";
  readonly #data: string;
  readonly #more: string[];
  #process: ChildProcess | undefined;

  constructor(data: string, more: string[] = []) {
    this.#data = data;
    this.#more = more;
  }

  /** Starts it at the address where it was before, else at a free one. */
  async start(): Promise<void> {
    const listen = this.url === "" ? "127.0.0.1:0" : new URL(this.url).host;
    const child = spawn(binary, ["dev", "--listen", listen, "--admin-listen", "", "--data-dir", this.#data, "--shutdown-grace", "5s", ...this.#more], { stdio: ["ignore", "ignore", "pipe"] });
    this.#process = child;
    const failed = new Promise<never>((_, reject) => child.once("error", reject));
    this.url = await Promise.race([failed, address(child)]);
  }

  /** Asks it to stop, and gives its exit code. */
  async stop(): Promise<number | null> {
    const child = this.#process;
    if (!child || child.exitCode !== null) return null;
    const over = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    return over;
  }

  /** Sends a request that must succeed. */
  async send(method: string, path: string, body?: object | string, token?: string): Promise<Record<string, unknown>> {
    const text = typeof body === "object" ? JSON.stringify(body) : body;
    const headers = { ...(text === undefined ? {} : { "Content-Type": "application/json" }), ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) };
    const answer = await fetch(this.url + path, { method, headers, ...(text === undefined ? {} : { body: text }) });
    const document = (await answer.json()) as Record<string, unknown>;
    if (!answer.ok) throw new Error(`${method} ${path}: ${JSON.stringify(document)}`);
    return document;
  }

  /** Writes a key, and gives the revision. */
  async put(key: string, value: string): Promise<number> {
    const { mod_revision } = await this.send("PUT", `/v1/kv/${key}`, { value });
    return mod_revision as number;
  }
}

/** Where it serves, as it says when it is ready. */
async function address(child: ChildProcess): Promise<string> {
  if (!child.stderr) throw new Error("the gateway has no stderr");
  const said: string[] = [];
  const lines = createInterface(child.stderr);
  return new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      said.push(line);
      const found = /^API\s+(http:\S+)/.exec(line)?.[1];
      if (found) resolve(found);
    });
    lines.on("close", () => reject(new Error(`the gateway ended:\n${said.join("\n")}`)));
  });
}

/** A gateway for the length of a test. */
export async function gateway(t: TestContext): Promise<Gateway> {
  return begin(t, await mkdtemp(join(tmpdir(), "etcdrest-web-")), []);
}

/** A gateway that asks its callers for a JWT, and what makes one that lives for so many seconds. */
export async function guarded(t: TestContext): Promise<{ g: Gateway; token: (seconds: number) => string }> {
  const data = await mkdtemp(join(tmpdir(), "etcdrest-web-"));
  const secret = randomBytes(32).toString("base64url");
  await writeFile(join(data, "secret"), secret);
  await writeFile(join(data, "gateway.yaml"), `auth:
  - {kind: jwt, issuer: test, audience: etcdrest, leeway: 0, keys: {secret: [{kid: k, algorithm: HS256, file: ${join(data, "secret")}}]}}
policy:
  - {when: {kind: jwt}, grants: [{verbs: all}]}
`);
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const token = (seconds: number): string => {
    const now = Math.floor(Date.now() / 1000);
    const signed = `${part({ alg: "HS256", kid: "k", typ: "JWT" })}.${part({ iss: "test", aud: "etcdrest", sub: "ada", iat: now, exp: now + seconds })}`;
    return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
  };
  return { g: await begin(t, data, ["--config", join(data, "gateway.yaml")]), token };
}

async function begin(t: TestContext, data: string, more: string[]): Promise<Gateway> {
  const g = new Gateway(join(data, "etcd"), more);
  t.after(async () => {
    await g.stop();
    await rm(data, { recursive: true });
  });
  await g.start();
  return g;
}
