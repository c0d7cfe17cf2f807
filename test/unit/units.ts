/**
 * The units binary: the engine's inner functions (assembly/units.ts) in a memory of their own, over a device in memory;
 * and the random numbers that the tests draw.
 *
 * Every run has a seed, which stands in the name of each suite; CAIRN_SEED sets it.
 */
import { readFileSync } from "node:fs";
import { MemoryDevice } from "../../hosts/memory-device.ts";
import { WasiTable } from "../../hosts/wasi.ts";
import type { BlockDevice } from "../../store/device.ts";

const { CAIRN_SEED } = process.env;
export const SEED = Number(CAIRN_SEED ?? Date.now() & 0xffffff);

export const PAGE = 65536;
export const BLOCK_SIZE = 4096;

// Places in linear memory, see assembly/root.ts.
export const KEY_A = 0x2000;
export const KEY_B = 0x2a00;
export const SUPERBLOCK_A = 0x4000;
export const PLAN = 0x6000;
/** Room for whatever a test exchanges with the core: 256 KiB and a block. */
export const EXCHANGE = 0x20000;
export const HASH_DIRECTORY = 0x62000;
export const POOL = 0x2b0000;

export const OK = 0;
export const NO_SPACE = -8;
export const OUT_OF_MEMORY = -9;
export const INVALID_ARGUMENT = -16;

/** Exports of the binary. Pointers and other u32 arrive as i32: `>>> 0` where they may be large. */
export interface Units {
  cabi_realloc(oldPointer: number, oldSize: number, alignment: number, size: number): number;

  memoryInitialize(start: number, end: number): void;
  chunksInitialize(start: number, end: number): void;
  chunkTake(): number;
  chunkTakeRun(count: number): number;
  chunkGive(chunk: number): void;
  chunksUsed(): number;
  chunksAvailable(): number;
  slabClassCount(): number;
  slabItemSizeMax(): number;
  slabClassOf(size: number): number;
  slabClassSize(sizeClass: number): number;
  slabTake(sizeClass: number): number;
  slabGive(item: number): void;
  slabCanTake(sizeClass: number, count: number): number;

  pad8(size: number): number;
  loadBigEndian(pointer: number): bigint;
  keyEquals(a: number, b: number, size: number): number;
  compareKeys(a: number, aSize: number, b: number, bSize: number): number;
  commonPrefix(a: number, b: number, size: number): number;
  bytesEqual(a: number, b: number, size: number): number;
  copyWords(target: number, source: number, size: number): void;
  copyBytes(target: number, source: number, size: number): void;
  xxh64(pointer: number, size: number, seed: bigint): bigint;
  lz4Compress(source: number, size: number, target: number, room: number, table: number): number;
  lz4Decompress(source: number, size: number, target: number, rawSize: number): number;
  lz4GrowBegin(growing: number, source: number, target: number): void;
  lz4Grow(growing: number, end: number): void;
  lz4GrownSize(growing: number, end: number): number;
  lz4GrowEnd(growing: number, end: number): number;

  keyHash(key: number, size: number, seed: bigint): bigint;
  keyHashList(keys: number, stride: number, sizes: number, count: number, seed: bigint, out: number): void;
  keyNodeTake(size: number): number;
  keyNodeGive(node: number): void;
  keyNodePack(
    address: bigint,
    sizeClass: number,
    flags: number,
    sequence: bigint,
    keySize: number,
    bodySize: number,
  ): number;
  keyNodeAddress(node: number): bigint;
  keyNodeSizeClass(node: number): number;
  keyNodeFlags(node: number): number;
  keyNodeSequence(node: number): bigint;
  keyNodeKeySize(node: number): number;
  keyNodeKey(node: number): number;
  keyNodeBody(node: number): number;
  nodeSizeOf(keySize: number, bodySize: number): number;
  extentTableTake(parts: number): number;
  extentTableGive(table: number): void;
  extentCount(table: number): number;
  extentAddress(table: number, part: number): bigint;
  extentSize(table: number, part: number): number;
  extentSet(table: number, part: number, address: bigint, size: number): void;

