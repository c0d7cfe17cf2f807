/** What a connection may do with what the server holds for it, how much of that there may be, and what it is told of failures. */
import type { ServedCalls } from "../../../store/connection/served-calls.ts";
import {
  toWireError,
  type WireCall,
  type WireError,
  type WireFace,
  type WireWatch,
} from "../../../store/connection/wire.ts";
import { CairnError } from "../../../store/error.ts";
import type { RemoteLimits } from "./context.ts";

const OF_VIEWS: ReadonlySet<WireCall> = new Set<WireCall>([
  "get",
  "getEntry",
  "has",
  "getMany",
  "count",
  "walk",
  "next",
  "end",
]);
const OF_TRANSACTIONS: ReadonlySet<WireCall> = new Set<WireCall>([
  "set",
  "delete",
  "append",
  "patch",
  "increment",
  "clear",
]);

function checkCount(call: WireCall, count: number, most: number): void {
  if (count < most) return;
  const message = `${call}: the server holds at most ${most} for a connection. End some of them.`;
  throw new CairnError("OUT_OF_MEMORY", call, message);
}

/** What calls through a snapshot or in a transaction may be. */
export function checkView({ views }: ServedCalls, call: WireCall, { view }: WireFace): void {
  const isEnd = call === "commit" || call === "rollback";
  if (view === undefined) {
    if (isEnd) throw new CairnError("INVALID_ARGUMENT", call, `${call}: a transaction is missing.`);
    return;
  }
  const kind = views.kindOf(view);
  // One that has ended is told of by who looks for it.
  if (kind === undefined || OF_VIEWS.has(call)) return;
  if (kind === "transaction" && (isEnd || OF_TRANSACTIONS.has(call))) return;
  throw new CairnError("INVALID_ARGUMENT", call, `${call}: a ${kind} has no such call.`);
}

/** What may be held at once. */
export function checkHeld(
  { walks, views, backups, watchCount }: ServedCalls,
  call: WireCall,
  args: unknown[],
  limits: RemoteLimits,
): void {
  switch (call) {
    case "walk":
      checkCount(call, walks.count, limits.walks);
      return;
    case "snapshot":
      checkCount(call, views.snapshotCount, limits.snapshots);
      return;
    case "begin":
      checkCount(call, views.transactionCount, limits.transactions);
      return;
    case "backup":
      checkCount(call, backups.count, limits.backups);
      return;
    case "watch": {
      const terms = args[0] as WireWatch;
      const { watchBytesMax, keysMax } = limits;
      terms.bufferBytes = Math.min(terms.bufferBytes ?? watchBytesMax, watchBytesMax);
      if (Array.isArray(terms.what)) checkCount(call, terms.what.length - 1, keysMax);
      checkCount(call, watchCount, limits.watches);
      return;
    }
  }
}

/** Codes that tell of the device, or of who else opens the store. */
const INNER: ReadonlySet<string> = new Set([
  "DEVICE_READ",
  "DEVICE_WRITE",
  "DEVICE_SHRUNK",
  "CORRUPT",
  "POISONED",
  "FENCED",
]);

/** An error as a client may see it: what is wrong with the device, and where it lies, is not its to know. */
export function shownError(error: unknown, call: WireCall): WireError {
  if (error instanceof CairnError && !INNER.has(error.code)) return toWireError(error, call);
  const message = `${call}: the store cannot answer at present. The server's log may say why.`;
  return { code: error instanceof CairnError ? error.code : "UNSUPPORTED", operation: call, message };
}

/** Bytes of our own, however deep. */
export function copied(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value)) return value.map(copied);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, copied(member)]));
}
