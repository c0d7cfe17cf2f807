/** Compression: what is stored compressed reads back the same on every path, and what rot makes of it is never a value. */
import { describe, expect, test } from "vitest";
import type { OpenOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { backupOf } from "./backups.ts";
import { codeOf, errorOf, open, openTiny, restore, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";
import { FIELD, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE, xxh64 } from "./superblock.ts";

const seed = runSeed();
const BLOCK = 4096;
const SEGMENTS_OFFSET = 1_048_576;
const LZ4 = { compression: "lz4" } as const;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * 1_048_576 };
/** Around each place where the stored form changes: the smallest, a block, a piece, one call of the core, a segment. */
const SIZES = [
  0, 128, 129, 255, 256, 257, 1024, 4000, 4096, 9000, 65_535, 65_536, 65_537, 100_000, 131_071, 131_072, 131_073,
  262_144, 1_100_000,
];

/** Text that gets about a third as small, another one for each number. */
function text(size: number, number = 0): string {
  const rows: string[] = [];
  for (let i = 0, length = 0; length < size; i++) {
    const row = `{"id":${number * 1000 + ((i * 7919) % 100_003)},"name":"user ${i % 977}","on":${i % 3 === 0}},`;
    rows.push(row);
    length += row.length;
  }
  return rows.join("").slice(0, size);
}

/** What does not get smaller. */
function noise(size: number, random = new Random(seed)): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = random.below(256);
  return bytes;
}

const keyOf = (size: number): string => `of ${String(size).padStart(8, "0")}`;

/** Each value, by every way to read it. */
async function expectAll(store: Store, values: ReadonlyMap<string, string>): Promise<void> {
  const same = (value: string | undefined, key: string): void => {
    if (value !== values.get(key)) throw new Error(`${key}: another value, of ${value?.length} characters`);
  };
  for (const key of values.keys()) same(store.get(key), key);
  for (const key of values.keys()) same(await store.getAsync(key), key);
  const keys = [...values.keys()];
  const many = await store.getMany(keys);
  for (const [i, key] of keys.entries()) same(many[i], key);
  for (const key of values.keys()) same(store.getEntry(key)?.value, key);
  let count = 0;
  for (const [key, value] of store.entries()) {
    same(value, key);
    count++;
  }
  expect(count).toBe(values.size);
  for await (const [key, value] of store.entries({ reverse: true })) same(value, key);
  const snapshot = store.snapshot();
  for (const key of values.keys()) same(snapshot.get(key), key);
  snapshot.close();
}

function incompatible(image: Uint8Array): { bits: bigint; name: string; version: string } {
  let newest: DataView | undefined;
  for (let copy = 0; copy < SUPERBLOCK_COPIES; copy++) {
    const view = new DataView(image.buffer, image.byteOffset + copy * SUPERBLOCK_STRIDE, BLOCK);
    const isNewer =
      newest === undefined || view.getBigUint64(FIELD.generation, true) > newest.getBigUint64(FIELD.generation, true);
    if (isNewer) newest = view;
  }
  const view = newest as DataView;
  const words = (offset: number, size: number): string =>
    new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + offset, size)).replaceAll("\0", "");
  return {
    bits: view.getBigUint64(FIELD.incompatible, true),
    name: words(FIELD.featureName, 64),
    version: words(FIELD.versionNeeded, 16),
  };
}

const OPENERS: readonly (readonly [string, typeof open])[] = [
  ["segments of 1 MiB", open],
  ["tiny segments", (device, options) => openTiny(device as ImageDevice, options)],
];