  hashInitialize(): number;
  hashFind(key: number, size: number, hash: bigint): number;
  hashInsert(hash: bigint, node: number): number;
  hashRemove(slot: number): void;
  hashReserve(count: number): number;
  hashCount(): number;
  hashBytes(): number;
  keyCount(): number;
  hashBucketCount(): number;
  hashOverflowCount(): number;
  hashChainLongest(): number;

  treeInitialize(): number;
  treeReserve(count: number, keySizeMax: number): number;
  treeInsert(node: number): number;
  treeRemove(node: number): number;
  treeReplace(oldNode: number, newNode: number): number;
  treeSeek(key: number, size: number, mode: number): number;
  treeFirst(): number;
  treeLast(): number;
  treeNext(): number;
  treePrevious(): number;
  treeCollectForward(out: number, count: number, bound: number, boundSize: number): number;
  treeCollectBackward(out: number, count: number, bound: number, boundSize: number): number;
  treeVerify(): number;
  treeBytes(): number;
  treeNodeCount(): number;
  treeHeight(): number;
  treeVersion(): number;
  treeSeparatorBytes(): number;
  treePositionLeaf(): number;
  treePositionIndex(): number;
  treePositionSet(leaf: number, index: number): void;

  cacheInitialize(capacity: number): number;
  cacheFind(deviceBlock: number, generation: bigint): number;
  cacheClaim(deviceBlock: number): number;
  cacheKeep(claim: number, deviceBlock: number): void;
  cacheDrop(claim: number): void;
  cacheFrame(claim: number): number;
  cachePeek(deviceBlock: number, generation: bigint): number;
  cacheInFlight(deviceBlock: number): number;
  cacheFlightBegin(claim: number, deviceBlock: number): void;
  cacheFlightEnd(claim: number): void;
  cachePin(claim: number): void;
  cacheUnpin(claim: number): void;
  cachePinnable(): number;
  cacheScanShare(): number;
  cacheModeSet(mode: number): void;
  cacheFrameFill(frame: number, deviceBlock: bigint, generation: bigint): void;
  cacheFrameCount(): number;
  cacheHits(): bigint;
  cacheMisses(): bigint;

  checkSeedSet(seed: bigint): void;
  blockCheck(frame: number): bigint;
  blockValid(frame: number, deviceBlock: bigint): number;
  recordHeaderStore(
    record: number,
    kind: number,
    flags: number,
    sequence: bigint,
    keySize: number,
    valueSize: number,
  ): void;
  recordKeyOffset(flags: number): number;
  recordSequence(record: number): bigint;
  segmentHeaderValid(frame: number): number;
  superblockSeal(superblock: number): void;
  superblockIntact(superblock: number): number;
  superblockCommit(): number;
  rootSetAt(offset: number, value: bigint): void;

  frameAtAddress(address: bigint): number;
  logSetUp(device: number, end: number, segmentBlocks: number, frameCount: number): number;
  logReserve(size: number, intoReserve: number): number;
  logAppend(
    kind: number,
    flags: number,
    sequence: bigint,
    key: number,
    keySize: number,
    value: number,
    valueSize: number,
  ): bigint;
  logUpdateInPlace(
    address: bigint,
    flags: number,
    sequence: bigint,
    keySize: number,
    value: number,
    oldSize: number,
    valueSize: number,
  ): number;
  logVoid(address: bigint): number;
  logSequenceSet(sequence: bigint): void;
  segmentRoom(): number;
  flushSync(): number;
  groupBegin(): number;
  groupFinish(result: number): number;
  groupPending(): number;
  streamBegin(keySize: number, size: number, flags: number, sequence: bigint): number;
  streamEnd(): void;
  groupDirty(): number;
  groupNumber(): bigint;
  liveAdd(address: bigint, size: number): void;
  tombstoneAdd(address: bigint, size: number, sequence: bigint): void;
  noteHas(index: number): number;
  spaceSurvey(): void;
  segmentSpace(index: number): number;
  segmentCount(): number;
  streamWrite(source: number, size: number): number;

