/**
 * Which calls a store makes of what lies beneath it, how each of them can fail, and what the store must do then: the rows of
 * the table of faults in docs/testing.md that are about a call that fails.
 */
import type { CairnErrorCode } from "../../store/error.ts";

/** Calls of the device, and of the host's clocks and random numbers. */
export const CALL_KINDS = [
  "read",
  "readAsync",
  "write",
  "writeAsync",
  "commitAsync",
  "sync",
  "syncAsync",
  "resize",
  "stat",
  "clock",
  "tick",
  "random",
] as const;
export type CallKind = (typeof CALL_KINDS)[number];

/**
 * - `eio`: the call fails with EIO. Of several pieces some are written all the same. A failed sync drops what it was to make
 *   durable: reads go on showing it.
 * - `odd`: the call throws, or rejects with, something that is no `CairnError`.
 * - `enospc`: there is no room. A part may have been written. Of a sync it is a failed sync.
 * - `sync-eio`: the pieces of a commit are written, and their sync fails.
 * - `short`: a part is done, and the count says so. Of a size: it is smaller than it was.
 * - `zero`: nothing is done and nothing is wrong, the count says: what the end of a device looks like.
 * - `forth`, `back`, `nonsense`: the clock jumps by ten years, back by as many, or shows no number.
 */
export const FAULT_KINDS = ["eio", "odd", "enospc", "sync-eio", "short", "zero", "forth", "back", "nonsense"] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** How each kind of call can fail. `enospc` is for devices that grow. */
export const FAULTS_OF: Record<CallKind, readonly FaultKind[]> = {
  read: ["eio", "odd", "short", "zero"],
  readAsync: ["eio", "odd", "zero"],
  write: ["eio", "odd", "enospc", "short", "zero"],
  writeAsync: ["eio", "odd", "enospc"],
  commitAsync: ["eio", "odd", "enospc", "sync-eio"],
  sync: ["eio", "odd", "enospc"],
  syncAsync: ["eio", "odd", "enospc"],
  resize: ["eio", "odd", "enospc"],
  stat: ["eio", "short"],
  clock: ["forth", "back", "nonsense", "odd"],
  tick: ["forth", "back"],
  random: ["odd"],
};

/**
 * - `once`: this call alone.
 * - `reads`, `writes`: from this one on all that read, or all that write and sync.
 * - `all`: from this one on every call.
 */
export type Lasting = "once" | "reads" | "writes" | "all";

/** A fault of a run. */
export interface Fault {
  /** Index of the call that it strikes, from 0. */
  at: number;
  kind: FaultKind;
  lasts: Lasting;
}

const READS: readonly CallKind[] = ["read", "readAsync", "stat"];
const SYNCS: readonly CallKind[] = ["sync", "syncAsync"];
const WRITES: readonly CallKind[] = ["write", "writeAsync", "commitAsync", "resize", ...SYNCS];

/** Whether a call reads the device. */
export function reads(call: CallKind): boolean {
  return READS.includes(call);
}

/** Whether a call writes to the device, or syncs it. */
export function writes(call: CallKind): boolean {
  return WRITES.includes(call);
}

/** Whether a call only syncs. */
export function syncs(call: CallKind): boolean {
  return SYNCS.includes(call);
}

/** How long faults last that begin with a call: `once` for those of which a second one says no more. */
export function lastingsOf(call: CallKind, kind: FaultKind): readonly Lasting[] {
  if (kind === "short") return call === "stat" ? ["once"] : ["once", "all"];
  if (call === "clock" || call === "tick") return ["once", "all"];
  if (call === "random") return ["once"];
  if (kind === "enospc") return syncs(call) ? ["once"] : ["once", "writes"];
  return reads(call) ? ["once", "reads", "all"] : ["once", "writes", "all"];
}

/** Whether a fault that began with `first` strikes a later `call`. */
export function goesOn(fault: Fault, first: CallKind, call: CallKind): boolean {
  if (fault.lasts === "once" || !FAULTS_OF[call].includes(fault.kind)) return false;
  if (fault.kind === "enospc") return writes(call) && !syncs(call);
  if (fault.kind === "short") return call !== "stat";
  if (!reads(first) && !writes(first)) return call === first;
  if (fault.lasts === "reads") return reads(call);
  if (fault.lasts === "writes") return writes(call);
  return reads(call) || writes(call);
}

/** What the table asks of a store that was open when the calls of a run failed. */
export interface Required {
  /** Codes with which calls may be refused. */
  codes: readonly CairnErrorCode[];
  /** Whether the store takes no more calls: it must, it must not, or either. */
  poisoned: boolean | "either";
}

const NOTHING: Required = { codes: [], poisoned: false };

/** What is required when a fault has struck calls of these kinds. `lasting`: it struck more than one. */
export function requiredOf(kind: FaultKind, struck: readonly CallKind[]): Required {
  const all = struck.map((call) => requiredOfOne(kind, call));
  const codes = [...new Set(all.flatMap((one) => one.codes))];
  if (all.some(({ poisoned }) => poisoned === true)) return { codes, poisoned: true };
  return { codes, poisoned: all.some(({ poisoned }) => poisoned === "either") ? "either" : false };
}

function requiredOfOne(kind: FaultKind, call: CallKind): Required {
  if (kind === "short") return call === "stat" ? { codes: ["DEVICE_SHRUNK"], poisoned: "either" } : NOTHING;
  if (call === "clock" || call === "tick") return NOTHING;
  // What throws there has no status of its own: the core stops, and the store with it.
  if (call === "random") return { codes: ["POISONED"], poisoned: true };
  if (kind === "enospc" && !syncs(call)) return { codes: ["NO_SPACE"], poisoned: false };
  // What is read ahead of its use may fail: the read that needs it tells.
  if (kind === "zero" && reads(call)) return { codes: ["DEVICE_SHRUNK", "POISONED"], poisoned: "either" };
  if (reads(call)) return { codes: ["DEVICE_READ"], poisoned: false };
  return { codes: ["DEVICE_WRITE", "POISONED"], poisoned: true };
}
