/** A file that another opener, whose lock was taken away, has made longer since this one opened it. */
import { expect, test } from "vitest";
import type { BlockDevice } from "../../store/device.ts";
import { openStore } from "../../store/open.ts";
import { readOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, host, MEMORY_BYTES } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

/** A view that knows the size which the device had at first until it is told to measure it. */
function viewOf(device: ImageDevice): BlockDevice {
  let size = device.size();
  return {
    growable: true,
    size: () => size,
    measure: () => {
      size = device.size();
    },
    read: (offset, target) => device.read(offset, target),
    write: (offset, source) => device.write(offset, source),
    writeAsync: (pieces) => device.writeAsync(pieces),
    sync: () => device.sync(),
    syncAsync: () => device.syncAsync(),
    resize: (to) => {
      device.resize(to);
      size = to;
    },
    close: () => undefined,
  };
}

async function open(device: BlockDevice, predecessorAlive: boolean): Promise<Store> {
  const settings = readOptions({ memoryBytes: MEMORY_BYTES, durability: "manual" });
  const opening = { device, host: await host(), release: () => undefined, segmentBlocks: 16, predecessorAlive };
  return openStore<string, string>(opening, settings);
}

test.each([
  ["is measured again where the one before may have made it longer", true],
  ["is DEVICE_SHRUNK where nobody can have made it longer", false],
])("a file that is shorter than its superblock says %s", async (_what, predecessorAlive) => {
  const device = new ImageDevice();
  const older = await open(viewOf(device), false);
  const view = viewOf(device);
  for (let i = 0; i < 40; i++) older.set(`key ${i}`, `${i}`.padStart(20_000, "-"));
  older.flushSync();
  if (!predecessorAlive) {
    expect(await codeOf(() => open(view, false))).toBe("DEVICE_SHRUNK");
    return;
  }
  const younger = await open(view, true);
  expect(younger.count()).toBe(40);
  await younger.close();
});
