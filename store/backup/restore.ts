/**
 * Restoring: from the bytes of backups to the blocks of a device.
 *
 * 1. Nothing of a piece is written before its digest is proven, and the superblock is written last, when all streams have
 *    ended as they must and everything else is on stable storage: until then nobody can mistake the device for a store.
 * 2. What was there before is gone first, also between the segments: blocks that the same store wrote in a future that is
 *    given up would pass for its own.
 */
import type { BlockDevice } from "../device.ts";
import { CairnError } from "../error.ts";
import { BLOCK_SIZE, SEGMENTS_OFFSET, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE } from "../layout.ts";
import {
  type BackupHeader,
  bytesOf,
  DIGEST_SIZE,
  damaged,
  decodeHeader,
  deviceOffset,
  factsOfSuperblock,
  headerSize,
  isTrailer,
  piecesOf,
  pointOf,
  type SuperblockFacts,
  sameBytes,
  sha256,
  TRAILER_SIZE,
} from "./format.ts";
import { joined } from "./stream.ts";

const CLEAR_BYTES = 1_048_576;
/** How far a device is looked at for the beginnings of segments, and how small these can be. */
const SEARCHED_BYTES = 65 * 1_048_576;
const LEAST_SEGMENT_BYTES = 65_536;

/** What a restore did. */
export interface RestoreReport {
  /** The version that the store has now. */
  version: number;
  /** Bytes of blocks that were written. */
  bytes: number;
}

/** Bytes of a backup, however they come. */
export type ByteSource = ReadableStream<Uint8Array> | AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** The chunks of a source. */
export interface Chunks {
  /** The next one, never empty; `undefined` at the end. `INVALID_ARGUMENT` for what is no bytes, and what the source fails with. */
  next(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Nothing more is wanted. Never rejects. */
  stop(): Promise<void>;
}

/** Begins to read a source. */
export function chunksOf(source: ByteSource): Chunks {
  let next: () => Promise<Uint8Array | undefined>;
  let end: () => Promise<unknown>;
  if ("getReader" in source) {
    const reader = source.getReader();
    next = async () => (await reader.read()).value;
    end = () => reader.cancel();
  } else {
    const chunks =
      Symbol.asyncIterator in source
        ? source[Symbol.asyncIterator]()
        : (source as Iterable<Uint8Array>)[Symbol.iterator]();
    next = async () => (await chunks.next()).value as Uint8Array | undefined;
    end = async () => chunks.return?.();
  }
  return {
    async next() {
      for (;;) {
        const chunk = await next();
        if (chunk === undefined) return undefined;
        if (!(chunk instanceof Uint8Array)) {
          const message = "restore: a backup is a stream of Uint8Array, and this one gives something else.";
          throw new CairnError("INVALID_ARGUMENT", "restore", message);
        }
        if (chunk.length > 0) return chunk as Uint8Array<ArrayBuffer>;
      }
    },
    async stop() {
      await end().catch(() => undefined);
    },
  };
}

/** Reads stretches of given sizes from chunks of any. */
class ByteReader {
  private readonly chunks: Chunks;
  private chunk = new Uint8Array(0);

  constructor(source: ByteSource) {
    this.chunks = chunksOf(source);
  }

  /** The next `size` bytes. `CORRUPT` when there are fewer. */
  async take(size: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(size);
    for (let have = 0; have < size; ) {
      if (this.chunk.length === 0) await this.fill();
      if (this.chunk.length === 0) throw truncated();
      const part = this.chunk.subarray(0, size - have);
      bytes.set(part, have);
      have += part.length;
      this.chunk = this.chunk.subarray(part.length);
    }
    return bytes;
  }

  /** Whether nothing follows. */
  async isAtEnd(): Promise<boolean> {
    if (this.chunk.length === 0) await this.fill();
    return this.chunk.length === 0;
  }

  /** Nothing more is wanted. */
  stop(): Promise<void> {
    return this.chunks.stop();
  }

  private async fill(): Promise<void> {
    this.chunk = (await this.chunks.next()) ?? this.chunk;
  }
}

/** A backup whose header was read and proven. */
export class IncomingBackup {
  readonly header: BackupHeader;
  readonly facts: SuperblockFacts;
  private readonly reader: ByteReader;
  private readonly digests: Uint8Array[];

