/**
 * Frames of WebSocket (RFC 6455), as a server reads and writes them. No extension is offered.
 *
 *   0        1        2                       then         then
 *   F...oooo mlllllll [16 or 64 bits length]  4 bytes mask payload
 *
 * 1. A frame of a client is masked, its reserved bits are 0, its length is in the shortest form.
 * 2. Frames of control are whole, have at most 125 bytes, and may come between the parts of a message.
 * 3. No room is made for what a length promises, only for what has come.
 */
import { isUtf8 } from "node:buffer";
import { HeldBytes } from "./held-bytes.ts";

export const TEXT = 1;
export const BINARY = 2;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

const CONTROL_SIZE_MAX = 125;

/** What a client did against the protocol, as the code to close with. */
export class FrameFailure extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Takes what frames bring. */
export interface FrameSink {
  /** A whole message. Bytes are the sink's own. */
  message(content: string | Uint8Array): void;
  /** A frame of control; `payload` is the reader's. */
  control(opcode: number, payload: Buffer): void;
  /** So many more, or with a negative number fewer, bytes of a message that is not whole yet are kept. False: that is too much. */
  keeps(size: number): boolean;
  /** Whether nothing more is to be read now: the rest waits for the next call. */
  readonly isFull: boolean;
}

/** Reads the frames of one connection. */
export class FrameReader {
  private readonly sizeMax: number;
  private readonly sink: FrameSink;
  /** What has come of a frame that is not whole. */
  private readonly held = new HeldBytes();
  /** The parts of a message, and what it is; 0: none is under way. */
  private readonly parts = new HeldBytes();
  private opcode = 0;
  private kept = 0;

  constructor(sizeMax: number, sink: FrameSink) {
    this.sizeMax = sizeMax;
    this.sink = sink;
  }

  /** Takes bytes, which stay the caller's. Throws `FrameFailure`; nothing may be given to it afterwards. */
  take(chunk: Buffer): void {
    const { held } = this;
    const isHeld = held.size > 0;
    if (isHeld) held.add(chunk);
    const input = isHeld ? held.bytes : chunk;
    let at = 0;
    while (at < input.length && !this.sink.isFull) {
      const used = this.frame(input, at);
      if (used === 0) break;
      at += used;
    }
    if (isHeld) held.drop(at);
    else if (at < chunk.length) held.add(chunk.subarray(at));
    this.account();
  }

  /** Goes on with what was left when the sink was full. */
  resume(): void {
    if (this.held.size > 0) this.take(Buffer.alloc(0));
  }

  /** Nothing more comes. */
  end(): void {
    this.held.clear();
    this.parts.clear();
    this.account();
  }

  private account(): void {
    const keeps = this.held.size + this.parts.size;
    if (keeps === this.kept) return;
    const more = keeps - this.kept;
    if (!this.sink.keeps(more)) throw new FrameFailure(1013, "too much is under way");
    this.kept = keeps;
  }

  /** Reads one frame at `at`: its size, or 0 where it is not whole. */
  private frame(input: Buffer, at: number): number {
    const available = input.length - at;
    if (available < 2) return 0;
    const first = input[at] as number;
    const second = input[at + 1] as number;
    const opcode = first & 15;
    if ((first & 0x70) !== 0) throw new FrameFailure(1002, "reserved bits are set");
    if (second < 128) throw new FrameFailure(1002, "a client's frame is masked");
    let size = second & 127;
    let start = at + 6;
    if (opcode >= 8) {
      if (opcode > PONG) throw new FrameFailure(1002, "the opcode is unknown");
      if (first < 128 || size > CONTROL_SIZE_MAX) throw new FrameFailure(1002, "a frame of control is whole and small");
    } else {
      if (opcode > BINARY) throw new FrameFailure(1002, "the opcode is unknown");
      if (opcode === 0 ? this.opcode === 0 : this.opcode !== 0) {
        throw new FrameFailure(1002, "a message is not where one may be");
      }
    }
    if (size === 126) {
      if (available < 4) return 0;
      size = input.readUInt16BE(at + 2);
      if (size < 126) throw new FrameFailure(1002, "a length is not in its shortest form");
      start = at + 8;
    } else if (size === 127) {
      if (available < 10) return 0;
      const high = input.readUInt32BE(at + 2);
      size = high * 4_294_967_296 + input.readUInt32BE(at + 6);
      if (size < 65_536) throw new FrameFailure(1002, "a length is not in its shortest form");
      start = at + 14;
    }
    if (opcode < 8 && this.parts.size + size > this.sizeMax) {
      throw new FrameFailure(1009, `a message is over ${this.sizeMax} bytes`);
    }
    if (input.length < start + size) return 0;
    const payload = input.subarray(start, start + size);
    const isAscii = unmask(payload, input, start - 4);
    if (opcode >= 8) this.sink.control(opcode, payload);
    else this.part(opcode, first >= 128, payload, isAscii);
    return start + size - at;
  }

