/**
 * `verify`: the report of a walk over everything that a store is made of. The walk itself is the core's; see
 * `assembly/verify/verify.ts`.
 */
import { type Core, STATUS_CODES } from "./core.ts";
import { CairnError } from "./error.ts";
import { BLOCK_SIZE, SEGMENTS_OFFSET } from "./layout.ts";

/** Milliseconds of one step, after which the event loop turns. */
const STEP_MS = 4;
/** Faults that a report lists; beyond, they are only counted. */
const FAULTS_MAX = 1000;
const PHASE_LOG = 1;
const PHASE_ORDERED_INDEX = 2;
const PHASE_HASH_INDEX = 3;
const PHASE_DONE = 5;
const PHASE_CHECKPOINTS = 6;
const FAULT_SIZE = 32;
const STAT_SEGMENT_BYTES = 16;

/** What kinds of faults there are. */
export type VerifyFaultKind =
  /** The device failed to read. */
  | "device"
  /** A copy of the superblock is damaged, or is not the one that was written last. */
  | "superblock"
  /** A block's bytes are not what was written. */
  | "block"
  /** A block belongs elsewhere on the device. */
  | "block-place"
  /** A block is left over from a former life of its segment. */
  | "block-life"
  /** A block's commit group does not follow the one before it. */
  | "group"
  /** A segment's header is not what it must be. */
  | "segment-header"
  /** Bytes of a sound block that are no record. */
  | "record"
  /** A record is newer than what the indexes know of its key. */
  | "record-newer"
  /** The record of a key cannot be read, or is not there. */
  | "record-missing"
  /** The record of a key is there, and says something else than the index. */
  | "record-differs"
  /** A segment's count of live bytes is wrong. */
  | "live-bytes"
  /** The ordered index is unsound. */
  | "ordered-index"
  /** The hash index is unsound. */
  | "hash-index"
  /** A key leads to a place where no record can be. */
  | "key-node"
  /** A total of the store is not what is counted. */
  | "total"
  /** A kept checkpoint is damaged, or it and the log behind it do not make the state. */
  | "checkpoint"
  /** A compressed value does not decompress. */
  | "value";

/** Where on the device a fault lies. */
export interface FaultPlace {
  /** Bytes from the device's start. */
  offset: number;
  /** The segment, from 0. Absent before the first one. */
  segment?: number;
  /** The block of the segment, from 0. Absent before the first one. */
  block?: number;
}

/** One fault. */
export interface VerifyFault {
  /** What is wrong. */
  kind: VerifyFaultKind;
  /** Absent for faults of memory alone. */
  place?: FaultPlace;
  /** The key that it concerns, as encoded. */
  key?: Uint8Array;
  /** What was found, as a sentence. */
  message: string;
}

/** What `verify` resolves with. */
export interface VerifyReport {
  /** Whether there is no fault. */
  ok: boolean;
  /** Blocks of 4,096 bytes read from the device: of all segments that count; without the superblock's copies. */
  blocksRead: number;
  /** Blocks that were still on their way to the device, and so were taken from memory. */
  blocksBuffered: number;
  /** Records met in them, garbage included. */
  recordsRead: number;
  /** Keys in the store. Each was found in both indexes and in the log, or there is a fault. */
  keys: number;
  /** Segments that hold something that counts. */
  segmentsUsed: number;
  /** Segments that hold nothing. */
  segmentsFree: number;
  /** Whether nothing was written while the indexes were walked, so that all totals could be compared. */
  totalsCompared: boolean;
  /** In the order in which they were found; at most 1,000. */
  faults: VerifyFault[];
  /** How many there are. */
  faultCount: number;
  /** Whether some of them are not listed. */
  truncated: boolean;
  /** How long it took, in milliseconds. */
  ms: number;
}

/** How far a verification is: blocks of the log, then keys of the index. */
export interface VerifyProgress {
  /** Whether the log is read, or the indexes are walked. */
  phase: "log" | "index";
  /** Blocks, or keys, done. */
  done: number;
  /** Blocks, or keys, in all. */
  total: number;
}

/** Options of `verify`. */
export interface VerifyOptions {
  /** Called after each step; what it throws is ignored. */
  onProgress?: (progress: VerifyProgress) => void;
}

/** What `onProgress` of the store takes. */
type StoreListener = (progress: { phase: "verify"; done: number; total: number }) => void;

/** Figures of the core, by number; see `verifyFigure` in the core. */
const FIGURE = {
  blocksRead: 0,
  blocksBuffered: 1,
  recordsRead: 2,
  keys: 3,
  segmentsUsed: 4,
  segmentsFree: 5,
  faultCount: 6,
  faultsLost: 7,
  totalsCompared: 8,
  blocksTotal: 9,
  walked: 10,
  entries: 11,
} as const;

