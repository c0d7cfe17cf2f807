/** `getAsync`, `getMany` and walks that do not block, on devices with and without asynchronous reads. */
import { describe, expect, test } from "vitest";
import type { BlockDevice } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import { codeOf, errorOf, MemoryDevice, open, openTiny, pause } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { WaitingDevice } from "./waiting-device.ts";

const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144 };
const COUNT = 3000;

const keyOf = (i: number): string => `key ${String(i).padStart(5, "0")}`;
const textOf = (i: number): string => `${i}:${"v".repeat(900 + (i % 400))}`;

/** Indexes in an order that scatters neighbours. */
const SCATTERED = Array.from({ length: COUNT }, (_, i) => (i * 1009) % COUNT);

/** A store whose values are on the device, and hardly any in memory. */
async function filled(device: BlockDevice, options = {}) {
  const store = await open(device, { ...SMALL, ...options });
  for (const i of SCATTERED) store.set(keyOf(i), textOf(i));
  await store.flush();
  for (let i = 0; i < 400; i++) store.set(`filler ${i}`, "f".repeat(1000));
  await store.flush();
  return store;
}

describe.each([
  ["a device that reads asynchronously", () => new WaitingDevice()],
  ["a device that only reads synchronously", () => new ImageDevice()],
  ["memory", () => new MemoryDevice()],
])("%s", (_, deviceOf) => {
  test("getAsync gives what get gives, for every key at once", async () => {
    const store = await filled(deviceOf());
    store.set("small", "s");
    store.set("buffered", "b".repeat(5000));
    const found = await Promise.all(SCATTERED.map((i) => store.getAsync(keyOf(i))));
    SCATTERED.forEach((i, place) => {
      if (found[place] !== textOf(i)) throw new Error(`${keyOf(i)}: ${found[place]?.slice(0, 20)}`);
    });
    expect(await store.getAsync("small")).toBe("s");
    expect(await store.getAsync("buffered")).toBe("b".repeat(5000));
    expect(await store.getAsync("nothing")).toBeUndefined();
    await store.close();
  });

  test("getMany gives what get gives, in order, with cold, small and missing ones mixed", async () => {
    const store = await filled(deviceOf());
    store.set("small", "s");
    const keys = ["nothing", "small", ...SCATTERED.slice(0, 1000).map(keyOf), "small", keyOf(1), "nothing"];
    expect(await store.getMany(keys)).toEqual(keys.map((key) => store.get(key)));
    expect(await store.getMany([])).toEqual([]);
    await store.close();
  });

  test("for await, nextvAsync and for of give the same entries, in both directions", async () => {
    const store = await filled(deviceOf());
    for (const range of [{}, { reverse: true }, { gte: keyOf(700), limit: 900 }, { prefix: "filler" }]) {
      const entries: [string, string][] = [];
      for await (const entry of store.entries(range)) entries.push(entry);
      expect(entries).toEqual([...store.entries(range)]);
      const walk = store.entries(range);
      const together: [string, string][] = [];
      for (let some = await walk.nextvAsync(97); some.length > 0; some = await walk.nextvAsync(97)) {
        together.push(...some);
      }
      expect(together).toEqual(entries);
    }
    const values: string[] = [];
    for await (const value of store.values({ gte: keyOf(100), lt: keyOf(200) })) values.push(value);
    expect(values).toEqual([...store.values({ gte: keyOf(100), lt: keyOf(200) })]);
    const keys: string[] = [];
    for await (const key of store.keys({ limit: 1000 })) keys.push(key);
    expect(keys).toEqual([...store.keys({ limit: 1000 })]);
    await store.close();
  });

  test("values of many blocks, and of many segments, pass through a cache that holds few of them", async () => {
    const store = await openTiny(deviceOf(), { ...SMALL, cacheBytes: 0, valueEncoding: "binary" });
    const sizes = [60_000, 65_536, 65_537, 131_072, 131_073, 900_000];
    const large = (size: number): Uint8Array => {
      const bytes = new Uint8Array(size);
      for (let i = 0; i < size; i++) bytes[i] = (i * 31 + size) >> 3;
      return bytes;
    };
    for (const size of sizes) store.set(`large ${size}`, large(size));
    for (let i = 0; i < 400; i++) store.set(`filler ${i}`, new Uint8Array(1000));
    await store.flush();
    const same = (a: Uint8Array | undefined, size: number): boolean => {
      if (a?.length !== size) return false;
      for (let i = 0; i < size; i++) if (a[i] !== (((i * 31 + size) >> 3) & 0xff)) return false;
      return true;
    };
    const found = await Promise.all(sizes.map((size) => store.getAsync(`large ${size}`)));
    expect(sizes.filter((size, i) => !same(found[i], size))).toEqual([]);
    const many = await store.getMany(sizes.map((size) => `large ${size}`));
    expect(sizes.filter((size, i) => !same(many[i], size))).toEqual([]);
    let walked = 0;
    for await (const [key, value] of store.entries({ prefix: "large" })) {
      if (same(value, Number(key.slice(6)))) walked++;
    }
    expect(walked).toBe(sizes.length);
    expect(sizes.filter((size) => !same(store.get(`large ${size}`), size))).toEqual([]);
    await store.close();
  });

  test("the event loop turns while a thousand cold keys are read", async () => {
    const store = await filled(deviceOf());
    let turns = 0;
    let done = false;
    const tick = async (): Promise<void> => {
      while (!done) {
        await pause();
        turns++;
      }
    };
    const ticking = tick();
    await store.getMany(SCATTERED.slice(0, 1000).map(keyOf));
    done = true;
    await ticking;
    expect(turns).toBeGreaterThan(2);
    await store.close();
  });

  test("a codec's code runs while nothing is half read", async () => {
    const device = deviceOf();
    await (await filled(device)).close();
    if (device instanceof ImageDevice) device.reopen();
    else return;
    let used = 0;
    const store: { has(key: string): boolean; set(key: string, value: string): boolean } & Awaited<
      ReturnType<typeof filled>
    > = await open(device, {
      ...SMALL,
      valueEncoding: {
        name: "nosy",
        encode: (value: string) => value,
        decode(bytes: Uint8Array): string {
          // What lies in the exchange areas is gone after that.
          if (store.has(keyOf(5)) && store.set("noise", "n".repeat(3000))) used++;
          return new TextDecoder().decode(bytes);
        },
      },
    });
    const keys = SCATTERED.slice(0, 200).map(keyOf);
    expect(await store.getMany(keys)).toEqual(SCATTERED.slice(0, 200).map(textOf));
    expect(await Promise.all(keys.slice(100).map((key) => store.getAsync(key)))).toEqual(
      SCATTERED.slice(100, 200).map(textOf),
    );
    expect(used).toBe(300);
    await store.close();
  });
});

