/**
 * Histories of transactions, and whether some order one after the other explains them.
 *
 * Each key holds a list that transactions append unique values to, so a read tells which writers came before it, and the
 * last read of all tells the order of writers. Keys that come into being in a range tell the same of ranges. That gives a
 * graph: who wrote before whom (ww), who read from whom (wr), who read before whom wrote (rw), who had ended before whom
 * began. A cycle in it is an anomaly.
 */

/** What a transaction that committed has seen and done. */
export interface Committed {
  id: number;
  /** Lists that it read, by key. */
  reads: Map<string, readonly number[]>;
  /** Values that it appended, by key. */
  appends: Map<string, number>;
  /** Range reads: the keys that it saw. */
  ranges: ReadonlySet<string>[];
  /** Keys that it made. */
  made: string[];
  /** Moments of a common clock. */
  began: number;
  ended: number;
}

/** An anomaly, or `undefined`: a read that no order explains, or transactions each of which must precede the next. */
export function anomalyIn(
  history: readonly Committed[],
  last: ReadonlyMap<string, readonly number[]>,
): string | undefined {
  const writers = new Map<number, number>();
  const makers = new Map<string, number>();
  for (const { id, appends, made } of history) {
    for (const value of appends.values()) writers.set(value, id);
    for (const key of made) makers.set(key, id);
  }
  const after = new Map<number, Map<number, string>>();
  const edge = (from: number | undefined, to: number | undefined, why: string): void => {
    if (from === undefined || to === undefined || from === to) return;
    const edges = after.get(from) ?? new Map<number, string>();
    if (!edges.has(to)) edges.set(to, why);
    after.set(from, edges);
  };
  for (const [key, list] of last) {
    for (let i = 1; i < list.length; i++)
      edge(writers.get(list[i - 1] as number), writers.get(list[i] as number), `ww ${key}`);
  }
  for (const { id, reads, ranges } of history) {
    for (const [key, list] of reads) {
      const whole = last.get(key) ?? [];
      if (list.some((value, i) => whole[i] !== value)) return `${id} read ${key} as ${list}, which ends as ${whole}`;
      edge(writers.get(list.at(-1) as number), id, `wr ${key}`);
      edge(id, writers.get(whole[list.length] as number), `rw ${key}`);
    }
    for (const seen of ranges) {
      for (const [key, maker] of makers) {
        if (seen.has(key)) edge(maker, id, `wr range ${key}`);
        else edge(id, maker, `rw range ${key}`);
      }
    }
  }
  for (const a of history) for (const b of history) if (a.ended < b.began) edge(a.id, b.id, "time");
  return cycleIn(after);
}

/** A cycle of a graph, in words. */
function cycleIn(after: ReadonlyMap<number, ReadonlyMap<number, string>>): string | undefined {
  const done = new Set<number>();
  for (const start of after.keys()) {
    const path: number[] = [];
    const onPath = new Set<number>();
    const rest: Iterator<number>[] = [];
    const enter = (id: number): void => {
      path.push(id);
      onPath.add(id);
      rest.push((after.get(id) ?? new Map<number, string>()).keys());
    };
    if (!done.has(start)) enter(start);
    while (path.length > 0) {
      const { done: isEnd, value } = (rest.at(-1) as Iterator<number>).next();
      if (isEnd) {
        const id = path.pop() as number;
        rest.pop();
        onPath.delete(id);
        done.add(id);
      } else if (onPath.has(value)) {
        const cycle = [...path.slice(path.indexOf(value)), value];
        return cycle
          .slice(1)
          .map((to, i) => `${cycle[i]} -${after.get(cycle[i] as number)?.get(to)}-> ${to}`)
          .join(", ");
      } else if (!done.has(value)) enter(value);
    }
  }
  return undefined;
}
