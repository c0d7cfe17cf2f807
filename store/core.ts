/**
 * The binary, seen from TypeScript: its exports, its memory, and what its statuses mean.
 *
 * 1. The memory is created with its initial size equal to its maximum, so it never grows and views never detach.
 * 2. Pointers over 2 GiB arrive as negative numbers: `>>> 0`.
 * 3. After a trap, or a status that poisons, no export that writes is called again.
 */
import type { BlockDevice, DevicePiece } from "./device.ts";
import { CairnError, type CairnErrorCode } from "./error.ts";
import { memoryMessage } from "./memory.ts";
import { VALUE_SIZE_MAX } from "./refusals.ts";

/** The exports of `cairn.wasm`; see `assembly/index.ts`. */
export interface CoreExports {
  initialize(memorySize: number, writeBufferSize: number, cacheSize: number, flushIntervalMs: number): number;
  layout(what: number): number;
  probe(device: number): number;
  format(device: number, engine: number, segmentBlocks: number, flags: number): number;
  mount(device: number, uncached: number, engine: number, flags: number): number;
  close(): number;
  poison(): void;
  get(keySize: number): number;
  has(keySize: number): number;
  set(keySize: number, valueSize: number, flags: number): number;
  remove(keySize: number): number;
  setWith(
    keySize: number,
    valueSize: number,
    flags: number,
    version: number,
    expiry: number,
    timestamp: number,
  ): number;
  removeWith(keySize: number, flags: number, version: number, timestamp: number): number;
  condition(keySize: number, flags: number, version: number, expiry: number, timestamp: number): number;
  entryOpen(keySize: number): number;
  entryFigure(what: number): number;
  append(keySize: number, size: number, flags: number): number;
  patch(keySize: number, offset: number, size: number, flags: number): number;
  increment(keySize: number, flags: number): number;
  expirySweep(): number;
  getGroup(count: number): void;
  getAhead(keySize: number, again: number, handle: number): number;
  partAhead(keySize: number, offset: number, handle: number, again: number): number;
  readLanded(claim: number, ok: number): number;
  readRelease(claim: number): void;
  readVersion(): number;
  valueRead(offset: number): number;
  writeBegin(keySize: number, valueSize: number, flags: number): number;
  writePart(size: number): number;
  writeAbort(): void;
  compressMeasure(size: number): number;
  batchBegin(
    count: number,
    bytes: number,
    resident: number,
    keySizeMax: number,
    valueSizeMax: number,
    givesBack: boolean,
  ): number;
  batchEnd(): void;
  groupPending(): number;
  groupBegin(): number;
  groupFinish(result: number): number;
  flushSync(): number;
  maintain(): void;
  compactConfigure(auto: boolean, thousandths: number): void;
  compactBegin(): number;
  compactStep(mode: number, waits: number, microseconds: number): number;
  compactSettle(mode: number): number;
  sourcePlan(): number;
  sourceLanded(window: number, ok: boolean): void;
  sideBegin(): number;
  sideFinish(result: number): number;
  checkpointConfigure(auto: boolean, logBytes: number, liveThousandths: number, stepBlocks: number): void;
  checkpointStep(): number;
  checkpointBegin(): number;
  checkpointLanded(result: number): number;
  superblockBegin(): number;
  superblockLanded(result: number): number;
  hostFlies(): void;
  shrink(mode: number): number;
  markDue(): void;
  timeReach(ms: number): void;
  cursorOpen(flags: number, lowerSize: number, upperSize: number, view: number): number;
  cursorClose(handle: number): void;
  cursorNext(handle: number, count: number, mode: number): number;
  cursorAhead(handle: number, count: number, again: number): number;
  cursorSeek(handle: number, keySize: number): number;
  cursorCount(handle: number): number;
  cursorWeigh(handle: number): number;
  cursorDelete(handle: number, count: number): number;
  viewOpen(): number;
  viewClose(handle: number): void;
  viewVersion(handle: number): number;
  getAt(keySize: number, handle: number): number;
  hasAt(keySize: number, handle: number): number;
  entryOpenAt(keySize: number, handle: number): number;
  keyChanged(keySize: number, handle: number): number;
  rangeChanged(flags: number, lowerSize: number, upperSize: number, handle: number): number;
  stat(what: number): number;
  backupBegin(): number;
  backupSegments(from: number): number;
  backupUnpin(index: number): void;
  backupBlocks(first: number, count: number, generationLow: number, generationHigh: number): number;
  inspectBegin(device: number): number;
  inspectSuperblock(copy: number): number;
  inspectBlock(deviceBlock: number): number;
  inspectRecords(): number;
  segmentFigure(segment: number, what: number): number;
  salvageBegin(seedLow: number, seedHigh: number, segmentBlocks: number): number;
  salvageLook(index: number, deviceBlock: number): number;
  salvageSeed(index: number, deviceBlock: number): number;
  salvageRecords(index: number): number;
  salvageNote(index: number, from: number): number;
  rebuildRecord(head: number, total: number): number;
  rebuildBytes(size: number): number;
  rebuildEnd(): void;
  rebuildFinish(sequence: number, highestTimeMs: number): number;
  feedOpen(): number;
  feedClose(): void;
  feedTake(): number;
  changesSet(flags: number, lowerSize: number, upperSize: number, since: number, most: number): number;
  changesDeleted(segment: number, block: number, since: number, view: number): number;
  changesNewest(segment: number): number;
  historyConfigure(bytes: number, ms: number): number;
  verifyBegin(): number;
  verifyStep(milliseconds: number): number;
  verifyEnd(): void;
  verifyFigure(what: number): number;
  cabi_realloc(oldPointer: number, oldSize: number, alignment: number, newSize: number): number;
}