  private part(opcode: number, isLast: boolean, payload: Buffer, isAscii: boolean): void {
    if (isLast && opcode !== 0) {
      this.sink.message(opcode === TEXT ? textOf(payload, isAscii) : new Uint8Array(payload));
      return;
    }
    if (opcode !== 0) this.opcode = opcode;
    this.parts.add(payload);
    if (!isLast) return;
    const whole = this.parts.take();
    const isText = this.opcode === TEXT;
    this.opcode = 0;
    this.sink.message(isText ? textOf(whole, false) : new Uint8Array(whole));
  }
}

function textOf(payload: Buffer, isAscii: boolean): string {
  if (isAscii) return payload.toString("latin1");
  if (!isUtf8(payload)) throw new FrameFailure(1007, "text is UTF-8");
  return payload.toString("utf8");
}

/** Takes the mask at `maskAt` of `input` off `payload`, in place: whether all of it is ASCII. */
function unmask(payload: Buffer, input: Buffer, maskAt: number): boolean {
  const m0 = input[maskAt] as number;
  const m1 = input[maskAt + 1] as number;
  const m2 = input[maskAt + 2] as number;
  const m3 = input[maskAt + 3] as number;
  const size = payload.length;
  const whole = size - (size & 3);
  let all = 0;
  let at = 0;
  for (; at < whole; at += 4) {
    const b0 = (payload[at] as number) ^ m0;
    const b1 = (payload[at + 1] as number) ^ m1;
    const b2 = (payload[at + 2] as number) ^ m2;
    const b3 = (payload[at + 3] as number) ^ m3;
    payload[at] = b0;
    payload[at + 1] = b1;
    payload[at + 2] = b2;
    payload[at + 3] = b3;
    all |= b0 | b1 | b2 | b3;
  }
  for (; at < size; at++) {
    const byte = (payload[at] as number) ^ ([m0, m1, m2, m3][at & 3] as number);
    payload[at] = byte;
    all |= byte;
  }
  return all < 128;
}

/** The code of a close frame, 1005 without one, and whether the frame is sound. */
export function closeCodeOf(payload: Buffer): number {
  if (payload.length === 0) return 1005;
  if (payload.length === 1) throw new FrameFailure(1002, "a close frame is malformed");
  const code = payload.readUInt16BE(0);
  const isKnown =
    (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999);
  if (!isKnown) throw new FrameFailure(1002, "a close code is none");
  if (!isUtf8(payload.subarray(2))) throw new FrameFailure(1007, "text is UTF-8");
  return code;
}

/** Bytes of a frame's head before `size` bytes of payload. */
export function headSizeOf(size: number): number {
  return size < 126 ? 2 : size < 65_536 ? 4 : 10;
}

/** Writes the head of a whole frame. */
export function writeHead(target: Buffer, at: number, opcode: number, size: number): void {
  target[at] = 0x80 | opcode;
  if (size < 126) target[at + 1] = size;
  else if (size < 65_536) {
    target[at + 1] = 126;
    target.writeUInt16BE(size, at + 2);
  } else {
    target[at + 1] = 127;
    target.writeUInt32BE(Math.floor(size / 4_294_967_296), at + 2);
    target.writeUInt32BE(size >>> 0, at + 6);
  }
}
