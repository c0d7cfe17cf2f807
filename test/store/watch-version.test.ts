/** The version of a watch while a change is on its way, and behind one that could not be given: going on from it misses nothing. */
import { expect, test } from "vitest";
import type { Codec } from "../../store/encoding.ts";
import type { CairnError } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import type { Change } from "../../store/watch.ts";
import { openTiny, pause } from "./harness.ts";
import { WaitingDevice } from "./waiting-device.ts";

const KEYS = Array.from({ length: 10 }, (_, i) => `k${i}`);
const textOf = (key: string): string => `${key}:`.padEnd(3000, "v");

/** A value that cannot be decoded while `isBroken`. */
class Fragile implements Codec<string> {
  readonly name = "fragile";
  isBroken = false;
  encode(value: string): Uint8Array {
    return new TextEncoder().encode(value);
  }
  decode(bytes: Uint8Array): string {
    const text = new TextDecoder().decode(bytes);
    if (this.isBroken && text.startsWith("k5")) throw new Error("no such value");
    return text;
  }
}

/** A store of which nothing is in memory but its keys, written one after the other. */
async function reopened(device: WaitingDevice, valueEncoding: Codec<string> = new Fragile()): Promise<Store> {
  const written = await openTiny(device);
  for (const key of KEYS) written.set(key, textOf(key));
  await written.close();
  return openTiny(device.reopen(), { cacheBytes: 0, valueEncoding });
}

/** The next keys that are given after a version. */
async function keysSince(store: Store, what: string[] | undefined, since: number, count: number): Promise<string[]> {
  const watch = store.watch(what, { since });
  const keys: string[] = [];
  while (keys.length < count) {
    const next = await Promise.race([watch.next(), pause(2000)]);
    if (next === undefined) throw new Error(`only ${keys} came`);
    keys.push((next.value as Change).key);
  }
  await watch.return();
  return keys;
}

/** Waits until a read is under way. */
async function reading(device: WaitingDevice): Promise<void> {
  for (let i = 0; i < 1000 && device.inFlightCount === 0; i++) await pause(1);
  expect(device.inFlightCount).toBeGreaterThan(0);
}

test("version does not count a change whose value is still being read", async () => {
  const device = new WaitingDevice();
  const store = await reopened(device);
  const release = device.holdReads();
  const watch = store.watch(["k0"], { since: 0 });
  const next = watch.next();
  await reading(device);
  const { version } = watch;
  release();
  expect((await next).value?.key).toBe("k0");
  expect(version).toBe(((await next).value as Change).version - 1);
  expect(await keysSince(store, ["k0"], version, 1)).toEqual(["k0"]);
  expect(watch.version).toBe(store.version);
  await store.close();
});

test("version does not count a change that was being read when the watch was left", async () => {
  const device = new WaitingDevice();
  const store = await reopened(device);
  const release = device.holdReads();
  const watch = store.watch(["k5", "k9"], { since: 0 });
  const next = watch.next();
  await reading(device);
  await watch.return();
  const { version } = watch;
  release();
  expect(await next).toEqual({ done: true, value: undefined });
  expect(watch.version).toBe(version);
  expect(await keysSince(store, ["k5", "k9"], version, 2)).toEqual(["k5", "k9"]);
  await store.close();
});

test("version does not count a change that later ones of its key replaced while it was read, nor skips those", async () => {
  const device = new WaitingDevice();
  const store = await reopened(device);
  const release = device.holdReads();
  const watch = store.watch(["k5"], { since: 0 });
  const next = watch.next();
  await reading(device);
  await store.put("k5", "later");
  const { version } = watch;
  release();
  expect((await next).value?.value).toBe("later");
  expect(watch.version).toBe(store.version);
  expect(await keysSince(store, ["k5"], version, 1)).toEqual(["k5"]);
  await store.close();
});

test.for(["read from the device", "in memory", "live"])(
  "version does not count a change whose value cannot be decoded: %s",
  async (where) => {
    const device = new WaitingDevice();
    const codec = new Fragile();
    const store = await reopened(device, codec);
    if (where !== "read from the device") for (const key of KEYS) store.set(key, key);
    await store.flush();
    const watch = store.watch(["k4", "k5", "k9"], where === "live" ? {} : { since: 0 });
    if (where === "live") for (const key of KEYS) store.set(key, key);
    await store.flush();
    codec.isBroken = true;
    const first = (await watch.next()).value as Change;
    expect(first.key).toBe("k4");
    const error = (await watch.next().catch((cause: unknown) => cause)) as CairnError;
    expect([error.code, error.operation]).toEqual(["INVALID_ARGUMENT", "watch"]);
    expect(error.message).toMatch(/^watch: .* The key is "k5", the encoding fragile\.$/);
    expect(watch.version).toBe(first.version);
    expect(await watch.next()).toEqual({ done: true, value: undefined });
    codec.isBroken = false;
    expect(await keysSince(store, ["k4", "k5", "k9"], watch.version, 2)).toEqual(["k5", "k9"]);
    await store.close();
  },
);
