/**
 * The bytes of a backup. Integers are little-endian.
 *
 * ```
 * header
 *    0  magic         "CAIRNBK1"
 *    8  version       u32, 1
 *   12  spans         u32, how many
 *   16  bytes         u64, of all blocks that follow
 *   24  base tag      16 bytes: of the backup that this one adds to; 0 when it is whole
 *   40  base version  u64
 *   48  zeros
 *   64  superblock    4,096 bytes: the image's, see docs/format.md; its newest point is this backup's own
 * 4160  spans         24 bytes each: u32 segment, u32 first block, u32 end block, u32 kind, u64 generation
 *       digest        SHA-256 of all that
 * pieces, span by span: at most 256 blocks, cut where a block's number in its segment is a multiple of 256
 *       blocks, then SHA-256 of them
 * trailer
 *    0  magic         "CAIRNEND"
 *    8  digest        SHA-256 of the header's digest and those of all pieces, in their order
 * ```
 */
import { CairnError } from "../error.ts";
import {
  BLOCK_SIZE,
  FORMAT_VERSION,
  INCOMPATIBLE_KNOWN,
  POINT_COUNT,
  POINT_SIZE,
  POINTS_OFFSET,
  SEGMENTS_OFFSET,
} from "../layout.ts";

export const DIGEST_SIZE = 32;
/** Most blocks of a piece. */
export const PIECE_BLOCKS = 256;
export const HEADER_SIZE = 64 + BLOCK_SIZE;
export const SPAN_SIZE = 24;
export const TRAILER_SIZE = 8 + DIGEST_SIZE;
/** More segments than any store can have. */
const SPAN_COUNT_MAX = 1 << 20;

const HEADER_MAGIC = "CAIRNBK1";
const TRAILER_MAGIC = "CAIRNEND";
const SUPERBLOCK_MAGIC = "CAIRNKV1";
const BACKUP_FORMAT_VERSION = 1;

/** Kinds of segments, beside the log's. */
export const KIND_COPIES = 2;
export const KIND_CHECKPOINT = 3;

/** Blocks of a segment: from `from` up to `to`. */
export interface Span {
  segment: number;
  from: number;
  to: number;
  kind: number;
  generation: bigint;
}

/** Where a store stood when a backup was taken; see `assembly/format/superblock.ts`. */
export interface Point {
  /** 32 hexadecimal digits. */
  tag: string;
  version: number;
  generation: bigint;
  logGeneration: bigint;
  copiesGeneration: bigint;
  checkpointGeneration: bigint;
  logBlocks: number;
}

/** A backup without its blocks. */
export interface BackupHeader {
  /** What it adds to; absent: it is whole. */
  base?: { tag: string; version: number };
  superblock: Uint8Array<ArrayBuffer>;
  spans: readonly Span[];
}

/** What restoring reads of a superblock. */
export interface SuperblockFacts {
  /** 32 hexadecimal digits. */
  storeId: string;
  generation: bigint;
  segmentBlocks: number;
  segmentCount: number;
  /** Whether no mount has written since the image was made. */
  isImage: boolean;
  /** Newest first. */
  points: Point[];
}

/** What a superblock says, or `undefined` when it is none. */
export function factsOfSuperblock(block: Uint8Array): SuperblockFacts | undefined {
  if (textAt(block, 0) !== SUPERBLOCK_MAGIC) return undefined;
  const view = viewOf(block);
  return {
    storeId: hexOf(block.subarray(48, 64)),
    generation: view.getBigUint64(72, true),
    segmentBlocks: view.getUint32(84, true),
    segmentCount: view.getUint32(88, true),
    isImage: view.getUint32(160, true) === 1,
    points: pointsAt(block.subarray(POINTS_OFFSET)),
  };
}

/** The points that lie one behind the other, the newest first. */
export function pointsAt(bytes: Uint8Array): Point[] {
  const view = viewOf(bytes);
  const points: Point[] = [];
  for (let at = 0; at < POINT_COUNT * POINT_SIZE; at += POINT_SIZE) {
    const tag = hexOf(bytes.subarray(at, at + 16));
    if (/^0*$/.test(tag)) break;
    points.push({
      tag,
      version: Number(view.getBigUint64(at + 16, true)),
      generation: view.getBigUint64(at + 24, true),
      logGeneration: view.getBigUint64(at + 32, true),
      copiesGeneration: view.getBigUint64(at + 40, true),
      checkpointGeneration: view.getBigUint64(at + 48, true),
      logBlocks: view.getUint32(at + 56, true),
    });
  }
  return points;
}

/** The point that a backup left. */
export function pointOf({ superblock }: BackupHeader): Point {
  return factsOfSuperblock(superblock)?.points[0] as Point;
}

/** A header as bytes, without its digest. */
export function encodeHeader({ base, superblock, spans }: BackupHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HEADER_SIZE + spans.length * SPAN_SIZE);
  const view = viewOf(bytes);
  putText(bytes, 0, HEADER_MAGIC);
  view.setUint32(8, BACKUP_FORMAT_VERSION, true);
  view.setUint32(12, spans.length, true);
  view.setBigUint64(16, BigInt(bytesOf(spans)), true);
  if (base !== undefined) {
    bytes.set(bytesOfHex(base.tag), 24);
    view.setBigUint64(40, BigInt(base.version), true);
  }
  bytes.set(superblock, 64);
  let at = HEADER_SIZE;
  for (const { segment, from, to, kind, generation } of spans) {
    view.setUint32(at, segment, true);
    view.setUint32(at + 4, from, true);
    view.setUint32(at + 8, to, true);
    view.setUint32(at + 12, kind, true);
    view.setBigUint64(at + 16, generation, true);
    at += SPAN_SIZE;
  }
  return bytes;
}

