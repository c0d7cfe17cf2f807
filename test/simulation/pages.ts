/** Images of devices as arrays of pages that images share: a page is never changed, only replaced. */
import { mix } from "./random.ts";
import { hashOf } from "./trace.ts";

export const PAGE_SIZE = 4096;
const TAG_SIZE = 128;

/** 4,096 bytes, which nobody changes once they are in an image, and their hash, computed once. */
export class Page {
  readonly bytes: Uint8Array;
  private known = -1;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** A hash of its first bytes, which of every block, and of a superblock, have a checksum over all of it. */
  get tag(): number {
    return hashOf(this.bytes.subarray(0, TAG_SIZE));
  }

  get hash(): number {
    if (this.known < 0) this.known = hashOf(this.bytes);
    return this.known;
  }
}

/** Pages by their number; an absent one holds zeros. */
export type Pages = (Page | undefined)[];

/** What a device holds. `size` in bytes, a multiple of 4,096. */
export interface Image {
  pages: Pages;
  size: number;
}

const ZEROS = new Uint8Array(PAGE_SIZE);

/** The bytes of a page; not to be changed. */
export function pageOf(pages: Pages, number: number): Uint8Array {
  return pages[number]?.bytes ?? ZEROS;
}

/** An image of zeros. */
export function blankImage(size: number): Image {
  return { pages: [], size };
}

/** Copies bytes of an image to a place in memory; what lies behind its end is left out. How many were copied. */
export function readPages(image: Image, offset: number, memory: Uint8Array, at: number, size: number): number {
  const length = Math.max(0, Math.min(size, image.size - offset));
  for (let done = 0; done < length; ) {
    const within = (offset + done) % PAGE_SIZE;
    const count = Math.min(length - done, PAGE_SIZE - within);
    const page = image.pages[Math.floor((offset + done) / PAGE_SIZE)];
    if (page === undefined) memory.fill(0, at + done, at + done + count);
    else memory.set(count === PAGE_SIZE ? page.bytes : page.bytes.subarray(within, within + count), at + done);
    done += count;
  }
  return length;
}

/** A hash of 53 bits over all pages of an image. */
export function hashOfImage({ pages, size }: Image): number {
  let a = size >>> 12;
  let b = 0x1234567;
  for (let i = 0; i < pages.length; i++) {
    const page = pages[i];
    if (page === undefined) continue;
    const { hash } = page;
    a = mix(a + hash + i);
    b = (Math.imul(b, 0x01000193) ^ hash ^ (i << 7)) >>> 0;
  }
  return (a & 0x1fffff) * 4_294_967_296 + b;
}

/** An image that is being put together from another one: what it changes it owns. */
export class ImageBuilder {
  readonly pages: Pages;
  private readonly owned = new Set<number>();

  constructor(pages: Pages) {
    this.pages = pages.slice();
  }

  /** Puts a whole page in place. */
  put(number: number, page: Page): void {
    this.owned.delete(number);
    this.pages[number] = page;
  }

  /** The bytes of a page, to be changed as long as the image is being put together. */
  own(number: number): Uint8Array {
    if (!this.owned.has(number)) {
      this.pages[number] = new Page(pageOf(this.pages, number).slice());
      this.owned.add(number);
    }
    return (this.pages[number] as Page).bytes;
  }
}