describe("while a read is in flight", () => {
  test("others who want the block wait for the same read", async () => {
    const device = new WaitingDevice();
    const store = await filled(device);
    const release = device.holdReads();
    const lookups = Array.from({ length: 50 }, () => store.getAsync(keyOf(7)));
    const many = store.getMany([keyOf(7), keyOf(7)]);
    await pause(5);
    const calls = device.callCount;
    release();
    expect(new Set(await Promise.all(lookups))).toEqual(new Set([textOf(7)]));
    expect(await many).toEqual([textOf(7), textOf(7)]);
    expect(calls).toBeGreaterThan(0);
    expect(device.callCount).toBe(1);
    await store.close();
  });

  test("a key that is changed meanwhile gives what it holds when the read has landed", async () => {
    const device = new WaitingDevice();
    const store = await filled(device);
    const release = device.holdReads();
    const [changed, deleted, grown, kept] = [0, 1, 2, 3].map((i) => store.getAsync(keyOf(i)));
    const many = store.getMany([keyOf(0), keyOf(1), keyOf(4)]);
    await pause(5);
    store.set(keyOf(0), "new");
    store.delete(keyOf(1));
    store.set(keyOf(2), "g".repeat(200_000));
    await pause(5);
    release();
    expect(await changed).toBe("new");
    expect(await deleted).toBeUndefined();
    expect((await grown)?.length).toBe(200_000);
    expect(await kept).toBe(textOf(3));
    expect(await many).toEqual(["new", undefined, textOf(4)]);
    await store.close();
  });

  test("its frame is given to nobody, and synchronous reads of the block do without it", async () => {
    const device = new WaitingDevice();
    const store = await filled(device, { cacheBytes: 0 });
    const release = device.holdReads();
    const lookups = SCATTERED.slice(0, 200).map((i) => store.getAsync(keyOf(i)));
    await pause(5);
    const targets = [...device.targets];
    expect(targets.length).toBeGreaterThan(5);
    // Many times the cache, the blocks in flight among them.
    for (let i = 0; i < COUNT; i++) {
      if (store.get(keyOf(i)) !== textOf(i)) throw new Error(keyOf(i));
    }
    let count = 0;
    for (const [key, value] of store.entries({ prefix: "key" })) {
      if (value === textOf(Number(key.slice(4)))) count++;
    }
    expect(count).toBe(COUNT);
    expect(targets.every((target) => target.every((byte) => byte === 0xee))).toBe(true);
    release();
    expect(await Promise.all(lookups)).toEqual(SCATTERED.slice(0, 200).map(textOf));
    await store.close();
  });

  test("regression: a transaction that has ended says so to reads of it that still wait", async () => {
    const device = new WaitingDevice();
    const store = await filled(device);
    const release = device.holdReads();
    const late: Promise<CairnError>[] = [];
    await store.transact(async (tx) => {
      late.push(errorOf(() => tx.getAsync(keyOf(7))));
      late.push(errorOf(() => tx.getMany([keyOf(8), keyOf(9)])));
      await pause(5);
    });
    const snapshot = store.snapshot();
    const closed = errorOf(() => snapshot.getAsync(keyOf(11)));
    await pause(5);
    snapshot.close();
    release();
    for (const { code, message } of await Promise.all(late)) {
      expect(code).toBe("INVALID_ARGUMENT");
      expect(message).toContain("the transaction has ended");
    }
    expect(await closed).toMatchObject({
      code: "CLOSED",
      message: "getAsync: the snapshot is closed. Take a new one.",
    });
    expect(await store.getAsync(keyOf(7))).toBe(textOf(7));
    await store.close();
  });

  test("large values that change are given whole, of one version", async () => {
    const device = new WaitingDevice();
    const store = await open(device, SMALL);
    const version = (i: number): string => String.fromCharCode(97 + (i % 26)).repeat(300_000 + i);
    let written = 0;
    store.set("large", version(written));
    for (let i = 0; i < 600; i++) store.set(`filler ${i}`, "f".repeat(1000));
    await store.flush();
    for (let round = 0; round < 10; round++) {
      const reading = store.getAsync("large");
      for (let i = 0; i < 3; i++) await pause();
      store.set("large", version(++written));
      for (let i = 0; i < 600; i++) store.set(`filler ${i}`, "f".repeat(1000));
      const value = (await reading) as string;
      expect([version(written), version(written - 1)].includes(value)).toBe(true);
    }
    await store.close();
  });

  test("closing lets it land first; who waits gets the value, who queues or comes later is told", async () => {
    const device = new WaitingDevice();
    const store = await filled(device, { cacheBytes: 0 });
    const release = device.holdReads();
    const lookups = SCATTERED.slice(0, 500).map((i) =>
      store.getAsync(keyOf(i)).then(
        (value) => value === textOf(i),
        (error: CairnError) => error.code,
      ),
    );
    const walk = store.entries();
    const waiting = walk.nextvAsync(10).then(
      () => "entries",
      (error: CairnError) => error.code,
    );
    await pause(5);
    const closing = store.close();
    expect(await codeOf(() => store.getAsync(keyOf(0)))).toBe("CLOSED");
    expect(await codeOf(() => store.getMany([keyOf(0)]))).toBe("CLOSED");
    let closed = false;
    void closing.then(() => {
      closed = true;
    });
    await pause(5);
    expect(closed).toBe(false);
    expect(device.inFlightCount).toBeGreaterThan(0);
    release();
    await closing;
    expect(device.inFlightCount).toBe(0);
    const ends = await Promise.all(lookups);
    expect(new Set(ends)).toEqual(new Set([true, "CLOSED"]));
    expect(ends[0]).toBe(true);
    expect(await waiting).toBe("CLOSED");
    const again = await open(device.reopen(), SMALL);
    expect(await again.getAsync(keyOf(0))).toBe(textOf(0));
    await again.close();
  });

  test("an iterator has its cursor to itself until then, and sees its own snapshot", async () => {
    const device = new WaitingDevice();
    const store = await filled(device);
    const release = device.holdReads();
    const walk = store.entries({ prefix: "key" });
    const first = walk.nextvAsync(3);
    await pause(5);
    expect(await codeOf(() => walk.next())).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => walk.seek(keyOf(100)))).toBe("INVALID_ARGUMENT");
    store.set(keyOf(1), "new");
    store.delete(keyOf(2));
    release();
    expect(await first).toEqual([0, 1, 2].map((i) => [keyOf(i), textOf(i)]));
    walk.seek(keyOf(500));
    expect(await walk.nextvAsync(1)).toEqual([[keyOf(500), textOf(500)]]);
    expect(walk.next().value).toEqual([keyOf(501), textOf(501)]);
    walk.return();
    expect(await walk.nextvAsync(1)).toEqual([]);
    await store.close();
  });

  test("walks that are left half-way give back what they had", async () => {
    const device = new WaitingDevice();
    const store = await filled(device, { cacheBytes: 0 });
    for (let i = 0; i < 50; i++) {
      for await (const [key] of store.entries({ gte: keyOf(i * 50) })) {
        expect(key).toBe(keyOf(i * 50));
        break;
      }
    }
    const walk = store.entries()[Symbol.asyncIterator]();
    const five = [walk.next(), walk.next(), walk.next(), walk.next(), walk.next()];
    const keys = (await Promise.all(five)).map(({ value }) => (value as [string, string])[0]);
    expect(keys).toEqual([...store.keys({ limit: 5 })]);
    await walk.return?.();
    expect(store.stats().snapshotCount).toBe(0);
    // Frames that were lost would be missed here: as many lookups as there are frames, at once.
    expect((await store.getMany(SCATTERED.slice(0, 500).map(keyOf))).length).toBe(500);
    await store.close();
  });
});

