/**
 * Every key that was found, and of each the versions that may still matter, in memory that is bounded.
 *
 * Keys lie in an arena, entries and versions in columns of typed arrays that grow by chunks; a hash table of entries finds
 * a key. Of a key's versions that are whole and stand, those below the newest are dropped as they come, and so are those
 * that are apart; versions of values in several parts, of which nobody knows yet whether they are whole, are all kept.
 */
import { outOfMemory } from "./lives.ts";

const CHUNK = 65_536;
const ARENA_CHUNK = 1_048_576;
/** What an entry and a version take in the columns, and in the hash table at most. */
const ENTRY_BYTES = 8 + 2 + 4 + 4 + 16;
const VERSION_BYTES = 4 + 8 + 8 + 4 + 1;
const PART_BYTES = 120;
const UNSURE_MAX = 256;

/** Bits of a version. */
export const VERSION_DELETE = 1;
/** Its life stands. */
export const VERSION_STANDS = 2;
/** Its value is not whole. */
export const VERSION_BROKEN = 4;
/** Its value has several parts. */
export const VERSION_PARTS = 8;

/** Part of a value, as it was found. */
export interface PartPlace {
  sequence: number;
  /** 0 is the first record of the value, whose `count` says how many there are. */
  part: number;
  count: number;
  size: number;
  valueSize: number;
  address: number;
  life: number;
  stands: boolean;
}

/** A column of numbers that grows by chunks. */
class Column {
  private readonly chunks: (Float64Array | Int32Array | Uint8Array)[] = [];
  private readonly make: () => Float64Array | Int32Array | Uint8Array;

  constructor(make: () => Float64Array | Int32Array | Uint8Array) {
    this.make = make;
  }

  get(i: number): number {
    return (this.chunks[i >>> 16] as Float64Array)[i & 0xffff] as number;
  }

  set(i: number, value: number): void {
    while (this.chunks.length <= i >>> 16) this.chunks.push(this.make());
    (this.chunks[i >>> 16] as Float64Array)[i & 0xffff] = value;
  }
}

const doubles = (): Column => new Column(() => new Float64Array(CHUNK));
const words = (): Column => new Column(() => new Int32Array(CHUNK));
const octets = (): Column => new Column(() => new Uint8Array(CHUNK));

/** See the head of this file. */
export class KeyTable {
  private readonly limit: number;
  private used = 0;
  private slots = new Int32Array(1024).fill(-1);
  private readonly arena: Uint8Array[] = [];
  private arenaUsed = ARENA_CHUNK;
  /** Entries. */
  count = 0;
  private readonly keyAt = doubles();
  private readonly keySize = words();
  private readonly hash = words();
  private readonly head = words();
  /** Versions, in a list for each entry, the highest sequence first. */
  private versionCount = 0;
  private free = -1;
  private readonly next = words();
  private readonly sequences = doubles();
  private readonly addresses = doubles();
  private readonly lives = words();
  private readonly bits = octets();
  /** Parts of values, by entry. */
  readonly parts = new Map<number, PartPlace[]>();
  /** Which of two lives is later: copies stand before the log. */
  private readonly rankOf: (life: number) => number;

  /** `limit` in bytes. `rankOf` orders lives: of two versions with one sequence, that of the higher rank stands. */
  constructor(limit: number, rankOf: (life: number) => number) {
    this.limit = limit;
    this.rankOf = rankOf;
  }

  /** Counts memory that is kept; `OUT_OF_MEMORY` beyond the limit. */
  charge(bytes: number): void {
    this.used += bytes;
    if (this.used > this.limit) throw outOfMemory(this.limit);
  }

  /** The entry of a key, which is made when there is none. */
  entryOf(key: Uint8Array): number {
    const hash = hashOf(key);
    const mask = this.slots.length - 1;
    let slot = hash & mask;
    for (let entry = this.slots[slot] as number; entry >= 0; entry = this.slots[slot] as number) {
      if (this.hash.get(entry) === hash && this.isKey(entry, key)) return entry;
      slot = (slot + 1) & mask;
    }
    this.charge(ENTRY_BYTES + key.length);
    const entry = this.count++;
    this.slots[slot] = entry;
    this.keyAt.set(entry, this.keep(key));
    this.keySize.set(entry, key.length);
    this.hash.set(entry, hash);
    this.head.set(entry, -1);
    if (this.count * 2 > this.slots.length) this.grow();
    return entry;
  }

