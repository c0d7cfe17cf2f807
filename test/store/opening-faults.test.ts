/**
 * Openings while the device fails: logs that end at each block of a segment, closed and killed, with groups that nothing vouches
 * for yet, and each call of such an opening failed in turn. What fails is told, and the next opening finds what was acknowledged.
 */
import { expect, test } from "vitest";
import { CairnError } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import { setting } from "./forging.ts";
import { openTiny } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";

const OPTIONS = {
  durability: "manual",
  writeBufferBytes: 262_144,
  cacheBytes: 262_144,
  memoryBytes: 16 * 1_048_576,
} as const;
const MIB = 1_048_576;
/** A record with this value fills the payload of a block. */
const ONE_BLOCK = 3900;
/** Of the calls of an opening, so many are passed over between two that fail. */
const STRIDE = setting("CAIRN_FAULTS_STRIDE", 3);
/** What an opening may say when its device fails. */
const TYPED = ["DEVICE_READ", "DEVICE_WRITE", "NO_SPACE", "CORRUPT", "POISONED"];

interface Image {
  name: string;
  bytes: Uint8Array;
  growable: boolean;
  /** Keys `0` to this one, without it, were acknowledged. */
  acknowledged: number;
}

const contentOf = (key: number): string => String(key).repeat(ONE_BLOCK).slice(0, ONE_BLOCK);

/** Images of stores that were closed, and killed, with so many records. */
async function images(count: number, growable: boolean): Promise<Image[]> {
  const device = growable ? new ImageDevice() : new ImageDevice(MIB + 12 * 65_536, false);
  const store = await openTiny(device, OPTIONS);
  const taken: Image[] = [];
  const take = (name: string, acknowledged: number): void => {
    taken.push({ name: `${name}, ${count} records`, bytes: device.image(), growable, acknowledged });
  };
  for (let i = 0; i < count; i++) store.set(String(i), contentOf(i));
  store.flushSync();
  take("killed after one group", count);
  store.set(String(count), contentOf(count));
  store.flushSync();
  take("killed after two groups", count + 1);
  await store.close();
  take("closed", count + 1);
  return taken;
}

function expectHeld(store: Store, { name, acknowledged }: Image): void {
  expect(store.count(), name).toBeGreaterThanOrEqual(acknowledged);
  for (let i = 0; i < acknowledged; i++) expect(store.get(String(i)), `${name}: key ${i}`).toBe(contentOf(i));
}

/** Opens an image, failing the call `at` of those that `fails` picks: how many calls that were. */
async function openFailing(image: Image, fails: string, at: number, code: string): Promise<number> {
  const device = ImageDevice.of(image.bytes, image.growable);
  let calls = 0;
  device.before = (operation) => {
    if (operation !== fails) return;
    const call = calls++;
    // A read is tried again twice.
    const last = fails === "read" ? at + 2 : at;
    if (call >= at && call <= last) throw Object.assign(new Error(`${code}: it fails`), { code });
  };
  let store: Store | undefined;
  try {
    store = await openTiny(device, OPTIONS);
    expectHeld(store, image);
    store.set("later", "on");
    await store.close();
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    expect(TYPED, `${image.name}: ${fails} ${at}`).toContain(error.code);
    await store?.close().catch(() => undefined);
  }
  device.before = undefined;
  const again = await openTiny(device.reopen(), OPTIONS);
  expectHeld(again, image);
  await again.close();
  return calls;
}

test("a log that ends at any block of a segment is opened, and gone on with", async () => {
  for (const growable of [true, false]) {
    for (let count = 1; count <= 32; count++) {
      for (const image of await images(count, growable)) {
        const device = ImageDevice.of(image.bytes, growable);
        for (let life = 0; life < 2; life++) {
          const store = await openTiny(device.reopen(), OPTIONS);
          expectHeld(store, image);
          expect((await store.verify()).faults, image.name).toEqual([]);
          await store.put("later", `in life ${life}`);
          if (life === 1) await store.close();
        }
      }
    }
  }
});

test.each([
  ["write", "EIO"],
  ["write", "ENOSPC"],
  ["sync", "EIO"],
  ["read", "EIO"],
  ["resize", "ENOSPC"],
])(
  "each %s of an opening fails with %s, and nothing acknowledged is lost",
  { timeout: 300_000 },
  async (fails, code) => {
    let failed = 0;
    for (const growable of [true, false]) {
      for (const count of [1, 13, 14, 15, 29]) {
        for (const image of await images(count, growable)) {
          let calls = Number.POSITIVE_INFINITY;
          for (let at = failed % STRIDE; at < calls; at += fails === "read" ? 4 * STRIDE : STRIDE) {
            calls = await openFailing(image, fails, at, code);
            failed++;
          }
        }
      }
    }
    expect(failed).toBeGreaterThan(20);
  },
);
