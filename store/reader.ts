/** Bytes in the core's memory as what a program gets: strings, bytes of its own, or what a codec makes of them. */
import type { Core } from "./core.ts";
import type { Format } from "./encoding.ts";
import { SHORT_STRING_SIZE_MAX, shortString } from "./text.ts";

/** Small results share slabs of this size, so that each costs no buffer of its own. */
const SLAB_SIZE = 8192;
/** Results up to this size are cut from a small slab and copied word by word. */
const SLAB_RESULT_SIZE_MAX = 256;
/** Results of at most a block share slabs of this size: a buffer takes 0.3 µs longer than its share of one. */
const BLOCK_SLAB_SIZE = 65_536;
const BLOCK_RESULT_SIZE_MAX = 4096;

/** Reads keys, or values, of one store. */
export class Reader {
  /** Whether decoding runs code of the program's own, which may use the store: nothing in memory holds across it. */
  readonly isForeign: boolean;
  /** Whether decoding refuses nothing. */
  readonly isPlain: boolean;
  private readonly core: Core;
  private readonly format: Format;
  private readonly what: "key" | "value";
  /** Bytes in front that are not shown: the prefix of a namespace. */
  private readonly skipped: number;
  private slab = new Uint8Array(0);
  private slabWords = new Int32Array(0);
  private slabUsed = 0;
  private blockSlab = new Uint8Array(0);
  private blockSlabUsed = 0;

  constructor(core: Core, format: Format, what: "key" | "value", skipped = 0) {
    this.core = core;
    this.format = format;
    this.what = what;
    this.skipped = skipped;
    this.isPlain = format.kind === "utf8" || format.kind === "binary";
    this.isForeign = format.kind === "codec" && format.decodeText === undefined;
  }

  /** The `whole` bytes at `start`; `ascii` when all of them that are shown are known to be. */
  read(start: number, whole: number, ascii: boolean, operation: string): unknown {
    const { format, skipped } = this;
    const pointer = start + skipped;
    const size = whole - skipped;
    if (format.kind === "utf8") return this.text(pointer, size, ascii);
    if (format.kind === "binary") return this.bytes(pointer, size);
    if (format.decodeText !== undefined) {
      return format.decodeText(this.text(pointer, size, ascii), this.what, operation);
    }
    return format.decode(this.bytes(pointer, size), this.what, operation);
  }

  /** What `read` gives; but a foreign codec's bytes, for `own` to decode when nothing is left to be read. */
  readLater(pointer: number, size: number, ascii: boolean, operation: string): unknown {
    if (!this.isForeign) return this.read(pointer, size, ascii, operation);
    return this.bytes(pointer + this.skipped, size - this.skipped);
  }

  /** Bytes that are a program's own already, as what it gets. */
  own(bytes: Uint8Array, operation: string): unknown {
    return this.format.decode(bytes, this.what, operation);
  }

  /** The encoding's name. */
  get name(): string {
    return this.format.name;
  }

  private text(pointer: number, size: number, ascii: boolean): string {
    if (!ascii) return this.core.text.utf8(pointer, pointer + size);
    if (size <= SHORT_STRING_SIZE_MAX) return shortString(this.core.bytes, pointer, size);
    return this.core.text.ascii(pointer, pointer + size);
  }

  private bytes(pointer: number, size: number): Uint8Array {
    const { core } = this;
    if (size > BLOCK_RESULT_SIZE_MAX) return core.bytes.slice(pointer, pointer + size);
    if (size > SLAB_RESULT_SIZE_MAX) return this.blockBytes(pointer, size);
    if (this.slabUsed + size > this.slab.length) {
      this.slab = new Uint8Array(SLAB_SIZE);
      this.slabWords = new Int32Array(this.slab.buffer);
      this.slabUsed = 0;
    }
    const at = this.slabUsed;
    if ((pointer & 3) === 0) {
      let from = pointer >>> 2;
      for (let to = at >> 2, end = (at + size + 3) >> 2; to < end; to++) {
        this.slabWords[to] = core.words[from++] as number;
      }
    } else {
      for (let i = 0; i < size; i++) this.slab[at + i] = core.bytes[pointer + i] as number;
    }
    this.slabUsed = (at + size + 3) & ~3;
    return this.slab.subarray(at, at + size);
  }

  private blockBytes(pointer: number, size: number): Uint8Array {
    if (this.blockSlabUsed + size > BLOCK_SLAB_SIZE || this.blockSlab.length === 0) {
      this.blockSlab = new Uint8Array(BLOCK_SLAB_SIZE);
      this.blockSlabUsed = 0;
    }
    const at = this.blockSlabUsed;
    const { blockSlab } = this;
    // Constructors take half the time of `subarray`.
    blockSlab.set(new Uint8Array(this.core.bytes.buffer, pointer, size), at);
    this.blockSlabUsed = (at + size + 7) & ~7;
    return new Uint8Array(blockSlab.buffer, at, size);
  }
}