/** `INVALID_ARGUMENT` for what are no options of `verify`. */
export function checkVerifyOptions(options: unknown): void {
  const given = options as VerifyOptions | null;
  const known =
    typeof given === "object" && given !== null && Object.keys(given).every((name) => name === "onProgress");
  if (known && (given.onProgress === undefined || typeof given.onProgress === "function")) return;
  const message = "verify: the options are an object whose only member, onProgress, is a function.";
  throw new CairnError("INVALID_ARGUMENT", "verify", message);
}

/**
 * Runs one verification. `guard` runs a call of the core, and throws when the store takes none any more. Faults are
 * reported; what is thrown is `OUT_OF_MEMORY` (128 KiB are needed, 192 KiB where values may be
 * compressed), `CLOSED`, `POISONED`, and `SNAPSHOT_EXPIRED`. `progress` is told of the log, in bytes.
 */
export async function verifyCore(
  core: Core,
  guard: <T>(run: () => T) => T,
  options: VerifyOptions,
  progress?: StoreListener,
): Promise<VerifyReport> {
  const start = performance.now();
  const { exports } = core;
  const begun = guard(() => exports.verifyBegin());
  if (begun < 0) throw core.error(begun, "verify");
  const faults: VerifyFault[] = [];
  try {
    while (true) {
      const phase = guard(() => exports.verifyStep(STEP_MS));
      if (phase < 0) throw core.error(phase, "verify");
      takeFaults(core, faults);
      tellStore(core, phase, progress);
      if (phase === PHASE_DONE) return guard(() => reportOf(core, faults, performance.now() - start));
      tell(core, phase, options);
      await turn();
    }
  } finally {
    exports.verifyEnd();
  }
}

/** The place of an offset, where the size of a segment is known. */
export function placeOf(offset: number, segmentBytes: number): FaultPlace {
  if (offset < SEGMENTS_OFFSET || segmentBytes <= 0) return { offset };
  const within = offset - SEGMENTS_OFFSET;
  return {
    offset,
    segment: Math.floor(within / segmentBytes),
    block: Math.floor((within % segmentBytes) / BLOCK_SIZE),
  };
}

function reportOf(core: Core, faults: VerifyFault[], ms: number): VerifyReport {
  const figure = (name: keyof typeof FIGURE): number => core.exports.verifyFigure(FIGURE[name]);
  const faultCount = figure("faultCount");
  return {
    ok: faultCount === 0,
    blocksRead: figure("blocksRead"),
    blocksBuffered: figure("blocksBuffered"),
    recordsRead: figure("recordsRead"),
    keys: figure("keys"),
    segmentsUsed: figure("segmentsUsed"),
    segmentsFree: figure("segmentsFree"),
    totalsCompared: figure("totalsCompared") === 1,
    faults,
    faultCount,
    truncated: faults.length < faultCount,
    ms,
  };
}

function takeFaults(core: Core, faults: VerifyFault[]): void {
  const view = new DataView(core.memory.buffer);
  let at = (core.words[core.result] as number) >>> 0;
  const end = at + (core.words[core.result + 1] as number);
  const segmentBytes = core.exports.stat(STAT_SEGMENT_BYTES);
  while (at < end && faults.length < FAULTS_MAX) {
    const keySize = view.getUint32(at + 4, true);
    const offset = view.getFloat64(at + 8, true);
    const key = core.bytes.slice(at + FAULT_SIZE, at + FAULT_SIZE + keySize);
    const place = offset < 0 ? undefined : placeOf(offset, segmentBytes);
    const details = { a: view.getFloat64(at + 16, true), b: view.getFloat64(at + 24, true) };
    faults.push(faultOf(view.getUint32(at, true), details, place, keySize > 0 ? key : undefined));
    at += FAULT_SIZE + ((keySize + 7) & ~7);
  }
}

function tell(core: Core, phase: number, { onProgress }: VerifyOptions): void {
  if (onProgress === undefined || phase < PHASE_LOG || phase === PHASE_CHECKPOINTS) return;
  const figure = (name: keyof typeof FIGURE): number => core.exports.verifyFigure(FIGURE[name]);
  const read = figure("blocksRead") + figure("blocksBuffered");
  const entries = figure("entries");
  try {
    if (phase < PHASE_ORDERED_INDEX) {
      onProgress({ phase: "log", done: read, total: Math.max(read, figure("blocksTotal")) });
    } else if (phase < PHASE_HASH_INDEX) {
      onProgress({ phase: "index", done: Math.min(figure("walked"), entries), total: entries });
    } else {
      onProgress({ phase: "index", done: entries, total: entries });
    }
  } catch {
    // A listener's failure is not the store's.
  }
}

