/**
 * The body of a request, as it comes from a connection: its frame taken off, counted, held back where nobody reads.
 *
 * 1. What nobody reads is not read from the connection: beyond `QUEUE_SIZE` it is paused.
 * 2. A body that is read as a whole has at most `sizeMax` bytes, whatever the head said or chunks sum up to. One that is read as a stream
 *    may have any size.
 */
import { ServerFailure } from "../failure.ts";
import { HeldBytes } from "./held-bytes.ts";

/** Bytes that wait for a reader before the connection is paused. */
const QUEUE_SIZE = 131_072;
/** The same for pieces, each of which weighs far more than a byte. */
const QUEUE_COUNT = 512;
/** Bytes of the line before a chunk, extensions and all. */
const CHUNK_LINE_MAX = 256;
const TRAILER_SIZE_MAX = 4096;
const TRAILER = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*$/;

/** What a body asks of its connection. */
export interface BodySource {
  /** Somebody reads: let more come. */
  wanted(): void;
  /** Enough is queued: let no more come. */
  enough(): void;
}

interface Reader {
  resolve(chunk: Uint8Array | undefined): void;
  reject(error: Error): void;
}

/** A body that is coming, or has come. */
export class Body {
  /** All of it has come. */
  isComplete: boolean;
  /** Bytes that have come. */
  size = 0;
  /** Whether somebody began to read. */
  isUsed = false;
  failure: Error | undefined;
  private readonly source: BodySource;
  private readonly sizeMax: number;
  private readonly length: number;
  private readonly chunks: Chunks | undefined;
  private queue: Uint8Array[] = [];
  private queued = 0;
  private reader: Reader | undefined;

  /** `length`: bytes, or -1 for chunks. */
  constructor(length: number, sizeMax: number, source: BodySource) {
    this.length = length;
    this.sizeMax = sizeMax;
    this.source = source;
    this.isComplete = length === 0;
    this.chunks = length < 0 ? new Chunks() : undefined;
  }

  /**
   * Takes what belongs to the body from `chunk`, which stays the caller's, and tells how many bytes that were. Throws `ServerFailure` 400
   * where chunks are malformed.
   */
  take(chunk: Uint8Array): number {
    if (this.chunks === undefined) {
      const size = Math.min(chunk.length, this.length - this.size);
      this.add(chunk.subarray(0, size));
      if (this.size === this.length) this.complete();
      return size;
    }
    let at = 0;
    // Chunks of a byte each are one piece, not as many.
    const payload = new HeldBytes();
    while (at < chunk.length && !this.chunks.isDone) {
      const count = this.chunks.payload(chunk, at);
      if (count > 0) payload.add(chunk.subarray(at, at + count));
      at += count === 0 ? this.chunks.frame(chunk, at) : count;
    }
    if (payload.size > 0) this.add(payload.bytes);
    if (this.chunks.isDone) this.complete();
    return at;
  }

  private add(piece: Uint8Array): void {
    this.size += piece.length;
    if (piece.length === 0) return;
    const { reader } = this;
    this.reader = undefined;
    // `slice` of a `Buffer` would be a view.
    const own = new Uint8Array(piece);
    if (reader !== undefined) {
      reader.resolve(own);
      return;
    }
    this.queue.push(own);
    this.queued += own.length;
    if (this.isHigh) this.source.enough();
  }

  private get isHigh(): boolean {
    return this.queued >= QUEUE_SIZE || this.queue.length >= QUEUE_COUNT;
  }

  private complete(): void {
    this.isComplete = true;
    this.reader?.resolve(undefined);
    this.reader = undefined;
  }

  /** It will not come whole: who reads is told so. */
  fail(error: Error): void {
    if (this.isComplete || this.failure !== undefined) return;
    this.failure = error;
    this.queue = [];
    this.queued = 0;
    this.reader?.reject(error);
    this.reader = undefined;
  }

