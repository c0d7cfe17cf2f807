/**
 * What becomes of each key, from the versions that were found of it. See `RepairReport` for the words.
 */
import type { Collected } from "./collect.ts";
import {
  type KeyTable,
  type PartPlace,
  VERSION_BROKEN,
  VERSION_DELETE,
  VERSION_PARTS,
  VERSION_STANDS,
  type Version,
} from "./key-table.ts";
import type { Life } from "./lives.ts";

/** Where a version goes. */
export type Destination = "repaired" | "unproven";
/** Why a key's version is not proven. */
export type UnprovenReason = "exposed" | "batch" | "older" | "apart";

/** What becomes of a key. */
export interface Verdict {
  /** Its records that are taken, the first of its value first, and where they go. */
  repaired?: Taken;
  unproven?: Taken & { reason: UnprovenReason };
  /** Whether its newest value is known to have been there, and is not whole. */
  lost?: { sequence: number; address: number };
}

/** A version that is taken. */
export interface Taken {
  sequence: number;
  /** Addresses of its records. */
  addresses: number[];
}

interface Parts {
  /** First records of values in several parts, by their address. */
  firsts: Map<number, PartPlace>;
  /** Their further parts, by sequence and number. */
  further: Map<number, Map<number, PartPlace>>;
}

/** Versions of one key with one sequence that are tried. */
const SAME_SEQUENCE_MAX = 64;

/** Judges keys. */
export class Judge {
  private readonly table: KeyTable;
  private readonly lives: readonly Life[];
  private readonly collected: Collected;
  private readonly rankOf: (life: number) => number;
  private readonly keepExposed: boolean;
  /** Sequences up to here may have been missed. */
  readonly horizon: number;

  constructor(
    table: KeyTable,
    lives: readonly Life[],
    collected: Collected,
    rankOf: (life: number) => number,
    keepExposed: boolean,
  ) {
    this.table = table;
    this.lives = lives;
    this.collected = collected;
    this.rankOf = rankOf;
    this.keepExposed = keepExposed;
    this.horizon = collected.gaps.reduce((highest, { bound }) => Math.max(highest, bound), -1);
  }

  /** What becomes of an entry. */
  verdict(entry: number): Verdict {
    const versions = this.table.versionsOf(entry);
    const parts = this.partsOf(entry);
    const tried = new Map<number, number>();
    const whole: (Taken & { version: Version })[] = [];
    const verdict: Verdict = {};
    let current: (Taken & { version: Version }) | undefined;
    let broken: Version | undefined;
    for (const version of versions) {
      // A batch may give a key several values; an image with more of them is no store's.
      const times = tried.get(version.sequence) ?? 0;
      tried.set(version.sequence, times + 1);
      const addresses = times < SAME_SEQUENCE_MAX ? this.addressesOf(version, parts) : undefined;
      const stands = (version.bits & VERSION_STANDS) !== 0;
      if (addresses !== undefined) {
        const taken = { sequence: version.sequence, addresses, version };
        whole.push(taken);
        // The same version elsewhere is the same value.
        if (current === undefined && (stands || version.sequence === broken?.sequence)) current = taken;
      } else if (stands && current === undefined && broken === undefined) {
        broken = version;
      }
    }
    if (broken !== undefined && current?.sequence !== broken.sequence) {
      verdict.lost = { sequence: broken.sequence, address: broken.address };
      current = undefined;
    }
    const deletes = (taken: { version: Version } | undefined): boolean =>
      taken !== undefined && (taken.version.bits & VERSION_DELETE) !== 0;
    if (current !== undefined && !deletes(current)) {
      const reason = this.doubt(current.version, versions);
      if (reason === undefined) verdict.repaired = current;
      else verdict.unproven = { ...current, reason };
    }
    // The newest of all, if it is another one: a deletion that never counted still says that older ones are gone.
    const newest = whole[0];
    if (newest === undefined || newest === current || deletes(newest)) return verdict;
    if (verdict.lost === undefined && current !== undefined && newest.sequence <= current.sequence) return verdict;
    const stands = (newest.version.bits & VERSION_STANDS) !== 0;
    verdict.unproven = { ...newest, reason: stands ? "older" : "apart" };
    return verdict;
  }

  /** Why a version that stands, the newest of its key, may not be what the key held last. */
  private doubt(version: Version, versions: readonly Version[]): UnprovenReason | undefined {
    if (this.collected.brokenBatches.has(version.sequence)) return "batch";
    if (this.keepExposed) return undefined;
    let known = version.sequence;
    // Copies are of what was not deleted, and not overwritten, when they were begun.
    for (const { sequence, life, bits } of versions) {
      if (sequence !== version.sequence || (bits & VERSION_STANDS) === 0) continue;
      known = Math.max(known, this.lives[life]?.born ?? 0);
    }
    return known <= this.horizon ? "exposed" : undefined;
  }

  /** Where the records of a version lie, all its parts; `undefined` when one is missing. */
  private addressesOf(version: Version, parts: Parts): number[] | undefined {
    if ((version.bits & VERSION_BROKEN) !== 0) return undefined;
    if ((version.bits & VERSION_PARTS) === 0) return [version.address];
    const first = parts.firsts.get(version.address);
    const further = parts.further.get(version.sequence);
    if (first === undefined || further === undefined || first.count < 2 || further.size < first.count - 1)
      return undefined;
    const addresses = [version.address];
    let size = first.size;
    for (let number = 1; number < first.count; number++) {
      const found = further.get(number);
      if (found === undefined) return undefined;
      addresses.push(found.address);
      size += found.size;
    }
    return size === first.valueSize ? addresses : undefined;
  }

  /** The parts of an entry by what they are looked for by; of one part in several places, the one that stands. */
  private partsOf(entry: number): Parts {
    const parts: Parts = { firsts: new Map(), further: new Map() };
    for (const part of this.table.parts.get(entry) ?? []) {
      if (part.count > 0) {
        parts.firsts.set(part.address, part);
        continue;
      }
      const further = parts.further.get(part.sequence) ?? new Map<number, PartPlace>();
      parts.further.set(part.sequence, further);
      const present = further.get(part.part);
      if (present === undefined || this.isLater(part, present)) further.set(part.part, part);
    }
    return parts;
  }

  private isLater(a: PartPlace, b: PartPlace): boolean {
    if (a.stands !== b.stands) return a.stands;
    const rank = this.rankOf(a.life) - this.rankOf(b.life);
    return rank === 0 ? a.address > b.address : rank > 0;
  }
}