/** What a host gives the store to run the core over a device. */
export interface CoreHost {
  /** The compiled `cairn.wasm`. */
  module: WebAssembly.Module;
  /** The import object over a device for a memory, the device's handles, and what was thrown last beneath an import. */
  bind(
    device: BlockDevice,
    memory: WebAssembly.Memory,
    realloc: CoreExports["cabi_realloc"],
  ): {
    imports: WebAssembly.Imports;
    handle: number;
    uncachedHandle: number;
    table: { lastCause: unknown; entered: boolean };
  };
  /** A memory of so many pages of 64 KiB, all zeros, which nothing else uses. Absent: a new one. */
  memory?(pages: number): WebAssembly.Memory;
  /** An instance of the module with these imports, as good as new. Absent: a new one. */
  instance?(imports: WebAssembly.Imports): WebAssembly.Instance;
  /** The runtime's fastest way from memory to strings, where it has one. */
  text?: (memory: WebAssembly.Memory) => TextAccess;
  /**
   * Calls back when the process ends in order, or (`mayGoOn`) by an error that may still be caught; the result takes the
   * registration back.
   */
  onExit?(callback: (mayGoOn: boolean) => void): () => void;
}

/** Reads strings out of memory, and writes them there. Ends are exclusive. */
export interface TextAccess {
  /** Writes a string as UTF-8 at a place with room for three bytes a character, where that beats `encodeInto`: its size. */
  write?(text: string, at: number): number;
  /** Writes an ASCII string, where that beats `encodeInto`: its size, or -1 for a string that it does not take. */
  writeAscii?(text: string, at: number): number;
  /** Bytes that are known to be ASCII. */
  ascii(start: number, end: number): string;
  /** Bytes that hold UTF-8. */
  utf8(start: number, end: number): string;
}

const PAGE_SIZE = 65_536;
const READ_CALL = "[method]descriptor.read";
/** A piece of a plan of writes. The bit above its size says that it will hardly be read back. */
const PIECE_WORDS = 4;
const PIECE_SIZE_MASK = 0x7fff_ffff;

