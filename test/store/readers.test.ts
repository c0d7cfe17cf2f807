/** Readers beside a writer that compacts, cuts its file off and grows it again, at every moment of their reading. */
import { describe, expect, test } from "vitest";
import type { Store } from "../../store/store.ts";
import { openTiny, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const seed = runSeed();
const MIB = 1_048_576;
const SMALL = { writeBufferBytes: 262_144, cacheBytes: 0, memoryBytes: 16 * MIB, durability: "manual" } as const;
const OFTEN = { logBytes: 1, liveThousandths: 0, stepBlocks: 4 };
const KEYS = 60;
const ROUND = "round";

/** What a writer left on its device, in the order in which it did, and what the store held after each round. */
interface Past {
  images: Uint8Array[];
  rounds: ReadonlyMap<string, string>[];
  versions: number[];
}

/** A device that shows one image after the other, the next one after so many reads. */
class PassingDevice extends ImageDevice {
  private readonly images: readonly Uint8Array[];
  private index = 0;
  private reads = 0;
  /** Reads between two images; 0 keeps the one that is shown. */
  pace = 0;

  constructor(images: readonly Uint8Array[], from: number) {
    super();
    this.images = images;
    this.show(from);
  }

  get isLast(): boolean {
    return this.index === this.images.length - 1;
  }

  show(index: number): void {
    this.index = Math.min(index, this.images.length - 1);
    const image = this.images[this.index] as Uint8Array;
    super.resize(0);
    super.resize(image.length);
    this.bytes.set(image);
  }

  next(count = 1): void {
    this.show(this.index + count);
  }

  override read(offset: number, target: Uint8Array): number {
    const count = super.read(offset, target);
    this.reads += 1;
    if (this.pace > 0 && this.reads % this.pace === 0) this.next();
    return count;
  }
}

async function write(random: Random, checkpoints: boolean): Promise<Past> {
  const device = new ImageDevice();
  const store = await openTiny(device, { ...SMALL, compaction: { auto: false } }, 16, checkpoints ? OFTEN : {});
  const images: Uint8Array[] = [];
  const rounds: Map<string, string>[] = [new Map()];
  const versions = [0];
  const capture = (): void => void images.push(device.image());
  for (let round = 1; round <= 12; round++) {
    const model = new Map(rounds[round - 1]);
    const batch: ({ type: "set"; key: string; value: string } | { type: "delete"; key: string })[] = [
      { type: "set", key: ROUND, value: String(round) },
    ];
    model.set(ROUND, String(round));
    for (let n = 0; n < 50; n++) {
      const key = `key ${random.below(KEYS)}`;
      if (random.chance(round % 4 === 0 ? 0.9 : 0.2)) {
        batch.push({ type: "delete", key });
        model.delete(key);
        continue;
      }
      const value = `${round},${n}`.padEnd(random.pick([300, 3000, 12_000, random.below(90_000)]), "v");
      batch.push({ type: "set", key, value });
      model.set(key, value);
    }
    rounds.push(model);
    if (round > 2) device.before = (operation) => operation !== "read" && random.chance(0.06) && capture();
    await store.batch(batch);
    versions.push(store.version);
    await store.flush();
    if (round % 2 === 0) await store.compact({ full: true });
    device.before = undefined;
    if (round > 1) capture();
  }
  await store.close();
  capture();
  expect(images.some((image, i) => i > 0 && image.length < (images[i - 1] as Uint8Array).length)).toBe(true);
  return { images, rounds, versions };
}

/** The round that a store is at, having proven that all of it is of that round. */
function expectOneRound(store: Store, rounds: Past["rounds"]): number {
  const round = Number(store.get(ROUND));
  const model = rounds[round] as ReadonlyMap<string, string>;
  expect(store.count()).toBe(model.size);
  for (const [key, value] of model) if (store.get(key) !== value) throw new Error(`${key} is not of round ${round}`);
  return round;
}

/** Asks a reader whose device goes on: what it answers must be of its round, or that this is over. */
async function ask(
  store: Store,
  model: ReadonlyMap<string, string>,
  random: Random,
): Promise<{ expired: number; answered: number }> {
  const counts = { expired: 0, answered: 0 };
  const take = (key: string, value: unknown): void => {
    if (value !== model.get(key)) throw new Error(`${key} is ${String(value).slice(0, 20)}`);
    counts.answered++;
  };
  const refused = (error: unknown): void => {
    expect(error).toMatchObject({ code: "SNAPSHOT_EXPIRED" });
    counts.expired++;
  };
  const keys = [...model.keys()];
  for (let n = 0; n < 12; n++) {
    const key = random.pick(keys);
    try {
      take(key, store.get(key));
    } catch (error) {
      refused(error);
    }
    await store.getAsync(key).then((value) => take(key, value), refused);
    const some = keys.slice(n, n + 4);
    await store.getMany(some).then((values) => some.map((one, i) => take(one, values[i])), refused);
  }
  try {
    for (const [key, value] of store.entries()) take(key, value);
  } catch (error) {
    refused(error);
  }
  try {
    for await (const [key, value] of store.entries()) take(key, value);
  } catch (error) {
    refused(error);
  }
  await store.verify().then(({ faults }) => expect(faults).toEqual([]), refused);
  return counts;
}

for (const checkpoints of [false, true]) {
  describe(`a reader beside a writer that compacts and cuts its file${checkpoints ? ", with checkpoints" : ""}, seed ${seed}`, () => {
    test("opens while the device goes on beneath it", async () => {
      const random = new Random(seed);
      const { images, rounds, versions } = await write(random, checkpoints);
      const events: string[] = [];
      for (let trial = 0; trial < 30; trial++) {
        const device = new PassingDevice(images, random.below(images.length));
        device.pace = 1 + random.below(40);
        const store = await openTiny(device, {
          ...SMALL,
          readOnly: true,
          onEvent: ({ type }) => void events.push(type),
        });
        device.pace = 0;
        expect(store.count()).toBe(rounds[versions.indexOf(store.version)]?.size);
        await store.close();
      }
      // The writer's checkpoints were sound, whatever a reader saw of them.
      expect(events).not.toContain("checkpointDamaged");
    });

    test("answers from its state, or with SNAPSHOT_EXPIRED, and goes on after refresh", async () => {
      const random = new Random(seed);
      const { images, rounds } = await write(random, checkpoints);
      const sum = { expired: 0, answered: 0 };
      for (let from = 0; from < images.length; from += 2 + random.below(4)) {
        const device = new PassingDevice(images, from);
        const store = await openTiny(device, { ...SMALL, readOnly: true });
        let round = expectOneRound(store, rounds);
        while (!device.isLast) {
          device.next(1 + random.below(30));
          device.pace = random.pick([0, 0, 1, 5, 50]);
          const { expired, answered } = await ask(store, rounds[round] as ReadonlyMap<string, string>, random);
          sum.expired += expired;
          sum.answered += answered;
          await store.refresh();
          expect(Number(store.get(ROUND))).toBeGreaterThanOrEqual(round);
          device.pace = 0;
          round = Number(store.get(ROUND));
        }
        await store.refresh();
        expect(expectOneRound(store, rounds)).toBe(rounds.length - 1);
        await store.close();
      }
      expect(sum.expired).toBeGreaterThan(10);
      expect(sum.answered).toBeGreaterThan(100);
    });
  });
}
