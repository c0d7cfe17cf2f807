/**
 * What must be known before a block can be judged: by which seed, and how long a segment is. A superblock says both. When
 * all its copies are lost, segment headers say the seed, and where they lie says the length.
 */
import { CairnError } from "../error.ts";
import {
  BLOCK_HEADER_SIZE,
  type Block,
  FIRST_BLOCK,
  FLAG_GROUP_END,
  type SalvageImage,
  type SuperblockFacts,
} from "./image.ts";

const SEGMENT_BLOCKS_MIN = 16;
const SEGMENT_BLOCKS_MAX = 16_384;
const SEGMENT_BLOCKS_DEFAULT = 256;
const HEADER_MAGIC = 0x47455343;
/** Headers that are kept to learn the length of a segment from: more say no more. */
const HEADERS_MAX = 4096;

/** How the store on the device is laid out. */
export interface Geometry {
  /** The best superblock that is intact; absent when all are lost. */
  superblock?: SuperblockFacts;
  /** Copies of it that are intact. */
  superblocksIntact: number;
  seed: bigint;
  segmentBlocks: number;
  /** Segment headers of other stores that were met while the seed was looked for. */
  otherStores: number;
}

/** `NOT_A_STORE` when there is no trace of a store, `CORRUPT` when there is and no block of it can be proven; `DEVICE_READ`. */
export async function findGeometry(image: SalvageImage): Promise<Geometry> {
  const copies = image.superblocks();
  const intact = copies.filter((copy) => copy.intact).map(({ facts }) => facts);
  const best = intact.sort((a, b) => (a.generation < b.generation ? 1 : -1))[0];
  const superblocksIntact = intact.length;
  if (best !== undefined && isLength(best.segmentBlocks)) {
    return { superblock: best, superblocksIntact, seed: best.seed, segmentBlocks: best.segmentBlocks, otherStores: 0 };
  }
  const damaged = copies.filter((copy) => !copy.blank).map(({ facts }) => facts.seed);
  const seeds = await findSeeds(image, damaged);
  const [seed, headers] = [...seeds].sort((a, b) => b[1].count - a[1].count)[0] ?? [];
  if (seed === undefined || headers === undefined || headers.count === 0) throw nothingProven(image, copies.length > 0);
  image.use(seed, 0);
  return {
    superblocksIntact,
    seed,
    segmentBlocks: lengthOf(image, headers.places),
    otherStores: [...seeds.values()].filter(({ count }) => count > 0).length - 1,
  };
}

interface SeedHeaders {
  count: number;
  places: number[];
}

/** Every seed by which a segment header proves itself, or that a damaged superblock names and a header is proven by. */
async function findSeeds(image: SalvageImage, candidates: readonly bigint[]): Promise<Map<bigint, SeedHeaders>> {
  const seeds = new Map<bigint, SeedHeaders>();
  const tell = (seed: bigint, place: number): void => {
    const headers = seeds.get(seed) ?? { count: 0, places: [] };
    headers.count++;
    if (headers.places.length < HEADERS_MAX) headers.places.push(place);
    if (seeds.size < HEADERS_MAX || seeds.has(seed)) seeds.set(seed, headers);
  };
  image.use(0n, 0);
  const others = [...new Set(candidates)];
  await image.each(FIRST_BLOCK, image.blockCount, (block) => {
    if (block.look === "unreadable" || image.view(block).getUint32(BLOCK_HEADER_SIZE, true) !== HEADER_MAGIC) return;
    const seed = image.seedOf(block);
    if (seed !== undefined) {
      tell(seed, block.block);
      return;
    }
    for (const other of others) {
      image.use(other, 0);
      if (image.core.exports.salvageLook(block.index, block.block) === 16) tell(other, block.block);
    }
    image.use(0n, 0);
  });
  return seeds;
}

/**
 * Blocks in a segment, by the places of headers: all lie at multiples of it, and each names its predecessor's segment, where
 * a block of that life must lie. Of the lengths that fit, the one that the newest note's count of segments fits best.
 */
function lengthOf(image: SalvageImage, places: readonly number[]): number {
  let step = 0;
  for (const place of places) step = gcd(step, place - FIRST_BLOCK);
  const headers = places.map((place) => headerAt(image, image.one(place))).filter((header) => header !== undefined);
  const byGeneration = new Map(headers.map((header) => [header.generation, header]));
  const newest = headers.reduce((a, b) => (a.generation > b.generation ? a : b), headers[0] as Header);
  let best = 0;
  let bestScore = -1;
  for (let length = SEGMENT_BLOCKS_MIN; length <= SEGMENT_BLOCKS_MAX; length *= 2) {
    if (step % length !== 0) continue;
    let score = 0;
    for (const header of headers) {
      const before = byGeneration.get(header.previousGeneration);
      if (before !== undefined && (before.place - FIRST_BLOCK) / length === header.previousSegment) score += 2;
      if (header.countsItself((header.place - FIRST_BLOCK) / length)) score++;
    }
    const segments = (image.blockCount - FIRST_BLOCK) / length;
    if (newest.segmentCount === Math.floor(segments)) score += 2;
    if (length === SEGMENT_BLOCKS_DEFAULT) score += 0.5;
    if (score > bestScore) {
      best = length;
      bestScore = score;
    }
  }
  return best === 0 ? SEGMENT_BLOCKS_DEFAULT : best;
}

interface Header {
  place: number;
  generation: bigint;
  previousGeneration: bigint;
  previousSegment: number;
  segmentCount: number;
  countsItself(segment: number): boolean;
}

function headerAt(image: SalvageImage, block: Block): Header | undefined {
  if (!block.isHeader) return undefined;
  const view = image.view(block);
  const at = BLOCK_HEADER_SIZE;
  const isLog = view.getUint32(at + 4, true) === 1;
  const end = (block.flags & FLAG_GROUP_END) !== 0 ? 4064 : BLOCK_HEADER_SIZE + block.used;
  const map = image.bytes(block, at + 88, Math.max(at + 88, end)).slice();
  return {
    place: block.block,
    generation: block.generation,
    previousGeneration: view.getBigUint64(at + 16, true),
    previousSegment: view.getUint32(at + 24, true),
    segmentCount: isLog ? view.getUint32(at + 80, true) : 0,
    countsItself: (segment) => isLog && (((map[segment >> 3] ?? 0) >> (segment & 7)) & 1) === 1,
  };
}

function isLength(blocks: number): boolean {
  return blocks >= SEGMENT_BLOCKS_MIN && blocks <= SEGMENT_BLOCKS_MAX && (blocks & (blocks - 1)) === 0;
}

function gcd(a: number, b: number): number {
  let x = a;
  let y = b;
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}

/** Whether the device holds anything at all is what tells a lost store from none. */
function nothingProven(image: SalvageImage, hasSuperblocks: boolean): CairnError {
  if (image.readFailure !== undefined) {
    const { cause } = image.readFailure;
    const code = cause instanceof CairnError ? cause.code : "DEVICE_READ";
    const message = "repair: the device fails to read, and what it gave proves nothing. Check the device and its log.";
    return new CairnError(code, "repair", message, { cause });
  }
  const isStore = hasSuperblocks && image.core.exports.probe(image.core.handle) === STATUS_CORRUPT;
  return isStore
    ? new CairnError(
        "CORRUPT",
        "repair",
        "repair: every copy of the superblock is damaged, and no segment header is whole that would tell the store's blocks from others. Restore a backup.",
      )
    : new CairnError("NOT_A_STORE", "repair", "repair: the target holds no trace of a store. Check the path.");
}

const STATUS_CORRUPT = -4;
