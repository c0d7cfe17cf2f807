/** Which image a number stands for: everything of it follows from the seed and the number. */
import { BLOCK_SIZE } from "../../store/layout.ts";
import { mix, Random } from "../simulation/random.ts";
import { Canvas, type Subject, subjectOf } from "./canvas.ts";
import type { Steps } from "./check.ts";
import { damage, flipBit } from "./damage.ts";
import { forge } from "./forge.ts";
import { Vouchers } from "./oracle.ts";
import { KIND_NAMES, makeReference } from "./reference.ts";

/** Bits of a block. */
const BLOCK_BITS = BLOCK_SIZE * 8;
const SHARE_FORGED = 0.4;

/** How a run makes images: mutations of all kinds, or every flip of a single bit in turn. */
export type Mode = "mixed" | "flips";

/** One image of a run. */
export interface PlannedImage {
  canvas: Canvas;
  vouchers: Vouchers;
  steps: Steps;
  random: Random;
}

/** See above. */
export class Plan {
  readonly subjects: Subject[];
  private readonly vouchers: Vouchers[];
  private readonly mode: Mode;
  private readonly random: Random;

  private constructor(mode: Mode, random: Random, subjects: Subject[]) {
    this.mode = mode;
    this.random = random;
    this.subjects = subjects;
    this.vouchers = subjects.map((subject) => new Vouchers(subject));
  }

  /** Makes the images that are mutated; `kinds` says of which kinds, all by default. */
  static async create(module: WebAssembly.Module, mode: Mode, seed: bigint, kinds = KIND_NAMES): Promise<Plan> {
    const random = new Random(seed);
    const subjects: Subject[] = [];
    for (const kind of kinds) {
      const label = KIND_NAMES.indexOf(kind);
      if (label < 0) throw new Error(`there is no kind of image called ${kind}; there are ${KIND_NAMES.join(", ")}`);
      subjects.push(subjectOf(await makeReference(kind, module, random.fork(0x1000_0000 + label))));
    }
    return new Plan(mode, random, subjects);
  }

  /** How many images there are. */
  get count(): number {
    if (this.mode === "mixed") return Number.POSITIVE_INFINITY;
    return this.subjects.reduce((sum, { written }) => sum + written.length * BLOCK_BITS, 0);
  }

  /** The image of a number from 0. */
  image(number: number): PlannedImage {
    return this.mode === "mixed" ? this.mutated(number) : this.flipped(number);
  }

  private mutated(number: number): PlannedImage {
    const random = this.random.fork(number);
    const which = random.below(this.subjects.length);
    const canvas = new Canvas(this.subjects[which] as Subject);
    if (random.chance(SHARE_FORGED)) forge(canvas, random, this.subjects);
    else damage(canvas, random, this.subjects);
    const steps = { reads: random.chance(0.25), writes: true, repairs: true };
    return { canvas, vouchers: this.vouchers[which] as Vouchers, steps, random };
  }

  /** Half of the flips are opened to be read, and half to be written to; one in eight is repaired as well. */
  private flipped(number: number): PlannedImage {
    let bit = number;
    let which = 0;
    for (; which < this.subjects.length - 1; which++) {
      const bits = (this.subjects[which] as Subject).written.length * BLOCK_BITS;
      if (bit < bits) break;
      bit -= bits;
    }
    const subject = this.subjects[which] as Subject;
    const canvas = new Canvas(subject);
    const block = subject.written[Math.floor(bit / BLOCK_BITS)];
    if (block === undefined) throw new Error(`there are ${this.count} flips, and none has the number ${number}`);
    flipBit(canvas, block, bit % BLOCK_BITS);
    canvas.notes.push(`flip bit ${bit % BLOCK_BITS} of block ${block}`);
    const random = this.random.fork(number);
    const lot = mix(number);
    const steps = { reads: (lot & 1) === 0, writes: (lot & 1) === 1, repairs: (lot & 14) === 0 };
    return { canvas, vouchers: this.vouchers[which] as Vouchers, steps, random };
  }
}
