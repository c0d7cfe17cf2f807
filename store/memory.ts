/** What to say when the memory budget is used up: how many keys it holds, and what more of them would take. */
import type { CoreExports } from "./core.ts";

const MIB = 1_048_576;
/** The largest budget: options.ts. */
const BUDGET_MAX = 3.5 * 1024 * MIB;
/** Suggested budgets are multiples of it. */
const BUDGET_STEP = 16 * MIB;
/** Keys come in an order of their own: a share of the log that was replayed is not quite that share of the keys. */
const MARGIN = 1.15;
const ENGINES =
  "The engine dual keeps every key in memory. Engines that keep keys on the device (hybrid-log, lsm) are planned and not available yet.";

const STAT_KEYS = 0;
const STAT_NODE_BYTES = 7;
const STAT_HASH_BYTES = 8;
const STAT_TREE_BYTES = 9;
const STAT_USED = 12;
const STAT_REPLAY_SEGMENTS = 111;
const STAT_REPLAYED_SEGMENTS = 112;
const STAT_KEYS_TO_LOAD = 113;
const STAT_KEY_BYTES_TO_LOAD = 114;
/** What a key takes beside its bytes, in its node, padded, and in both indexes: see `bench -- point`. */
const BESIDE_KEY_BYTES = 64;

/** The message of `OUT_OF_MEMORY` for an operation that the core refused; `budget` is its memory, in bytes. */
export function memoryMessage({ stat }: Pick<CoreExports, "stat">, budget: number, operation: string): string {
  const keys = stat(STAT_KEYS);
  const keyBytes = stat(STAT_NODE_BYTES) + stat(STAT_HASH_BYTES) + stat(STAT_TREE_BYTES);
  const others = Math.max(0, stat(STAT_USED) - keyBytes);
  if (operation === "open") {
    // A checkpoint says at once how many keys there are.
    const toLoad = stat(STAT_KEYS_TO_LOAD);
    if (toLoad > 0) {
      const needed = others + (toLoad * BESIDE_KEY_BYTES + stat(STAT_KEY_BYTES_TO_LOAD)) * MARGIN;
      return (
        `the memory budget of ${mib(budget)} MiB (memoryBytes) does not hold the keys: the store has about ${count(toLoad)}. ` +
        `Nothing was changed. ${advice(Math.max(needed, budget + 1))} ${ENGINES}`
      );
    }
    const share = Math.min(1, (stat(STAT_REPLAYED_SEGMENTS) + 0.5) / (stat(STAT_REPLAY_SEGMENTS) || 1));
    if (keys === 0) {
      return `the memory budget of ${mib(budget)} MiB (memoryBytes) is too small for the write buffer, the cache and the tables of the store. Pass a larger one.`;
    }
    const needed = others + (keyBytes / share) * MARGIN;
    return (
      `the memory budget of ${mib(budget)} MiB (memoryBytes) holds ${count(keys)} keys, and the store has about ` +
      `${count(keys / share)}: nothing was changed. ${advice(Math.max(needed, budget + 1))} ${ENGINES}`
    );
  }
  const room = budget - others;
  const more = keys > 0 && keyBytes > 0 ? (keys * (room + budget)) / Math.max(keyBytes, room) : 0;
  const figures =
    keys > 0
      ? ` ${count(keys)} keys take ${mib(keyBytes)} MiB of it with their small values and indexes, ${Math.round(keyBytes / keys)} bytes each.`
      : "";
  const twice = 2 * budget <= BUDGET_MAX && more > 0 ? ` Twice the budget would hold about ${count(more)}.` : "";
  return `the memory budget of ${mib(budget)} MiB is used up; nothing was changed.${figures} Delete records, close iterators, or open the store with a larger memoryBytes.${twice} ${ENGINES}`;
}

function advice(needed: number): string {
  const rounded = Math.ceil(needed / BUDGET_STEP) * BUDGET_STEP;
  if (rounded > BUDGET_MAX) {
    return `It would need about ${mib(rounded)} MiB, and no memoryBytes above ${mib(BUDGET_MAX)} MiB is possible.`;
  }
  return `Open it with a memoryBytes of about ${mib(rounded)} MiB.`;
}

function mib(bytes: number): string {
  return String(Math.round(bytes / MIB));
}

function count(value: number): string {
  // Estimates: three digits say all that is known.
  return Number(value.toPrecision(3)).toLocaleString("en-US");
}