test("planning reads leaves alone what a synchronous flush needs of the group in flight", async () => {
  const device = new WaitingDevice();
  const store = await filled(device);
  const release = device.holdWrites();
  const written = store.put("in flight", "w".repeat(5000));
  await pause(5);
  const many = store.getMany(SCATTERED.slice(0, 100).map(keyOf));
  store.flushSync();
  release();
  await written;
  expect(await many).toEqual(SCATTERED.slice(0, 100).map(textOf));
  await store.close();
  const again = await open(device.reopen(), SMALL);
  expect(again.get("in flight")).toBe("w".repeat(5000));
  expect(again.count({ prefix: "key" })).toBe(COUNT);
  await again.close();
});

describe("a read that fails", () => {
  test("is DEVICE_READ for those who need it, and for nobody else", async () => {
    const device = new WaitingDevice();
    const store = await filled(device);
    device.before = (operation) => {
      if (operation === "read") throw new CairnError("DEVICE_READ", "read", "read: the medium is worn");
    };
    const release = device.holdReads();
    const failing = [errorOf(() => store.getAsync(keyOf(0))), errorOf(() => store.getMany([keyOf(1), keyOf(2)]))];
    const overwritten = store.getAsync(keyOf(3));
    const walking = errorOf(() => store.entries().nextvAsync(5));
    await pause(5);
    store.set(keyOf(3), "new");
    release();
    for (const error of await Promise.all([...failing, walking])) {
      expect(error.code).toBe("DEVICE_READ");
      expect(error.message).toMatch(/^(getAsync|getMany|entries): .* Device offset \d+/);
      expect((error.cause as Error).message).toMatch(/worn/);
    }
    expect(await overwritten).toBe("new");
    device.before = undefined;
    expect(await store.getAsync(keyOf(0))).toBe(textOf(0));
    expect(await store.getMany([keyOf(1), keyOf(2)])).toEqual([textOf(1), textOf(2)]);
    await store.put("after", "1");
    await store.close();
  });

  test("for want of what was written is CORRUPT, with the place", async () => {
    const device = new WaitingDevice();
    const store = await filled(device);
    const { bytes } = device;
    const mark = new TextEncoder().encode(`${keyOf(9)}9:vvvv`);
    let at = -1;
    for (let i = 0; i < bytes.length && at < 0; i++) if (mark.every((byte, j) => bytes[i + j] === byte)) at = i;
    bytes[at + 100] = (bytes[at + 100] as number) ^ 1;
    const error = await errorOf(() => store.getAsync(keyOf(9)));
    expect(error.code).toBe("CORRUPT");
    expect(error.message).toContain(`Device offset ${at - (at % 4096)}`);
    expect(await codeOf(() => store.getMany([keyOf(9)]))).toBe("CORRUPT");
    await store.put("after", "1");
    bytes[at + 100] = (bytes[at + 100] as number) ^ 1;
    expect(await store.getAsync(keyOf(9))).toBe(textOf(9));
    await store.close();
  });

  test("because the device ends is DEVICE_SHRUNK, and poisons", async () => {
    const device = new WaitingDevice();
    const store = await filled(device);
    device.before = (operation) => {
      if (operation === "read") throw new CairnError("DEVICE_SHRUNK", "read", "read: the device has shrunk");
    };
    const [first, second] = [store.getAsync(keyOf(0)), store.getAsync(keyOf(1))].map((lookup) => errorOf(() => lookup));
    expect((await first)?.code).toMatch(/DEVICE_SHRUNK|POISONED/);
    expect((await second)?.code).toMatch(/DEVICE_SHRUNK|POISONED/);
    expect(await codeOf(() => store.getAsync(keyOf(2)))).toBe("POISONED");
    await store.close();
  });
});

