/** Restoring: whole and proven, or not at all. */
import { describe, expect, test } from "vitest";
import type { BackupSource, RestoreOptions } from "../../hosts/restoring.ts";
import type { CairnError } from "../../store/error.ts";
import { backupOf, failureOf, MANUAL, restored } from "./backups.ts";
import { open, openTiny, restore, runSeed, scratchPaths } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const MIB = 1_048_576;
const BLOCK = 4096;
const HEADER = 4160;
const SPAN = 24;
const DIGEST = 32;

const nextPath = scratchPaths();

/** A backup of some segments of 16 blocks. */
async function someBackup(count = 30): Promise<Uint8Array<ArrayBuffer>> {
  const store = await openTiny(new ImageDevice(), MANUAL);
  for (let i = 0; i < count; i++) store.set(`key ${i}`, `${i}`.padEnd(10_000, "v"));
  const { bytes } = await backupOf(store);
  await store.close();
  return bytes;
}

/** A copy with a bit flipped. */
function flipped(bytes: Uint8Array, at: number, bit = 0): Uint8Array {
  const copy = bytes.slice();
  copy[at] = (copy[at] as number) ^ (1 << bit);
  return copy;
}

describe(`restoring, seed ${seed}`, () => {
  test("a backup with any byte damaged is refused, and the target stays as it is", async () => {
    const random = new Random(seed);
    const bytes = await someBackup();
    const spans = new DataView(bytes.buffer).getUint32(12, true);
    expect(spans).toBeGreaterThan(3);
    const blocksFrom = HEADER + spans * SPAN + DIGEST;
    const places = [0, 7, 8, 12, 16, 24, 39, 40, 48, 63, 64, 72, 64 + 84, 64 + 160, 64 + 512, HEADER - 1];
    for (let span = 0; span < spans; span++)
      for (let at = 0; at < SPAN; at += 4) places.push(HEADER + span * SPAN + at);
    for (const at of [blocksFrom - DIGEST, blocksFrom - 1, blocksFrom, blocksFrom + 15 * BLOCK]) places.push(at);
    for (let at = blocksFrom; at < bytes.length; at += 1 + random.below(9 * BLOCK)) places.push(at);
    for (const back of [1, 32, 33, 40, 41, 72, 73]) places.push(bytes.length - back);
    const path = nextPath();
    const other = await open(path);
    other.set("other", "stays");
    await other.close();
    for (const [n, at] of places.entries()) {
      const source = [flipped(bytes, at, random.below(8))];
      const device = new ImageDevice();
      const error = await failureOf(restore(device, source));
      expect([at, error.code]).toEqual([at, at < 8 ? "NOT_A_STORE" : at < 12 ? "UNSUPPORTED_FORMAT" : "CORRUPT"]);
      expect(device.size()).toBe(0);
      if (n % 8 === 0) expect((await failureOf(restore(path, source, { overwrite: true }))).code).toBe(error.code);
    }
    const same = await open(path, { create: false });
    expect(same.get("other")).toBe("stays");
    await same.close();
  });

  test("a truncated one, one with more behind it, and pieces that changed places are refused", async () => {
    const bytes = await someBackup();
    const lengths = [0, 1, 8, 15, 16, 100, HEADER, 5000, 20_000, bytes.length / 2, bytes.length - 41, bytes.length - 1];
    for (const length of lengths) {
      const device = new ImageDevice();
      const error = await failureOf(restore(device, [bytes.subarray(0, length)]));
      expect([length, error.code]).toEqual([length, "CORRUPT"]);
      expect(device.size()).toBe(0);
    }
    expect((await failureOf(restore(new ImageDevice(), [bytes, new Uint8Array(1)]))).code).toBe("CORRUPT");
    const spans = new DataView(bytes.buffer).getUint32(12, true);
    const from = HEADER + spans * SPAN + DIGEST;
    const size = 16 * BLOCK + DIGEST;
    const swapped = bytes.slice();
    swapped.set(bytes.subarray(from, from + size), from + size);
    swapped.set(bytes.subarray(from + size, from + 2 * size), from);
    expect((await failureOf(restore(new ImageDevice(), [swapped]))).code).toBe("CORRUPT");
  });

  test("chunks of any size, streams and iterables", async () => {
    const random = new Random(seed);
    const bytes = await someBackup();
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      const size = random.pick([0, 1, 31, 4096, random.below(100_000)]);
      chunks.push(bytes.subarray(at, at + size));
      at += size;
    }
    async function* later(): AsyncGenerator<Uint8Array> {
      yield* chunks;
    }
    const sources = [chunks, later(), new Blob([bytes]).stream(), [later()], [[bytes]]];
    for (const source of sources as BackupSource[]) {
      const device = new ImageDevice();
      await restore(device, source);
      const store = await openTiny(device, MANUAL);
      expect(store.count()).toBe(30);
      await store.close();
    }
  });

  test("what a target holds is given up only when that is asked for", async () => {
    const bytes = await someBackup();
    const path = nextPath();
    const refused = async (target: string | ImageDevice, options?: RestoreOptions) =>
      (await failureOf(restore(target, [bytes], options))).code;
    await restore(path, [bytes]);
    expect(await refused(path)).toBe("INVALID_ARGUMENT");
    const store = await open(path);
    expect(store.count()).toBe(30);
    store.set("more", "x");
    expect(await refused(path, { overwrite: true })).toBe("LOCKED");
    await store.close();
    await restore(path, [bytes], { overwrite: true });
    const again = await open(path);
    expect(again.get("more")).toBeUndefined();
    expect(again.count()).toBe(30);
    await again.close();
    const device = new ImageDevice(2 * MIB, false);
    device.bytes[MIB + 65_536] = 1;
    expect(await refused(device)).toBe("INVALID_ARGUMENT");
    expect(await refused(device, { overwrite: false })).toBe("INVALID_ARGUMENT");
  });

  test("a source that fails leaves the target as it is", async () => {
    const bytes = await someBackup();
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 100_000);
      throw new Error("the network is gone");
    }
    const path = nextPath();
    expect((await failureOf(restore(path, broken()))).message).toBe("the network is gone");
    expect((await failureOf(open(path, { create: false }))).code).toBe("NOT_A_STORE");
    await restore(path, [bytes]);
    await (await open(path, { create: false })).close();
  });

  test("a device that is full, or fails, holds no store afterwards", async () => {
    const bytes = await someBackup();
    expect((await failureOf(restore(new ImageDevice(MIB + 65_536, false), [bytes]))).code).toBe("NO_SPACE");
    for (let failing = 0; ; failing++) {
      const device = new ImageDevice(4 * MIB, false);
      let left = failing;
      device.before = (operation) => {
        if (operation === "read" || left-- > 0) return;
        throw new Error("the device is gone");
      };
      const failed = await restore(device, [bytes]).then(
        () => undefined,
        (error: Error) => error,
      );
      device.before = undefined;
      if (failed === undefined) break;
      expect(failed.message).toContain("the device is gone");
      // All of it, or nothing that opens: the last sync may have failed, whose write was done.
      const opened = await openTiny(device, { ...MANUAL, create: false }).catch((error: CairnError) => error.code);
      if (typeof opened === "string") expect(["CORRUPT", "NOT_A_STORE"]).toContain(opened);
      else expect([0, 30]).toContain(opened.count());
      if (typeof opened !== "string") await opened.close();
      expect(failing).toBeLessThan(60);
    }
  });

  test("blocks of a future that was given up do not come back (a device of fixed size)", async () => {
    const device = new ImageDevice(6 * MIB, false);
    let store = await openTiny(device, MANUAL);
    for (let i = 0; i < 30; i++) store.set(`key ${i}`, "v".repeat(10_000));
    const { bytes } = await backupOf(store);
    await store.close();
    // The same mount numbers, the same lives, other records.
    store = await openTiny(device.reopen(), MANUAL);
    for (let i = 0; i < 100; i++) {
      store.set(`future ${i}`, "f".repeat(10_000));
      if (i % 3 === 0) store.flushSync();
    }
    store.flushSync();
    // As a kill leaves it: a store that lives on would write over what is restored.
    const left = ImageDevice.of(device.image(), false);
    await store.close();
    await restore(left, [bytes], { overwrite: true });
    store = await openTiny(left.reopen(), MANUAL);
    store.set("other", "o".repeat(10_000));
    store.flushSync();
    const crashed = await openTiny(ImageDevice.of(left.image(), false), MANUAL);
    expect(crashed.count()).toBe(31);
    expect((await crashed.verify()).faults).toEqual([]);
    await crashed.close();
    await store.close();
  });

  test("progress is told, arguments are checked", async () => {
    const bytes = await someBackup();
    const told: string[] = [];
    let last = { done: 0, total: 1 };
    const onProgress: RestoreOptions["onProgress"] = (progress) => {
      told.push(progress.phase);
      last = progress;
    };
    await restore(new ImageDevice(), [bytes], { onProgress });
    expect(new Set(told)).toEqual(new Set(["restore"]));
    expect(last.done).toBe(last.total);
    const wrong = async (target: unknown, source: unknown, options?: unknown): Promise<string> =>
      (await failureOf(restore(target as string, source as BackupSource, options as RestoreOptions))).message;
    expect(await wrong(":memory:", [bytes])).toContain("gone at once");
    expect(await wrong(new ImageDevice(), bytes)).toContain("the source must be");
    expect(await wrong(new ImageDevice(), [])).toContain("the source must be");
    expect(await wrong(new ImageDevice(), ["text"])).toContain("Uint8Array");
    expect(await wrong(new ImageDevice(), [bytes], { force: true })).toContain("there is no option force");
    expect(await wrong(new ImageDevice(), [bytes], { overwrite: 1 })).toContain("overwrite must be");
  });

  test("a restored store is backed up and restored again", async () => {
    const one = await restored([await someBackup()]);
    one.set("more", "x");
    const two = await restored([(await backupOf(one)).bytes]);
    expect(two.count()).toBe(31);
    await Promise.all([one.close(), two.close()]);
  });
});