  /** The next piece; `undefined` at the end. One call at a time. */
  next(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    this.isUsed = true;
    const first = this.queue.shift();
    if (first !== undefined) {
      this.queued -= first.length;
      if (!this.isHigh && !this.isComplete) this.source.wanted();
      return first;
    }
    if (this.failure !== undefined) return Promise.reject(this.failure);
    if (this.isComplete) return undefined;
    this.source.wanted();
    return new Promise((resolve, reject) => {
      this.reader = { resolve, reject };
    });
  }

  /** All of it. Throws `ServerFailure` 413 over the limit. */
  whole(): Uint8Array | Promise<Uint8Array> {
    this.isUsed = true;
    this.checkSize(Math.max(this.length, this.size));
    if (this.isComplete && this.failure === undefined) {
      const { queue } = this;
      this.queue = [];
      this.queued = 0;
      return queue.length === 1 ? (queue[0] as Uint8Array) : joined(queue);
    }
    return this.collect();
  }

  private async collect(): Promise<Uint8Array> {
    const bytes = new HeldBytes();
    for (let piece = await this.next(); piece !== undefined; piece = await this.next()) {
      this.checkSize(bytes.size + piece.length);
      bytes.add(piece);
    }
    return new Uint8Array(bytes.bytes);
  }

  private checkSize(size: number): void {
    if (size > this.sizeMax) throw new ServerFailure(413, `The body is over ${this.sizeMax} bytes.`);
  }

  stream(): ReadableStream<Uint8Array> {
    this.isUsed = true;
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const piece = await this.next();
          if (piece === undefined) controller.close();
          else controller.enqueue(piece);
        },
      },
      { highWaterMark: 0 },
    );
  }
}

function joined(pieces: Uint8Array[]): Uint8Array {
  let size = 0;
  for (const piece of pieces) size += piece.length;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

const CR = 13;
const LF = 10;

/** The frame of chunks: `size[;extension] CR LF bytes CR LF … 0 CR LF trailers CR LF`. */
class Chunks {
  isDone = false;
  /** Bytes of the chunk that are still to come. */
  private left = 0;
  private state: "size" | "bytes" | "end" | "trailer" = "size";
  private line = "";
  private trailerSize = 0;

  /** How many bytes from `at` on are the body's; 0: the next ones are the frame's. */
  payload(chunk: Uint8Array, at: number): number {
    if (this.state !== "bytes") return 0;
    const count = Math.min(this.left, chunk.length - at);
    this.left -= count;
    if (this.left === 0) this.state = "end";
    return count;
  }

  /** Reads one line of the frame, or its beginning, from `at` on: how many bytes. */
  frame(chunk: Uint8Array, at: number): number {
    const lf = chunk.indexOf(LF, at);
    const end = lf < 0 ? chunk.length : lf + 1;
    if (this.line.length + end - at > CHUNK_LINE_MAX && this.state !== "trailer") throw malformed();
    if (this.state === "trailer") {
      this.trailerSize += end - at;
      if (this.trailerSize > TRAILER_SIZE_MAX) throw malformed();
    }
    for (let place = at; place < end; place++) this.line += String.fromCharCode(chunk[place] as number);
    if (lf < 0) return end - at;
    const { line } = this;
    this.line = "";
    if (line.charCodeAt(line.length - 2) !== CR || line.indexOf("\r") !== line.length - 2) throw malformed();
    this.read(line.slice(0, -2));
    return end - at;
  }

  private read(line: string): void {
    if (this.state === "end") {
      if (line !== "") throw malformed();
      this.state = "size";
    } else if (this.state === "trailer") {
      // Trailers are passed over; the empty line ends them.
      if (line === "") this.isDone = true;
      else if (!TRAILER.test(line)) throw malformed();
    } else {
      const size = /^([0-9A-Fa-f]{1,12})(?:[ \t]*;[\t\x20-\x7e]*)?$/.exec(line);
      if (size === null) throw malformed();
      this.left = Number.parseInt(size[1] as string, 16);
      this.state = this.left === 0 ? "trailer" : "bytes";
    }
  }
}

function malformed(): ServerFailure {
  return new ServerFailure(400, "The chunks of the body are malformed.");
}
