/** What `repair` says of its work. */
import type { FaultPlace } from "../verify.ts";
import type { BlockCounts } from "./lives.ts";

/** How far a repair is. `done` and `total` count blocks of the damaged device, each of which is read up to three times. */
export interface RepairProgress {
  /** What is under way. */
  phase: "repair";
  /** What lies where; which records there are; copying them; proving the copy. */
  step: "survey" | "collect" | "copy" | "verify";
  /** Blocks done in this step. */
  done: number;
  /** Blocks of this step in all, as far as is known. */
  total: number;
}

/** Something that counted and is not there. */
export interface RepairGap {
  /**
   * `blocks`: blocks that held records. `header`: the header of a segment, or the note in it, which says what counts.
   * `segment`: all of a segment, or so much that nobody can tell what it was. `end`: the newest part of the log, which was
   * durable.
   */
  kind: "blocks" | "header" | "segment" | "end";
  /** Absent for `end`, and where it is not known which segment it is. */
  place?: FaultPlace;
  /** How many blocks, where that is known. */
  blocks?: number;
  /** No record that it held had a higher version; absent when nothing says so. */
  version?: number;
}

/** A key that needs attention. */
export interface RepairKey {
  /** As encoded. */
  key: Uint8Array;
  /** Version of the record. */
  version: number;
  /** Where the record lies on the damaged device. */
  place: FaultPlace;
  /** For unproven ones. */
  reason?: RepairDoubt;
}

/**
 * Why a value went to the unproven output:
 *
 * - `exposed`: it is whole and counted, and no newer one was found; but something that is missing may have held a later
 *   write of this key, or its deletion. `keepExposed` puts these into the repaired store.
 * - `batch`: it is of a batch of which a part is missing.
 * - `older`: the newest value of this key is lost; this is the newest one that is whole.
 * - `apart`: it lies where nothing counts any more, or does not count yet: in space that was freed, or behind the end of the
 *   log. It may have been overwritten or deleted long ago, or never have been acknowledged.
 */
export type RepairDoubt = "exposed" | "batch" | "older" | "apart";

/** What `repair` resolves with. */
export interface RepairReport {
  /** Whether everything that was durable is in the repaired store, as far as the device can tell. */
  complete: boolean;
  /** Where the repaired store is; `undefined` for a device of the program's own. */
  output: string | undefined;
  /** Where unproven values are; `undefined` when there are none, or for a device of the program's own. */
  unproven: string | undefined;
  /** Where the damaged store is kept after a repair in place. */
  damaged: string | undefined;
  /** Copies of the superblock that were intact, of four. */
  superblocksIntact: number;
  /** Whether there was none, so that it was worked out from the segments. */
  superblockRebuilt: boolean;
  /** Blocks of 4,096 bytes, the superblock's copies apart, by what they are. */
  blocks: BlockCounts;
  /** Records met in sound blocks, garbage included. */
  recordsRead: number;
  /** Keys in the repaired store. */
  keysRepaired: number;
  /** Keys in the unproven store. */
  keysUnproven: number;
  /** The same by their reason. */
  doubts: Record<RepairDoubt, number>;
  /** Keys whose newest value is lost. */
  keysLost: number;
  /** The lowest version of the repaired store's records; 0 when it is empty. */
  versionFirst: number;
  /** The highest one; 0 when it is empty. */
  versionLast: number;
  /**
   * The highest version that anything missing can have had: values that are not known to be the newest above it are
   * `exposed`. Absent when nothing is missing, or nothing says how new it was.
   */
  horizon: number | undefined;
  /** What is missing; at most 1,000. */
  gaps: RepairGap[];
  /** How many there are. */
  gapCount: number;
  /** Keys whose newest value is lost; at most 1,000. */
  lost: RepairKey[];
  /** Unproven keys; at most 1,000. */
  unprovenKeys: RepairKey[];
  /** How long it took, in milliseconds. */
  ms: number;
}
