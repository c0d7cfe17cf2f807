/** Images of devices as arrays of pages that images share: a page is never changed, only replaced. */

export const PAGE_SIZE = 4096;

/** Pages of 4,096 bytes by their number; an absent one holds zeros. */
export type Pages = (Uint8Array | undefined)[];

/** What a device holds. `size` in bytes, a multiple of 4,096. */
export interface Image {
  pages: Pages;
  size: number;
}

const ZEROS = new Uint8Array(PAGE_SIZE);

/** The bytes of a page; not to be changed. */
export function pageOf(pages: Pages, number: number): Uint8Array {
  return pages[number] ?? ZEROS;
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
    else memory.set(count === PAGE_SIZE ? page : page.subarray(within, within + count), at + done);
    done += count;
  }
  return length;
}

/** An image that is being put together from another one: what it changes it owns. */
export class ImageBuilder {
  readonly pages: Pages;
  private readonly owned = new Set<number>();

  constructor(pages: Pages) {
    this.pages = pages.slice();
  }

  /** Puts a whole page in place. */
  put(number: number, page: Uint8Array): void {
    this.owned.delete(number);
    this.pages[number] = page;
  }

  /** The page of a number, to be changed. */
  own(number: number): Uint8Array {
    if (!this.owned.has(number)) {
      this.pages[number] = pageOf(this.pages, number).slice();
      this.owned.add(number);
    }
    return this.pages[number] as Uint8Array;
  }
}
