/** Stream sockets through `Deno.listen`, which takes less of a core than `node:net` does there. */
import { Buffer } from "node:buffer";
import type { Connection, ConnectionHandler, SocketListener, SocketOptions } from "./sockets.ts";

interface DenoConn {
  readonly remoteAddr: { hostname: string };
  read(target: Uint8Array): Promise<number | null>;
  write(source: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  setNoDelay?(value: boolean): void;
}
interface DenoListener {
  readonly addr: { hostname: string; port: number };
  accept(): Promise<DenoConn>;
  close(): void;
}
interface DenoErrors {
  BadResource: new () => Error;
}
declare const Deno: {
  listen(options: { hostname: string; port: number; tcpBacklog?: number; reusePort?: boolean }): DenoListener;
  listenTls(options: {
    hostname: string;
    port: number;
    cert: string;
    key: string;
    alpnProtocols: string[];
    tcpBacklog?: number;
    reusePort?: boolean;
  }): DenoListener;
  errors: DenoErrors;
};

/** Each connection keeps a buffer for what comes next: small, so that many may idle, and larger for one that fills it. */
const READ_SIZE_MIN = 4096;
const READ_SIZE_MAX = 65_536;
/** What is written in one piece, where much is queued. */
const WRITE_SIZE_MAX = 262_144;
const BACKLOG = 4096;
/** After a failed accept, which is mostly a lack of descriptors: how long until the next. */
const ACCEPT_PAUSE_MS = 50;

const NOTHING: Uint8Array = new Uint8Array(0);
const encoder = new TextEncoder();

/** Texts are encoded side by side into pieces of this size. */
const SLAB_SIZE = 65_536;
let slab: Uint8Array = new Uint8Array(0);
let slabUsed = 0;

function encoded(text: string): Uint8Array {
  const sizeMax = text.length * 3;
  if (sizeMax > SLAB_SIZE / 4) return encoder.encode(text);
  if (slabUsed + sizeMax > slab.length) {
    slab = new Uint8Array(SLAB_SIZE);
    slabUsed = 0;
  }
  const start = slabUsed;
  slabUsed += encoder.encodeInto(text, slab.subarray(start, start + sizeMax)).written;
  return slab.subarray(start, slabUsed);
}

class DenoConnection implements Connection {
  readonly address: string;
  readonly secure: boolean;
  handler!: ConnectionHandler;
  buffered = 0;
  private readonly conn: DenoConn;
  private readonly traffic: { received: number; sent: number };
  private queue: Uint8Array[] = [];
  /** What is being written. */
  private piece = NOTHING;
  private isWriting = false;
  private isEnding = false;
  private isClosed = false;
  /** The other side has ended, and is told no more. */
  private isReadEnded = false;
  private unpause: (() => void) | undefined;
  private isPaused = false;

  constructor(conn: DenoConn, secure: boolean, traffic: { received: number; sent: number }) {
    this.conn = conn;
    this.traffic = traffic;
    this.secure = secure;
    this.address = conn.remoteAddr.hostname;
  }

  async read(): Promise<void> {
    const { conn } = this;
    let buffer = Buffer.alloc(READ_SIZE_MIN);
    try {
      conn.setNoDelay?.(true);
      while (!this.isClosed) {
        if (this.isPaused) {
          await new Promise<void>((resolve) => {
            this.unpause = resolve;
          });
          continue;
        }
        const count = await conn.read(buffer);
        if (this.isClosed) return;
        if (count === null) break;
        this.traffic.received += count;
        this.handler.data(buffer.subarray(0, count));
        if (count === buffer.length && count < READ_SIZE_MAX) buffer = Buffer.alloc(count * 4);
        else if (count <= READ_SIZE_MIN / 2 && buffer.length > READ_SIZE_MIN) buffer = Buffer.alloc(READ_SIZE_MIN);
      }
      this.isReadEnded = true;
      if (this.isClosed) return;
      if (this.isEnding && !this.isWriting) this.close();
      else this.handler.ended();
    } catch {
      this.close();
    }
  }

  write(chunk: Uint8Array | string): void {
    if (this.isClosed || this.isEnding || chunk.length === 0) return;
    const bytes = typeof chunk === "string" ? encoded(chunk) : chunk;
    this.queue.push(bytes);
    this.buffered += bytes.length;
    if (!this.isWriting) this.begin();
  }

  /** Writes what is queued, if anything is. */
  private begin(): void {
    const { queue } = this;
    if (this.piece.length === 0 && queue.length > 0) {
      this.piece = queue.length === 1 ? (queue.pop() as Uint8Array) : this.joined();
    }
    this.isWriting = this.piece.length > 0;
    if (this.isWriting) this.conn.write(this.piece).then(this.onWritten, this.onFailed);
    else if (this.isEnding) this.endWrites().catch(this.onFailed);
    else this.handler.drained();
  }

  // Not an async function: each of its steps costs more than both of these calls.
  private readonly onWritten = (count: number): void => {
    if (this.isClosed) return;
    this.buffered -= count;
    this.traffic.sent += count;
    this.piece = count === this.piece.length ? NOTHING : this.piece.subarray(count);
    this.begin();
  };
  private readonly onFailed = (): void => this.close();

  /** What is queued, in one piece, up to a size. */
  private joined(): Uint8Array {
    let size = 0;
    let count = 0;
    for (const piece of this.queue) {
      if (count > 0 && size + piece.length > WRITE_SIZE_MAX) break;
      size += piece.length;
      count++;
    }
    if (count === 1) return this.queue.shift() as Uint8Array;
    const whole = new Uint8Array(size);
    let at = 0;
    for (const piece of this.queue.splice(0, count)) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }

  private async endWrites(): Promise<void> {
    if (this.isClosed) return;
    await this.conn.closeWrite();
    if (this.isReadEnded) this.close();
  }

  private close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.queue = [];
    this.piece = NOTHING;
    this.buffered = 0;
    this.unpause?.();
    try {
      this.conn.close();
    } catch {
      // It was closed from the other side.
    }
    this.handler.closed();
  }

  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
    const { unpause } = this;
    this.unpause = undefined;
    unpause?.();
  }
  end(): void {
    if (this.isClosed || this.isEnding) return;
    this.isEnding = true;
    // What the other side still sends is of no interest, but its end is.
    this.resume();
    if (!this.isWriting) this.endWrites().catch(() => this.close());
  }
  destroy(): void {
    this.close();
  }
}

export async function listenOnDeno(options: SocketOptions): Promise<SocketListener> {
  const { tls, host, port, reusePort, onConnection } = options;
  // Where Deno is started without --unstable-net the option may not be there at all.
  const where = { hostname: host, port, tcpBacklog: BACKLOG, ...(reusePort === true ? { reusePort } : {}) };
  const listener =
    tls === undefined
      ? Deno.listen(where)
      : Deno.listenTls({ ...where, cert: tls.cert, key: tls.key, alpnProtocols: ["http/1.1"] });
  let isOpen = true;
  const traffic = { received: 0, sent: 0 };
  void (async () => {
    while (isOpen) {
      let conn: DenoConn;
      try {
        conn = await listener.accept();
      } catch {
        // One connection failed, or there are no descriptors; a closed listener ends the loop.
        if (isOpen) await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
        continue;
      }
      const connection = new DenoConnection(conn, tls !== undefined, traffic);
      connection.handler = onConnection(connection);
      void connection.read();
    }
  })();
  return {
    host: listener.addr.hostname,
    port: listener.addr.port,
    traffic,
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      listener.close();
    },
  };
}
