/** Snapshots that stay open while other operations run: what they show never changes. */
import { encoded, expectEntry, expectValue, newRange, pickKey, read } from "./drawing.ts";
import type { Random } from "./random.ts";
import type { Session } from "./session.ts";
import type { Value } from "./values.ts";
import { Violation } from "./violation.ts";

const OPEN_MAX = 3;

export const SNAPSHOT_OPERATIONS = {
  snapshot(session: Session): void {
    if (session.snapshots.length >= OPEN_MAX) return;
    read(session, () => {
      session.snapshots.push({ view: session.store.snapshot(), state: new Map(session.model) });
    });
  },

  /** Reads a key, a count and a range through an open snapshot. */
  look(session: Session, random: Random): void {
    const snapshot = session.snapshots[random.below(session.snapshots.length)];
    if (snapshot === undefined) return;
    const { view, state } = snapshot;
    const key = pickKey(session, random);
    const { range, keys } = newRange(session, random, false, state);
    read(session, () => {
      expectValue(key, state.get(key), view.get(encoded(session, key)));
      const count = view.count(range);
      if (count !== keys.length) throw new Violation(`a snapshot counts ${count}, the model ${keys.length}`);
      let i = 0;
      for (const [found, value] of view.entries(range)) {
        const expected = keys[i++];
        expectEntry(expected === undefined ? undefined : [expected, state.get(expected) as Value], found, value);
      }
      if (i !== keys.length) throw new Violation(`a walk of a snapshot of ${keys.length} gave ${i}`);
      session.coverage.snapshotReads++;
    });
  },

  release(session: Session, random: Random): void {
    const [snapshot] = session.snapshots.splice(random.below(session.snapshots.length), 1);
    read(session, () => snapshot?.view.close());
  },
};
