/**
 * Each call that the core makes of its device fails in turn: what was durable is there afterwards, and what was not is as it was
 * before or after one of the writes since. `CAIRN_FAULTS_STRIDE` is how many calls are passed over.
 */
import { describe, expect, test } from "vitest";
import { CountedDevice, type Fault, Life } from "./core-life.ts";
import { richImage, setting } from "./forging.ts";
import { openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const STRIDE = setting("CAIRN_FAULTS_STRIDE", 29);
const STEPS = 60;
/** Twenty segments of 16 blocks. */
const TWENTY = 1_048_576 + 20 * 65_536;
const FAULTS: readonly Fault[] = ["eio", "full", "short"];

/** Opens what a life has left, and holds it against what may be there. */
async function check(device: CountedDevice, life: Life): Promise<void> {
  const store = await openTiny(ImageDevice.of(device.image(), device.growable), { durability: "manual" });
  for (const [key, values] of life.possible) {
    const found = store.get(key);
    if (!values.includes(found)) throw new Error(`${key} is ${found?.slice(0, 20)}, and was ${values.length} others`);
  }
  for (const key of store.keys()) expect(life.possible.has(key), key).toBe(true);
  // A copy of the superblock that was being written is so until the next.
  expect((await store.verify()).faults.filter(({ kind }) => kind !== "superblock")).toEqual([]);
  await store.close();
}

/** What an image holds, that of the groups included that are brought to safety. */
async function contentsOf(image: Uint8Array): Promise<Map<string, string>> {
  if (image.length === 0) return new Map();
  const store = await openTiny(ImageDevice.of(image), { durability: "manual" });
  const contents = new Map(store.entries());
  await store.close();
  return contents;
}

describe(`a core whose device fails, seed ${seed}`, () => {
  for (const compression of [false, true]) {
    test(`loses nothing when a call of its opening fails${compression ? ": a compressed image" : ""}`, async () => {
      const image = await richImage(new Random(seed), compression ? "lz4" : "none");
      const present = await contentsOf(image);
      const whole = CountedDevice.over(image, true);
      await Life.run(whole, present, new Random(seed), 0, compression);
      const stride = Math.ceil(STRIDE / 6);
      for (let call = seed % stride; call < whole.calls; call += stride) {
        for (const fault of FAULTS) {
          const device = CountedDevice.over(image, true);
          Object.assign(device, { failsAt: call, fault, lasting: call % 2 === 0 });
          try {
            const left = await Life.run(device, present, new Random(seed), 0, compression);
            device.failsAt = Number.POSITIVE_INFINITY;
            await check(device, left);
          } catch (error) {
            throw new Error(`call ${call}, ${fault}: ${(error as Error).message}`, { cause: error });
          }
        }
      }
    });
  }

  for (const start of ["a new file", "twenty segments", "an image", "a compressed image"] as const) {
    test(`loses nothing that was durable: ${start}`, async () => {
      const isFresh = start === "a new file" || start === "twenty segments";
      const compression = start === "a compressed image";
      const image = isFresh ? new Uint8Array(0) : await richImage(new Random(seed), compression ? "lz4" : "none");
      const present = await contentsOf(image);
      const deviceOf = (): CountedDevice =>
        start === "twenty segments" ? new CountedDevice(TWENTY, false) : CountedDevice.over(image, true);
      const whole = deviceOf();
      const life = await Life.run(whole, present, new Random(seed), STEPS, compression);
      await check(whole, life);
      const first = seed % STRIDE;
      let trials = 0;
      for (let call = first; call < whole.calls; call += STRIDE) {
        for (const fault of FAULTS) {
          const device = deviceOf();
          Object.assign(device, { failsAt: call, fault, lasting: (call + trials) % 3 === 0 });
          try {
            const left = await Life.run(device, present, new Random(seed), STEPS, compression);
            device.failsAt = Number.POSITIVE_INFINITY;
            await check(device, left);
          } catch (error) {
            throw new Error(`call ${call}, ${fault}: ${(error as Error).message}`, { cause: error });
          }
          trials++;
        }
      }
      expect(trials).toBeGreaterThan(0);
    });
  }
});
