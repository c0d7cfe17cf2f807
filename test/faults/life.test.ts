/**
 * What a child of these tests says is durable is on the device: shown on a device that is cut off at a sync, and keeps what the last
 * one that succeeded made durable. A child that says more would have the oracle see losses that are none.
 */
import { describe, expect, test } from "vitest";
import { openTiny } from "../store/harness.ts";
import { ImageDevice } from "../store/image-device.ts";
import { Life } from "./life.ts";
import { Oracle } from "./oracle.ts";
import type { Order, Saying } from "./protocol.ts";

/** A device whose power is cut when so many syncs have succeeded. */
class CutDevice extends ImageDevice {
  /** What is left of it then. */
  durable: Uint8Array = new Uint8Array(0);
  /** Syncs that are left to it. */
  left: number;

  constructor(left: number) {
    super();
    this.left = left;
    this.syncMs = 1;
    this.before = () => {
      if (this.left < 0) throw new Error("the power is cut");
    };
  }

  override sync(): void {
    this.left -= 1;
    super.sync();
    this.durable = this.image();
  }
}

/** A life on a device until that is cut off, and the next one on what is left: what the oracle says of both. */
async function judge(seed: number, syncs: number): Promise<{ fault: string | undefined; durable: number }> {
  const oracle = new Oracle(seed);
  let fault: string | undefined;
  const live = (device: ImageDevice, life: number): Life => {
    const order: Order = { life, stores: [{ path: "", seed }], verifies: false, looksOnly: false };
    const hear = (saying: Saying): void => {
      if (saying.type === "open") fault ??= oracle.judge(life, saying);
      else if (saying.type === "durable") oracle.acknowledged(saying);
    };
    return new Life(order, 0, (_path, options) => openTiny(device.reopen(), options), hear);
  };
  const device = new CutDevice(Number.POSITIVE_INFINITY);
  const first = live(device, 1);
  await first.open(false);
  device.left = syncs;
  await first.run();
  const second = live(ImageDevice.of(device.durable), 2);
  await second.open(true);
  await second.close();
  return { fault, durable: oracle.durableCount };
}

/** Seeds and syncs of their first life around those moments: a store is closed while promises wait, or nothing is found to delete. */
const CASES = [
  [4, 2, 10],
  [17, 10, 18],
  [66, 3, 9],
  [66, 86, 90],
  [20261130, 14, 22],
] as const;

describe("a child that writes until it is cut off", () => {
  test.each(CASES)(
    "says of no commit that it is durable before it is, seed %i, syncs %i to %i",
    async (seed, from, to) => {
      let most = 0;
      for (let syncs = from; syncs <= to; syncs += 1) {
        const { fault, durable } = await judge(seed, syncs);
        expect(fault, `cut after ${syncs} syncs, ${durable} commits durable`).toBeUndefined();
        most = Math.max(most, durable);
      }
      expect(most).toBeGreaterThan(5);
    },
  );
});