  engineSetUp(): number;
  set(keySize: number, valueSize: number, flags: number): number;
  remove(keySize: number): number;
  laterApply(): void;
  verifyBegin(): number;
  verifyStep(milliseconds: number): number;
  verifyEnd(): void;
  verifyFigure(what: number): number;
  resultPointer(): number;
  resultSize(): number;
  treeLeafFirst(): number;
  keyNodeSet(node: number, address: bigint, flags: number, sequence: bigint): void;
  segmentLiveBytes(index: number): bigint;
  segmentLiveBytesSet(index: number, bytes: bigint): void;
  segmentFreeCountSet(count: number): void;
  liveKeyCountSet(count: number): void;
}

export interface Instance {
  memory: WebAssembly.Memory;
  units: Units;
  bytes: Uint8Array;
  view: DataView;
  /** The core's handle of the device. */
  device: number;
  /** What the device threw last. */
  lastCause(): unknown;
}

const MODULE = new WebAssembly.Module(readFileSync(new URL("../../build/cairn.units.wasm", import.meta.url)));

/** Pages that the binary asks for at least. */
const PAGES_MIN = 16;

/** A fresh instance: `poolChunks` chunks of 64 KiB, or more, lie from POOL to the memory's end. */
export function instantiate(poolChunks: number, device: BlockDevice = new MemoryDevice()): Instance {
  const memory = new WebAssembly.Memory({
    initial: Math.max(PAGES_MIN, POOL / PAGE + poolChunks),
    maximum: 65536,
  });
  let units: Units | undefined;
  const table = new WasiTable(memory, (...sizes) => units?.cabi_realloc(...sizes) ?? 0);
  units = new WebAssembly.Instance(MODULE, table.imports).exports as unknown as Units;
  return {
    memory,
    units,
    bytes: new Uint8Array(memory.buffer),
    view: new DataView(memory.buffer),
    device: table.add(device),
    lastCause: () => table.lastCause,
  };
}

/** `expect(actual).toBe(wanted)`, for what is checked a million times. */
export function same<T>(actual: T, wanted: T, what: string): void {
  if (actual !== wanted) throw new Error(`${what}: ${actual}, not ${wanted}`);
}

/** Whether all words are `word`. */
export function allAre(words: Uint32Array, word: number): boolean {
  for (let i = 0; i < words.length; i++) if (words[i] !== word) return false;
  return true;
}

/** Writes a key of characters up to 0xff, one a byte, zero-padded to 8 as the core holds keys: its size. */
export function writeKey(bytes: Uint8Array, at: number, key: string): number {
  bytes.fill(0, at, at + ((key.length + 7) & ~7));
  for (let i = 0; i < key.length; i++) bytes[at + i] = key.charCodeAt(i);
  return key.length;
}

/** mulberry32. */
export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = seed >>> 0;
  }
  /** 32 bits. */
  word(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  /** [0, limit). */
  below(limit: number): number {
    return this.word() % limit;
  }
  /** 64 bits. */
  long(): bigint {
    return (BigInt(this.word()) << 32n) | BigInt(this.word());
  }
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }
  /** `size` characters from `first` on, of `alphabet` different ones. */
  bytes(size: number, alphabet: number, first = 0): string {
    let text = "";
    for (let i = 0; i < size; i++) text += String.fromCharCode(first + this.below(alphabet));
    return text;
  }
  /** Fills `target` with random bytes. */
  fill(target: Uint8Array): Uint8Array {
    for (let i = 0; i < target.length; i++) target[i] = this.word() >>> 24;
    return target;
  }
}
