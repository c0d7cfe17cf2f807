/**
 * The replies of one connection, in the order of their operations, whenever each of them comes to be known.
 *
 * 1. What is known goes out together: one write for all replies up to the first that is still awaited.
 * 2. `size` is what waits here, replies that are awaited not counted.
 */
import { Buffer } from "node:buffer";
import { REPLY_HEADER_SIZE } from "./format.ts";

const OUT_SIZE = 16_384;
const NOTHING = Buffer.alloc(0);

/** A reply that is not known yet. */
export interface Awaited {
  reply: Uint8Array | undefined;
}

export class Replies {
  /** Bytes that wait for an earlier reply. */
  size = 0;
  private readonly write: (bytes: Uint8Array) => void;
  /** What is known lies in it from `start` to `end`. What lies before was handed over, and is not touched again. */
  private out: Buffer = NOTHING;
  private start = 0;
  private end = 0;
  private readonly queue: Awaited[] = [];
  private head = 0;

  /** `write` owns what it is given. */
  constructor(write: (bytes: Uint8Array) => void) {
    this.write = write;
  }

  /** Whether a reply is awaited. */
  get isEmpty(): boolean {
    return this.head === this.queue.length;
  }

  /** A reply that is known: a status, what stands for the body's size, and the body. */
  add(status: number, count: number, body: Uint8Array | undefined): void {
    const bodySize = body?.length ?? 0;
    if (!this.isEmpty) {
      const reply = new Uint8Array(REPLY_HEADER_SIZE + bodySize);
      fill(reply, 0, status, count, body);
      this.queue.push({ reply });
      this.size += reply.length;
      return;
    }
    fill(this.roomFor(REPLY_HEADER_SIZE + bodySize), this.end, status, count, body);
    this.end += REPLY_HEADER_SIZE + bodySize;
  }

  /** Keeps a place for a reply that `settle` will fill. */
  await(): Awaited {
    const awaited: Awaited = { reply: undefined };
    this.queue.push(awaited);
    return awaited;
  }

  settle(awaited: Awaited, status: number, count: number, body: Uint8Array | undefined): void {
    const reply = new Uint8Array(REPLY_HEADER_SIZE + (body?.length ?? 0));
    fill(reply, 0, status, count, body);
    awaited.reply = reply;
    this.size += reply.length;
    if (this.queue[this.head] !== awaited) return;
    while (this.head < this.queue.length) {
      const next = (this.queue[this.head] as Awaited).reply;
      if (next === undefined) break;
      this.head += 1;
      this.size -= next.length;
      this.roomFor(next.length).set(next, this.end);
      this.end += next.length;
    }
    if (this.isEmpty) {
      this.queue.length = 0;
      this.head = 0;
    } else if (this.head > 1024) {
      this.queue.splice(0, this.head);
      this.head = 0;
    }
  }

  /** Hands over what is known and may go out. */
  flush(): void {
    const { out, start, end } = this;
    if (end === start) return;
    this.start = end;
    this.write(out.subarray(start, end));
  }

  /** Memory in which `size` bytes fit behind what is there. */
  private roomFor(size: number): Buffer {
    const { out, start, end } = this;
    if (end + size <= out.length) return out;
    const waiting = end - start;
    const larger = Buffer.allocUnsafeSlow(Math.max(OUT_SIZE, 2 * waiting + size));
    larger.set(out.subarray(start, end));
    this.out = larger;
    this.start = 0;
    this.end = waiting;
    return larger;
  }
}

function fill(out: Uint8Array, at: number, status: number, count: number, body: Uint8Array | undefined): void {
  out[at] = status;
  out[at + 1] = status >> 8;
  out[at + 2] = status >> 16;
  out[at + 3] = status >> 24;
  out[at + 4] = count;
  out[at + 5] = count >> 8;
  out[at + 6] = count >> 16;
  out[at + 7] = count >> 24;
  if (body !== undefined) out.set(body, at + REPLY_HEADER_SIZE);
}
