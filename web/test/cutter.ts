import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import type { TestContext } from "node:test";

/** A way to a server that can be cut. */
export interface Cutter {
  readonly url: string;
  /** Cuts every connection. */
  cut(): void;
}

/** Passes connections on, for the length of a test. */
export async function cutter(t: TestContext, to: string): Promise<Cutter> {
  const { hostname, port } = new URL(to);
  const open = new Set<Socket>();
  const cut = (): void => open.forEach((socket) => socket.destroy());
  const server = createServer((client) => {
    const there = connect(Number(port), hostname);
    for (const [from, into] of [[client, there], [there, client]] as const) {
      open.add(from);
      from.on("close", () => (open.delete(from), into.destroy())).on("error", () => {});
      from.pipe(into);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(async () => {
    cut();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, cut };
}
