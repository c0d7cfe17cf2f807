/** Waiting in virtual time for what a store does, which must come to an end. */
import { drain, type VirtualClock } from "../simulation/clock.ts";
import { Violation } from "./violation.ts";

/** After so many milliseconds in which nothing happened at all, nothing ever will. */
const HANG_MS = 3000;
/** After so many microseconds of virtual time whoever waits is not waiting for something slow. */
const LONG_US = 30_000_000;

const realNow = performance.now.bind(performance);

/**
 * Waits for a promise, letting as much time go by as that takes. One that never settles is a `Violation`. What waits for a device
 * that fails for good may wait as long: `relieve` ends the failure, after half a minute.
 */
export async function waitFor<T>(
  clock: VirtualClock,
  promise: Promise<T>,
  what: string,
  relieve?: () => void,
): Promise<T> {
  let isSettled = false;
  const settled = (): void => {
    isSettled = true;
  };
  promise.then(settled, settled);
  await drain();
  let idleSince = 0;
  let longUs = clock.nowUs + LONG_US;
  let isRelieved = relieve === undefined;
  while (!isSettled) {
    const stepped = clock.step();
    await drain();
    if (clock.nowUs > longUs) {
      if (isRelieved) throw new Violation(`${what} never ends`);
      relieve?.();
      isRelieved = true;
      longUs = clock.nowUs + LONG_US;
    }
    if (stepped) idleSince = 0;
    else if (idleSince === 0) idleSince = realNow();
    // Hashes of a backup are made in other threads, in real time.
    else if (realNow() - idleSince > HANG_MS) throw new Violation(`${what} never ends`);
  }
  return promise;
}
