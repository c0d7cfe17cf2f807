/** The options of `open`: what they are, what they default to, and what this version refuses. */

import type { CheckpointReport } from "./checkpoints.ts";
import type { CompactReport } from "./compaction.ts";
import { type Encoded, type Format, formatOf, type KeyEncoding, type ValueEncoding } from "./encoding.ts";
import { CairnError } from "./error.ts";
import { isPlain } from "./refusals.ts";

/** What `set` and `delete` promise when they return. */
export type Durability = "interval" | "sync" | "manual";

/** Something that happened in a store, for loggers and metrics. `type` names it; the rest depends on it. */
export type StoreEvent =
  | {
      /** The store is open. */
      type: "opened";
      /** Keys in it. */
      records: number;
      /** How long opening took, in milliseconds. */
      ms: number;
    }
  | {
      /** Its last holder did not close it: what had reached the device behind the last durable mark is safe now. */
      type: "recovered";
      /** Records that were replayed. */
      records: number;
      /** Blocks that were brought to safety. */
      tailBlocks: number;
    }
  | {
      /** A commit group is on stable storage. */
      type: "flushed";
      /** Bytes of its blocks. */
      bytes: number;
      /** How long writing and syncing took, in milliseconds. */
      ms: number;
    }
  | ({
      /** Compaction, by itself or by `compact`, has ended. */
      type: "compacted";
    } & CompactReport)
  | ({
      /** A checkpoint was made. */
      type: "checkpointed";
    } & CheckpointReport)
  | {
      /** Checkpoints that were kept are damaged. */
      type: "checkpointDamaged";
      /** How many of them. */
      damaged: number;
      /** What the store was opened from: the older one, or the whole log. */
      used: "older" | "log";
    }
  | {
      /** A commit group met a full device: what it holds stays visible, and becomes durable once there is room. */
      type: "full";
    }
  | {
      /** The store takes no more calls until it is opened again. */
      type: "poisoned";
      /** Why. */
      error: CairnError;
    }
  | {
      /** A call kept the program waiting for the device, for more than 100 ms. */
      type: "slow";
      /** Which call. */
      operation: string;
      /** How long, in milliseconds. */
      ms: number;
    };

/** How far something is that takes its time. */
export interface StoreProgress {
  /**
   * What is under way: `open` reads a checkpoint and the log behind it; `compact` looks at segments; copies of the store; `verify`
   * reads the log.
   */
  phase: "recovery" | "compaction" | "backup" | "restore" | "verify";
  /** Bytes done; as many as `total` when it has come to its end. */
  done: number;
  /** Bytes in all, as far as is known by then. */
  total: number;
}

/** Options of `open`. */
export interface OpenOptions<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8"> {
  /** How the store finds keys; fixed when it is formatted. Only `"dual"`, the default, exists in this version. */
  engine?: "dual";
  /** Whether a missing file is created. Default `true`. */
  create?: boolean;
  /** Whether a target that holds something else is erased. Default `false`. */
  format?: boolean;
  /** Never writes a byte and takes no lock; sees what was durable at opening. Default `false`. */
  readOnly?: boolean;
  /** What `set` and `delete` promise when they return. Default `"interval"`. */
  durability?: Durability;
  /** Longest time, in milliseconds, that a write stays in memory only under `"interval"`. Default 100. */
  flushIntervalMs?: number;
  /** Memory for blocks read from the device, in bytes. Default 256 MiB. */
  cacheBytes?: number;
  /** Memory for the newest part of the log, in bytes; rounded up to a power of two. Default 16 MiB. */
  writeBufferBytes?: number;
  /**
   * The whole memory of the store, in bytes, reserved at opening as address space and never exceeded: keys, indexes, cache and
   * write buffer. What does not fit is `OUT_OF_MEMORY`, with how much would. Default 2 GiB, 512 MiB in browsers; at most 3.5 GiB.
   */
  memoryBytes?: number;
  /** How keys become bytes. Default `"utf8"`. */
  keyEncoding?: K;
  /** How values become bytes. Default `"utf8"`. */
  valueEncoding?: V;
  /**
   * Whether values that are not in memory are read past the operating system's cache, with `O_DIRECT`: for data larger
   * than memory, which that cache would hold a second time. `UNSUPPORTED`, with the reason, where there is no such way.
   * Default `false`.
   */
  directReads?: boolean;
  /** When segments with much garbage are compacted. Default `{ auto: true, garbageRatio: 0.3 }`. */
  compaction?: CompactionOptions;
  /** How much of the past `watch({ since })` can count on. Default `{ bytes: 0, ms: 0 }`: as long as it happens to be there. */
  history?: HistoryOptions;
  /** Called with each event; what it throws is ignored. */
  onEvent?: (event: StoreEvent) => void;
  /**
   * Called now and then while `open`, `compact`, `backup` and `verify` work, from inside `open` before the store is there; what it throws is
   * ignored. It must not call the store.
   */
  onProgress?: (progress: StoreProgress) => void;
  /**
   * Whether new values are compressed: `"lz4"` those of 256 bytes and more that get smaller by a sixteenth. What was stored
   * before stays as it is, and is read under either. Checkpoints are compressed, too. The first value or checkpoint that is marks
   * the store: versions that do not know of compression refuse it from then on. Default `"none"`.
   */
  compression?: Compression;
  /** The compiled `cairn-kv/cairn.wasm` of this version, for runtimes that forbid compiling. Default: the host loads it. */
  wasm?: WebAssembly.Module;
}

