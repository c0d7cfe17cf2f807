/**
 * Mutations as an enemy makes them, who knows the format: what is changed proves itself again. Fields are set to extreme
 * values, records and entries are made to say what cannot be, sound blocks are put to other places.
 */
import { BLOCK_SIZE, LAYOUT, type LayoutField } from "../../store/layout.ts";
import { pageOf } from "../simulation/pages.ts";
import type { Random } from "../simulation/random.ts";
import {
  BLOCK_HEADER_SIZE,
  checkpointBlocks,
  FIRST_BLOCK,
  FLAG_GROUP_END,
  FLAG_SEGMENT_HEADER,
  fieldOf,
  isSoundSuperblock,
  NOTE_OFFSET,
  readField,
  recordAt,
  recordsOf,
  rootsOf,
  SEGMENT_BLOCKS,
  SUPERBLOCKS,
  sealBlock,
  sealCheckpoints,
  sealSuperblock,
  TRAILER_OFFSET,
  viewOf,
  writeField,
} from "./blocks.ts";
import type { Canvas, Subject } from "./canvas.ts";

/** What was changed, in words; `undefined` where the image has nothing of the kind. */
type Forgery = (canvas: Canvas, random: Random, others: readonly Subject[]) => string | undefined;

/** Numbers that break what believes them. */
function extreme(random: Random, now: bigint, size: number): bigint {
  const top = 1n << BigInt(8 * size);
  const near = BigInt(random.pick([1, -1, 2, 8, -8, 16, 56, 4040, 4096, -4096, 65_536]));
  const value = random.pick([
    0n,
    1n,
    top - 1n,
    top - 2n,
    top >> 1n,
    (top >> 1n) - 1n,
    now + near,
    now ^ (1n << BigInt(random.below(8 * size))),
    now * 2n,
    now - 1n,
    now + 1n,
    BigInt(random.pick([16, 255, 256, 2048, 2049, 4040, 4041, 65_535, 65_536, 0x3ff_ffff, 0x400_0000, 0x400_0001])),
    0xffff_feff_ffffn,
    random.long(),
  ]);
  return BigInt.asUintN(8 * size, value);
}

function set(page: Uint8Array, at: number, field: LayoutField, random: Random): string {
  const before = readField(page, at, field);
  const after = extreme(random, before, field.size);
  writeField(page, at, field, after);
  return `${field.name} ${before} to ${after}`;
}

/** A block behind the superblocks that holds anything. */
function block({ subject }: Canvas, random: Random, wants: (page: Uint8Array, number: number) => boolean = () => true) {
  const { pages } = subject.reference.image;
  const found = subject.written.filter((number) => number >= FIRST_BLOCK && wants(pageOf(pages, number), number));
  return found.length === 0 ? undefined : random.pick(found);
}

function flagsOf(page: Uint8Array): number {
  return viewOf(page).getUint16(42, true);
}

/** Changes all copies of the superblock, or some of them, alike. */
function superblocks(canvas: Canvas, random: Random, change: (page: Uint8Array, random: Random) => string): string {
  const own = random.fork(1);
  const some = random.chance(0.8) ? SUPERBLOCKS : SUPERBLOCKS.filter(() => random.chance(0.5));
  let what = "";
  for (const copy of some) {
    const page = canvas.own(copy);
    what = change(page, own.fork(2));
    sealSuperblock(page);
  }
  return `superblocks ${some}: ${what}`;
}

