/**
 * What protocols tell of their operations: the one place that counts, durations, the list of slow operations and traces are fed from.
 *
 * 1. Telling of an operation costs some nanoseconds: fixed arrays, nothing allocated, no look-up by text, no reading of a clock.
 * 2. Nothing that a client sends makes what is kept larger: operations and statuses are those of fixed tables.
 */
import type { Meter, SlowOperations } from "../context.ts";
import { type Distribution, Histograms } from "./histogram.ts";
import { CHANGES, LABELS, OPERATIONS, PROTOCOLS, type Protocol } from "./operations.ts";

/** Statuses of HTTP that are told apart; the first one stands for all others. */
const STATUSES = [
  0, 101, 200, 201, 204, 206, 207, 304, 400, 401, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 426,
  429, 431, 500, 501, 503, 507,
];
const slots = new Uint8Array(600);
for (const [slot, status] of STATUSES.entries()) slots[status] = slot;

/** Takes what traces need of an operation of a protocol other than HTTP. */
export type Tracing = (operation: number, status: number, ms: number, tenant: string) => void;

export class ServerMeter implements Meter {
  /** Told of each operation over a protocol other than HTTP, while traces are wanted. */
  tracing: Tracing | undefined;
  private readonly slow: SlowOperations;
  private readonly counts = new Float64Array(OPERATIONS.length * STATUSES.length);
  private readonly durations = new Histograms(OPERATIONS.length);
  private readonly open = new Float64Array(PROTOCOLS.length);
  private readonly opened = new Float64Array(PROTOCOLS.length);

  constructor(slow: SlowOperations) {
    this.slow = slow;
  }

  took(operation: number, status: number, ms: number, tenant: string): void {
    this.record(operation, status, ms);
    if (operation !== CHANGES) this.slow.note(LABELS[operation] as string, ms, tenant);
    if (this.tracing !== undefined) this.tracing(operation, status, ms, tenant);
  }

  record(operation: number, status: number, ms: number): void {
    const slot = status < slots.length ? (slots[status] as number) : 0;
    (this.counts[operation * STATUSES.length + slot] as number)++;
    this.durations.add(operation, ms);
  }

  connected(protocol: Protocol): void {
    const at = PROTOCOLS.indexOf(protocol);
    (this.open[at] as number)++;
    (this.opened[at] as number)++;
  }

  disconnected(protocol: Protocol): void {
    (this.open[PROTOCOLS.indexOf(protocol)] as number)--;
  }

  /** Connections of a protocol that are there, and that were made. */
  connections(protocol: Protocol): { open: number; opened: number } {
    const at = PROTOCOLS.indexOf(protocol);
    return { open: this.open[at] as number, opened: this.opened[at] as number };
  }

  /** Operations that there were: their statuses with counts, and durations. */
  *operations(): Generator<{ number: number; statuses: [status: string, count: number][]; durations: Distribution }> {
    for (let number = 0; number < OPERATIONS.length; number++) {
      const statuses: [string, number][] = [];
      for (const [slot, status] of STATUSES.entries()) {
        const count = this.counts[number * STATUSES.length + slot] as number;
        if (count > 0) statuses.push([slot === 0 ? "other" : String(status), count]);
      }
      if (statuses.length > 0) yield { number, statuses, durations: this.durations.read(number) };
    }
  }
}

/** Operations whose answers go out together: one reading of the clock tells when all of them ended. */
export class AnsweredTogether {
  private readonly operations: number[] = [];
  private readonly statuses: number[] = [];
  private readonly starts: number[] = [];

  /** One has its answer, which goes out with the others. `startMs`: when it was known, by `performance.now()`. */
  add(operation: number, status: number, startMs: number): void {
    this.operations.push(operation);
    this.statuses.push(status);
    this.starts.push(startMs);
  }

  /** The answers went out. */
  tell(meter: Pick<Meter, "took">, tenant: string): void {
    const { operations, statuses, starts } = this;
    if (operations.length === 0) return;
    const now = performance.now();
    for (let at = 0; at < operations.length; at++) {
      meter.took(operations[at] as number, statuses[at] as number, now - (starts[at] as number), tenant);
    }
    operations.length = 0;
    statuses.length = 0;
    starts.length = 0;
  }
}