/** How values are stored. */
export type Compression = "none" | "lz4";

/** When compaction runs by itself. */
export interface CompactionOptions {
  /** Whether it does: in steps of well under a millisecond between writes, as fast as they make garbage. Default `true`. */
  auto?: boolean;
  /** Share of the used segments' bytes that may be garbage before it starts, 0.05 to 0.95. Default 0.3. */
  garbageRatio?: number;
}

/**
 * The past that stays: a deletion is kept while it is within so many bytes of the log, or younger than so many milliseconds. What
 * is kept takes space: a deletion its key and 24 bytes. After opening, the past is kept for as long again.
 */
export interface HistoryOptions {
  /** Bytes of the log, from its end on. Default 0. */
  bytes?: number;
  /** Milliseconds. Default 0. */
  ms?: number;
}

/** Key type of a store opened with an encoding. */
export type KeyOf<K> = Encoded<K>;
/** Value type of a store opened with an encoding. */
export type ValueOf<V> = Encoded<V>;

/** Options with everything decided. */
export interface Settings {
  create: boolean;
  format: boolean;
  readOnly: boolean;
  durability: Durability;
  flushIntervalMs: number;
  cacheBytes: number;
  writeBufferBytes: number;
  memoryBytes: number;
  directReads: boolean;
  keys: Format;
  values: Format;
  compaction: Required<CompactionOptions>;
  compression: Compression;
  history: Required<HistoryOptions>;
  onEvent: ((event: StoreEvent) => void) | undefined;
  onProgress: ((progress: StoreProgress) => void) | undefined;
  wasm: WebAssembly.Module | undefined;
}

const MIB = 1_048_576;
export const MEMORY_BYTES_MIN = 16 * MIB;
const MEMORY_BYTES_MAX = 3.5 * 1024 * MIB;
const WRITE_BUFFER_BYTES_MIN = 256 * 1024;
const WRITE_BUFFER_BYTES_MAX = 256 * MIB;

const KNOWN = [
  "engine",
  "create",
  "format",
  "readOnly",
  "durability",
  "flushIntervalMs",
  "cacheBytes",
  "writeBufferBytes",
  "memoryBytes",
  "directReads",
  "keyEncoding",
  "valueEncoding",
  "compaction",
  "history",
  "onEvent",
  "onProgress",
  "compression",
  "wasm",
];
/** Options of the contract that this version does not honour yet, and so refuses. */
const LATER = ["encryption"];

/**
 * Checks options and fills in defaults, `memoryBytesDefault` being the runtime's. `INVALID_ARGUMENT` names the option;
 * `UNSUPPORTED` what is not there yet.
 */
export function readOptions(options: unknown, { memoryBytesDefault = 2048 * MIB } = {}): Settings {
  if (options !== undefined && !isPlain(options)) {
    throw invalid("options must be an object { name: value }.");
  }
  const given = (options ?? {}) as Record<string, unknown>;
  for (const name of Object.keys(given)) {
    if (given[name] === undefined || KNOWN.includes(name)) continue;
    if (LATER.includes(name)) throw unsupported(`the option ${name} is not supported by this version.`);
    throw invalid(`there is no option ${name}.`);
  }
  const engine = given["engine"];
  if (engine === "hybrid-log" || engine === "append-log" || engine === "lsm") {
    throw unsupported(`the engine "${engine}" is not supported by this version; "dual" is.`);
  }
  if (engine !== undefined && engine !== "dual") throw invalid('engine must be "dual".');
  const compression = given["compression"] ?? "none";
  if (compression !== "none" && compression !== "lz4") throw invalid('compression must be "none" or "lz4".');
  const durability = given["durability"] ?? "interval";
  if (durability !== "interval" && durability !== "sync" && durability !== "manual") {
    throw invalid('durability must be "interval", "sync" or "manual".');
  }
  const onEvent = given["onEvent"];
  if (onEvent !== undefined && typeof onEvent !== "function") throw invalid("onEvent must be a function.");
  const onProgress = given["onProgress"];
  if (onProgress !== undefined && typeof onProgress !== "function") throw invalid("onProgress must be a function.");
  const memoryBytes = bytes(given, "memoryBytes", memoryBytesDefault, MEMORY_BYTES_MIN, MEMORY_BYTES_MAX);
  const share = Math.floor(memoryBytes / 4);
  const settings: Settings = {
    create: flag(given, "create", true),
    format: flag(given, "format", false),
    readOnly: flag(given, "readOnly", false),
    durability,
    flushIntervalMs: bytes(given, "flushIntervalMs", 100, 1, 3_600_000),
    cacheBytes: Math.min(bytes(given, "cacheBytes", Math.min(256 * MIB, share), 0, MEMORY_BYTES_MAX), memoryBytes / 2),
    writeBufferBytes: powerOfTwo(
      bytes(given, "writeBufferBytes", Math.min(16 * MIB, share), WRITE_BUFFER_BYTES_MIN, WRITE_BUFFER_BYTES_MAX),
    ),
    memoryBytes,
    directReads: flag(given, "directReads", false),
    keys: formatOf(given["keyEncoding"], "keyEncoding"),
    values: formatOf(given["valueEncoding"], "valueEncoding"),
    compaction: readCompaction(given["compaction"]),
    compression,
    history: readHistory(given["history"]),
    onEvent: onEvent as Settings["onEvent"],
    onProgress: onProgress as Settings["onProgress"],
    wasm: moduleOption(given["wasm"]),
  };
  if (settings.writeBufferBytes > memoryBytes / 2) {
    throw invalid("writeBufferBytes must be at most half of memoryBytes.");
  }
  if (settings.readOnly && settings.format) throw invalid("format and readOnly exclude each other.");
  return settings;
}

