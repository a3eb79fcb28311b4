// A gateway by script: real HTTP and WebSockets, for what a live gateway cannot be made to do.
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket as TcpSocket } from "node:net";
import type { TestContext } from "node:test";
import { Inbox } from "./inbox.ts";

/** What the client asked of a watch, over whichever transport. */
export type Asked = Record<string, unknown>;

/** The server's end of a WebSocket. */
export class Peer {
  /** What the client sends; ends when the client goes. */
  readonly received = new Inbox<Asked>();
  /** The code with which the client closes. */
  readonly closed: Promise<number>;
  readonly request: IncomingMessage;
  readonly #tcp: TcpSocket;
  #bytes = Buffer.alloc(0);
  #closedBy: (code: number) => void = () => {};

  constructor(request: IncomingMessage, tcp: TcpSocket) {
    this.request = request;
    this.#tcp = tcp;
    this.closed = new Promise((resolve) => (this.#closedBy = resolve));
    const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    tcp.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: etcdrest.v1\r\n\r\n`);
    tcp.on("data", (bytes: Buffer) => this.#read(bytes));
    tcp.on("error", () => {});
    tcp.on("close", () => {
      this.#closedBy(1006);
      this.received.end();
    });
  }

  /** The next message of that op. */
  async next(op: string): Promise<Asked> {
    const message = await this.received.next();
    if (message.op !== op) throw new Error(`the client sent ${JSON.stringify(message)}, want op ${op}`);
    return message;
  }

  send(...messages: object[]): void {
    for (const message of messages) this.#frame(0x1, Buffer.from(JSON.stringify(message)));
  }

  /** Closes with a code. */
  close(code: number): void {
    const body = Buffer.alloc(2);
    body.writeUInt16BE(code);
    this.#frame(0x8, body);
    this.#tcp.end();
  }

  /** Cuts the connection. */
  cut(): void {
    this.#tcp.destroy();
  }

  #frame(op: number, body: Buffer): void {
    const head = body.length < 126 ? Buffer.from([0x80 | op, body.length]) : Buffer.alloc(body.length < 65536 ? 4 : 10);
    if (head.length > 2) head.set([0x80 | op, head.length === 4 ? 126 : 127]);
    if (head.length === 4) head.writeUInt16BE(body.length, 2);
    if (head.length === 10) head.writeBigUInt64BE(BigInt(body.length), 2);
    this.#tcp.write(Buffer.concat([head, body]));
  }

  // Clients' frames are masked and, here, short enough for one piece.
  #read(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    for (;;) {
      const short = (this.#bytes[1] ?? 0) & 0x7f;
      const at = short === 126 ? 4 : 2;
      if (this.#bytes.length < at + 4) return;
      const length = short === 126 ? this.#bytes.readUInt16BE(2) : short;
      if (this.#bytes.length < at + 4 + length) return;
      const mask = this.#bytes.subarray(at, at + 4);
      const body = this.#bytes.subarray(at + 4, at + 4 + length).map((byte, i) => byte ^ (mask[i % 4] ?? 0));
      const op = (this.#bytes[0] ?? 0) & 0xf;
      this.#bytes = this.#bytes.subarray(at + 4 + length);
      if (op === 0x8) this.#closing(Buffer.from(body));
      else if (op === 0x1) this.received.put(JSON.parse(Buffer.from(body).toString()) as Asked);
    }
  }

  #closing(body: Buffer): void {
    this.#closedBy(body.length < 2 ? 1005 : body.readUInt16BE(0));
    this.#tcp.end();
  }
}

/** A request for a stream over HTTP. */
export class Stream {
  readonly asked: Asked;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Resolves when the client has gone. */
  readonly closed: Promise<void>;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.response = response;
    this.asked = Object.fromEntries(new URL(request.url ?? "", "http://x").searchParams);
    this.closed = new Promise((resolve) => response.on("close", resolve));
  }

  send(...messages: object[]): void {
    if (!this.response.headersSent) this.response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (const message of messages) this.response.write(`data: ${JSON.stringify(message)}\n\n`);
  }

  refuse(status: number, problem?: object): void {
    this.response.writeHead(status, { "Content-Type": problem ? "application/problem+json" : "text/html" });
    this.response.end(problem ? JSON.stringify(problem) : "<h1>a proxy</h1>");
  }

  cut(): void {
    this.response.destroy();
  }
}

/** The script's side: what connects, in order. */
export interface Script {
  readonly url: string;
  readonly peers: Inbox<Peer>;
  readonly streams: Inbox<Stream>;
}

/** Serves for the length of a test. Without sockets a WebSocket is refused, as by a proxy that does not know them. */
export async function serve(t: TestContext, { sockets = true } = {}): Promise<Script> {
  const peers = new Inbox<Peer>();
  const streams = new Inbox<Stream>();
  const server = createServer((request, response) => streams.put(new Stream(request, response)));
  server.on("upgrade", (request, tcp: TcpSocket) => {
    if (sockets) peers.put(new Peer(request, tcp));
    else tcp.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
  });
  const connections = new Set<TcpSocket>();
  server.on("connection", (tcp: TcpSocket) => connections.add(tcp));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(async () => {
    for (const tcp of connections) tcp.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, peers, streams };
}

/** A problem document. */
export function problem(code: string, more: object = {}): object {
  return { type: `/problems/${code}`, title: code, status: 400, code, detail: "by script", retryable: false, request_id: "r", ...more };
}
