/**
 * Which tabs have a store open, as Web Locks know it: each holds a shared lock while it does.
 *
 * A connection alone cannot tell: when this tab gives a store up that another has open as well, that one's worker takes
 * over at once, in the midst of a copy or right before a deletion.
 */

/** This tab's part in it, for one store at a time. */
export class Presence {
  private release: (() => void) | undefined;
  /** Settles when the lock has been given back. */
  private held: Promise<unknown> = Promise.resolve();

  /** Says that this tab opens a store; waits while another has it for itself. */
  async enter(name: string): Promise<void> {
    await this.leave();
    await new Promise<void>((entered, failed) => {
      this.held = navigator.locks.request(lockOf(name), { mode: "shared" }, () => {
        entered();
        return new Promise<void>((resolve) => {
          this.release = resolve;
        });
      });
      this.held.catch(failed);
    });
  }

  /** Says that this tab has no store open. */
  async leave(): Promise<void> {
    this.release?.();
    this.release = undefined;
    await this.held;
  }

  /** Does something while no other tab opens a store. Throws when one has it open. Leaves the store. */
  async alone<T>(name: string, work: () => Promise<T>): Promise<T> {
    await this.leave();
    return navigator.locks.request(lockOf(name), { ifAvailable: true }, async (lock) => {
      if (!lock) throw new OpenElsewhere(name);
      return work();
    });
  }
}

/** A store that has to be closed in another tab first. */
export class OpenElsewhere extends Error {
  constructor(name: string, options?: { cause: unknown }) {
    super(`${name} is open in another tab. Close it there, then try again.`, options);
  }
}

const lockOf = (name: string): string => `cairn-sandbox:${name}`;
