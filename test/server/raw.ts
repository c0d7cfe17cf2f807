/** A client that sends what it is told, byte for byte, over a real socket. */
import { connect, type Socket } from "node:net";

export class Raw {
  readonly socket: Socket;
  /** Bytes that were received. */
  size = 0;
  private chunks: Buffer[] = [];
  isClosed = false;
  private waiting: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    const wake = (): void => {
      const { waiting } = this;
      this.waiting = [];
      for (const resolve of waiting) resolve();
    };
    socket.on("data", (chunk) => {
      this.chunks.push(chunk);
      this.size += chunk.length;
      wake();
    });
    socket.on("error", () => {});
    socket.on("end", () => {
      this.isClosed = true;
      wake();
    });
    socket.on("close", () => {
      this.isClosed = true;
      wake();
    });
  }

  static async to(port: number): Promise<Raw> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    const raw = new Raw(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return raw;
  }

  write(bytes: string | Uint8Array): void {
    if (!this.socket.destroyed) this.socket.write(bytes);
  }

  /** Writes in pieces of `size` bytes, each in a packet of its own as far as the system lets it. */
  async writeInPieces(bytes: string | Uint8Array, size: number): Promise<void> {
    const all = Buffer.from(bytes as string);
    for (let at = 0; at < all.length; at += size) {
      this.write(all.subarray(at, at + size));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  get received(): Buffer {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)];
    return this.chunks[0] ?? Buffer.alloc(0);
  }

  get text(): string {
    return this.received.toString("latin1");
  }

  /** Waits until `isThere` holds of what was received, or the other side has ended. */
  async until(isThere: (text: string) => boolean): Promise<string> {
    while (!isThere(this.text) && !this.isClosed) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    return this.text;
  }

  /** Waits for the other side's end: everything that it sent. */
  async end(): Promise<string> {
    while (!this.isClosed) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.socket.destroy();
    return this.text;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** A request as text. */
export function get(path: string, more = ""): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`;
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Statuses of the answers in a text, in their order. */
export function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
}