/** Bits of a call's flags. */
export const ASCII_VALUE = 1;
export const ASCII_KEY = 2;
/** Of `writeBegin`: the value comes in pieces that were measured. */
export const COMPRESSED_VALUE = 256;
/** Bits of a result's flags. */
export const RESULT_ASCII_VALUE = 8;
/** Bits of `attention`. */
export const FLUSH_DUE = 1;
export const BUFFER_FULL = 2;
export const VERSIONS_DUE = 4;
export const COMPACTION_DUE = 8;
export const EXPIRY_DUE = 16;
export const CHECKPOINT_DUE = 32;
export const SUPERBLOCK_DUE = 64;
export const CHANGES_DUE = 128;
/** Why compaction runs, and what a step of it did. */
export const COMPACT_AUTO = 0;
export const COMPACT_ASKED = 1;
export const COMPACT_FULL = 2;
export const COMPACT_IDLE = 0;
export const COMPACT_LOWER = 4;
/** When a file is made smaller: by itself, or because somebody asked. */
export const SHRINK_AUTO = 0;
export const SHRINK_FULL = 2;
export const COMPACT_MOVED = 1;
export const COMPACT_SETTLE = 2;
export const COMPACT_WAITS = 3;
/** Whether a step leaves what the device does to the host. */
export const WAITS_UNLESS_BEHIND = 1;
export const WAITS_ALWAYS = 2;
/** Bits of `mount`. */
export const MOUNT_READ_ONLY = 1;
export const MOUNT_GROWABLE = 2;
export const MOUNT_PREDECESSOR_ALIVE = 4;
export const MOUNT_DIRECT_READS = 8;
export const MOUNT_COMPRESSION = 64;
/** What `get` answers. */
export const AT_MEMORY = 1;
export const IN_PIECES = 2;
/** What plans of reads answer beside that. */
export const AHEAD_READS = 3;
export const AHEAD_BUSY = 4;
/** How a plan is asked for: for the first time; when its reads have landed; not at all; or read now. */
export const ASK_FIRST = 0;
export const ASK_AGAIN = 1;
export const ASK_NO_READS = 2;
export const ASK_READ_NOW = 3;
/** What a write answers whose condition did not hold, and a partial update whose value is too large for one call. */
export const CONDITION_FAILED = 2;
export const TOO_LARGE = 3;
/** How a group in flight ended. */
export const FLIGHT_DONE = 0;
export const FLIGHT_NO_SPACE = 1;
export const FLIGHT_FAILED = 2;

/** Codes by status, `-1` first; see `assembly/status.ts`. */
export const STATUS_CODES: readonly CairnErrorCode[] = [
  "NOT_A_STORE",
  "UNSUPPORTED_FORMAT",
  "ENGINE_MISMATCH",
  "CORRUPT",
  "DEVICE_READ",
  "DEVICE_WRITE",
  "DEVICE_SHRUNK",
  "NO_SPACE",
  "OUT_OF_MEMORY",
  "KEY_SIZE",
  "VALUE_SIZE",
  "BATCH_SIZE",
  "FENCED",
  "POISONED",
  "REENTRANT",
  "INVALID_ARGUMENT",
  "READ_ONLY",
  "SNAPSHOT_EXPIRED",
  "STALE_TIMESTAMP",
  "OUT_OF_RANGE",
  "NOT_A_NUMBER",
  "VERSION_COMPACTED",
];