/** Bytes of the header that starts so, its digest apart. `NOT_A_STORE`, `UNSUPPORTED_FORMAT`, `CORRUPT`. */
export function headerSize(start: Uint8Array): number {
  if (textAt(start, 0) !== HEADER_MAGIC) {
    throw new CairnError(
      "NOT_A_STORE",
      "restore",
      "restore: the bytes are no backup of a store. Check what was passed.",
    );
  }
  const view = viewOf(start);
  if (view.getUint32(8, true) !== BACKUP_FORMAT_VERSION) {
    const message = `restore: the backup has format ${view.getUint32(8, true)}, and this version knows ${BACKUP_FORMAT_VERSION}. Restore it with a newer one.`;
    throw new CairnError("UNSUPPORTED_FORMAT", "restore", message);
  }
  const count = view.getUint32(12, true);
  if (count > SPAN_COUNT_MAX) throw damaged("its header");
  return HEADER_SIZE + count * SPAN_SIZE;
}

/** What a header says, whose digest was proven. `UNSUPPORTED_FORMAT`, `CORRUPT` when it says what cannot be. */
export function decodeHeader(bytes: Uint8Array): BackupHeader {
  const view = viewOf(bytes);
  const superblock = bytes.slice(64, HEADER_SIZE);
  const facts = factsOfSuperblock(superblock);
  if (facts === undefined || facts.points.length === 0) throw damaged("its superblock");
  const features = viewOf(superblock).getBigUint64(24, true);
  if (viewOf(superblock).getUint32(16, true) !== FORMAT_VERSION || (features & ~INCOMPATIBLE_KNOWN) !== 0n) {
    const message = "restore: the backup is of a store of a newer format. Restore it with a newer version of cairn-kv.";
    throw new CairnError("UNSUPPORTED_FORMAT", "restore", message);
  }
  const spans: Span[] = [];
  for (let at = HEADER_SIZE; at < bytes.length; at += SPAN_SIZE) {
    const span = {
      segment: view.getUint32(at, true),
      from: view.getUint32(at + 4, true),
      to: view.getUint32(at + 8, true),
      kind: view.getUint32(at + 12, true),
      generation: view.getBigUint64(at + 16, true),
    };
    const fits = span.segment < facts.segmentCount && span.from < span.to && span.to <= facts.segmentBlocks;
    if (!fits || span.from % PIECE_BLOCKS !== 0) throw damaged("its list of segments");
    spans.push(span);
  }
  if (view.getBigUint64(16, true) !== BigInt(bytesOf(spans))) throw damaged("its list of segments");
  const tag = hexOf(bytes.subarray(24, 40));
  const base = { tag, version: Number(view.getBigUint64(40, true)) };
  return { superblock, spans, ...(/^0*$/.test(tag) ? {} : { base }) };
}

/** The trailer over all digests. */
export function encodeTrailer(digest: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(TRAILER_SIZE);
  putText(bytes, 0, TRAILER_MAGIC);
  bytes.set(digest, 8);
  return bytes;
}

/** The pieces of a span. */
export function piecesOf(span: Span): { from: number; to: number }[] {
  const pieces: { from: number; to: number }[] = [];
  for (let from = span.from; from < span.to; ) {
    const to = Math.min(span.to, (Math.floor(from / PIECE_BLOCKS) + 1) * PIECE_BLOCKS);
    pieces.push({ from, to });
    from = to;
  }
  return pieces;
}

/** Bytes of the blocks of all spans. */
export function bytesOf(spans: readonly Span[]): number {
  let blocks = 0;
  for (const { from, to } of spans) blocks += to - from;
  return blocks * BLOCK_SIZE;
}

/** Bytes from the beginning of a device to a block of a segment. */
export function deviceOffset(segmentBlocks: number, segment: number, block: number): number {
  return SEGMENTS_OFFSET + (segment * segmentBlocks + block) * BLOCK_SIZE;
}

/** SHA-256, by the runtime, beside the thread. `UNSUPPORTED` where there is none: pages that are no secure context. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const { subtle } = globalThis.crypto;
  if (subtle === undefined) {
    const message = "backups need crypto.subtle, which this page lacks: serve it over https, or from localhost.";
    throw new CairnError("UNSUPPORTED", "backup", message);
  }
  return new Uint8Array(await subtle.digest("SHA-256", bytes));
}

/** A part of a backup is not what was written. */
export function damaged(part: string): CairnError {
  const message = `restore: the backup is damaged: ${part} is not what was written. Nothing was restored; take another copy of it.`;
  return new CairnError("CORRUPT", "restore", message);
}

/** Bytes as hexadecimal digits. */
export function hexOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** Hexadecimal digits as bytes. */
export function bytesOfHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(i * 2, i * 2 + 2), 16);
  return bytes;
}

/** Whether two stretches of bytes are the same. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Whether bytes end a backup, with this digest. */
export function isTrailer(bytes: Uint8Array, digest: Uint8Array): boolean {
  return sameBytes(bytes, encodeTrailer(digest));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function textAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 8));
}

function putText(bytes: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}
