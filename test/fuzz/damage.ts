/** Mutations as devices make them: what they change does not prove itself any more, or is what lay there before. */
import { BLOCK_SIZE } from "../../store/layout.ts";
import { pageOf } from "../simulation/pages.ts";
import type { Random } from "../simulation/random.ts";
import { FIRST_BLOCK } from "./blocks.ts";
import type { Canvas, Subject } from "./canvas.ts";

const SECTOR = 512;

type Damage = (canvas: Canvas, random: Random, others: readonly Subject[]) => string;

/** A block of the image: nearly always one that holds something. */
function somewhere({ subject, blockCount }: Canvas, random: Random): number {
  const number = random.chance(0.97) ? random.pick(subject.written) : random.between(FIRST_BLOCK, blockCount - 1);
  return Math.max(0, Math.min(number, blockCount - 1));
}

const DAMAGES: readonly Damage[] = [
  function flip(canvas, random) {
    const block = somewhere(canvas, random);
    const bit = random.below(BLOCK_SIZE * 8);
    flipBit(canvas, block, bit);
    return `flip bit ${bit} of block ${block}`;
  },
  function flips(canvas, random) {
    const block = somewhere(canvas, random);
    const count = random.between(2, 20);
    for (let i = 0; i < count; i++) flipBit(canvas, block, random.below(BLOCK_SIZE * 8));
    return `flip ${count} bits of block ${block}`;
  },
  function bytes(canvas, random) {
    const block = somewhere(canvas, random);
    const from = random.chance(0.5) ? random.below(128) : random.below(BLOCK_SIZE);
    const to = Math.min(BLOCK_SIZE, from + random.pick([1, 1, 2, 4, 8, random.below(BLOCK_SIZE)]));
    const value = random.pick([0, 255, random.below(256), -1]);
    const page = canvas.own(block);
    for (let i = from; i < to; i++) page[i] = value < 0 ? random.below(256) : value;
    return `set bytes ${from} to ${to} of block ${block} to ${value < 0 ? "noise" : value}`;
  },
  function torn(canvas, random) {
    const block = somewhere(canvas, random);
    const before = random.pick([
      new Uint8Array(BLOCK_SIZE),
      earlierPage(canvas, block, random),
      canvas.page(somewhere(canvas, random)).slice(),
    ]);
    const sectors = random.between(1, BLOCK_SIZE / SECTOR - 1);
    const isHead = random.chance(0.5);
    const page = canvas.own(block);
    if (isHead) page.set(before.subarray(sectors * SECTOR), sectors * SECTOR);
    else page.set(before.subarray(0, sectors * SECTOR));
    return `tear block ${block} at sector ${sectors}, keeping its ${isHead ? "head" : "tail"}`;
  },
  function blank(canvas, random) {
    const block = somewhere(canvas, random);
    const count = random.pick([1, 1, 1, 2, 16]);
    for (let i = block; i < Math.min(block + count, canvas.blockCount); i++) canvas.own(i).fill(0);
    return `zero ${count} blocks from ${block} on`;
  },
  function noise(canvas, random) {
    const block = somewhere(canvas, random);
    const page = canvas.own(block);
    for (let i = 0; i < BLOCK_SIZE; i++) page[i] = random.below(256);
    return `noise in block ${block}`;
  },
  function swap(canvas, random) {
    const [a, b] = [somewhere(canvas, random), somewhere(canvas, random)];
    const [first, second] = [canvas.page(a), canvas.page(b)];
    canvas.put(a, second);
    canvas.put(b, first);
    return `swap blocks ${a} and ${b}`;
  },
  function copy(canvas, random) {
    const [from, to] = [somewhere(canvas, random), somewhere(canvas, random)];
    canvas.put(to, canvas.page(from));
    return `copy block ${from} over ${to}`;
  },
  function shift(canvas, random) {
    const from = somewhere(canvas, random);
    const count = random.between(1, 20);
    const by = random.pick([1, -1, 16, random.between(2, 8)]);
    const pages = Array.from({ length: count }, (_, i) => pageOf(canvas.pages, from + i));
    for (const [i, page] of pages.entries()) {
      const to = from + i + by;
      if (to >= 0 && to < canvas.blockCount) canvas.put(to, page);
    }
    return `shift ${count} blocks from ${from} on by ${by}`;
  },
  function shiftBytes(canvas, random) {
    const block = somewhere(canvas, random);
    const by = random.pick([1, 4, 8, 56, SECTOR]);
    canvas.own(block).copyWithin(by, 0);
    return `shift the bytes of block ${block} by ${by}`;
  },
  function cut(canvas, random) {
    const block = random.chance(0.5) ? somewhere(canvas, random) : random.between(1, canvas.blockCount - 1);
    const count = Math.max(1, block);
    for (let i = count; i < canvas.blockCount; i++) canvas.changed.add(i);
    canvas.pages.length = Math.min(canvas.pages.length, count);
    canvas.size = count * BLOCK_SIZE;
    return `cut the device off behind ${count} blocks`;
  },
  function lengthen(canvas, random) {
    const count = random.pick([1, 16, 32, 300]);
    canvas.size += count * BLOCK_SIZE;
    return `lengthen the device by ${count} blocks`;
  },
  function replay(canvas, random) {
    const block = somewhere(canvas, random);
    const count = random.pick([1, 1, 1, 2, 8, 16]);
    const { earlier } = canvas.subject.reference;
    const before = random.pick(earlier);
    for (let i = block; i < Math.min(block + count, canvas.blockCount); i++) {
      canvas.put(i, pageOf(before.pages, i));
      canvas.replayed.add(i);
    }
    return `put ${count} blocks from ${block} on back to state ${earlier.indexOf(before)}`;
  },
  function splice(canvas, random, others) {
    const other = random.pick(others).reference;
    const from = random.pick([0, FIRST_BLOCK, somewhere(canvas, random)]);
    const to = random.pick([FIRST_BLOCK, from + random.between(1, 40), canvas.blockCount]);
    if (from < FIRST_BLOCK) canvas.isForeign = true;
    for (let i = from; i < Math.min(to, canvas.blockCount); i++) {
      if (canvas.page(i) !== pageOf(other.image.pages, i)) canvas.put(i, pageOf(other.image.pages, i));
    }
    return `put blocks ${from} to ${to} of ${other.name} in their place`;
  },
];

/** Flips a bit of a block. */
export function flipBit(canvas: Canvas, block: number, bit: number): void {
  const page = canvas.own(block);
  page[bit >> 3] = (page[bit >> 3] as number) ^ (1 << (bit & 7));
}

function earlierPage({ subject }: Canvas, block: number, random: Random): Uint8Array {
  return pageOf(random.pick(subject.reference.earlier).pages, block);
}

/** Damages an image in one way, seldom in several. */
export function damage(canvas: Canvas, random: Random, others: readonly Subject[]): void {
  do canvas.notes.push(random.pick(DAMAGES)(canvas, random, others));
  while (random.chance(0.2));
}
