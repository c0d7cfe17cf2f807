/** The blocks of an image: what each of them is, whether it proves itself, and making a changed one prove itself again. */
import {
  BLOCK_SIZE,
  LAYOUT,
  type LayoutField,
  SEGMENTS_OFFSET,
  SUPERBLOCK_COPIES,
  SUPERBLOCK_STRIDE,
} from "../../store/layout.ts";
import { type Image, type Pages, pageOf } from "../simulation/pages.ts";
import { CHECK_SEED, xxh64 } from "../store/superblock.ts";

export const BLOCK_HEADER_SIZE = 56;
export const PAYLOAD_SIZE = BLOCK_SIZE - BLOCK_HEADER_SIZE;
export const TRAILER_OFFSET = 4064;
export const FIRST_BLOCK = SEGMENTS_OFFSET / BLOCK_SIZE;
export const SEGMENT_BLOCKS = 16;
export const FLAG_GROUP_END = 1;
export const FLAG_SEGMENT_HEADER = 2;
export const NOTE_OFFSET = BLOCK_HEADER_SIZE + 64;
export const NO_RECORD = 0xffff;

/** Numbers of the superblock's copies, as blocks of the device. */
export const SUPERBLOCKS: readonly number[] = Array.from(
  { length: SUPERBLOCK_COPIES },
  (_, copy) => (copy * SUPERBLOCK_STRIDE) / BLOCK_SIZE,
);

/** A field by its name: a mistake in one ends the run. */
export function fieldOf(structure: keyof typeof LAYOUT, name: string): LayoutField {
  const found = LAYOUT[structure].find((field) => field.name === name);
  if (found === undefined) throw new Error(`${structure} has no field ${name}`);
  return found;
}

/** A view on a page. */
export function viewOf(page: Uint8Array): DataView {
  return new DataView(page.buffer, page.byteOffset, page.length);
}

/** A field of a structure that begins at `at`, as a number. */
export function readField(page: Uint8Array, at: number, { offset, size }: LayoutField): bigint {
  const view = viewOf(page);
  if (size === 8) return view.getBigUint64(at + offset, true);
  if (size === 4) return BigInt(view.getUint32(at + offset, true));
  return BigInt(size === 2 ? view.getUint16(at + offset, true) : view.getUint8(at + offset));
}

