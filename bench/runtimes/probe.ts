/**
 * What is measured in the same way on every runtime: single calls on text, and cold reads of 4 KiB beside the runtime's
 * own positioned reads of the same file. Knows no runtime: each brings its `World`.
 *
 * 1. A figure is the median, over series of calls, of the nanoseconds a call: a series that the machine disturbed weighs
 *    nothing.
 * 2. Keys are new flat strings, as if just parsed from a request. What comes back is compared.
 * 3. Cold reads and bare reads take turns, series by series, so that what the machine does weighs on both. A get gives
 *    bytes of the program's own, so bare reads are measured into one buffer, and into a new one each.
 */
import { median } from "../median.ts";
import { Random } from "../random.ts";

/** The calls that are measured. */
export interface ProbedStore<Value> {
  get(key: string): Value | undefined;
  set(key: string, value: Value): boolean;
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Reads of a file without a store. */
export interface BareFile {
  size: number;
  /** Reads `target.length` bytes at `offset`. */
  read(target: Uint8Array, offset: number): number;
  close(): void;
}

/** What a runtime brings. */
export interface World {
  openText(name: string): Promise<ProbedStore<string>>;
  /** A store of bytes with a cache of at most `cacheBytes`. */
  openBytes(name: string, cacheBytes: number): Promise<ProbedStore<Uint8Array>>;
  openBare(name: string): Promise<BareFile>;
}

/** How much is done. */
export interface Extent {
  records: number;
  coldRecords: number;
}

/** Nanoseconds a call. */
export type ProbeFigures = Record<"set new" | "get" | "set over" | ColdFigure, number>;
type ColdFigure = "cold get" | "bare read" | "bare read, new buffer";

const VALUE_SIZE = 100;
/** With key and headers it fills the payload of one block, so that a cold get is one read. */
const COLD_VALUE_SIZE = 4_011;
const COLD_CACHE_BYTES = 1_048_576;
const SERIES_COUNT = 5_000;
const COLD_SERIES_COUNT = 500;
const COLD_SERIES = 60;
const VALUE_COUNT = 256;
const BLOCK_SIZE = 4096;

/** Runs it, in a file each for text and bytes. */
export async function probe(world: World, extent: Extent): Promise<ProbeFigures> {
  const text = await probeText(world, extent.records);
  const cold = await probeCold(world, extent.coldRecords);
  return { ...text, ...cold };
}

async function probeText(world: World, count: number): Promise<Pick<ProbeFigures, "set new" | "get" | "set over">> {
  const values = Array.from({ length: VALUE_COUNT }, (_, i) => String.fromCharCode(33 + (i % 90)).repeat(VALUE_SIZE));
  const valueAt = (id: number, version: number): string => values[(id * 7 + version) % VALUE_COUNT] as string;
  const store = await world.openText("text");
  const order = shuffled(count);
  const set = (version: number) => (key: string, id: number) => store.set(key, valueAt(id, version));
  const get = (version: number) => (key: string, id: number) => {
    if (store.get(key) !== valueAt(id, version)) throw new Error(`a wrong value under ${key}`);
  };
  // The first pass over a part is for the compiler; it is undone by being written again.
  const warm = order.subarray(0, Math.min(count, 4 * SERIES_COUNT));
  const warmKeys = (id: number): number => count + id;
  for (let round = 0; round < 3; round++) {
    await timed(warm, warmKeys, set(round));
    await timed(warm, warmKeys, get(round));
  }
  const setNew = await timed(order, (id) => id, set(0));
  await store.flush();
  const got = await timed(order, (id) => id, get(0));
  const setOver = await timed(order, (id) => id, set(1));
  await timed(order, (id) => id, get(1));
  await store.close();
  return { "set new": setNew, get: got, "set over": setOver };
}

async function timed(
  order: Uint32Array,
  number: (id: number) => number,
  call: (key: string, id: number) => unknown,
): Promise<number> {
  const figures: number[] = [];
  for (let from = 0; from + SERIES_COUNT <= order.length; from += SERIES_COUNT) {
    const ids = Array.from(order.subarray(from, from + SERIES_COUNT), number);
    const keys = ids.map(keyOf);
    const start = performance.now();
    for (let i = 0; i < SERIES_COUNT; i++) call(keys[i] as string, ids[i] as number);
    figures.push(((performance.now() - start) * 1e6) / SERIES_COUNT);
    await turn();
  }
  return median(figures);
}

async function probeCold(world: World, count: number): Promise<Pick<ProbeFigures, ColdFigure>> {
  const value = new Uint8Array(COLD_VALUE_SIZE);
  const stamp = (id: number): Uint8Array => {
    new DataView(value.buffer).setUint32(0, id, true);
    return value;
  };
  const writer = await world.openBytes("bytes", COLD_CACHE_BYTES);
  for (let id = 0; id < count; id++) {
    writer.set(keyOf(id), stamp(id));
    if (id % 1000 === 999) await writer.flush();
  }
  await writer.close();

  const bareFigures: number[] = [];
  const ownFigures: number[] = [];
  const coldFigures: number[] = [];
  const random = new Random(5);
  const target = new Uint8Array(BLOCK_SIZE);
  // A handle may exclude the other kind: then they take turns by opening again.
  for (let turnIndex = 0; turnIndex < 4; turnIndex++) {
    const bare = await world.openBare("bytes");
    const blocks = Math.floor(bare.size / BLOCK_SIZE);
    for (let series = 0; series < COLD_SERIES / 4; series++) {
      const offsets = Array.from({ length: COLD_SERIES_COUNT }, () => random.below(blocks) * BLOCK_SIZE);
      const start = performance.now();
      for (const offset of offsets) bare.read(target, offset);
      bareFigures.push(((performance.now() - start) * 1e6) / COLD_SERIES_COUNT);
      await turn();
      ownFigures.push(timedOwnReads(bare, offsets));
      await turn();
    }
    bare.close();
    const store = await world.openBytes("bytes", COLD_CACHE_BYTES);
    for (let series = 0; series < COLD_SERIES / 4; series++) {
      const ids = Array.from({ length: COLD_SERIES_COUNT }, () => random.below(count));
      const keys = ids.map(keyOf);
      const found = new Array<Uint8Array | undefined>(COLD_SERIES_COUNT);
      const start = performance.now();
      for (let i = 0; i < COLD_SERIES_COUNT; i++) found[i] = store.get(keys[i] as string);
      coldFigures.push(((performance.now() - start) * 1e6) / COLD_SERIES_COUNT);
      for (const [i, bytes] of found.entries()) {
        const id =
          bytes?.length === COLD_VALUE_SIZE ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) : -1;
        if (id !== ids[i]) throw new Error(`a wrong value under ${keys[i]}`);
      }
      await turn();
    }
    await store.close();
  }
  return {
    "cold get": median(coldFigures),
    "bare read": median(bareFigures),
    "bare read, new buffer": median(ownFigures),
  };
}

/** Bare reads whose bytes are the program's to keep, as those of a get are. */
function timedOwnReads(bare: BareFile, offsets: readonly number[]): number {
  const found = new Array<Uint8Array>(offsets.length);
  const start = performance.now();
  for (let i = 0; i < offsets.length; i++) {
    const target = new Uint8Array(BLOCK_SIZE);
    bare.read(target, offsets[i] as number);
    found[i] = target;
  }
  return ((performance.now() - start) * 1e6) / offsets.length;
}

/** Lets timers and completions run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

const decoder = new TextDecoder();
const keyBytes = new TextEncoder().encode("user:00000000");

/** A new flat string: `user:` and eight digits. */
function keyOf(number: number): string {
  let rest = number;
  for (let at = keyBytes.length - 1; at >= 5; at--) {
    keyBytes[at] = 48 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  return decoder.decode(keyBytes);
}

function shuffled(count: number): Uint32Array {
  const random = new Random(9);
  const ids = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random.below(i + 1);
    const id = ids[i] as number;
    ids[i] = ids[j] as number;
    ids[j] = id;
  }
  return ids;
}