describe(`compression, CAIRN_SEED=${seed}`, () => {
  test.each(OPENERS)(
    "values of all sizes read back on every path, cold and after an opening: %s",
    async (_name, opener) => {
      const device = new ImageDevice();
      const options = { ...SMALL, memoryBytes: 64 * 1_048_576, durability: "manual" } as const;
      const values = new Map(SIZES.map((size) => [keyOf(size), text(size)]));
      let store = await opener(device, { ...options, ...LZ4 });
      for (const [key, value] of values) store.set(key, value);
      await expectAll(store, values);
      const stats = store.stats();
      expect(stats.valueBytes).toBe(SIZES.reduce((sum, size) => sum + size, 0));
      expect(stats.valueStoredBytes).toBeLessThan(stats.valueBytes / 2);
      expect(stats.compressedValueCount).toBe(SIZES.filter((size) => size >= 256).length);
      expect(stats.liveBytes).toBeLessThan(stats.valueBytes / 2);
      await store.flush();
      expect((await store.verify()).faults).toEqual([]);
      await store.close();
      // From a checkpoint, without the option.
      for (const readOnly of [false, true]) {
        store = await opener(device.reopen(), { ...options, readOnly });
        expect(store.stats()).toMatchObject({
          valueStoredBytes: stats.valueStoredBytes,
          compressedValueCount: stats.compressedValueCount,
          liveBytes: stats.liveBytes,
        });
        await expectAll(store, values);
        expect((await store.verify()).faults).toEqual([]);
        await store.close();
      }
    },
  );

  test("a log without a checkpoint gives the same state as one with it", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...SMALL, ...LZ4, memoryBytes: 64 * 1_048_576 });
    const values = new Map(SIZES.map((size) => [keyOf(size), text(size)]));
    for (const [key, value] of values) store.set(key, value.toUpperCase());
    for (const [key, value] of values) store.set(key, value);
    await store.flush();
    const again = await openTiny(ImageDevice.of(device.image()), { memoryBytes: 64 * 1_048_576 });
    const { valueStoredBytes, compressedValueCount, liveBytes } = store.stats();
    expect(again.stats()).toMatchObject({ valueStoredBytes, compressedValueCount, liveBytes, checkpointCount: 0 });
    await expectAll(again, values);
    expect((await again.verify()).faults).toEqual([]);
    await again.close();
    await store.close();
  });

  test("what does not get smaller is stored as it is, byte for byte as without the option", async () => {
    const figures: object[] = [];
    for (const options of [{}, LZ4]) {
      const store = await open(":memory:", { ...options, valueEncoding: "binary" });
      const random = new Random(seed);
      for (const size of SIZES) store.set(keyOf(size), noise(size, random));
      const { liveBytes, appendedBytes, valueBytes, valueStoredBytes, compressedValueCount } = store.stats();
      expect(valueStoredBytes).toBe(valueBytes);
      figures.push({ liveBytes, appendedBytes, compressedValueCount });
      expect(store.get(keyOf(131_073))?.length).toBe(131_073);
      await store.close();
    }
    expect(figures[1]).toEqual(figures[0]);
  });

  test("pieces that do not get smaller stand as they are among those that do", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...SMALL, ...LZ4, valueEncoding: "binary" });
    const random = new Random(seed);
    for (const size of [131_072, 300_000]) {
      const value = new TextEncoder().encode(text(size));
      value.set(noise(70_000, random), 61_000);
      store.set("mixed", value);
      expect(store.stats().compressedValueCount).toBe(1);
      expect(Buffer.compare(store.get("mixed") as Uint8Array, value)).toBe(0);
      await store.flush();
      expect(Buffer.compare((await store.getAsync("mixed")) as Uint8Array, value)).toBe(0);
      const cold = await openTiny(ImageDevice.of(device.image()), { ...SMALL, valueEncoding: "binary" });
      expect(Buffer.compare((await cold.getAsync("mixed")) as Uint8Array, value)).toBe(0);
      expect(Buffer.compare(cold.get("mixed") as Uint8Array, value)).toBe(0);
      await cold.close();
    }
    await store.close();
  });

  test("bytes in shared memory are stored as they were", async () => {
    if (typeof SharedArrayBuffer === "undefined") return;
    const store = await open(":memory:", { ...LZ4, valueEncoding: "binary" });
    const value = new Uint8Array(new SharedArrayBuffer(400_000));
    value.set(new TextEncoder().encode(text(400_000)));
    store.set("shared", value);
    expect(Buffer.compare(store.get("shared") as Uint8Array, Uint8Array.from(value))).toBe(0);
    expect(store.stats().compressedValueCount).toBe(1);
    await store.close();
  });

  test("a mixture of stores: without the option new values go as they are, with it only new ones are compressed", async () => {
    const device = new ImageDevice();
    const image = (): Uint8Array => device.image();
    const values = new Map<string, string>();
    const write = async (key: string, options: OpenOptions<"utf8", "utf8">, count: number): Promise<void> => {
      const store = await open(device.reopen(), options);
      values.set(key, text(5000, values.size));
      store.set(key, values.get(key) as string);
      expect(store.stats().compressedValueCount).toBe(count);
      await expectAll(store, values);
      await store.close();
    };
    await write("plain", {}, 0);
    expect(incompatible(image()).bits).toBe(0n);
    const idle = await open(device.reopen(), LZ4);
    idle.set("small", "too small");
    values.set("small", "too small");
    await idle.close();
    // Until there is a compressed value, older versions may have the store.
    expect(incompatible(image()).bits).toBe(0n);
    await write("compressed", LZ4, 1);
    expect(incompatible(image())).toEqual({ bits: 1n, name: "compression-lz4", version: "0.1.0" });
    await write("plain again", {}, 1);
    expect(incompatible(image()).bits).toBe(1n);
    await write("plain", LZ4, 2);
  });

  test("the mark is on the device before the first compressed value is", async () => {
    for (const write of [
      (store: Store) => store.set("key", text(3000)),
      (store: Store) => store.set("key", text(300_000)),
      (store: Store) => store.batch([{ type: "set", key: "key", value: text(3000) }]),
      (store: Store) => store.append("key", text(3000)),
    ]) {
      const device = new ImageDevice();
      const store = await open(device, { ...LZ4, durability: "manual" });
      device.events = [];
      const done = write(store);
      const inLog = device.events.filter((event) => event.type === "write" && event.offset >= SEGMENTS_OFFSET);
      expect(inLog).toEqual([]);
      expect(device.events.at(-1)).toEqual({ type: "sync" });
      expect(incompatible(device.image()).bits).toBe(1n);
      await done;
      await store.close();
    }
  });

  test("when the mark cannot be written nothing changes, and the store is poisoned", async () => {
    const device = new ImageDevice();
    const store = await open(device, { ...LZ4, durability: "manual" });
    store.set("before", "1");
    await store.flush();
    const image = device.image();
    device.before = (operation) => {
      if (operation === "write") throw new Error("no");
    };
    expect(await codeOf(() => store.set("key", text(3000)))).toBe("DEVICE_WRITE");
    expect(await codeOf(() => store.get("before"))).toBe("POISONED");
    device.before = undefined;
    await store.close().catch(() => undefined);
    const again = await open(ImageDevice.of(image));
    expect([...again.entries()]).toEqual([["before", "1"]]);
    await again.close();
  });

  test("partial updates of compressed values", async () => {
    const device = new ImageDevice();
    const store = await openTiny(device, { ...SMALL, ...LZ4, memoryBytes: 64 * 1_048_576 });
    for (const size of [200, 3000, 100_000, 131_000, 300_000]) {
      let wanted = text(size);
      store.set("key", wanted);
      store.append("key", ", appended");
      wanted += ", appended";
      expect(store.get("key") === wanted).toBe(true);
      store.patch("key", size - 100, "PATCHED");
      wanted = `${wanted.slice(0, size - 100)}PATCHED${wanted.slice(size - 93)}`;
      expect(store.get("key") === wanted).toBe(true);
      await store.flush();
      store.append("key", text(900, 3));
      wanted += text(900, 3);
      expect((await store.getAsync("key")) === wanted).toBe(true);
      store.update("key", (value) => `${value}!`);
      expect(store.get("key") === `${wanted}!`).toBe(true);
    }
    store.set("json", JSON.stringify({ a: text(5000), b: 1 }));
    store.merge("json", { b: null, c: 2 });
    expect(JSON.parse(store.get("json") as string)).toEqual({ a: text(5000), c: 2 });
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
  });

  test("a compressed value is overwritten in place where it has the same size", async () => {
    const store = await open(":memory:", { ...LZ4, durability: "manual" });
    const value = (i: number): string => `${String(i).padStart(6, "0")}${"same ".repeat(200)}`;
    for (let i = 0; i < 50; i++) store.set("hot", value(i * 1111));
    expect(store.stats().inPlaceUpdateCount).toBeGreaterThan(40);
    expect(store.get("hot")).toBe(value(49 * 1111));
    // To a value that is stored as it is, and back.
    store.set("hot", "short");
    expect(store.stats()).toMatchObject({ compressedValueCount: 0, valueBytes: 5, valueStoredBytes: 5 });
    store.set("hot", value(7));
    store.set("hot", value(8) + "same ".repeat(50));
    expect(store.get("hot")).toBe(value(8) + "same ".repeat(50));
    expect(store.stats()).toMatchObject({ compressedValueCount: 1, valueBytes: 1256 });
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
  });

  test("snapshots, iterators and their older versions", async () => {
    const store = await openTiny(new ImageDevice(), { ...SMALL, ...LZ4 });
    const sizes = [300, 5000, 90_000, 200_000];
    for (const size of sizes) store.set(keyOf(size), text(size, 1));
    const snapshot = store.snapshot();
    const entries = store.entries();
    for (const size of sizes) store.set(keyOf(size), text(size, 2));
    for (const size of sizes) store.delete(keyOf(size));
    store.set(keyOf(300), "plain");
    for (const size of sizes) expect(snapshot.get(keyOf(size)) === text(size, 1)).toBe(true);
    await store.flush();
    for (const size of sizes) expect((await snapshot.getAsync(keyOf(size))) === text(size, 1)).toBe(true);
    let count = 0;
    for (const [key, value] of entries) {
      expect(value === text(Number(key.slice(3)), 1)).toBe(true);
      count++;
    }
    expect(count).toBe(4);
    expect((await store.verify()).faults).toEqual([]);
    snapshot.close();
    expect(store.stats()).toMatchObject({
      compressedValueCount: 0,
      valueBytes: 5,
      valueStoredBytes: 5,
      olderVersionCount: 0,
    });
    await store.close();
  });

  test("batches, transactions, conditions, expiry and timestamps", async () => {
    const device = new ImageDevice();
    let store = await openTiny(device, { ...SMALL, ...LZ4, memoryBytes: 64 * 1_048_576 });
    const values = new Map<string, string>();
    const operations = [400, 9000, 70_000, 150_000, 400_000].map((size) => {
      values.set(keyOf(size), text(size, 5));
      return { type: "set" as const, key: keyOf(size), value: text(size, 5), timestamp: size, expiresIn: 3_600_000 };
    });
    await store.batch([{ type: "set", key: keyOf(400), value: text(700, 9) }, ...operations]);
    await expectAll(store, values);
    store.transaction((tx) => {
      tx.set("in a transaction", text(2000));
      expect(tx.get("in a transaction")).toBe(text(2000));
    });
    values.set("in a transaction", text(2000));
    const { version } = store.getEntry(keyOf(9000)) as { version: number };
    expect(store.set(keyOf(9000), text(9000, 6), { ifVersion: version, timestamp: 9001, expiresIn: 3_600_000 })).toBe(
      true,
    );
    expect(store.set(keyOf(9000), "no", { ifVersion: version })).toBe(false);
    values.set(keyOf(9000), text(9000, 6));
    expect(await codeOf(() => store.set(keyOf(400), text(500), { timestamp: 1 }))).toBe("STALE_TIMESTAMP");
    store.append(keyOf(400), "!");
    values.set(keyOf(400), `${text(400, 5)}!`);
    const facts = (): unknown[] => [...values.keys()].map((key) => ({ ...store.getEntry(key), value: undefined }));
    const before = facts();
    expect(before[0]).toMatchObject({ timestamp: 400 });
    expect((await store.verify()).faults).toEqual([]);
    await store.flush();
    const replayed = await openTiny(ImageDevice.of(device.image()), { memoryBytes: 64 * 1_048_576 });
    await expectAll(replayed, values);
    await replayed.close();
    await store.close();
    store = await openTiny(device.reopen(), { memoryBytes: 64 * 1_048_576 });
    expect(facts()).toEqual(before);
    await expectAll(store, values);
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
  });

  test("compaction copies stored forms as they are", async () => {
    const device = new ImageDevice();
    const options = { ...SMALL, memoryBytes: 64 * 1_048_576, compaction: { auto: false } };
    let store = await openTiny(device, { ...options, ...LZ4 });
    const values = new Map<string, string>();
    for (let i = 0; i < 300; i++) {
      const size = [300, 2000, 9000, 150_000][i % 4] as number;
      const key = `key ${i % 60}`;
      values.set(key, text(i % 4 === 3 && i % 20 !== 3 ? 500 : size, i));
      store.set(key, values.get(key) as string);
    }
    await store.flush();
    const { valueStoredBytes, compressedValueCount } = store.stats();
    await store.compact({ full: true });
    expect(store.stats().relocatedBytes).toBeGreaterThan(100_000);
    expect(store.stats()).toMatchObject({ valueStoredBytes, compressedValueCount });
    await expectAll(store, values);
    expect((await store.verify()).faults).toEqual([]);
    await store.close();
    store = await openTiny(device.reopen(), options);
    await expectAll(store, values);
    expect(store.stats()).toMatchObject({ valueStoredBytes, compressedValueCount });
    await store.close();
  });

  test("clear, delete and overwriting give the figures back", async () => {
    const store = await open(":memory:", LZ4);
    for (let i = 0; i < 40; i++) store.set(`key ${i}`, text(1000 + i * 10_000, i));
    for (let i = 0; i < 10; i++) store.delete(`key ${i}`);
    for (let i = 10; i < 20; i++) store.set(`key ${i}`, "x");
    expect(store.stats().compressedValueCount).toBe(20);
    store.clear({ gte: "key 2" });
    expect(store.stats()).toMatchObject({ compressedValueCount: 0, valueBytes: 10, valueStoredBytes: 10 });
    await store.close();
  });

  test("a readOnly store that was opened before the first compressed value reads it after refresh", async () => {
    const device = new ImageDevice();
    const writer = await open(device, LZ4);
    await writer.put("before", "1");
    // What was acknowledged is told to others by the group that follows.
    await writer.put("before too", "1");
    const shared = Object.assign(Object.create(device), { close: () => undefined, reopen: () => device });
    const reader = await open(shared as ImageDevice, { readOnly: true });
    expect(reader.get("before")).toBe("1");
    await writer.put("key", text(50_000));
    await writer.put("and then", "1");
    await reader.refresh();
    expect(reader.get("key") === text(50_000)).toBe(true);
    expect((await reader.getAsync("key")) === text(50_000)).toBe(true);
    await reader.close();
    await writer.close();
  });

  test("a backup has stored forms as they are, and its store the mark", async () => {
    const source = await openTiny(new ImageDevice(), { ...SMALL, ...LZ4 });
    const values = new Map([["small", "before the first compressed value"]]);
    source.set("small", values.get("small") as string);
    const before = await backupOf(source);
    for (const size of [400, 9000, 150_000]) {
      values.set(keyOf(size), text(size));
      source.set(keyOf(size), text(size));
    }
    const { valueStoredBytes, compressedValueCount } = source.stats();
    const since = await backupOf(source, before.version);
    const device = new ImageDevice();
    await restore(device, [[before.bytes], [since.bytes]]);
    expect(incompatible(device.image()).bits).toBe(1n);
    const store = await open(device.reopen(), SMALL);
    expect(store.stats()).toMatchObject({ valueStoredBytes, compressedValueCount });
    await expectAll(store, values);
    await store.close();
    await source.close();
  });

  test("the smallest memory is enough", async () => {
    const store = await open(":memory:", { ...SMALL, ...LZ4 });
    store.set("key", text(1_000_000));
    expect(store.get("key") === text(1_000_000)).toBe(true);
    await store.close();
  });

  test("wrong options are refused", async () => {
    const error = await errorOf(() => open(":memory:", { compression: "zstd" } as never));
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.message).toContain("compression");
  });
});