  private constructor(reader: ByteReader, header: BackupHeader, digest: Uint8Array) {
    this.reader = reader;
    this.header = header;
    this.facts = factsOfSuperblock(header.superblock) as SuperblockFacts;
    this.digests = [digest];
  }

  /** Reads a header. `NOT_A_STORE`, `UNSUPPORTED_FORMAT`, `CORRUPT`. */
  static async begin(source: ByteSource): Promise<IncomingBackup> {
    const reader = new ByteReader(source);
    try {
      const start = await reader.take(16);
      const rest = await reader.take(headerSize(start) - start.length);
      const bytes = joined(start, rest);
      const digest = await reader.take(DIGEST_SIZE);
      if (!sameBytes(digest, await sha256(bytes))) throw damaged("its header");
      return new IncomingBackup(reader, decodeHeader(bytes), digest);
    } catch (error) {
      await reader.stop();
      throw error;
    }
  }

  /** Its pieces, each proven, with their places on the device; then the end is proven. */
  async *pieces(): AsyncGenerator<{ offset: number; bytes: Uint8Array }> {
    const { reader, digests, facts } = this;
    for (const span of this.header.spans) {
      for (const { from, to } of piecesOf(span)) {
        const bytes = await reader.take((to - from) * BLOCK_SIZE);
        const digest = await reader.take(DIGEST_SIZE);
        const offset = deviceOffset(facts.segmentBlocks, span.segment, from);
        if (!sameBytes(digest, await sha256(bytes))) throw damaged(`what belongs at device offset ${offset}`);
        digests.push(digest);
        yield { offset, bytes };
      }
    }
    const trailer = await reader.take(TRAILER_SIZE);
    if (!isTrailer(trailer, await sha256(joined(...digests)))) throw damaged("its end");
    if (!(await reader.isAtEnd())) throw damaged("what follows its end");
  }

  /** Nothing more of it is wanted. */
  stop(): Promise<void> {
    return this.reader.stop();
  }
}

/** Writes backups to a device that nobody else uses, and that is blank or holds what the first of them adds to. */
export class Restoration {
  private readonly device: BlockDevice;
  /** What the device holds by now. */
  private present: SuperblockFacts | undefined;
  private superblock: Uint8Array<ArrayBuffer> | undefined;
  private version = 0;
  private bytes = 0;
  private readonly report: ((done: number, total: number) => void) | undefined;

  /** `report` is told how far each backup is. */
  constructor(device: BlockDevice, report?: (done: number, total: number) => void) {
    this.device = device;
    this.report = report;
  }

  /** Takes a restored store that lies on the device already for what the first backup adds to. */
  over(facts: SuperblockFacts): void {
    this.present = facts;
  }

  /** Takes over a backup. `CORRUPT`, `INVALID_ARGUMENT` when it does not follow what was there, `NO_SPACE`. */
  async add(backup: IncomingBackup): Promise<void> {
    const { header, facts } = backup;
    this.checkFollows(header, facts);
    const size = SEGMENTS_OFFSET + facts.segmentCount * facts.segmentBlocks * BLOCK_SIZE;
    const { device } = this;
    if (device.size() < size) this.grow(size);
    const total = bytesOf(header.spans);
    let done = 0;
    for await (const { offset, bytes } of backup.pieces()) {
      await device.writeAsync([{ offset, source: bytes }]);
      done += bytes.length;
      this.report?.(done, total);
    }
    this.bytes += done;
    this.present = facts;
    this.superblock = header.superblock;
    this.version = pointOf(header).version;
  }

  /** Makes a store of what was added. */
  async finish(): Promise<RestoreReport> {
    const { device, present, superblock } = this;
    if (present === undefined || superblock === undefined) throw damaged("it");
    const size = SEGMENTS_OFFSET + present.segmentCount * present.segmentBlocks * BLOCK_SIZE;
    if (device.growable === true && device.size() !== size) device.resize?.(size);
    await device.syncAsync();
    // The copies of its generation; those of the other one are written when it is mounted.
    const first = Number(present.generation & 1n) * 2;
    for (const copy of [first, first + 1]) {
      await device.writeAsync([{ offset: copy * SUPERBLOCK_STRIDE, source: superblock }]);
      await device.syncAsync();
    }
    return { version: this.version, bytes: this.bytes };
  }

