/** A RIOC client for tests: sends bytes as they are, cut as asked for, and reads replies by size. */
import { connect, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";

const encoder = new TextEncoder();

/** Bytes of hexadecimal digits, spaces between them or not. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(text.replaceAll(/\s/g, "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** The header of a batch. */
export function batch(count: number, version = 2, magic = 0x524f4943): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, true);
  view.setUint16(4, version, true);
  view.setUint16(6, count, true);
  view.setUint32(8, 6, true);
  return bytes;
}

/** One operation. `sizes` lie about the payloads. */
export function operation(
  command: number,
  key: string | Uint8Array,
  value: string | Uint8Array = "",
  { timestamp = 0n, keySize, valueSize }: { timestamp?: bigint; keySize?: number; valueSize?: number } = {},
): Uint8Array {
  const first = typeof key === "string" ? encoder.encode(key) : key;
  const second = typeof value === "string" ? encoder.encode(value) : value;
  const header = new Uint8Array(16);
  const view = new DataView(header.buffer);
  view.setUint16(0, command, true);
  view.setUint16(2, keySize ?? first.length, true);
  view.setUint32(4, valueSize ?? second.length, true);
  view.setBigUint64(8, timestamp, true);
  return joined(header, first, second);
}

export function integer(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigInt64(0, value, true);
  return bytes;
}

export class RiocClient {
  readonly socket: Socket;
  /** Resolves when the connection is over. */
  readonly closed: Promise<void>;
  isClosed = false;
  private parts: Buffer[] = [];
  private size = 0;
  private wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (data) => {
      this.parts.push(data as Buffer);
      this.size += data.length;
      this.wake();
    });
    socket.on("error", () => undefined);
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        this.isClosed = true;
        this.wake();
        resolve();
      });
    });
  }

  static async open(port: number, tls?: ConnectionOptions): Promise<RiocClient> {
    const socket =
      tls === undefined ? connect({ port, host: "127.0.0.1" }) : connectTls({ port, host: "127.0.0.1", ...tls });
    socket.setNoDelay(true);
    await new Promise<void>((resolve, reject) => {
      socket.once(tls === undefined ? "connect" : "secureConnect", () => resolve());
      socket.once("error", reject);
    });
    return new RiocClient(socket);
  }

  /** Sends bytes, in pieces of at most `pieceSize` that leave one by one. */
  async send(bytes: Uint8Array, pieceSize = bytes.length): Promise<void> {
    for (let at = 0; at < bytes.length; at += pieceSize) {
      const piece = bytes.subarray(at, at + pieceSize);
      await new Promise<void>((resolve) => this.socket.write(piece, () => resolve()));
      // So that the pieces do not travel together.
      if (pieceSize < bytes.length) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** The next `size` bytes. Rejects when the connection ends before. */
  async read(size: number): Promise<Uint8Array> {
    while (this.size < size) {
      if (this.isClosed) throw new Error(`the connection ended ${size - this.size} bytes early`);
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    const all = Buffer.concat(this.parts);
    this.parts = [all.subarray(size)];
    this.size -= size;
    return new Uint8Array(all.subarray(0, size));
  }

  /** The next reply whose body, if it has one, is as long as its header says: its status and its body. */
  async reply(): Promise<{ status: number; size: number; body: Uint8Array }> {
    const header = await this.read(8);
    const view = new DataView(header.buffer, header.byteOffset);
    const size = view.getUint32(4, true);
    return { status: view.getInt32(0, true), size, body: await this.read(size) };
  }

  /** The records of the next reply, which is that of a range. */
  async range(): Promise<{ status: number; records: [string, string][]; size: number }> {
    const header = await this.read(8);
    const view = new DataView(header.buffer, header.byteOffset);
    const records: [string, string][] = [];
    let size = 0;
    for (let left = view.getUint32(4, true); left > 0; left--) {
      const keySize = new DataView((await this.read(2)).buffer).getUint16(0, true);
      const key = Buffer.from(await this.read(keySize)).toString();
      const valueSize = Number(new DataView((await this.read(8)).buffer).getBigUint64(0, true));
      const value = Buffer.from(await this.read(valueSize)).toString();
      records.push([key, value]);
      size += 10 + keySize + valueSize;
    }
    return { status: view.getInt32(0, true), records, size };
  }

  /** Bytes that came and were not read. */
  get unread(): number {
    return this.size;
  }

  async close(): Promise<void> {
    this.socket.end();
    await this.closed;
  }
}
