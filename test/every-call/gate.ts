/** Counts the calls of a run in their order, and says which of them fail. */
import { type CallKind, type Fault, type FaultKind, goesOn } from "./faults.ts";

/** Failed reads of one place within one call of the store: the first one, and two more tries. */
const READS_OF_A_PLACE_MAX = 3;
/** Below are the superblocks: each commit looks at them, those that the store makes by itself as well. */
const PLACES_OFFSET = 1_048_576;

/** See above. Nothing is counted, and nothing fails, until `begin`. */
export class Gate {
  /** Kinds of the calls so far. */
  readonly calls: CallKind[] = [];
  /** Kinds of the calls that failed. */
  readonly struck: CallKind[] = [];
  /** What must not be: told here, for what is thrown beneath the core becomes a status. */
  readonly violations: string[] = [];
  /** Called when a call is about to fail for the first time. */
  onStrike: (() => void) | undefined;
  /** Whether what fails is to be read three times at most until `nextCall`. */
  boundsReads = true;
  private readonly fault: Fault | undefined;
  private readonly expected: CallKind | undefined;
  private counts = false;
  private failedReads = new Map<number, number>();

  /** `expected` is the kind of the call that the fault strikes, as it was counted before. */
  constructor(fault?: Fault, expected?: CallKind) {
    this.fault = fault;
    this.expected = expected;
  }

  begin(): void {
    this.counts = true;
  }

  /** Nothing fails any more, and nothing is counted. */
  end(): void {
    this.counts = false;
  }

  /** Whether faults may still come. */
  get isOpen(): boolean {
    return this.counts && this.fault !== undefined;
  }

  /** Counts a call: how it fails, if it does. */
  meet(call: CallKind, offset = -1): FaultKind | undefined {
    if (!this.counts) return undefined;
    const kind = this.peek(call);
    this.calls.push(call);
    if (kind === undefined) return undefined;
    if (this.struck.length === 0) {
      if (call !== this.expected) {
        this.violations.push(`call ${this.fault?.at} was ${this.expected} when they were counted, and is ${call}`);
      }
      this.onStrike?.();
    }
    this.struck.push(call);
    if (this.boundsReads && offset >= PLACES_OFFSET && kind !== "short") this.countRead(offset);
    return kind;
  }

  /** How the next call would fail, if it is of this kind. */
  peek(call: CallKind): FaultKind | undefined {
    const { fault } = this;
    if (!this.counts || fault === undefined) return undefined;
    const at = this.calls.length;
    if (at === fault.at) return fault.kind;
    if (at < fault.at || !goesOn(fault, this.expected as CallKind, call)) return undefined;
    return fault.kind;
  }

  /** Another call of the store begins: what was read in vain before may be read again. */
  nextCall(): void {
    this.failedReads = new Map();
  }

  private countRead(offset: number): void {
    const count = (this.failedReads.get(offset) ?? 0) + 1;
    this.failedReads.set(offset, count);
    if (count > READS_OF_A_PLACE_MAX) this.violations.push(`what cannot be read at ${offset} is read ${count} times`);
  }
}
