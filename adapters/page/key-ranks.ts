/**
 * Keys by their rank: the 500,000th key with a prefix, without fetching those before it.
 *
 * A store seeks by key and counts a range at about 1 ns a key. So a rank is found by guessing a key between two places
 * that are known, counting up to it, and going on in the half that holds the rank; the last steps are walked. Places
 * that were found are kept, so that scrolling on from one costs a single short walk.
 */
import { compareKeys } from "../key-bytes.ts";

/** Where the keys come from: a connection to a store, or whatever answers the same calls. */
export interface KeySource {
  /** `version` changes with the keys. */
  stats(): Promise<{ version: number }>;
  /** How many keys there are of a range. */
  count(range: { prefix: Uint8Array; gte?: Uint8Array; lt?: Uint8Array }): Promise<number>;
  /** The keys of a range in their order. */
  keys(range: {
    prefix: Uint8Array;
    gte?: Uint8Array;
    lt?: Uint8Array;
    limit: number;
    reverse?: boolean;
  }): AsyncIterable<Uint8Array>;
}

/** So many keys are walked rather than guessed at. */
const WALK_COUNT = 1_000;
/** Bytes that a guess works with, behind what both ends have in common. */
const GUESS_SIZE = 12;
const GUESS_COUNT_MAX = 60;
const PLACE_COUNT_MAX = 2_000;

/** Exactly `rank` keys of the range lie before `key`, which itself need not be one. */
interface Place {
  rank: number;
  key: Uint8Array;
}

/** The keys that start with a prefix, at one version of the store. Make a new one when the store has changed. */
export class KeyRanks {
  /** How many keys there are. */
  readonly count: number;
  /** Version of the store that the count is of. */
  readonly version: number;
  /** What all of them start with. */
  readonly prefix: Uint8Array;
  private readonly source: KeySource;
  /** Sorted by rank. */
  private readonly places: Place[];

  private constructor(source: KeySource, prefix: Uint8Array, version: number, count: number, places: Place[]) {
    this.source = source;
    this.prefix = prefix;
    this.version = version;
    this.count = count;
    this.places = places;
  }

  /** Counts the keys and finds both ends. */
  static async of(source: KeySource, prefix: Uint8Array): Promise<KeyRanks> {
    const { version } = await source.stats();
    const [count, first, last] = await Promise.all([
      source.count({ prefix }),
      firstOf(source.keys({ prefix, limit: 1 })),
      firstOf(source.keys({ prefix, limit: 1, reverse: true })),
    ]);
    const places: Place[] = [];
    if (first !== undefined) places.push({ rank: 0, key: first });
    if (last !== undefined && count > 1) places.push({ rank: count - 1, key: last });
    return new KeyRanks(source, prefix, version, count, places);
  }

  /** The keys of the ranks from `first` on, at most `count`. */
  async window(first: number, count: number): Promise<Uint8Array[]> {
    if (first >= this.count || this.places.length === 0) return [];
    const from = await this.near(first);
    const skipped = first - from.rank;
    const keys = await listOf(this.source.keys({ prefix: this.prefix, gte: from.key, limit: skipped + count }));
    const found = keys.slice(skipped);
    if (found[0] !== undefined) this.keep({ rank: first, key: found[0] });
    return found;
  }

  /** The rank of a key, or of the first one behind it when it is not there. */
  rankOf(key: Uint8Array): Promise<number> {
    return this.source.count({ prefix: this.prefix, lt: key });
  }

  /** A place at or before a rank, close enough to walk from. */
  private async near(rank: number): Promise<Place> {
    let below = this.places[0] as Place;
    let above: Place | undefined;
    for (const place of this.places) {
      if (place.rank <= rank) below = place;
      else {
        above = place;
        break;
      }
    }
    for (let guesses = 0; rank - below.rank > WALK_COUNT; guesses++) {
      const key = above && guesses < GUESS_COUNT_MAX ? guess(below, above, rank, guesses) : undefined;
      if (key === undefined) {
        below = await this.walk(below, Math.min(rank - below.rank, 10 * WALK_COUNT));
        continue;
      }
      const between = await this.source.count({ prefix: this.prefix, gte: below.key, lt: key });
      const guessed = { rank: below.rank + between, key };
      // A guess into a gap says little: the key at the gap's other side halves what is left.
      const isGap = between === 0 || guessed.rank === above?.rank;
      const place = isGap ? await this.besideGap(guessed, between === 0) : guessed;
      if (place.rank <= rank) below = place;
      else above = place;
      this.keep(place);
    }
    return below;
  }

  /** The first key behind a gap, or the last one before it, as a place. */
  private async besideGap({ rank, key }: Place, isBehind: boolean): Promise<Place> {
    const { prefix } = this;
    const range = isBehind ? { prefix, gte: key, limit: 1 } : { prefix, lt: key, limit: 1, reverse: true };
    const found = await firstOf(this.source.keys(range));
    return found === undefined ? { rank, key } : { rank: isBehind ? rank : rank - 1, key: found };
  }

  /** The place `count` keys on: for keys so much alike that no guess falls between them. */
  private async walk(from: Place, count: number): Promise<Place> {
    const keys = await listOf(this.source.keys({ prefix: this.prefix, gte: from.key, limit: count + 1 }));
    const place = { rank: from.rank + count, key: keys[count] ?? (this.places.at(-1) as Place).key };
    this.keep(place);
    return place;
  }

  private keep(place: Place): void {
    const { places } = this;
    let low = 0;
    let high = places.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((places[middle] as Place).rank < place.rank) low = middle + 1;
      else high = middle;
    }
    if (places[low]?.rank === place.rank) return;
    places.splice(low, 0, place);
    // The ends stay; of the rest, every second place goes.
    if (places.length > PLACE_COUNT_MAX) {
      const kept = places.filter((_, index) => index === 0 || index === places.length - 1 || index % 2 === 0);
      places.splice(0, places.length, ...kept);
    }
  }
}

/** A key between two places: where the rank would lie if keys were spread evenly, and every other time in the middle. */
function guess(below: Place, above: Place, rank: number, guesses: number): Uint8Array | undefined {
  let common = 0;
  while (common < below.key.length && below.key[common] === above.key[common]) common++;
  const low = numberAt(below.key, common);
  const high = numberAt(above.key, common);
  const share = guesses % 2 === 0 ? (rank - below.rank) / (above.rank - below.rank) : 0.5;
  const middle = low + ((high - low) * BigInt(Math.round(share * 65_536))) / 65_536n;
  if (middle <= low || middle >= high) return undefined;
  // With a zero at its end: what lies before it is what lies up to the key without, which ranges of any kind can ask for.
  const key = new Uint8Array(common + GUESS_SIZE + 1);
  key.set(above.key.subarray(0, common));
  let rest = middle;
  for (let index = common + GUESS_SIZE - 1; index >= common; index--) {
    key[index] = Number(rest & 255n);
    rest >>= 8n;
  }
  return compareKeys(key, below.key) > 0 && compareKeys(key, above.key) < 0 ? key : undefined;
}

/** Bytes of a key from an offset on as one number; what is behind the key's end counts as zero. */
function numberAt(key: Uint8Array, offset: number): bigint {
  let number = 0n;
  for (let index = 0; index < GUESS_SIZE; index++) number = (number << 8n) | BigInt(key[offset + index] ?? 0);
  return number;
}

async function firstOf(keys: AsyncIterable<Uint8Array>): Promise<Uint8Array | undefined> {
  for await (const key of keys) return key;
  return undefined;
}

async function listOf(keys: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const list: Uint8Array[] = [];
  for await (const key of keys) list.push(key);
  return list;
}
