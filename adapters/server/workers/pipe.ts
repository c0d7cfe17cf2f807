/**
 * The pipe between the owner of a store and one of its workers: frames over a stream socket.
 *
 *   size of what follows (4 bytes, little-endian) | kind (1 byte) | what it says
 *
 * 1. Frames of one turn of the event loop go out as one write, so that under load many operations share the cost of a system call.
 * 2. Both sides read all the time, so neither waits for the other. While much waits to be written (`isFull`), the owner does no further call of
 *    that worker, and the worker reads no further message for a tunnel: what waits is bounded by that, and by what one call, or the connections of
 *    clients, may bring at once.
 */
import { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { setImmediate } from "node:timers";

/** What a frame is. */
export const KIND = {
  /** Calls of the store, and what they came to: a frame of `store/connection/frames.ts`. */
  calls: 1,
  /** JSON; see `messages.ts`. */
  control: 2,
  /** See `tunnels.ts`. */
  tunnel: 3,
} as const;

const HEAD = 5;
/** Frames up to this size are copied together. */
const COPY_SIZE_MAX = 65_536;
/** Bytes that wait, from which on a pipe is full. */
const FULL_SIZE = 8 * 1024 * 1024;

/** Who hears of a pipe. */
export interface PipeHandler {
  /** A frame came. The bytes are the handler's. */
  frame(kind: number, bytes: Buffer): void;
  /** What waited when it was full has been taken. */
  drained(): void;
  /** The other side is gone. Called once. */
  closed(): void;
}

/** See above. */
export class Pipe {
  private readonly socket: Socket;
  private readonly handler: PipeHandler;
  /** What waits for the end of this turn. */
  private out: Uint8Array[] = [];
  private outSize = 0;
  private isFlushDue = false;
  /** The beginning of a frame that has not come whole, and its size where that is known. */
  private begun: Buffer[] = [];
  private begunSize = 0;
  private wanted = HEAD;
  private isClosed = false;

  constructor(socket: Socket, handler: PipeHandler) {
    this.socket = socket;
    this.handler = handler;
    socket.on("data", (chunk: Buffer) => this.take(chunk));
    // "close" follows.
    socket.on("error", () => {});
    socket.on("drain", () => this.handler.drained());
    socket.on("close", () => this.close());
  }

  /** Whether so much waits to be written that who asks for more is to wait for `drained`. */
  get isFull(): boolean {
    return !this.isClosed && this.outSize + this.socket.writableLength > FULL_SIZE;
  }

  /** Sends a frame. The bytes must not change afterwards. */
  send(kind: number, ...parts: Uint8Array[]): void {
    if (this.isClosed) return;
    const head = Buffer.allocUnsafe(HEAD);
    let size = 1;
    for (const part of parts) size += part.length;
    head.writeUInt32LE(size, 0);
    head[4] = kind;
    this.out.push(head, ...parts);
    this.outSize += HEAD - 1 + size;
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    // After all sockets that had something to say in this turn.
    setImmediate(() => this.flush());
  }

  /** Sends a message. */
  control(message: object): void {
    this.send(KIND.control, Buffer.from(JSON.stringify(message)));
  }

  /** Sends what waits, and ends it. */
  end(): void {
    this.flush();
    this.socket.end();
  }

  /** Ends it at once. */
  destroy(): void {
    this.socket.destroy();
    this.close();
  }

  private flush(): void {
    this.isFlushDue = false;
    const { out, socket } = this;
    if (out.length === 0 || this.isClosed) return;
    this.out = [];
    this.outSize = 0;
    let small: Uint8Array[] = [];
    for (const bytes of out) {
      if (bytes.length <= COPY_SIZE_MAX) {
        small.push(bytes);
        continue;
      }
      if (small.length > 0) socket.write(Buffer.concat(small));
      small = [];
      socket.write(bytes);
    }
    if (small.length > 0) socket.write(Buffer.concat(small));
  }

  private take(chunk: Buffer): void {
    let rest = chunk;
    if (this.begunSize > 0) {
      this.begun.push(chunk);
      this.begunSize += chunk.length;
      if (this.begunSize < this.wanted) return;
      rest = Buffer.concat(this.begun);
      this.begun = [];
      this.begunSize = 0;
    }
    while (rest.length >= HEAD) {
      const size = rest.readUInt32LE(0) + HEAD - 1;
      if (rest.length < size) {
        this.wanted = size;
        this.keep(rest);
        return;
      }
      this.handler.frame(rest[4] as number, rest.subarray(HEAD, size));
      if (this.isClosed) return;
      rest = rest.subarray(size);
    }
    this.wanted = HEAD;
    this.keep(rest);
  }

  private keep(rest: Buffer): void {
    if (rest.length === 0) return;
    this.begun = [rest];
    this.begunSize = rest.length;
  }

  private close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.out = [];
    this.outSize = 0;
    this.handler.closed();
  }
}
