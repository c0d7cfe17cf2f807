/**
 * What a power cut leaves of a device: everything that was synced, and of the rest whatever it likes.
 *
 * A crash keeps each sector of a pending write independently, drops whole writes, keeps a prefix, or takes them in the
 * reverse order. It may garble a sector of a write that was being changed; a sector that is written with the bytes that it
 * already holds keeps them.
 */
import { type Image, ImageBuilder, PAGE_SIZE, Page, pageOf } from "./pages.ts";
import type { Random } from "./random.ts";

/** A page, or a size, that waits for a sync. Pages of one write have one `write`. */
export interface Pending {
  serial: number;
  write: number;
  /** -1 for a size. */
  block: number;
  page: Page | undefined;
  size: number;
}

/** What a device is made of when the power goes. */
export interface CacheState {
  platter: Image;
  view: Image;
  pending: readonly Pending[];
  /** Pieces that the device was given, and which it may have begun to write. */
  flying: readonly { block: number; source: Uint8Array }[];
}

/** How a crash treats what was not synced. */
export const CRASH_MODES = ["all", "none", "prefix", "sectors", "writes", "reverse", "garble"] as const;
export type CrashMode = (typeof CRASH_MODES)[number];

/** One image that a power cut could leave. */
export function crashImage(state: CacheState, mode: CrashMode, sectorSize: number, random: Random): Image {
  const builder = new ImageBuilder(state.platter.pages);
  const sizes = state.pending.filter(({ page }) => page === undefined).map(({ size }) => size);
  let size = state.platter.size;
  if (mode === "all") size = state.view.size;
  else if (mode !== "none" && sizes.length > 0 && random.chance(0.5)) size = random.pick(sizes);
  for (const { write, block, page } of chosen(state, mode, random)) {
    // Behind the end that the file has after the crash there is nothing.
    if (page === undefined || (block + 1) * PAGE_SIZE > size) continue;
    if (mode === "sectors" || mode === "garble") {
      const share = (Math.abs(write * 7 + 3) % 10) / 9;
      sectorsOf(builder, block, page.bytes, sectorSize, mode === "garble" && random.chance(0.3), share, random);
    } else {
      builder.put(block, page);
    }
  }
  if (builder.pages.length > size / PAGE_SIZE) builder.pages.length = size / PAGE_SIZE;
  return { pages: builder.pages, size };
}

/** The pages that reach the platter, wholly or in part, in their order. */
function chosen(state: CacheState, mode: CrashMode, random: Random): readonly Pending[] {
  const { pending } = state;
  if (mode === "none") return [];
  if (mode === "all") return pending;
  if (mode === "prefix") return pending.slice(0, random.below(pending.length + 1));
  const all = [...pending];
  for (const [i, { block, source }] of state.flying.entries()) {
    for (let from = 0; from < source.length; from += PAGE_SIZE) {
      const page = new Page(source.slice(from, from + PAGE_SIZE));
      all.push({ serial: -1, write: -1 - i, block: block + from / PAGE_SIZE, page, size: 0 });
    }
  }
  if (mode === "reverse") return all.reverse().slice(0, random.below(all.length + 1));
  if (mode === "writes") {
    const kept = new Map<number, boolean>();
    return all.filter(({ write }) => {
      if (!kept.has(write)) kept.set(write, random.chance(0.5));
      return kept.get(write);
    });
  }
  return all;
}

/** Keeps a share of a page's sectors, and garbles one. */
function sectorsOf(
  builder: ImageBuilder,
  block: number,
  page: Uint8Array,
  sectorSize: number,
  garbles: boolean,
  share: number,
  random: Random,
): void {
  const count = PAGE_SIZE / sectorSize;
  const garbled = garbles ? random.below(count) : -1;
  for (let sector = 0; sector < count; sector++) {
    const from = sector * sectorSize;
    const to = from + sectorSize;
    if (sector === garbled && differs(pageOf(builder.pages, block), page, from, to)) {
      const own = builder.own(block);
      for (let i = from; i < to; i++) own[i] = random.below(256);
    } else if (random.chance(share)) {
      builder.own(block).set(page.subarray(from, to), from);
    }
  }
}

function differs(a: Uint8Array, b: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (a[i] !== b[i]) return true;
  return false;
}
