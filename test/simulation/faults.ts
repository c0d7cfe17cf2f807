/** What goes wrong with the simulated device, and when: planned before the run, so that a run can be repeated without it. */

/**
 * - `write-error`, `sync-error`, `read-error`: the operation fails with EIO. A failed write may have done a part of its
 *   work. A failed sync drops what it was to make durable, all or some of it: reads go on seeing the new bytes.
 * - `no-space`: writes of a growing device fail for want of room, though its size covers them; so does growing.
 * - `lost-write`, `misdirected-write`, `lying-sync`, `rot`: the device says that all is well. From then on it is not
 *   trusted, and a store over it may lose what it had acknowledged, but must never return bytes that were not written.
 */
export const FAULT_KINDS = [
  "write-error",
  "sync-error",
  "read-error",
  "no-space",
  "lost-write",
  "misdirected-write",
  "lying-sync",
  "rot",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Faults after which what the device holds is not what it said that it holds. */
export const SILENT: readonly FaultKind[] = ["lost-write", "misdirected-write", "lying-sync", "rot"];

/** The kind of operation that a fault waits for. */
export type Operation = "read" | "write" | "sync";
const OPERATION_OF: Record<FaultKind, Operation> = {
  "write-error": "write",
  "sync-error": "sync",
  "read-error": "read",
  "no-space": "write",
  "lost-write": "write",
  "misdirected-write": "write",
  "lying-sync": "sync",
  rot: "write",
};

/** One fault of a run. */
export interface Fault {
  /** Its number in the run's plan. */
  index: number;
  kind: FaultKind;
  /** The life of the store, from 0, in which it strikes. */
  life: number;
  /** So many operations of its kind go well before, from the life's opening on. */
  after: number;
  /** So many in a row fail: 1 for once, `Infinity` for good, which a power cut ends. */
  lasts: number;
}

/** The faults of one life, as its operations meet them. */
export class FaultSchedule {
  private readonly faults: readonly Fault[];
  private readonly counts: Record<Operation, number> = { read: 0, write: 0, sync: 0 };
  /** Kinds that have struck in this life. */
  readonly struck = new Set<FaultKind>();

  constructor(faults: readonly Fault[], life: number) {
    this.faults = faults.filter((fault) => fault.life === life);
  }

  /** Counts an operation: the fault that strikes it, if one does. */
  meet(operation: Operation): FaultKind | undefined {
    if (this.faults.length === 0) return undefined;
    const count = this.counts[operation]++;
    for (const { kind, after, lasts } of this.faults) {
      if (OPERATION_OF[kind] !== operation || count < after || count >= after + lasts) continue;
      this.struck.add(kind);
      return kind;
    }
    return undefined;
  }

  /** Whether a fault has struck after which nothing that the device says is certain. */
  get isSilent(): boolean {
    return SILENT.some((kind) => this.struck.has(kind));
  }
}
