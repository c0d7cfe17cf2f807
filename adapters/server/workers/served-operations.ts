/**
 * Operations that a worker has its owner do: one call each, so that what is one step without workers stays one.
 *
 * They travel as the call `serve`, whose argument is an array: a number of `SERVE`, and what it takes. All text in it is UTF-8, and comes as
 * bytes. What is refused in the terms of HTTP comes back as `{ failure: [status, message, retryAfter] }`.
 */
import type { ClientViews, HeldSnapshot } from "../../../store/connection/faces.ts";
import type { WireView } from "../../../store/connection/wire.ts";
import type { Entry } from "../../../store/entry.ts";
import { CairnError } from "../../../store/error.ts";
import type { SegmentUse } from "../../../store/segments.ts";
import { textOf } from "../bytes-as-text.ts";
import { failureOf } from "../failure.ts";
import type { StoreOperations } from "../operations/store-operations.ts";
import type { WalkRange } from "../operations/walk.ts";
import type { ServedWriteOptions } from "../operations.ts";
import type { SnapshotKeeper } from "../rest/snapshots.ts";
import type { Tenants, View } from "../tenants.ts";

/** What may be asked. */
export const SERVE = {
  /** number, namespace: from now on the number stands for it. */
  space: 0,
  /** space, key: the value as bytes. */
  get: 1,
  /** space, key: `ServedRow`. */
  entry: 2,
  /** space, key, value, options: whether it was done, and the version. */
  put: 3,
  /** space, key, options: whether it was there. */
  delete: 4,
  /** space, key, patch, most bytes, options: whether it was done, and the version. */
  patch: 5,
  /** space, key, by: the sum, and the version. */
  increment: 6,
  /** space, key, by, version or `null`: the same, without a sum where the condition does not hold. */
  incrementIf: 7,
  /** space, range: how many there were. */
  deleteRange: 8,
  /** The version of the last write. */
  version: 9,
  /** first, count: `SegmentUse`s. */
  segments: 10,
  /** tenant: `{ id, version }` of a new snapshot. */
  takeSnapshot: 11,
  /** id, tenant: a view of the worker's, its owner, its version. */
  holdSnapshot: 12,
  /** id, tenant: whether it was there. */
  removeSnapshot: 13,
} as const;

/** Those of them that may wait for the device, and bring a value. */
export const READS: ReadonlySet<unknown> = new Set([SERVE.get, SERVE.entry]);

/** A record: value, version, expiry, timestamp. */
export type ServedRow = [
  value: Uint8Array,
  version: number,
  expiresAt: number | undefined,
  timestamp: number | undefined,
];

/** A refusal in the terms of HTTP. */
export interface SentFailure {
  failure: [status: number, message: string, retryAfter: number | undefined];
}

/** What the operations of a store need. */
export interface ServedStoreParts {
  readonly tenants: Tenants;
  readonly snapshots: SnapshotKeeper;
  segments(first: number, count: number): SegmentUse[];
  /** The version of the last write. */
  version(): number;
  /** A view of this moment. */
  snapshot(): View;
}

/** The operations of one worker. */
export class ServedOperations {
  private readonly parts: ServedStoreParts;
  private readonly spaces: StoreOperations[] = [];
  /** What this worker reads through. What it has not let go when it ends is let go then. */
  private readonly views: ClientViews;

  constructor(parts: ServedStoreParts, views: ClientViews) {
    this.parts = parts;
    this.views = views;
  }

  /** Does what is asked. Throws what the store throws. */
  run(asked: unknown[]): unknown {
    try {
      const done = this.done(asked);
      return done instanceof Promise ? done.catch(sent) : done;
    } catch (error) {
      return sent(error);
    }
  }

  private done(asked: unknown[]): unknown {
    const [what, ...args] = asked as [number, ...unknown[]];
    const [first, second, third] = args;
    switch (what) {
      case SERVE.space:
        this.spaces[first as number] = this.parts.tenants.operationsIn(text(second));
        return undefined;
      case SERVE.version:
        return this.parts.version();
      case SERVE.segments:
        return this.parts.segments(first as number, second as number);
      case SERVE.takeSnapshot:
        return this.parts.snapshots.take(text(first), () => this.parts.snapshot());
      case SERVE.holdSnapshot:
        return this.heldSnapshot(text(first), text(second));
      case SERVE.removeSnapshot:
        return this.parts.snapshots.remove(text(first), text(second));
    }
    const operations = this.spaces[first as number];
    if (operations === undefined) throw new TypeError(`no namespace has the number ${first}`);
    const key = second as Uint8Array;
    switch (what) {
      case SERVE.get:
        return operations.getBytes(key);
      case SERVE.entry: {
        const { bytes } = operations.faces;
        const found = bytes.getEntrySoon === undefined ? bytes.getEntry(key) : bytes.getEntrySoon(key);
        return found instanceof Promise ? found.then(rowOf) : rowOf(found);
      }
      case SERVE.put:
        return versioned(operations, operations.put(key, third as Uint8Array, args[3] as ServedWriteOptions));
      case SERVE.delete:
        return operations.delete(key, third as ServedWriteOptions | undefined);
      case SERVE.patch: {
        const [, , patch, sizeMax, options] = args as [number, Uint8Array, Uint8Array, number, ServedWriteOptions];
        // What notifications show is kept by keys of text.
        return versioned(operations, operations.patchIf(textOf(key) ?? key, patch, sizeMax, options));
      }
      case SERVE.increment:
        return versioned(operations, operations.increment(key, BigInt(third as bigint | number)));
      case SERVE.incrementIf:
        return versioned(operations, operations.incrementIf(key, third as bigint, args[3] as number | null));
      case SERVE.deleteRange:
        return operations.deleteRange(second as WalkRange);
    }
    throw new TypeError(`there is no operation ${what}`);
  }

  /** A snapshot that is kept by its id, as a view of this worker's, which lets it go by closing that. */
  private async heldSnapshot(id: string, tenant: string): Promise<WireView & { version: number }> {
    const { snapshots } = this.parts;
    const view = await snapshots.hold(id, tenant);
    const held = { in: view.in.bind(view), version: view.version, close: () => snapshots.letGo(id, view) };
    return this.views.hold(held as unknown as HeldSnapshot);
  }
}

/** What a write came to, with the version that it has made: nothing comes between the call and this. */
function versioned<T>(operations: StoreOperations, done: Promise<T>): Promise<[T, number | undefined]> {
  const { version } = operations;
  return done.then((result): [T, number | undefined] => [result, version]);
}

function rowOf(entry: Entry<Uint8Array> | undefined): ServedRow | undefined {
  return entry && [entry.value, entry.version, entry.expiresAt, entry.timestamp];
}

function text(bytes: unknown): string {
  return textOf(bytes as Uint8Array) ?? "";
}

/** What the store refuses travels by its code. */
function sent(error: unknown): SentFailure {
  if (error instanceof CairnError) throw error;
  const { status, message, retryAfter } = failureOf(error);
  return { failure: [status, message, retryAfter] };
}
