/** How a life of a store ends, and what happens to its device before the next one. */
import { CairnError } from "../../store/error.ts";
import { CRASH_MODES } from "./crash.ts";
import { encoded, newValue, pickKey } from "./drawing.ts";
import type { Random } from "./random.ts";
import type { Session } from "./session.ts";
import { Violation } from "./violation.ts";
import { SEGMENT_SIZE } from "./workload.ts";

/** What an opener may say that was taken over from: that, or what was so before. */
const REFUSALS = ["FENCED", "POISONED", "NO_SPACE", "DEVICE_WRITE", "DEVICE_READ"];

export const LIFE_OPERATIONS = {
  async reopen(session: Session): Promise<void> {
    session.coverage.closes++;
    session.tally();
    session.isClosing = true;
    const { issued } = session;
    const closed = session.store.close().then(
      () => true,
      (error) => {
        session.refused(error);
        return false;
      },
    );
    const inOrder = await session.clock.wait(closed, () => new Violation("close never ends"));
    session.rethrow();
    if (inOrder && !session.poisoned) session.acknowledge(issued);
    await session.revive();
  },

  async powerCut(session: Session, random: Random): Promise<void> {
    await session.cutPower(random.pick(CRASH_MODES));
    await session.revive();
  },

  async kill(session: Session): Promise<void> {
    await session.kill();
    await session.revive();
  },

  /**
   * Another opener takes the store over from one that it cannot exclude, and which does not know of that: what the older one
   * goes on to write is not acknowledged, and does the younger one no harm. A device of fixed size has no space that is only the younger
   * one's, and nothing is promised of late writes there (docs/decisions/0031): what the older one has in flight comes first, and it
   * writes nothing so large that it would not wait for the look that every group begins with.
   */
  async takeOver(session: Session, random: Random): Promise<void> {
    session.tally();
    const { store, life } = session;
    const key = encoded(session, pickKey(session, random));
    const value = newValue(session, random);
    const { growable } = session.plan.options.device;
    if (!growable) session.device.arrive();
    await session.revive(true);
    // It could not, and the device was restarted.
    if (session.lost || session.life !== life + 1 || !session.hasOlder) return;
    session.coverage.takeOvers++;
    try {
      store.set(key, growable ? value.data : value.data.slice(0, 16));
      store.flushSync();
    } catch (error) {
      const code = error instanceof CairnError ? error.code : `${error}`;
      if (REFUSALS.includes(code)) return;
      throw new Violation(`a store that was taken over from gives ${code}`);
    }
    throw new Violation("a store that was taken over from goes on to acknowledge");
  },

  /** The power goes, and a device of a fixed size comes back larger. */
  async enlarge(session: Session, random: Random): Promise<void> {
    await session.cutPower(random.pick(CRASH_MODES));
    if (!session.plan.options.device.growable) session.device.extend(random.between(1, 6) * SEGMENT_SIZE);
    await session.revive();
  },

  /** The power goes, and the device comes back smaller: it is refused, and opens unharmed when it is whole again. */
  async cutShort(session: Session, random: Random): Promise<void> {
    await session.cutPower(random.pick(CRASH_MODES));
    if (!session.plan.options.device.growable && session.issued > 0)
      await session.openCutShort(random.between(1, 3) * SEGMENT_SIZE);
    await session.revive();
  },
};
