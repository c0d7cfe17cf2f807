/**
 * Takes RIOC requests from a stream of bytes, however it is cut.
 *
 * 1. An operation is given out as soon as its last byte is there, in order.
 * 2. What is kept is at most one header and one payload of legal size; a payload that is larger, or that nobody wants, is passed over as
 *    it comes.
 * 3. After a header that is none, nothing more is taken: the sizes that follow could mean anything.
 */
import {
  BATCH_COUNT_MAX,
  BATCH_HEADER_SIZE,
  KEY_SIZE_MAX,
  MAGIC,
  OPERATION_HEADER_SIZE,
  VALUE_SIZE_MAX,
  VERSION,
} from "./format.ts";

/** One operation of a request. */
export interface RiocOperation {
  command: number;
  /** The first payload; empty where it was passed over. */
  key: Uint8Array;
  /** The second payload; empty where it was passed over. */
  value: Uint8Array;
  /** Both halves of the timestamp. */
  timestampLow: number;
  timestampHigh: number;
  /** Whether it stands in a batch of several. */
  isOneOfSeveral: boolean;
  /** Why its payload was passed over: larger than may be, or not admitted. */
  refused: "size" | "busy" | undefined;
}

/** What the parser's owner does. */
export interface RiocSink {
  /** Whether another request may begin. */
  ready(): boolean;
  /** A request of `count` operations begins. */
  begin(count: number): void;
  /** Whether the payload of an operation may be kept. Every `true` is given back by its owner, with the operation. */
  admit(size: number): boolean;
  operation(operation: RiocOperation): void;
}

const NOTHING = new Uint8Array(0);

export class RiocParser {
  /** What was wrong with the stream; nothing more is taken then. */
  broken: string | undefined;
  private readonly sink: RiocSink;
  /** What a header, or a payload, holds so far when a piece of the stream ended within it. */
  private kept: Uint8Array = NOTHING;
  private keptSize = 0;
  private readonly header = new Uint8Array(OPERATION_HEADER_SIZE);
  /** Operations of the present request that are still to come; 0: a batch header is next. */
  private remaining = 0;
  private isOneOfSeveral = false;
  /** Whether the operation header is there, and what it says. */
  private inPayload = false;
  private command = 0;
  private keySize = 0;
  private payloadSize = 0;
  private timestampLow = 0;
  private timestampHigh = 0;
  private refused: RiocOperation["refused"];
  /** Of a payload that is passed over: bytes to come. */
  private skip = 0;

  constructor(sink: RiocSink) {
    this.sink = sink;
  }

  /** Whether a request was begun and has not ended. */
  get isWithinRequest(): boolean {
    return this.remaining > 0 || this.keptSize > 0;
  }

  /** Bytes that were admitted for an operation that has not come whole. */
  get admittedSize(): number {
    return this.inPayload && this.refused === undefined ? this.payloadSize : 0;
  }

  /**
   * Takes the next piece of the stream from `start` on. Where it stopped: at the end of the piece, or in front of a request that may not
   * begin yet. Payloads given out lie in the piece or in memory of their own: it must not be changed later.
   */
  take(piece: Uint8Array, start = 0): number {
    let at = start;
    while (this.broken === undefined) {
      if (this.inPayload) {
        at = this.takePayload(piece, at);
        if (this.inPayload) return at;
      } else {
        if (this.remaining === 0 && this.keptSize === 0 && (at === piece.length || !this.sink.ready())) return at;
        const size = this.remaining === 0 ? BATCH_HEADER_SIZE : OPERATION_HEADER_SIZE;
        const part = Math.min(size - this.keptSize, piece.length - at);
        if (this.keptSize === 0 && part === size) {
          this.takeHeader(piece, at);
          at += size;
          continue;
        }
        if (part === 0) return at;
        this.header.set(piece.subarray(at, at + part), this.keptSize);
        this.keptSize += part;
        at += part;
        if (this.keptSize < size) return at;
        this.keptSize = 0;
        this.takeHeader(this.header, 0);
      }
    }
    return piece.length;
  }

  private takeHeader(bytes: Uint8Array, at: number): void {
    if (this.remaining > 0) {
      this.takeOperationHeader(bytes, at);
      return;
    }
    const magic = u32(bytes, at);
    const version = u16(bytes, at + 4);
    const count = u16(bytes, at + 6);
    if (magic !== MAGIC) this.broken = `a request begins with 0x${magic.toString(16)}, not with the protocol's magic`;
    else if (version !== VERSION) this.broken = `the protocol's version ${version} is not served, but ${VERSION} is`;
    else if (count === 0 || count > BATCH_COUNT_MAX)
      this.broken = `a batch of ${count} operations: 1 to ${BATCH_COUNT_MAX}`;
    else {
      this.remaining = count;
      this.isOneOfSeveral = count > 1;
      this.sink.begin(count);
    }
  }

  private takeOperationHeader(bytes: Uint8Array, at: number): void {
    this.command = u16(bytes, at);
    this.keySize = u16(bytes, at + 2);
    const valueSize = u32(bytes, at + 4);
    this.timestampLow = u32(bytes, at + 8);
    this.timestampHigh = u32(bytes, at + 12);
    this.payloadSize = this.keySize + valueSize;
    this.inPayload = true;
    this.refused = undefined;
    this.skip = 0;
    if (this.keySize > KEY_SIZE_MAX || valueSize > VALUE_SIZE_MAX) this.refused = "size";
    else if (!this.sink.admit(this.payloadSize)) this.refused = "busy";
    if (this.refused !== undefined) this.skip = this.payloadSize;
  }

  private takePayload(piece: Uint8Array, start: number): number {
    const size = this.payloadSize;
    let at = start;
    if (this.refused !== undefined) {
      const part = Math.min(this.skip, piece.length - at);
      this.skip -= part;
      at += part;
      if (this.skip === 0) this.give(NOTHING, 0);
      return at;
    }
    if (this.keptSize === 0 && piece.length - at >= size) {
      this.give(piece, at);
      return at + size;
    }
    if (this.keptSize === 0) {
      if (piece.length === at) return at;
      this.kept = new Uint8Array(size);
    }
    const part = Math.min(size - this.keptSize, piece.length - at);
    this.kept.set(piece.subarray(at, at + part), this.keptSize);
    this.keptSize += part;
    at += part;
    if (this.keptSize === size) {
      const whole = this.kept;
      this.kept = NOTHING;
      this.keptSize = 0;
      this.give(whole, 0);
    }
    return at;
  }

  private give(bytes: Uint8Array, at: number): void {
    const wasRefused = this.refused !== undefined;
    this.inPayload = false;
    this.remaining -= 1;
    this.sink.operation({
      command: this.command,
      key: wasRefused ? NOTHING : bytes.subarray(at, at + this.keySize),
      value: wasRefused ? NOTHING : bytes.subarray(at + this.keySize, at + this.payloadSize),
      timestampLow: this.timestampLow,
      timestampHigh: this.timestampHigh,
      isOneOfSeveral: this.isOneOfSeveral,
      refused: this.refused,
    });
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;
}