/** What happened and what to do, by code. */
const MESSAGES: Partial<Record<CairnErrorCode, string>> = {
  NOT_A_STORE: "the target holds something that is not a Cairn store. Check the path; format: true would erase it.",
  UNSUPPORTED_FORMAT: "the store was written by another version of Cairn, in a format that this one does not read.",
  ENGINE_MISMATCH: "the store was formatted with another engine. Open it with that one.",
  CORRUPT:
    'the device gave bytes that are not what was written. "cairn verify" says where, "cairn repair" saves what is whole.',
  DEVICE_READ: "the device failed to read.",
  DEVICE_WRITE: "the device failed to write or to sync. Open the store again: what was acknowledged is there.",
  DEVICE_SHRUNK: "the device is smaller than the store on it. Restore its size, or restore a backup.",
  VALUE_SIZE: `the value would exceed the limit of ${VALUE_SIZE_MAX} bytes. Nothing was changed.`,
  NO_SPACE: "no room is left on the device. Free some, or delete records; nothing was changed.",
  FENCED: "another opener has taken the store over. Close this one.",
  POISONED: "an earlier write or sync failed, so nothing more is accepted. Open the store again.",
  SNAPSHOT_EXPIRED: "what was read has been overwritten by the writer since this store was opened. Call refresh().",
  READ_ONLY: "the store was opened with readOnly: true.",
  STALE_TIMESTAMP: "the record has a newer timestamp than this write. Nothing was changed; what is there stands.",
  OUT_OF_RANGE: "the result would be out of range. Nothing was changed.",
  NOT_A_NUMBER:
    "the value is not an integer of 64 bits in decimal digits, so nothing can be added to it. Nothing was changed.",
};

const STAT_FAULT_OFFSET = 33;

/** An instance of the core over a device. */
export class Core {
  readonly exports: CoreExports;
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly integers: BigInt64Array;
  readonly text: TextAccess;
  readonly device: BlockDevice;
  readonly handle: number;
  readonly uncachedHandle: number;
  readonly host: CoreHost;
  /** Byte places. */
  readonly keyA: number;
  readonly keyB: number;
  readonly exchangeIn: number;
  readonly exchangeOut: number;
  readonly exchangeSize: number;
  readonly superblock: number;
  /** The value exchange, inwards. */
  readonly valueArea: Uint8Array;
  /** Word places. */
  readonly plan: number;
  readonly readPlan: number;
  readonly sidePlan: number;
  readonly result: number;
  readonly attention: number;
  /** Place of a 64-bit integer: what `increment` came to. */
  readonly incremented: number;
  private readonly reads: ReadWatch;
  private readonly table: { lastCause: unknown; entered: boolean };

  private constructor(
    host: CoreHost,
    device: BlockDevice,
    memory: WebAssembly.Memory,
    exports: CoreExports,
    bound: ReturnType<CoreHost["bind"]>,
    reads: ReadWatch,
  ) {
    this.reads = reads;
    this.host = host;
    this.device = device;
    this.memory = memory;
    this.exports = exports;
    this.handle = bound.handle;
    this.uncachedHandle = bound.uncachedHandle;
    this.table = bound.table;
    this.bytes = new Uint8Array(memory.buffer);
    this.words = new Int32Array(memory.buffer);
    this.floats = new Float64Array(memory.buffer);
    this.integers = new BigInt64Array(memory.buffer);
    this.text = host.text?.(memory) ?? decoderText(this.bytes);
    this.keyA = exports.layout(1);
    this.keyB = exports.layout(2);
    this.exchangeIn = exports.layout(3);
    this.exchangeOut = exports.layout(4);
    this.exchangeSize = exports.layout(5);
    this.valueArea = this.bytes.subarray(this.exchangeIn, this.exchangeIn + this.exchangeSize);
    this.plan = exports.layout(6) >> 2;
    this.superblock = exports.layout(7);
    this.result = exports.layout(8) >> 2;
    this.attention = exports.layout(9) >> 2;
    this.readPlan = exports.layout(12) >> 2;
    this.incremented = exports.layout(13) >> 3;
    this.sidePlan = exports.layout(20) >> 2;
  }

