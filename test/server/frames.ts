/** Frames of WebSocket as a client writes and reads them, hostile ones too. */
import { Raw } from "./raw.ts";

export interface FrameSpec {
  /** The first byte: `0x81` a whole text. */
  first: number;
  payload?: string | Uint8Array;
  /** What the frame says, where that is not true. */
  says?: number;
  isMasked?: boolean;
  /** The form of the length, in bits: 7, 16 or 64. */
  form?: 7 | 16 | 64;
}

export function frame({ first, payload = "", says, isMasked = true, form }: FrameSpec): Buffer {
  const bytes = Buffer.from(payload as string);
  const size = says ?? bytes.length;
  const bits = form ?? (size < 126 ? 7 : size < 65_536 ? 16 : 64);
  const head = Buffer.alloc(bits === 7 ? 2 : bits === 16 ? 4 : 10);
  head[0] = first;
  head[1] = (isMasked ? 128 : 0) | (bits === 7 ? size : bits === 16 ? 126 : 127);
  if (bits === 16) head.writeUInt16BE(size, 2);
  if (bits === 64) head.writeBigUInt64BE(BigInt(size), 2);
  if (!isMasked) return Buffer.concat([head, bytes]);
  const mask = Buffer.from([0x12, 0xf4, 0x56, 0x78]);
  return Buffer.concat([head, mask, bytes.map((byte, at) => byte ^ (mask[at % 4] as number))]);
}

export const text = (payload: string | Uint8Array): Buffer => frame({ first: 0x81, payload });

export interface Received {
  opcode: number;
  payload: Buffer;
}

/** The whole frames that are in some bytes of a server. */
export function framesOf(bytes: Buffer): Received[] {
  const frames: Received[] = [];
  let at = 0;
  while (at + 2 <= bytes.length) {
    const opcode = (bytes[at] as number) & 15;
    let size = bytes[at + 1] as number;
    let start = at + 2;
    if (size === 126) {
      size = bytes.readUInt16BE(start);
      start += 2;
    } else if (size === 127) {
      size = Number(bytes.readBigUInt64BE(start));
      start += 8;
    }
    if (start + size > bytes.length) break;
    frames.push({ opcode, payload: bytes.subarray(start, start + size) });
    at = start + size;
  }
  return frames;
}

export function upgradeRequest(path = "/ws", more = ""): string {
  return (
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${more}\r\n`
  );
}

/** A client whose upgrade was taken. */
export class RawSocket {
  readonly raw: Raw;
  private readonly start: number;

  private constructor(raw: Raw, start: number) {
    this.raw = raw;
    this.start = start;
  }

  static async to(port: number, behind: Uint8Array = Buffer.alloc(0)): Promise<RawSocket> {
    const raw = await Raw.to(port);
    raw.write(Buffer.concat([Buffer.from(upgradeRequest()), behind]));
    const answer = await raw.until((received) => received.includes("\r\n\r\n"));
    if (!answer.startsWith("HTTP/1.1 101 ")) throw new Error(`no upgrade: ${answer}`);
    return new RawSocket(raw, answer.indexOf("\r\n\r\n") + 4);
  }

  get frames(): Received[] {
    return framesOf(this.raw.received.subarray(this.start));
  }

  get texts(): string[] {
    return this.frames.filter(({ opcode }) => opcode === 1).map(({ payload }) => payload.toString());
  }

  /** Waits for so many frames, or the end. */
  async until(count: number): Promise<Received[]> {
    await this.raw.until(() => this.frames.length >= count);
    return this.frames;
  }

  /** Waits for the end: the code that the server closed with, or `undefined` where it closed without a word. */
  async closeCode(): Promise<number | undefined> {
    await this.raw.end();
    const last = this.frames.find(({ opcode }) => opcode === 8);
    return last === undefined ? undefined : last.payload.length === 0 ? 1005 : last.payload.readUInt16BE(0);
  }
}
