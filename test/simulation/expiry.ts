/**
 * Expiry, over a clock that jumps.
 *
 * Time goes by in strides of 100 s, which only `jump` makes; all else takes less than half of one. Expiries lie in the middle
 * of strides, behind every time that was ever shown: so whether a key has expired is never in doubt while a store lives.
 * What a crash leaves of the highest time is: the oracle allows all between the present, or what the store had seen before
 * something that it acknowledged as durable, and the highest time ever shown.
 */
import { START_MS } from "./clock.ts";
import { encoded, newValue, pickKey, read, writeSync } from "./drawing.ts";
import type { Random } from "./random.ts";
import type { Session } from "./session.ts";

/** Milliseconds of a stride. */
export const STRIDE_MS = 100_000;
/** A run ends when so much time has gone by without jumps, in microseconds. */
export const RUN_US_MAX = 45_000_000;
const STRIDES_MAX = 4;

export const EXPIRY_OPERATIONS = {
  /** Writes a value that expires. */
  expire(session: Session, random: Random): void {
    const key = pickKey(session, random);
    const strides = Math.floor((session.highestMs - START_MS) / STRIDE_MS) + random.below(STRIDES_MAX);
    const value = { ...newValue(session, random), expiresAt: START_MS + (strides + 0.5) * STRIDE_MS };
    writeSync(session, new Map([[key, value]]), () => {
      session.store.set(encoded(session, key), value.data, { expiresAt: value.expiresAt });
    });
  },

  /** The clock jumps, forth or back. What expires by that is gone, and stays so. */
  jump(session: Session, random: Random): void {
    const strides = random.chance(0.1) ? 1000 : random.between(1, STRIDES_MAX);
    session.clock.skewMs += (random.chance(0.7) ? strides : -strides) * STRIDE_MS;
    const now = session.clock.wallMs();
    session.highestMs = Math.max(session.highestMs, now);
    for (const [key, { expiresAt }] of [...session.model]) {
      if (expiresAt === undefined) continue;
      // The store looks at the clock when it looks at such a key.
      read(session, () => {
        session.store.has(encoded(session, key));
        session.seenMs = Math.max(session.seenMs, now);
      });
      if (expiresAt <= now) session.model.delete(key);
    }
  },
};