/** Gives a block whose bytes were changed a check that says that they are what was written. */
function sealAgain(image: Uint8Array, block: number): void {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const mask = (1n << 64n) - 1n;
  const high = view.getBigUint64(56, true);
  const seedOfStore = view.getBigUint64(48, true) ^ (((high << 32n) | (high >> 32n)) & mask);
  view.setBigUint64(block, xxh64(image.subarray(block + 16, block + BLOCK), seedOfStore), true);
}

describe(`damaged stored forms, CAIRN_SEED=${seed}`, () => {
  const values = new Map([900, 5000, 40_000, 140_000].map((size, i) => [keyOf(size), text(size, i)]));

  async function image(): Promise<Uint8Array> {
    const device = new ImageDevice();
    const store = await open(device, { ...LZ4, durability: "manual" });
    for (const [key, value] of values) store.set(key, value);
    await store.close();
    return device.image();
  }

  /** Places of bytes of the log, behind its segment's header. */
  function places(bytes: Uint8Array): number {
    let end = bytes.length;
    while (bytes[end - 1] === 0) end--;
    return end;
  }

  test("rot is CORRUPT, and never a value", async () => {
    const sound = await image();
    const random = new Random(seed);
    let corrupt = 0;
    for (let round = 0; round < 20; round++) {
      const bytes = sound.slice();
      const at = random.between(SEGMENTS_OFFSET + BLOCK, places(sound) - 1);
      bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
      corrupt += await readAll(bytes, true);
    }
    expect(corrupt).toBeGreaterThan(3);
  });

  test("stored forms that no writer made, under checks that hold, are CORRUPT or read within their bounds", async () => {
    const sound = await image();
    const random = new Random(seed + 1);
    let corrupt = 0;
    for (let round = 0; round < 60; round++) {
      const bytes = sound.slice();
      const block = random.between(SEGMENTS_OFFSET / BLOCK + 1, Math.floor(places(sound) / BLOCK)) * BLOCK;
      for (let i = random.between(1, 4); i > 0; i--) {
        bytes[block + random.between(56, BLOCK - 1)] = random.pick([0, 255, random.below(256)]);
      }
      sealAgain(bytes, block);
      corrupt += await readAll(bytes, false);
    }
    expect(corrupt).toBeGreaterThan(8);
  });

  test("verify names each value that does not decompress, and nothing else", async () => {
    for (const size of [900, 5000, 40_000, 140_000, 1_100_000]) {
      const device = new ImageDevice();
      // The largest one lies in several records.
      const opener = size > 1_000_000 ? openTiny : open;
      const store = await opener(device, { ...SMALL, ...LZ4, durability: "manual" });
      store.set("before", text(2000, 1));
      store.set(keyOf(size), text(size, 2));
      store.set("behind", text(2000, 3));
      await store.close();
      const bytes = device.image();
      const name = keyOf(size);
      const key = Buffer.from(bytes.buffer).indexOf(name, SEGMENTS_OFFSET);
      // Of a value of several pieces in one record it is the second piece.
      const first = size > 65_536 ? new DataView(bytes.buffer).getUint32(key + name.length, true) : 0;
      const start = size > 1_000_000 ? Math.ceil(size / 65_536) * 4 : first;
      // A count of literals that does not end.
      const wrong = storedPlace(key + name.length, start);
      bytes.fill(255, wrong, wrong + 12);
      sealAgain(bytes, wrong - (wrong % BLOCK));
      for (const image of [device.image(), bytes]) {
        const opened = await opener(ImageDevice.of(image), { ...SMALL, readOnly: true });
        const { faults } = await opened.verify();
        await opened.close();
        if (image !== bytes) {
          expect(faults).toEqual([]);
          continue;
        }
        expect(faults.map(({ kind }) => kind)).toEqual(["value"]);
        expect(new TextDecoder().decode(faults[0]?.key)).toBe(keyOf(size));
        const head = key - (faults[0]?.place?.offset as number);
        expect(head).toBeGreaterThan(0);
        expect(head).toBeLessThan(64);
      }
    }
  });

  test("places of pieces that cannot be are CORRUPT, for get and for verify", async () => {
    const sound = await image();
    const name = keyOf(140_000);
    const key = Buffer.from(sound.buffer).indexOf(name, SEGMENTS_OFFSET);
    const at = key + name.length;
    const view = new DataView(sound.buffer);
    const [first, second] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    const RAW = 0x80000000;
    const places: readonly (readonly [string, number, number])[] = [
      ["the first piece ends before the places", 0, 4],
      ["the first piece ends where it begins", 0, 12],
      ["the first piece is raw, and has another size", 0, first | RAW],
      ["the second piece ends before it begins", 4, first - 1],
      ["the second piece begins in the midst of the places", 0, 8],
      ["the second piece ends behind the value", 4, second + 1_000_000],
    ];
    for (const [what, offset, place] of places) {
      const bytes = sound.slice();
      new DataView(bytes.buffer).setUint32(at + offset, place >>> 0, true);
      sealAgain(bytes, at - (at % BLOCK));
      const store = await open(ImageDevice.of(bytes), { ...SMALL, readOnly: true });
      expect((await errorOf(() => store.get(name))).code, what).toBe("CORRUPT");
      const { faults } = await store.verify();
      expect(
        faults.map(({ kind }) => kind),
        what,
      ).toEqual(["value"]);
      expect(store.get(keyOf(900))).toBe(values.get(keyOf(900)));
      await store.close();
    }
  });

  test("verify reads large values in steps, and what is written meanwhile is no fault", async () => {
    const random = new Random(seed + 2);
    const store = await open(new ImageDevice(), { ...LZ4, memoryBytes: 64 * 1_048_576, durability: "manual" });
    const large = "0123456789abcdef".repeat(1_048_576);
    for (let i = 0; i < 6; i++) store.set(`large ${i}`, `${i}${large}`);
    for (let i = 0; i < 300; i++) store.set(`small ${i}`, text(random.between(300, 3000), i));
    store.flushSync();
    const quiet = await store.verify();
    expect(quiet.faults).toEqual([]);
    const snapshot = store.snapshot();
    let steps = 0;
    const onProgress = ({ phase }: { phase: string }): void => {
      if (phase === "index") steps++;
      const i = random.below(6);
      if (random.chance(0.3)) store.set(`large ${i}`, `${steps}${large}`);
      if (random.chance(0.3)) store.delete(`large ${random.below(6)}`);
      store.set(`small ${random.below(300)}`, text(random.between(300, 3000), steps));
    };
    expect((await store.verify({ onProgress })).faults).toEqual([]);
    // 96 MiB: more than one step, or it was not left.
    expect(steps).toBeGreaterThan(1);
    snapshot.close();
    await store.close();
  });

  /** Where byte `at` of a stored form lies that begins at `start` and runs over the payloads of blocks. */
  function storedPlace(start: number, at: number): number {
    const here = BLOCK - (start % BLOCK);
    if (at < here) return start + at;
    const rest = at - here;
    return start + here + Math.floor(rest / (BLOCK - 56)) * BLOCK + 56 + (rest % (BLOCK - 56));
  }

  /** How many values, or openings, were refused. With `exact`, what is given is what was written. */
  async function readAll(bytes: Uint8Array, exact: boolean): Promise<number> {
    let store: Store<string, Uint8Array>;
    try {
      store = await open(ImageDevice.of(bytes), { ...SMALL, valueEncoding: "binary", readOnly: true });
    } catch (error) {
      expect((error as { code: string }).code).toBe("CORRUPT");
      return 1;
    }
    let corrupt = 0;
    const check = (key: string, value: Uint8Array | undefined): void => {
      const wanted = values.get(key);
      if (!exact) return;
      if (wanted === undefined || Buffer.compare(value as Uint8Array, new TextEncoder().encode(wanted)) !== 0) {
        throw new Error(`${key} has another value`);
      }
    };
    for (const key of values.keys()) {
      for (const read of [() => store.get(key), () => store.getAsync(key)]) {
        try {
          const value = await read();
          if (value !== undefined || exact) check(key, value);
        } catch (error) {
          if ((error as { code?: string }).code !== "CORRUPT") throw error;
          corrupt++;
        }
      }
    }
    try {
      for (const [key, value] of store.entries()) check(key, value);
    } catch (error) {
      if ((error as { code?: string }).code !== "CORRUPT") throw error;
      corrupt++;
    }
    if (exact) expect((await store.verify()).faults.length > 0).toBe(true);
    else await store.verify();
    await store.close();
    return corrupt;
  }
});
