/** `verify` of a `readOnly` store beside a writer whose compaction uses segments anew. */
import { expect, test } from "vitest";
import { open, openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

test("is sound, or SNAPSHOT_EXPIRED, and never a fault", async () => {
  const size = 1_048_576 + 40 * 65_536;
  const device = new ImageDevice(size, false);
  const writer = await openTiny(device, { durability: "manual", writeBufferBytes: 262_144 });
  const write = (round: number): void => {
    for (let i = 0; i < 60; i++) writer.set(`key ${(i * 7) % 50}`, `${round}`.padEnd(2000));
    writer.flushSync();
  };
  for (let round = 0; round < 20; round++) write(round);
  let expired = 0;
  let sound = 0;
  for (let round = 0; round < 40; round++) {
    const shared = new ImageDevice(size, false);
    shared.bytes = device.bytes;
    const reader = await open(shared, { readOnly: true });
    for (let i = 0; i < round % 8; i++) {
      write(round);
      await writer.compact({ full: true });
    }
    const verifying = reader.verify();
    let code = "";
    const report = await verifying.catch((error) => {
      code = error.code;
      return undefined;
    });
    if (report === undefined) {
      expect(code).toBe("SNAPSHOT_EXPIRED");
      expired++;
    } else {
      expect(report.faults).toEqual([]);
      sound++;
    }
    await reader.close();
  }
  expect(sound).toBeGreaterThan(0);
  expect(expired).toBeGreaterThan(0);
  expect((await writer.verify()).faults).toEqual([]);
  await writer.close();
});