/** Sets a field, modulo what fits it. */
export function writeField(page: Uint8Array, at: number, { offset, size }: LayoutField, value: bigint): void {
  for (let i = 0; i < size; i++) page[at + offset + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}

/** What the checks of a store's blocks are seeded with, from one of its superblocks. */
export function seedOf(superblock: Uint8Array): bigint {
  const low = readField(superblock, 0, fieldOf("Superblock", "storeIdLow"));
  const high = readField(superblock, 0, fieldOf("Superblock", "storeIdHigh"));
  return low ^ BigInt.asUintN(64, (high << 32n) | (high >> 32n));
}

/** Writes the checksum of a superblock. */
export function sealSuperblock(page: Uint8Array): void {
  viewOf(page).setBigUint64(8, xxh64(page.subarray(16), CHECK_SEED), true);
}

/** Writes the checksum of any other block. */
export function sealBlock(page: Uint8Array, seed: bigint): void {
  viewOf(page).setBigUint64(0, xxh64(page.subarray(16), seed), true);
}

/** Whether a block proves itself at its place. */
export function isSound(page: Uint8Array, number: number, seed: bigint): boolean {
  const view = viewOf(page);
  return (
    view.getBigUint64(24, true) === BigInt(number) &&
    view.getBigUint64(8, true) === 0n &&
    view.getUint16(40, true) <= PAYLOAD_SIZE &&
    view.getBigUint64(0, true) === xxh64(page.subarray(16), seed)
  );
}

/** Whether a superblock proves itself. */
export function isSoundSuperblock(page: Uint8Array): boolean {
  const view = viewOf(page);
  return (
    view.getBigUint64(0, true) === 0x31564b4e52494143n &&
    view.getBigUint64(8, true) === xxh64(page.subarray(16), CHECK_SEED)
  );
}

/** Whether all of a block is zero. */
export function isBlank(page: Uint8Array): boolean {
  for (let i = 0; i < page.length; i++) if (page[i] !== 0) return false;
  return true;
}

/** The numbers of the blocks of an image that hold anything, superblocks first. */
export function writtenBlocks({ pages, size }: Image): number[] {
  const found: number[] = [];
  for (let number = 0; number < size / BLOCK_SIZE; number++) {
    const page = pages[number]?.bytes;
    if (page !== undefined && !isBlank(page)) found.push(number);
  }
  return found;
}

/** Places of the records of a block, by walking their sizes as far as they make sense. */
export function recordsOf(page: Uint8Array): number[] {
  const view = viewOf(page);
  const used = view.getUint16(40, true);
  const first = view.getUint16(44, true);
  const flags = view.getUint16(42, true);
  const end = Math.min(used, PAYLOAD_SIZE);
  const found: number[] = [];
  if ((flags & FLAG_SEGMENT_HEADER) !== 0 || first === NO_RECORD) return found;
  for (let at = first; at + 16 <= end; ) {
    found.push(BLOCK_HEADER_SIZE + at);
    const { size } = recordAt(page, BLOCK_HEADER_SIZE + at);
    if (size > PAYLOAD_SIZE) break;
    at += (size + 7) & ~7;
  }
  return found;
}

/** What a record says of its own parts. */
export interface RecordParts {
  valueSize: number;
  keySize: number;
  kind: number;
  flags: number;
  /** From the record's start. */
  rawAt: number;
  extentAt: number;
  keyAt: number;
  /** All of it, without padding. */
  size: number;
}

/** The parts of the record at an offset of a page. */
export function recordAt(page: Uint8Array, at: number): RecordParts {
  const view = viewOf(page);
  const valueSize = view.getUint32(at, true);
  const keySize = view.getUint16(at + 4, true);
  const kind = view.getUint8(at + 6);
  const flags = view.getUint8(at + 7);
  const rawAt = 16 + (flags & 1) * 8 + ((flags & 2) >> 1) * 8;
  const extentAt = rawAt + ((flags & 32) >> 5) * 4;
  const keyAt = extentAt + ((flags & 16) >> 4) * 8;
  const isPart = (flags & 16) !== 0 && at + extentAt + 4 <= BLOCK_SIZE;
  const partSize = isPart ? view.getUint32(at + extentAt, true) : valueSize;
  return { valueSize, keySize, kind, flags, rawAt, extentAt, keyAt, size: keyAt + keySize + partSize };
}

/** A root of a superblock that names a checkpoint. */
interface Root {
  segment: number;
  block: number;
  at: number;
}

const ROOT_SIZE = 32;
const ROOTS_AT = 176;
const ROOT_COUNT = 2;

/** The roots of a superblock that name checkpoints. */
export function rootsOf(superblock: Uint8Array): Root[] {
  const view = viewOf(superblock);
  const roots: Root[] = [];
  for (let at = ROOTS_AT; at < ROOTS_AT + ROOT_COUNT * ROOT_SIZE; at += ROOT_SIZE) {
    if (view.getUint16(at, true) !== 3) continue;
    roots.push({ block: view.getUint16(at + 2, true), segment: view.getUint32(at + 4, true), at });
  }
  return roots;
}

/** The blocks of a checkpoint, in its order, without headers of segments; its summary last. Empty when they are not there. */
export function checkpointBlocks(pages: Pages, { segment, block }: Root): number[] {
  const segments: number[] = [];
  for (let at = segment; segments.length < 64; ) {
    segments.unshift(at);
    const header = pages[FIRST_BLOCK + at * SEGMENT_BLOCKS]?.bytes;
    if (header === undefined) return [];
    const view = viewOf(header);
    if (view.getBigUint64(BLOCK_HEADER_SIZE + 16, true) === 0n) break;
    at = view.getUint32(BLOCK_HEADER_SIZE + 24, true);
  }
  const found: number[] = [];
  for (const one of segments) {
    const end = one === segment ? block + 1 : SEGMENT_BLOCKS;
    for (let i = 1; i < end; i++) found.push(FIRST_BLOCK + one * SEGMENT_BLOCKS + i);
  }
  return found;
}

/** Makes the checkpoints that superblocks name prove themselves again, after blocks of theirs were changed and sealed. */
export function sealCheckpoints(pages: Pages, own: (number: number) => Uint8Array, seed: bigint): void {
  for (const copy of SUPERBLOCKS) {
    const superblock = pages[copy]?.bytes;
    if (superblock === undefined || !isSoundSuperblock(superblock)) continue;
    for (const root of rootsOf(superblock)) {
      const blocks = checkpointBlocks(pages, root);
      const last = blocks.pop();
      if (last === undefined || pages[last] === undefined) continue;
      let check = 0n;
      for (const number of blocks) {
        const rotated = BigInt.asUintN(64, (check << 9n) | (check >> 55n));
        check = rotated ^ viewOf(pageOf(pages, number)).getBigUint64(0, true);
      }
      const summary = own(last);
      writeField(summary, BLOCK_HEADER_SIZE, fieldOf("CheckpointSummary", "blocksCheck"), check);
      sealBlock(summary, seed);
      const changed = own(copy);
      viewOf(changed).setBigUint64(root.at + 24, viewOf(summary).getBigUint64(0, true), true);
      sealSuperblock(changed);
    }
  }
}