const FORGERIES: readonly [number, Forgery][] = [
  [
    4,
    function superblockField(canvas, random) {
      const fields = LAYOUT.Superblock.filter(({ name }) => name !== "magic" && name !== "check");
      const field = random.pick(fields);
      return superblocks(canvas, random, (page, same) => set(page, 0, field, same));
    },
  ],
  [
    2,
    function superblockRoot(canvas, random) {
      const which = random.below(2);
      const field = random.pick(LAYOUT.SuperblockRoot);
      const switchesOn = random.chance(0.2);
      return superblocks(canvas, random, (page, same) => {
        if (switchesOn) viewOf(page).setUint8(40, 3);
        return `root ${which}: ${set(page, 176 + 32 * which, field, same)}`;
      });
    },
  ],
  [
    4,
    function blockHeader(canvas, random) {
      const number = block(canvas, random);
      if (number === undefined) return undefined;
      const fields = LAYOUT.BlockHeader.filter(({ name }) => name !== "check");
      const page = canvas.own(number);
      const what = set(page, 0, random.pick(fields), random);
      sealBlock(page, canvas.subject.seed);
      return `block ${number}: ${what}`;
    },
  ],
  [
    3,
    function trailer(canvas, random) {
      const number = block(canvas, random, (page) => (flagsOf(page) & FLAG_GROUP_END) !== 0);
      if (number === undefined) return undefined;
      const page = canvas.own(number);
      const what = set(page, TRAILER_OFFSET, random.pick(LAYOUT.GroupTrailer), random);
      sealBlock(page, canvas.subject.seed);
      return `trailer of block ${number}: ${what}`;
    },
  ],
  [
    4,
    function segmentHeader(canvas, random) {
      const number = block(canvas, random, (page) => (flagsOf(page) & FLAG_SEGMENT_HEADER) !== 0);
      if (number === undefined) return undefined;
      const page = canvas.own(number);
      const what = set(page, BLOCK_HEADER_SIZE, random.pick(LAYOUT.SegmentHeader), random);
      sealBlock(page, canvas.subject.seed);
      return `segment header ${number}: ${what}`;
    },
  ],
  [
    4,
    function note(canvas, random) {
      const number = block(canvas, random, (page) => (flagsOf(page) & FLAG_SEGMENT_HEADER) !== 0);
      if (number === undefined) return undefined;
      const page = canvas.own(number);
      let what: string;
      if (random.chance(0.5)) {
        what = set(page, NOTE_OFFSET, random.pick(LAYOUT.Note), random);
      } else {
        const bit = random.below(64);
        page[NOTE_OFFSET + 32 + (bit >> 3)] = (page[NOTE_OFFSET + 32 + (bit >> 3)] as number) ^ (1 << (bit & 7));
        what = `bit ${bit}`;
        // Often the sum of what counts is made to agree.
        const header = canvas.page(FIRST_BLOCK + bit * SEGMENT_BLOCKS);
        if (random.chance(0.7)) {
          const sum = fieldOf("Note", "generationSum");
          const isOn = ((page[NOTE_OFFSET + 32 + (bit >> 3)] as number) & (1 << (bit & 7))) !== 0;
          const generation = viewOf(header).getBigUint64(16, true) * (isOn ? 1n : -1n);
          writeField(page, NOTE_OFFSET, sum, BigInt.asUintN(64, readField(page, NOTE_OFFSET, sum) + generation));
        }
      }
      sealBlock(page, canvas.subject.seed);
      return `note in block ${number}: ${what}`;
    },
  ],
  [
    10,
    function record(canvas, random) {
      const number = block(canvas, random, (page) => recordsOf(page).length > 0);
      if (number === undefined) return undefined;
      const page = canvas.own(number);
      const at = random.pick(recordsOf(page));
      const what = recordChange(page, at, random);
      sealBlock(page, canvas.subject.seed);
      return `record at ${at} of block ${number}: ${what}`;
    },
  ],
  [
    5,
    function payload(canvas, random) {
      const number = block(canvas, random);
      if (number === undefined) return undefined;
      const page = canvas.own(number);
      const count = random.pick([1, 1, 2, 8, 100]);
      for (let i = 0; i < count; i++) {
        const at = random.between(BLOCK_HEADER_SIZE, BLOCK_SIZE - 1);
        page[at] = random.chance(0.5) ? (page[at] as number) ^ (1 << random.below(8)) : random.below(256);
      }
      sealBlock(page, canvas.subject.seed);
      return `${count} bytes of block ${number}`;
    },
  ],
  [
    7,
    function checkpointEntry(canvas, random) {
      const blocks = keptBlocks(canvas);
      if (blocks.length === 0) return undefined;
      const number = random.pick(blocks);
      const page = canvas.own(number);
      const used = viewOf(page).getUint16(40, true);
      const count = random.pick([1, 1, 2, 4]);
      const places: number[] = [];
      for (let i = 0; i < count; i++) {
        const at = BLOCK_HEADER_SIZE + random.below(Math.max(1, Math.min(used, 4040)));
        places.push(at);
        page[at] = random.pick([0, 255, random.below(256), (page[at] as number) ^ (1 << random.below(8))]);
      }
      sealBlock(page, canvas.subject.seed);
      return `entries of block ${number} at ${places}`;
    },
  ],
  [
    4,
    function checkpointSummary(canvas, random) {
      const last = keptBlocks(canvas).at(-1);
      if (last === undefined) return undefined;
      const page = canvas.own(last);
      const what = set(page, BLOCK_HEADER_SIZE, random.pick(LAYOUT.CheckpointSummary), random);
      sealBlock(page, canvas.subject.seed);
      return `summary ${last}: ${what}`;
    },
  ],
  [
    4,
    function moved(canvas, random, others) {
      const other = random.chance(0.5) ? canvas.subject : random.pick(others);
      const from = random.pick(other.written.filter((number) => number >= FIRST_BLOCK));
      const to = block(canvas, random);
      if (to === undefined || from === undefined) return undefined;
      const there = viewOf(canvas.page(to));
      const page = pageOf(other.reference.image.pages, from).slice();
      const view = viewOf(page);
      view.setBigUint64(24, BigInt(to), true);
      if (random.chance(0.8)) view.setBigUint64(16, there.getBigUint64(16, true), true);
      if (random.chance(0.5)) view.setBigUint64(32, there.getBigUint64(32, true), true);
      sealBlock(page, canvas.subject.seed);
      canvas.put(to, page);
      return `block ${from} of ${other.reference.name} put to ${to}`;
    },
  ],
];

