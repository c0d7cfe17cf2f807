/**
 * A WebSocket client of the barest kind, over `node:net`: what is sent is sent as it is, several frames in one packet, and what is not read
 * stays with the server. The same on every runtime.
 */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** A frame that a client sends. */
export function clientFrame(
  payload: string | Uint8Array,
  opcode = typeof payload === "string" ? TEXT : BINARY,
): Buffer {
  const bytes = Buffer.from(payload as string);
  const mask = randomBytes(4);
  const size = bytes.length;
  const head =
    size < 126
      ? Buffer.from([0x80 | opcode, 0x80 | size])
      : size < 65_536
        ? Buffer.from([0x80 | opcode, 0xfe, size >> 8, size & 0xff])
        : Buffer.from([
            0x80 | opcode,
            0xff,
            0,
            0,
            0,
            0,
            size >>> 24,
            (size >> 16) & 0xff,
            (size >> 8) & 0xff,
            size & 0xff,
          ]);
  for (let i = 0; i < size; i++) bytes[i] = (bytes[i] as number) ^ (mask[i & 3] as number);
  return Buffer.concat([head, mask, bytes]);
}

/** What a server has answered instead of upgrading. */
export class Refused extends Error {
  readonly status: number;
  constructor(status: number, head: string) {
    super(`refused with ${status}: ${head}`);
    this.status = status;
  }
}

/** An open conversation. */
export class RawSocket {
  /** Replies that came and were not taken yet: text frames. */
  readonly frames: string[] = [];
  /** Notifications that came. */
  // biome-ignore lint/suspicious/noExplicitAny: they are looked at member by member.
  readonly notices: any[] = [];
  /** The code of the server's close frame; 1006 when it ended without one; `undefined` while it is open. */
  closeCode: number | undefined;
  /** Whether a binary frame came. */
  sawBinary = false;
  private readonly socket: Socket;
  private bytes: Buffer;
  private wake: (() => void) | undefined;

  constructor(socket: Socket, rest: Buffer) {
    this.socket = socket;
    this.bytes = rest;
    socket.on("data", (chunk: Buffer) => {
      this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
      this.parse();
    });
    socket.on("close", () => {
      this.closeCode ??= 1006;
      this.wake?.();
    });
    socket.on("error", () => {});
    this.parse();
  }

  /** Sends each of `requests` in a text frame, all in one piece. */
  send(...requests: (object | string)[]): void {
    this.sendBytes(
      Buffer.concat(
        requests.map((request) => clientFrame(typeof request === "string" ? request : JSON.stringify(request))),
      ),
    );
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** The next frame. Rejects when none comes in `ms`, or no more will. */
  async next(ms = 20_000): Promise<string> {
    const until = performance.now() + ms;
    while (this.frames.length === 0) {
      if (this.closeCode !== undefined) throw new Error(`the conversation is over (${this.closeCode})`);
      const left = until - performance.now();
      if (left <= 0) throw new Error(`no frame came in ${ms} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.frames.shift() as string;
  }

  /** The next `count` frames, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: replies are looked at member by member.
  async replies(count: number): Promise<any[]> {
    const replies = [];
    while (replies.length < count) replies.push(JSON.parse(await this.next()));
    return replies;
  }

  /** The reply to one request. */
  // biome-ignore lint/suspicious/noExplicitAny: see above.
  async ask(request: object | string): Promise<any> {
    this.send(request);
    return JSON.parse(await this.next());
  }

  /** Waits for the end, and gives its code. */
  async ended(ms = 20_000): Promise<number> {
    const until = performance.now() + ms;
    while (this.closeCode === undefined) {
      if (performance.now() > until) throw new Error(`the server did not end it in ${ms} ms`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.closeCode;
  }

  /** Stops and resumes reading. */
  pause(): void {
    this.socket.pause();
  }
  resume(): void {
    this.socket.resume();
  }

  /** Closes as a client does. */
  close(code = 1000): void {
    this.socket.write(clientFrame(Buffer.from([code >> 8, code & 0xff]), CLOSE));
  }

  /** Vanishes. */
  destroy(): void {
    this.socket.destroy();
  }

  private take(text: string): void {
    if (text.startsWith('{"type":"notification"')) this.notices.push(JSON.parse(text));
    else this.frames.push(text);
  }

  private parse(): void {
    for (;;) {
      const { bytes } = this;
      if (bytes.length < 2) return;
      const opcode = (bytes[0] as number) & 15;
      let size = (bytes[1] as number) & 127;
      let at = 2;
      if (size === 126) {
        if (bytes.length < 4) return;
        size = bytes.readUInt16BE(2);
        at = 4;
      } else if (size === 127) {
        if (bytes.length < 10) return;
        size = Number(bytes.readBigUInt64BE(2));
        at = 10;
      }
      if (bytes.length < at + size) return;
      const payload = bytes.subarray(at, at + size);
      this.bytes = bytes.subarray(at + size);
      if (opcode === TEXT) this.take(payload.toString("utf8"));
      else if (opcode === BINARY) this.sawBinary = true;
      else if (opcode === PING) this.socket.write(clientFrame(payload, PONG));
      else if (opcode === CLOSE) {
        this.closeCode = size >= 2 ? payload.readUInt16BE(0) : 1005;
        this.socket.end(clientFrame(payload, CLOSE));
      }
      this.wake?.();
    }
  }
}

/** Opens one at `url`, which is `http://host:port/path?query`. Rejects with `Refused`. */
export async function rawSocket(url: string, headers: Record<string, string> = {}): Promise<RawSocket> {
  const { hostname, port, pathname, search } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.setNoDelay(true);
  return upgradedSocket(socket, `${hostname}:${port}`, `${pathname}${search}`, headers);
}

/** The same over a connection that is there, and idle. */
export async function upgradedSocket(
  socket: Socket,
  host: string,
  target: string,
  headers: Record<string, string> = {},
): Promise<RawSocket> {
  const lines = [
    `GET ${target} HTTP/1.1`,
    `Host: ${host}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  let bytes = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return;
      const head = bytes.toString("latin1", 0, end);
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
      socket.off("data", take);
      socket.off("error", reject);
      if (status === 101) {
        resolve(new RawSocket(socket, bytes.subarray(end + 4)));
        return;
      }
      socket.destroy();
      reject(new Refused(status, head));
    };
    socket.on("data", take);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the server ended the connection before it answered")));
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  });
}