/** How much of the log is read; once it is, all. */
function tellStore(core: Core, phase: number, progress: StoreListener | undefined): void {
  if (progress === undefined || phase < PHASE_LOG) return;
  const { verifyFigure } = core.exports;
  const read = verifyFigure(FIGURE.blocksRead) + verifyFigure(FIGURE.blocksBuffered);
  const total = Math.max(read, verifyFigure(FIGURE.blocksTotal));
  // Behind the log come the indexes, which are in memory, and checkpoints.
  const done = phase === PHASE_LOG ? read : total;
  try {
    progress({ phase: "verify", done: done * BLOCK_SIZE, total: total * BLOCK_SIZE });
  } catch {
    // A listener's failure is not the store's.
  }
}

/** Lets the event loop turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

type Details = { a: number; b: number };

/** Kinds in the order of the core's numbers, 1 first, with what each of them says. */
const KINDS: readonly [VerifyFaultKind, (details: Details) => string][] = [
  ["device", ({ a }) => `the device failed to read here (${STATUS_CODES[-a - 1] ?? a})`],
  [
    "superblock",
    ({ a }) => `copy ${a} of the superblock is damaged; a power cut while it was written leaves one so until the next`,
  ],
  [
    "superblock",
    ({ a, b }) => `copy ${a} of the superblock is intact, but not what was written there last: it is generation ${b}`,
  ],
  [
    "block",
    ({ a }) => (a === 1 ? "the block was never written: all of it is zero" : "the block is damaged: its check fails"),
  ],
  ["block-place", ({ a }) => `the block that lies here belongs to device block ${a}`],
  [
    "block-life",
    ({ a, b }) => `the block is of another life of its segment: generation ${pair(a, 32)}, not ${pair(b, 32)}`,
  ],
  ["group", ({ a, b }) => `the block's commit group ${pair(a, 40)} does not follow ${pair(b, 40)}`],
  ["segment-header", () => "the segment's header is not what the store knows of the segment"],
  ["record", () => "the block is sound, but what lies here is no record"],
  ["record-newer", ({ a, b }) => `a record of version ${a} is newer than what the indexes know of its key, ${b}`],
  [
    "record-missing",
    ({ a }) =>
      a === 1
        ? "the key's record cannot be read: its block is damaged, or the device failed to read it"
        : "the key's record is not here",
  ],
  ["record-differs", () => "the key's record is here, but its size, its flags or its value are not those in memory"],
  ["live-bytes", ({ a, b }) => `the segment counts ${a} live bytes, and has ${b}`],
  ["ordered-index", ({ a }) => `the ordered index is unsound at this key: ${TREE_TROUBLES[a] ?? `fault ${a}`}`],
  ["hash-index", () => "the hash index is unsound: it does not find the key, or a chain of it is broken"],
  ["key-node", () => "the key leads to a place where no record can be"],
  [
    "total",
    ({ a, b }) => `${TOTALS[a] ?? `total ${a}`} differ: ${b > 0 ? `${b} more kept` : `${-b} less kept`} than counted`,
  ],
  [
    "checkpoint",
    ({ a, b }) => `the ${b === 0 ? "newer" : "older"} checkpoint ${CHECKPOINT_TROUBLES[a] ?? `has trouble ${a}`}`,
  ],
  ["value", () => "the key's value is compressed, and what lies here does not decompress to the size that it had"],
];

/** See CheckpointTrouble in the core. */
const CHECKPOINT_TROUBLES = [
  "cannot be read, or its checks fail: opening falls back on the other one, or reads the whole log",
  "is not in order: its blocks are sound, but they do not make a checkpoint",
  "and the log behind it say something else of this key than the indexes",
  "lacks keys that the log behind it would not bring",
];

/** See TreeFault and TreeTrouble in the core. */
const TREE_TROUBLES: Readonly<Record<number, string>> = {
  1: "a node's level",
  2: "a node holds too much or too little",
  3: "a prefix",
  4: "a head",
  5: "keys that do not ascend",
  100: "a pointer that leads nowhere",
  101: "a search that leads elsewhere",
  102: "it is only in the hash index",
  103: "a walk that does not end",
};

/** See Total in the core. */
const TOTALS = [
  "entries of the ordered index",
  "entries of the hash index",
  "keys",
  "bytes of keys",
  "bytes of values",
  "free segments",
  "entries of the two indexes",
  "keys that expire",
  "bytes that compression saves",
];

/** A fault from the core's number of its kind and its details. */
export function faultOf(kind: number, details: Details, place?: FaultPlace, key?: Uint8Array): VerifyFault {
  const entry = KINDS[kind - 1];
  if (entry === undefined) throw new CairnError("CORRUPT", "verify", `verify: there is no fault ${kind}.`);
  const fault: VerifyFault = { kind: entry[0], message: entry[1](details) };
  if (place !== undefined) fault.place = place;
  if (key !== undefined) fault.key = key;
  return fault;
}

/** A mount's epoch and the count in it. */
function pair(word: number, bits: number): string {
  const unit = 2 ** bits;
  return `${Math.floor(word / unit)}.${word % unit}`;
}
