// The real thing: the built gateway with an etcd inside it.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
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
  #process: ChildProcess | undefined;

  constructor(data: string) {
    this.#data = data;
  }

  /** Starts it at the address where it was before, else at a free one. */
  async start(): Promise<void> {
    const listen = this.url === "" ? "127.0.0.1:0" : new URL(this.url).host;
    const child = spawn(binary, ["dev", "--listen", listen, "--admin-listen", "", "--data-dir", this.#data, "--shutdown-grace", "5s"], { stdio: ["ignore", "ignore", "pipe"] });
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
  async send(method: string, path: string, body?: object | string): Promise<Record<string, unknown>> {
    const text = typeof body === "object" ? JSON.stringify(body) : body;
    const answer = await fetch(this.url + path, { method, ...(text === undefined ? {} : { body: text, headers: { "Content-Type": "application/json" } }) });
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
  const data = await mkdtemp(join(tmpdir(), "etcdrest-web-"));
  const g = new Gateway(data);
  t.after(async () => {
    await g.stop();
    await rm(data, { recursive: true });
  });
  await g.start();
  return g;
}
