/** A growing file that fills up anywhere: every call is refused whole, or held whole, and the store goes on from there. */
import { expect, test } from "vitest";
import { CairnError } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const MIB = 1_048_576;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * MIB, durability: "manual" } as const;

function expectSame(store: Store, model: ReadonlyMap<string, string>): void {
  expect(store.count()).toBe(model.size);
  for (const [key, value] of store.entries()) {
    if (model.get(key) !== value) throw new Error(`${key} is ${value.slice(0, 20)} of ${value.length} bytes`);
  }
}

test(`no batch poisons a store whose file meets a full disk half-way, seed ${seed}`, async () => {
  const random = new Random(seed);
  let refused = 0;
  let held = 0;
  for (let round = 0; round < 30; round++) {
    const device = new ImageDevice();
    const events: string[] = [];
    const store = await openTiny(device, { ...SMALL, onEvent: ({ type }) => void events.push(type) });
    const model = new Map<string, string>();
    for (let i = 0; i < random.below(60); i++) {
      store.set(`before ${i}`, `${i}`.padEnd(random.below(9000), "b"));
      model.set(`before ${i}`, store.get(`before ${i}`) as string);
    }
    if (random.chance(0.5)) await store.flush();
    const sizeMax = random.pick([30, 3000, 30_000, 200_000]);
    device.capacity = MIB + random.below(random.pick([300_000, 2 * MIB]));
    for (let turn = 0; turn < 4; turn++) {
      const bytes = random.pick([20_000, 200_000, 3 * MIB]);
      const batch = Array.from({ length: 1 + random.below(bytes / (sizeMax + 100)) }, (_, i) =>
        random.chance(0.1)
          ? { type: "delete" as const, key: `before ${i}` }
          : { type: "set" as const, key: `key ${random.below(400)}`, value: "v".repeat(random.below(sizeMax)) },
      );
      const version = store.stats().version;
      const done = store.batch(batch);
      // Refused at once, or visible: then it is held, or durable.
      const isVisible = store.stats().version !== version;
      if (isVisible) {
        for (const operation of batch) {
          if (operation.type === "set") model.set(operation.key, operation.value);
          else model.delete(operation.key);
        }
      }
      const code = await done.then(
        () => "",
        (error) => error.code,
      );
      if (!isVisible && code === "NO_SPACE") refused++;
      else if (code === "NO_SPACE") held++;
      else expect(code).toBe("");
      expectSame(store, model);
      expect(events).not.toContain("poisoned");
      if (random.chance(0.3)) device.capacity += random.below(MIB);
    }
    device.capacity = Number.POSITIVE_INFINITY;
    store.set("after", "1");
    model.set("after", "1");
    await store.flush();
    expectSame(store, model);
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
    const again = await openTiny(device.reopen(), SMALL);
    expectSame(again, model);
    await again.close();
  }
  expect(refused).toBeGreaterThan(5);
  expect(held).toBeGreaterThan(0);
});

test("clear of more deletions than the write buffer takes is refused whole on a full disk, and done when there is room", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, SMALL);
  for (let i = 0; i < 20_000; i++) store.set(`key ${i}`, "v");
  await store.flush();
  device.capacity = device.events.reduce((end, event) => {
    return event.type === "write" ? Math.max(end, event.offset + event.size) : end;
  }, 0);
  // Free segments of the file, which nothing was written to, are not on the disk.
  expect(() => store.clear()).toThrow(expect.objectContaining({ code: "NO_SPACE" }));
  expect(store.count()).toBe(20_000);
  device.capacity = Number.POSITIVE_INFINITY;
  expect(store.clear()).toBe(20_000);
  await store.close();
  const again = await openTiny(device.reopen(), SMALL);
  expect(again.count()).toBe(0);
  await again.close();
});

test("a value that a full disk refused half-way is no part of the log, whatever follows it", async () => {
  for (const follows of [0, 1, 30]) {
    const device = new ImageDevice();
    const store = await openTiny(device, SMALL);
    const model = new Map<string, string>();
    const put = async (key: string, value: string): Promise<void> => {
      model.set(key, value);
      await store.put(key, value);
    };
    await put("before", "1");
    const end = device.events.reduce(
      (at, event) => Math.max(at, event.type === "write" ? event.offset + event.size : 0),
      0,
    );
    // Segments were begun for it, and are on the device, when there is no more room.
    device.capacity = end + 200_000;
    expect(() => store.set("large", "l".repeat(600_000))).toThrow(expect.objectContaining({ code: "NO_SPACE" }));
    device.capacity = Number.POSITIVE_INFINITY;
    for (let i = 0; i < follows; i++) await put(`after ${i}`, "a".repeat(i * 500));
    const killed = device.image();
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
    for (const image of [killed, device.image()]) {
      const again = await openTiny(ImageDevice.of(image), SMALL);
      expectSame(again, model);
      expect((await again.verify()).faults).toEqual([]);
      again.set("more", "1");
      await again.close();
    }
  }
});

test("a value that finds no room half-way leaves nothing behind that the log would go on with", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, SMALL);
  const model = new Map<string, string>();
  for (let i = 0; i < 60; i++) {
    store.set(`before ${i}`, `${i}`.padEnd(20_000, "b"));
    model.set(`before ${i}`, `${i}`.padEnd(20_000, "b"));
  }
  await store.flush();
  const used = Math.max(...device.events.map((event) => (event.type === "write" ? event.offset + event.size : 0)));
  // The segments that follow have their headers by then, and name this one as what they go on from.
  device.capacity = used + 200_000;
  expect(await codeOf(() => store.set("large", "l".repeat(400_000)))).toBe("NO_SPACE");
  device.capacity = Number.POSITIVE_INFINITY;
  // One group over the end of the segment in which the log stood.
  for (let i = 0; i < 40; i++) {
    store.set(`after ${i}`, `${i}`.padEnd(3000, "a"));
    model.set(`after ${i}`, `${i}`.padEnd(3000, "a"));
  }
  store.flushSync();
  const again = await openTiny(ImageDevice.of(device.image()), SMALL);
  expectSame(again, model);
  await again.close();
  await store.close();
});

test("a growth whose superblock meets a full disk half-way is not cut again below what that superblock says", async () => {
  const device = new ImageDevice();
  const store = await openTiny(device, SMALL);
  const secondCopies = [MIB / 4, (3 * MIB) / 4];
  let isFull = true;
  device.before = (operation, offset) => {
    if (!isFull || operation !== "write" || !secondCopies.includes(offset)) return;
    isFull = false;
    throw new CairnError("NO_SPACE", "write", "no room is left on the device");
  };
  const before = device.size();
  const large = Array.from({ length: 40 }, (_, i) => ({
    type: "set" as const,
    key: `large ${i}`,
    value: "l".repeat(50_000),
  }));
  expect(await codeOf(() => store.batch(large))).toBe("NO_SPACE");
  const grown = device.size();
  expect(grown).toBeGreaterThan(before);
  const image = device.image();
  // Less is asked for now, and the file has it already.
  for (let i = 0; i < 60; i++) {
    store.set(`small ${i}`, "s".repeat(9000));
    expect(device.size()).toBeGreaterThanOrEqual(grown);
  }
  await store.close();
  const reopened = await openTiny(ImageDevice.of(image), SMALL);
  expect(reopened.count()).toBe(0);
  await reopened.close();
});
