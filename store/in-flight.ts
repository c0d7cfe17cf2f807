/** What is in flight: handed to the host, and not reported on yet. */
import { FLIGHT_DONE, FLIGHT_FAILED, FLIGHT_NO_SPACE } from "./core.ts";
import type { BlockDevice, DevicePiece } from "./device.ts";
import { CairnError } from "./error.ts";

/** Counts what is in flight, and tells those who wait for it. */
export class InFlight {
  private count = 0;
  private waiters: (() => void)[] = [];

  /** Whether anything is in flight. */
  get isBusy(): boolean {
    return this.count > 0;
  }

  /** Resolves when something has landed; at once when nothing is in flight. */
  next(): Promise<void> {
    if (this.count === 0) return Promise.resolve();
    return new Promise((resolve) => this.waiters.push(resolve));
  }

  /** Resolves when nothing is in flight. */
  async idle(): Promise<void> {
    while (this.count > 0) await this.next();
  }

  /** Starts something; `land` is told of its failure, or `undefined`, once, in a later microtask. It must not throw. */
  fly(start: () => Promise<void>, land: (failure: unknown) => void): void {
    this.count++;
    const ended = (failure: unknown): void => {
      this.count--;
      land(failure);
      for (const resolve of this.waiters.splice(0)) resolve();
    };
    let flight: Promise<void>;
    try {
      flight = start();
    } catch (cause) {
      flight = Promise.reject(cause);
    }
    flight.then(
      () => ended(undefined),
      (cause) => ended(cause ?? new Error("the device rejected without a reason")),
    );
  }
}

/** How the core is told of a write that landed. */
export function flightResult(failure: unknown): number {
  if (failure === undefined) return FLIGHT_DONE;
  return failure instanceof CairnError && failure.code === "NO_SPACE" ? FLIGHT_NO_SPACE : FLIGHT_FAILED;
}

/**
 * Writes pieces and makes them durable, in one trip where the device can. Nothing is synced any more once `isUsable` says no: a
 * sync of something else has failed, and another one would prove nothing.
 */
export async function commitPieces(
  device: BlockDevice,
  pieces: readonly DevicePiece[],
  isUsable: () => boolean,
): Promise<void> {
  if (device.commitAsync !== undefined) {
    await device.commitAsync(pieces);
    return;
  }
  await device.writeAsync(pieces);
  if (!isUsable()) throw new CairnError("DEVICE_WRITE", "sync", "sync: the store takes no more calls.");
  await syncDevice(device);
}

/** `syncAsync`. Want of room in a sync is a failed sync, which is never tried again: what it covers is in doubt. */
export async function syncDevice(device: BlockDevice): Promise<void> {
  try {
    await device.syncAsync();
  } catch (cause) {
    if (!(cause instanceof CairnError) || cause.code !== "NO_SPACE") throw cause;
    throw new CairnError("DEVICE_WRITE", "sync", `sync: the device failed to sync: ${cause.message}`, { cause });
  }
}