function recordChange(page: Uint8Array, at: number, random: Random): string {
  const parts = recordAt(page, at);
  const { flags } = parts;
  const words: LayoutField[] = [{ name: "first word", offset: 16, size: 8, meaning: "" }];
  if ((flags & 32) !== 0) words.push({ name: "raw size", offset: parts.rawAt, size: 4, meaning: "" });
  if ((flags & 16) !== 0) {
    words.push({ name: "part size", offset: parts.extentAt, size: 4, meaning: "" });
    words.push({ name: "part", offset: parts.extentAt + 4, size: 4, meaning: "" });
  }
  const field = random.chance(0.7) ? random.pick(LAYOUT.Record) : random.pick(words);
  if (at + field.offset + field.size > BLOCK_SIZE) return "nothing";
  if (random.chance(0.2)) {
    const behind = at + parts.keyAt + random.below(Math.max(1, parts.size - parts.keyAt));
    if (behind < BLOCK_SIZE) page[behind] = random.below(256);
    return `byte ${behind - at}`;
  }
  if (field.name === "flags" || field.name === "kind") {
    const value = field.name === "kind" ? random.below(9) : flags ^ (1 << random.below(7));
    writeField(page, at, field, BigInt(value));
    return `${field.name} to ${value}`;
  }
  return set(page, at, field, random);
}

/** Blocks of the checkpoints that superblocks name; the summary of one comes last. */
function keptBlocks(canvas: Canvas): number[] {
  for (const copy of SUPERBLOCKS) {
    const page = canvas.pages[copy]?.bytes;
    if (page === undefined || !isSoundSuperblock(page)) continue;
    const blocks = rootsOf(page).flatMap((root) => checkpointBlocks(canvas.pages, root));
    const there = blocks.filter((number) => canvas.pages[number] !== undefined);
    if (there.length > 0) return there;
  }
  return [];
}

const WEIGHTS = FORGERIES.map(([weight]) => weight);

/** Forges an image in one way or a few. */
export function forge(canvas: Canvas, random: Random, others: readonly Subject[]): void {
  canvas.isSealed = true;
  do {
    const [, make] = FORGERIES[random.weighted(WEIGHTS)] as [number, Forgery];
    const what = make(canvas, random, others);
    if (what !== undefined) canvas.notes.push(what);
  } while (canvas.notes.length === 0 || random.chance(0.3));
  sealCheckpoints(canvas.pages, (number) => canvas.own(number), canvas.subject.seed);
}