  private grow(size: number): void {
    const { device } = this;
    if (device.growable === true && device.resize !== undefined) {
      device.resize(size);
      return;
    }
    const message = `restore: the store takes ${size} bytes, and the device has ${device.size()}. Pass a larger one.`;
    throw new CairnError("NO_SPACE", "restore", message);
  }

  private checkFollows({ base, superblock }: BackupHeader, facts: SuperblockFacts): void {
    const { present } = this;
    if (present === undefined) {
      if (base === undefined) return;
      throw refusal(`the backup adds to one of version ${base.version}. Pass that one before it.`);
    }
    if (base === undefined) throw refusal("a backup that is whole does not follow another one. Pass it first.");
    const own = present.points[0]?.tag;
    const follows =
      present.storeId === facts.storeId &&
      present.segmentBlocks === facts.segmentBlocks &&
      present.isImage &&
      present.points.some(({ tag }) => tag === base.tag) &&
      factsOfSuperblock(superblock)?.points.some(({ tag }) => tag === own);
    if (follows) return;
    const why = present.isImage ? "what comes before it is another one" : "that one was opened and written since";
    throw refusal(`the backup adds to one of version ${base.version}, and ${why}. Restore that one again, then this.`);
  }
}

/** Whether a device holds nothing where a superblock, or a segment's beginning, could be: what formatting looks at, too. */
export function isBlank(device: BlockDevice): boolean {
  const size = device.size();
  const first = new Uint8Array(Math.min(SEGMENTS_OFFSET, size));
  device.read(0, first);
  if (!isZero(first)) return false;
  const block = new Uint8Array(BLOCK_SIZE);
  for (let at = SEGMENTS_OFFSET; at + BLOCK_SIZE <= Math.min(size, SEARCHED_BYTES); at += LEAST_SEGMENT_BYTES) {
    device.read(at, block);
    if (!isZero(block)) return false;
  }
  return true;
}

/**
 * Makes a device hold nothing, superblocks first. One that grows is cut off; of one that keeps its size, what is not zero
 * is overwritten: a pass over all of it.
 */
export async function clearDevice(device: BlockDevice): Promise<void> {
  if (device.growable === true && device.resize !== undefined) {
    if (device.size() === 0) return;
    device.resize(0);
    await device.syncAsync();
    return;
  }
  const piece = new Uint8Array(CLEAR_BYTES);
  const zeros = new Uint8Array(CLEAR_BYTES);
  for (let offset = 0; offset < device.size(); offset += CLEAR_BYTES) {
    const size = Math.min(CLEAR_BYTES, device.size() - offset);
    const part = piece.subarray(0, size);
    if (device.readAsync === undefined) device.read(offset, part);
    else await device.readAsync([{ offset, target: part }]);
    if (!isZero(part)) await device.writeAsync([{ offset, source: zeros.subarray(0, size) }]);
    // The superblocks are gone before anything else is.
    if (offset < SEGMENTS_OFFSET) await device.syncAsync();
  }
  await device.syncAsync();
}

function isZero(bytes: Uint8Array): boolean {
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length >> 3);
  return words.every((word) => word === 0n);
}

/** The superblock that counts on a device, or `undefined`. Which copies are intact is not looked at: a restore's are. */
export function superblockOn(device: BlockDevice): SuperblockFacts | undefined {
  let best: SuperblockFacts | undefined;
  const block = new Uint8Array(BLOCK_SIZE);
  for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
    if (copy * SUPERBLOCK_STRIDE + BLOCK_SIZE > device.size()) break;
    device.read(copy * SUPERBLOCK_STRIDE, block);
    const facts = factsOfSuperblock(block);
    if (facts !== undefined && (best === undefined || facts.generation > best.generation)) best = facts;
  }
  return best;
}

function truncated(): CairnError {
  const message =
    "restore: the backup ends before its end: part of it is missing. Nothing was restored; take another copy of it.";
  return new CairnError("CORRUPT", "restore", message);
}

function refusal(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "restore", `restore: ${message}`);
}
