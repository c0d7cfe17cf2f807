/** An image that is being mutated, and what was done to it. */
import { BLOCK_SIZE } from "../../store/layout.ts";
import { type Image, ImageBuilder, Page, type Pages, pageOf } from "../simulation/pages.ts";
import { seedOf, writtenBlocks } from "./blocks.ts";
import type { Reference } from "./reference.ts";

/** What is known of a reference once and for all. */
export interface Subject {
  reference: Reference;
  /** Blocks that hold anything. */
  written: readonly number[];
  /** Seed of its blocks' checks. */
  seed: bigint;
}

/** Looks at a reference. */
export function subjectOf(reference: Reference): Subject {
  const { image } = reference;
  return { reference, written: writtenBlocks(image), seed: seedOf(pageOf(image.pages, 0)) };
}

/** See above. */
export class Canvas {
  readonly subject: Subject;
  readonly builder: ImageBuilder;
  size: number;
  /** Blocks that hold something else than they did. */
  readonly changed = new Set<number>();
  /** Blocks that hold what they once held: these may prove themselves. */
  readonly replayed = new Set<number>();
  /** Whether what was changed was made to prove itself again. */
  isSealed = false;
  /** Whether superblocks of another store lie on it: then that one may be what is opened. */
  isForeign = false;
  readonly notes: string[] = [];

  constructor(subject: Subject) {
    this.subject = subject;
    this.builder = new ImageBuilder(subject.reference.image.pages);
    this.size = subject.reference.image.size;
  }

  get pages(): Pages {
    return this.builder.pages;
  }

  get blockCount(): number {
    return Math.floor(this.size / BLOCK_SIZE);
  }

  /** A block as it is; not to be changed. */
  page(number: number): Uint8Array {
    return pageOf(this.pages, number);
  }

  /** A block to be changed. */
  own(number: number): Uint8Array {
    this.changed.add(number);
    return this.builder.own(number);
  }

  /** Puts a whole block in place. */
  put(number: number, page: Uint8Array): void {
    this.changed.add(number);
    this.builder.put(number, new Page(page));
  }

  image(): Image {
    return { pages: this.pages, size: this.size };
  }
}