  /**
   * Instantiates the module over a memory of `memoryBytes`. `OUT_OF_MEMORY` when the system refuses that much. Only with
   * `watchesReads` does `watched` call back.
   */
  static async create(host: CoreHost, device: BlockDevice, memoryBytes: number, watchesReads = false): Promise<Core> {
    const pages = Math.floor(memoryBytes / PAGE_SIZE);
    let memory: WebAssembly.Memory;
    try {
      memory = host.memory?.(pages) ?? new WebAssembly.Memory({ initial: pages, maximum: pages });
    } catch (cause) {
      const message = `the system refused ${memoryBytes} bytes of address space. Pass a smaller memoryBytes.`;
      throw new CairnError("OUT_OF_MEMORY", "open", message, { cause });
    }
    const late: { exports?: CoreExports } = {};
    const bound = host.bind(device, memory, (a, b, c, d) => (late.exports as CoreExports).cabi_realloc(a, b, c, d));
    const reads: ReadWatch = { landed: undefined };
    const imports = watchesReads ? watchReads(bound.imports, reads) : bound.imports;
    const instance = host.instance?.(imports) ?? (await WebAssembly.instantiate(host.module, imports));
    late.exports = instance.exports as unknown as CoreExports;
    return new Core(host, device, memory, late.exports, bound, reads);
  }

  /**
   * Runs a call of the core during which the device is read, and calls back after reads with how far it is, in blocks. The
   * callback must not call the core; what it throws is ignored.
   */
  watched<T>(run: () => T, onProgress: ((done: number, total: number) => void) | undefined): T {
    if (onProgress === undefined) return run();
    const at = this.exports.layout(21) >> 2;
    this.reads.landed = () => {
      try {
        onProgress(this.words[at] as number, this.words[at + 1] as number);
      } catch {
        // A listener's failure is not the store's.
      }
    };
    try {
      return run();
    } finally {
      this.reads.landed = undefined;
    }
  }

  /** Whether a host call of the core is under way: then nothing may call the core. */
  get entered(): boolean {
    return this.table.entered;
  }

  /** The pieces of a plan of writes that stands at a word place; see `assembly/log/group.ts`. */
  piecesAt(plan: number, count: number): DevicePiece[] {
    const pieces: DevicePiece[] = [];
    for (let at = plan; at < plan + count * PIECE_WORDS; at += PIECE_WORDS) {
      const pointer = (this.words[at + 2] as number) >>> 0;
      const word = this.words[at + 3] as number;
      const source = this.bytes.subarray(pointer, pointer + (word & PIECE_SIZE_MASK));
      pieces.push({ offset: this.floats[at >> 1] as number, source, uncached: word < 0 });
    }
    return pieces;
  }

  /** What a status below zero means, with the cause that the host kept. */
  error(status: number, operation: string, detail?: string): CairnError {
    const code = STATUS_CODES[-status - 1] ?? "CORRUPT";
    const cause = this.table.lastCause;
    this.table.lastCause = undefined;
    const known =
      code === "OUT_OF_MEMORY" ? memoryMessage(this.exports, this.memory.buffer.byteLength, operation) : undefined;
    let message = `${operation}: ${detail ?? known ?? MESSAGES[code] ?? code}`;
    if (code === "CORRUPT" || code === "DEVICE_READ")
      message += ` Device offset ${this.exports.stat(STAT_FAULT_OFFSET)}.`;
    return new CairnError(code, operation, message, cause === undefined ? undefined : { cause });
  }
}

/** Who wants to know of reads of the device. */
interface ReadWatch {
  landed: (() => void) | undefined;
}

/** The imports with reads that are told of, as long as somebody asks. */
function watchReads(imports: WebAssembly.Imports, watch: ReadWatch): WebAssembly.Imports {
  const watched: WebAssembly.Imports = {};
  for (const [name, calls] of Object.entries(imports)) {
    const read = calls[READ_CALL] as ((...args: never[]) => void) | undefined;
    if (read === undefined) {
      watched[name] = calls;
      continue;
    }
    const told = (...args: never[]): void => {
      read(...args);
      watch.landed?.();
    };
    watched[name] = { ...calls, [READ_CALL]: told };
  }
  return watched;
}

function decoderText(bytes: Uint8Array): TextAccess {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const utf8 = (start: number, end: number): string => decoder.decode(bytes.subarray(start, end));
  return { ascii: utf8, utf8 };
}