/** Exports that no other module has together. A module of another version may lack some. */
const MODULE_EXPORTS = ["initialize", "layout", "mount", "groupBegin", "cursorWeigh", "cabi_realloc"];

/** By what it says it is: a module of another realm is one as well. */
function moduleOption(module: unknown): WebAssembly.Module | undefined {
  if (module === undefined) return undefined;
  if (Object.prototype.toString.call(module) !== "[object WebAssembly.Module]") {
    throw invalid("wasm must be a WebAssembly.Module: the compiled cairn-kv/cairn.wasm.");
  }
  const names = new Set(WebAssembly.Module.exports(module as WebAssembly.Module).map(({ name }) => name));
  if (!MODULE_EXPORTS.every((name) => names.has(name))) {
    throw invalid("wasm is another module. Compile the cairn-kv/cairn.wasm of this version.");
  }
  return module as WebAssembly.Module;
}

function readCompaction(given: unknown): Required<CompactionOptions> {
  if (given === undefined) return { auto: true, garbageRatio: 0.3 };
  if (!isPlain(given)) {
    throw invalid("compaction must be an object { auto, garbageRatio }.");
  }
  for (const name of Object.keys(given)) {
    if (name !== "auto" && name !== "garbageRatio") throw invalid(`there is no option compaction.${name}.`);
  }
  const { auto = true, garbageRatio = 0.3 } = given as CompactionOptions;
  if (typeof auto !== "boolean") throw invalid("compaction.auto must be true or false.");
  if (typeof garbageRatio !== "number" || !(garbageRatio >= 0.05 && garbageRatio <= 0.95)) {
    throw invalid("compaction.garbageRatio must be a number from 0.05 to 0.95.");
  }
  return { auto, garbageRatio };
}

function readHistory(given: unknown): Required<HistoryOptions> {
  if (given === undefined) return { bytes: 0, ms: 0 };
  if (!isPlain(given)) {
    throw invalid("history must be an object { bytes, ms }.");
  }
  for (const name of Object.keys(given)) {
    if (name !== "bytes" && name !== "ms") throw invalid(`there is no option history.${name}.`);
  }
  const { bytes = 0, ms = 0 } = given as HistoryOptions;
  for (const [name, amount] of Object.entries({ bytes, ms })) {
    if (!Number.isSafeInteger(amount) || amount < 0) {
      throw invalid(`history.${name} must be a safe integer from 0 on.`);
    }
  }
  return { bytes, ms };
}

function flag(given: Record<string, unknown>, name: string, initial: boolean): boolean {
  const value = given[name] ?? initial;
  if (typeof value !== "boolean") throw invalid(`${name} must be true or false.`);
  return value;
}

function bytes(given: Record<string, unknown>, name: string, initial: number, least: number, most: number): number {
  const value = given[name] ?? initial;
  if (typeof value !== "number" || !Number.isFinite(value) || value < least || value > most) {
    throw invalid(`${name} must be a number from ${least} to ${most}.`);
  }
  return Math.floor(value);
}

function powerOfTwo(size: number): number {
  let power = WRITE_BUFFER_BYTES_MIN;
  while (power < size) power *= 2;
  return power;
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "open", `open: ${message}`);
}

function unsupported(message: string): CairnError {
  return new CairnError("UNSUPPORTED", "open", `open: ${message}`);
}
