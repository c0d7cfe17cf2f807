/** What may be there after a kill. */
import type { Operation } from "./operations.ts";

/** What a store holds, or should: of each key the number of the operation that wrote its value. */
export type State = ReadonlyMap<string, number>;

/** An operation by its number. */
export type Operations = (index: number) => Operation;

/** How many operations behind the last one that left a trace are tried: deletions leave none. */
const TRACELESS_COUNT = 1000;

/** What an operation makes of a state. */
export function apply(state: Map<string, number>, { writes }: Operation, index: number): void {
  for (const { key, size } of writes) {
    if (size === undefined) state.delete(key);
    else state.set(key, index);
  }
}

/**
 * After the end of everything that wrote: what is there is what the operations from `from` on up to some of them make of `base`,
 * of which `durable` is the least; batches whole, since each is one operation. Without `isOpen` nothing was written.
 */
export function checkPrefix(
  operations: Operations,
  base: State,
  { from, durable, isOpen }: { from: number; durable: number; isOpen: boolean },
  found: State,
): { at: number } | { violation: string } {
  const model = new Map(base);
  let differCount = 0;
  for (const key of new Set([...model.keys(), ...found.keys()])) if (model.get(key) !== found.get(key)) differCount++;
  const end = isOpen ? Math.max(durable, ...found.values()) + TRACELESS_COUNT : from - 1;
  let least = { differCount: Number.POSITIVE_INFINITY, at: 0, keys: "" };
  for (let index = from - 1; index <= end; index++) {
    if (index >= from) {
      const operation = operations(index);
      const keys = operation.writes.map(({ key }) => key);
      differCount -= keys.filter((key) => model.get(key) !== found.get(key)).length;
      apply(model, operation, index);
      differCount += keys.filter((key) => model.get(key) !== found.get(key)).length;
    }
    if (index < durable) continue;
    if (differCount === 0) return { at: index };
    if (differCount < least.differCount) least = { differCount, at: index, keys: differences(model, found) };
  }
  const { differCount: count, at, keys } = least;
  return {
    violation: `no state from operation ${durable} on, the last one known to be durable, is what is there; ${at} comes next to it, with ${count} keys that differ: ${keys}`,
  };
}

/**
 * Where the writer has lived on: of each key there is what the last acknowledged operation on it made, or a later one that was
 * not acknowledged; and of each batch there is everything, or nothing.
 */
export function checkKept(
  operations: Operations,
  base: State,
  { from, issued, acknowledged }: { from: number; issued: number; acknowledged: ReadonlySet<number> },
  found: State,
): string | undefined {
  const history = new Map<string, { index: number; isDeletion: boolean }[]>();
  for (let index = from; index <= issued; index++) {
    for (const { key, size } of operations(index).writes) {
      const entry = { index, isDeletion: size === undefined };
      history.get(key)?.push(entry) ?? history.set(key, [entry]);
    }
  }
  for (const key of new Set([...base.keys(), ...found.keys(), ...history.keys()])) {
    const done = history.get(key) ?? [];
    const last = done.findLastIndex(({ index }) => acknowledged.has(index));
    const allowed = done.slice(Math.max(last, 0)).map(({ index, isDeletion }) => (isDeletion ? undefined : index));
    if (last < 0) allowed.push(base.get(key));
    if (!allowed.includes(found.get(key))) {
      return `${key} is of operation ${found.get(key)}, and may be of ${allowed.join(", ")}; acknowledged last was ${done[last]?.index}`;
    }
  }
  for (let index = from; index <= issued; index++) {
    const keys = operations(index).writes.map(({ key }) => key);
    if (!keys.some((key) => found.get(key) === index)) continue;
    const missing = keys.find((key) => {
      const now = found.get(key);
      if (now !== undefined) return now < index;
      return !history.get(key)?.some((entry) => entry.isDeletion && entry.index >= index);
    });
    if (missing !== undefined) return `of the batch ${index} some is there, and ${missing} is of ${found.get(missing)}`;
  }
  return undefined;
}

function differences(model: State, found: State): string {
  const keys = [...new Set([...model.keys(), ...found.keys()])].filter((key) => model.get(key) !== found.get(key));
  return keys
    .slice(0, 5)
    .map((key) => `${key} is ${found.get(key)}, not ${model.get(key)}`)
    .join("; ");
}