test("keys of every length and alphabet find their values in getMany; wrong ones are refused", async () => {
  const store = await open(new WaitingDevice(), SMALL);
  const keys = ["a", "12345678", "ü", "x".repeat(27), "y".repeat(28), "z".repeat(29), "€".repeat(40), "k".repeat(2048)];
  keys.push("€".repeat(682), "日本", "1234567", "123456789", "a\u0000", "a\u0000\u0000");
  for (const [i, key] of keys.entries()) store.set(key, `${i}`);
  const many = [...keys, ...keys].reverse();
  expect(await store.getMany(many)).toEqual(many.map((key) => `${keys.indexOf(key)}`));
  for (const wrong of ["", "k".repeat(2049), "€".repeat(683)]) {
    expect(await codeOf(() => store.getMany(["a", wrong]))).toBe("KEY_SIZE");
    expect(await codeOf(() => store.getAsync(wrong))).toBe("KEY_SIZE");
  }
  expect(await codeOf(() => store.getMany(["a", 1 as unknown as string]))).toBe("INVALID_ARGUMENT");
  expect(await codeOf(() => store.getAsync(1 as unknown as string))).toBe("INVALID_ARGUMENT");
  await store.close();
});

test("a binary key may be changed by its owner once the call has returned", async () => {
  const device = new WaitingDevice();
  const store = await open(device, { ...SMALL, keyEncoding: "binary", valueEncoding: "binary" });
  for (let i = 0; i < 200; i++) store.set(Uint8Array.of(1, i), new Uint8Array(3000).fill(i));
  await store.flush();
  const release = device.holdReads();
  const key = Uint8Array.of(1, 5);
  const lookup = store.getAsync(key);
  const many = store.getMany([key]);
  key[1] = 6;
  await pause(5);
  release();
  expect((await lookup)?.[0]).toBe(5);
  expect((await many)[0]?.[0]).toBe(5);
  await store.close();
});