  /** The entry of a key, -1 when there is none. */
  find(key: Uint8Array): number {
    const hash = hashOf(key);
    const mask = this.slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const entry = this.slots[slot] as number;
      if (entry < 0) return -1;
      if (this.hash.get(entry) === hash && this.isKey(entry, key)) return entry;
    }
  }

  /** A copy of an entry's key. */
  keyOf(entry: number): Uint8Array {
    const at = this.keyAt.get(entry);
    const chunk = this.arena[Math.floor(at / ARENA_CHUNK)] as Uint8Array;
    const from = at % ARENA_CHUNK;
    return chunk.slice(from, from + this.keySize.get(entry));
  }

  /** Adds a version to a key, and drops those that cannot matter any more. */
  add(entry: number, version: { sequence: number; address: number; life: number; bits: number }): void {
    const { sequence, address, life, bits } = version;
    let before = -1;
    let at = this.head.get(entry);
    for (let walked = 0; at >= 0 && this.isLater(at, version); walked++) {
      // No store has so many values of one key of which none is whole: what is behind them is not looked for.
      if (walked === UNSURE_MAX) return;
      // A later one that is whole, and stands where this one does, makes this one matter no more.
      if (!this.isUnsure(at) && this.stands(at) >= (bits & VERSION_STANDS)) return;
      before = at;
      at = this.next.get(at);
    }
    let made = this.free;
    if (made >= 0) this.free = this.next.get(made);
    else {
      this.charge(VERSION_BYTES);
      made = this.versionCount++;
    }
    this.sequences.set(made, sequence);
    this.addresses.set(made, address);
    this.lives.set(made, life);
    this.bits.set(made, bits);
    this.next.set(made, at);
    if (before < 0) this.head.set(entry, made);
    else this.next.set(before, made);
    if (!this.isUnsure(made)) this.prune(made);
  }

  /** The versions of an entry, the highest sequence first. */
  versionsOf(entry: number): Version[] {
    const versions: Version[] = [];
    for (let at = this.head.get(entry); at >= 0; at = this.next.get(at)) {
      versions.push({
        sequence: this.sequences.get(at),
        address: this.addresses.get(at),
        life: this.lives.get(at),
        bits: this.bits.get(at),
      });
    }
    return versions;
  }

  /** Adds a part of a value. */
  addPart(entry: number, part: PartPlace): void {
    this.charge(PART_BYTES);
    const parts = this.parts.get(entry);
    if (parts === undefined) this.parts.set(entry, [part]);
    else parts.push(part);
  }

  /** Drops what is behind a version that is whole: of those that stand, if it stands, and of those that are apart. */
  private prune(from: number): void {
    const keeps = this.stands(from);
    let before = from;
    for (let at = this.next.get(from); at >= 0; at = this.next.get(before)) {
      if (this.stands(at) > keeps) {
        before = at;
        continue;
      }
      this.next.set(before, this.next.get(at));
      this.next.set(at, this.free);
      this.free = at;
    }
  }

  private stands(version: number): number {
    return this.bits.get(version) & VERSION_STANDS;
  }

  private isUnsure(version: number): boolean {
    return (this.bits.get(version) & (VERSION_BROKEN | VERSION_PARTS)) !== 0;
  }

  /** Whether a version is later than another, or the same one in a place that counts for more. */
  private isLater(at: number, other: { sequence: number; address: number; life: number; bits: number }): boolean {
    const sequence = this.sequences.get(at);
    if (sequence !== other.sequence) return sequence > other.sequence;
    const stands = this.stands(at) - (other.bits & VERSION_STANDS);
    if (stands !== 0) return stands > 0;
    const rank = this.rankOf(this.lives.get(at)) - this.rankOf(other.life);
    return rank === 0 ? this.addresses.get(at) > other.address : rank > 0;
  }

  private isKey(entry: number, key: Uint8Array): boolean {
    if (this.keySize.get(entry) !== key.length) return false;
    const at = this.keyAt.get(entry);
    const chunk = this.arena[Math.floor(at / ARENA_CHUNK)] as Uint8Array;
    const from = at % ARENA_CHUNK;
    for (let i = 0; i < key.length; i++) if (chunk[from + i] !== key[i]) return false;
    return true;
  }

  private keep(key: Uint8Array): number {
    if (this.arenaUsed + key.length > ARENA_CHUNK) {
      this.arena.push(new Uint8Array(ARENA_CHUNK));
      this.arenaUsed = 0;
    }
    const at = (this.arena.length - 1) * ARENA_CHUNK + this.arenaUsed;
    (this.arena.at(-1) as Uint8Array).set(key, this.arenaUsed);
    this.arenaUsed += key.length;
    return at;
  }

  private grow(): void {
    const slots = new Int32Array(this.slots.length * 2).fill(-1);
    const mask = slots.length - 1;
    for (let entry = 0; entry < this.count; entry++) {
      let slot = this.hash.get(entry) & mask;
      while ((slots[slot] as number) >= 0) slot = (slot + 1) & mask;
      slots[slot] = entry;
    }
    this.slots = slots;
  }
}

/** A version of a key. */
export interface Version {
  sequence: number;
  address: number;
  life: number;
  bits: number;
}

/** By a secret of this run, so that no image can be made whose keys collide. */
const SECRET = Math.floor(Math.random() * 0x1_0000_0000) | 0;

function hashOf(key: Uint8Array): number {
  let hash = SECRET;
  for (let i = 0; i < key.length; i++) {
    hash = Math.imul(hash ^ (key[i] as number), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  return hash ^ (hash >>> 13);
}
