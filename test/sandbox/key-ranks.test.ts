/** The sandbox page's seeking by rank, over keys of every kind, against a real store and a sorted list. */
import { afterEach, describe, expect, it } from "vitest";
import { KeyRanks } from "../../adapters/page/key-ranks.ts";
import type { Connection } from "../../adapters/sandbox/session.ts";
import { open, type Range, type Store } from "../../hosts/node.ts";
import { Random } from "../store/random.ts";

const WINDOW = 50;

let store: Store<Uint8Array, Uint8Array> | undefined;
afterEach(async () => {
  await store?.close();
  store = undefined;
});

/** A store with these keys behind the calls of a connection, which counts them; and the keys in order. */
async function filled(keys: Iterable<Uint8Array>) {
  const opened = await open(":memory:", { keyEncoding: "binary", valueEncoding: "binary", memoryBytes: 256 << 20 });
  store = opened;
  for (const key of keys) opened.set(key, new Uint8Array());
  const calls = { count: 0, keyCount: 0 };
  const connection = {
    stats: async () => opened.stats(),
    count: async (range: Range<Uint8Array>) => {
      calls.count++;
      return opened.count(range);
    },
    async *keys(range: Range<Uint8Array>) {
      for (const key of opened.keys(range)) {
        calls.keyCount++;
        yield key;
      }
    },
  } as unknown as Connection;
  return { connection, calls, sorted: [...opened.keys()] };
}

const text = (value: string): Uint8Array => Buffer.from(value);

function* numbered(count: number): Generator<Uint8Array> {
  for (let index = 0; index < count; index++) yield text(`user:${String(index).padStart(7, "0")}`);
}

function* crowded(random: Random): Generator<Uint8Array> {
  // A few prefixes hold nearly everything, and differ only far behind.
  for (let index = 0; index < 30_000; index++) {
    const group = index % 3 === 0 ? "a" : `group ${"x".repeat(200)}`;
    yield text(`${group}:${index % 2 === 0 ? index : random.below(1_000_000_000)}`);
  }
  for (let index = 0; index < 256; index++) yield Uint8Array.of(index);
}

function* scatteredBytes(random: Random): Generator<Uint8Array> {
  for (let index = 0; index < 30_000; index++) {
    yield Uint8Array.from({ length: 1 + random.below(24) }, () => random.below(256));
  }
}

function* alike(): Generator<Uint8Array> {
  // Each key is the one before with a zero behind it, or nearly: there is no room for a guess.
  for (let size = 1; size <= 2_048; size++) yield new Uint8Array(size);
  for (let size = 1; size < 2_048; size++)
    yield Uint8Array.from({ length: size + 1 }, (_, at) => (at === size ? 1 : 0));
}

describe("KeyRanks", () => {
  for (const [name, keys] of [
    ["numbers", () => numbered(40_000)],
    ["crowds", () => crowded(new Random(7))],
    ["random bytes", () => scatteredBytes(new Random(11))],
    ["keys that are all alike", () => alike()],
  ] as const) {
    it(`gives the keys of any rank: ${name}`, async () => {
      const { connection, sorted } = await filled(keys());
      const random = new Random(3);
      const ranks = await KeyRanks.of(connection, new Uint8Array());
      expect(ranks.count).toBe(sorted.length);
      const firsts = [0, 1, sorted.length - 1, sorted.length - WINDOW, sorted.length, ...Array(60)].map(
        (first?: number) => first ?? random.below(sorted.length),
      );
      for (const first of firsts) {
        expect(await ranks.window(first, WINDOW), `rank ${first}`).toEqual(sorted.slice(first, first + WINDOW));
      }
      const key = sorted[1_234] as Uint8Array;
      expect(await ranks.rankOf(key)).toBe(1_234);
    });
  }

  it("keeps to a prefix", async () => {
    const { connection, sorted } = await filled(numbered(40_000));
    const prefix = text("user:002");
    const matching = sorted.filter((key) => Buffer.from(key).toString().startsWith("user:002"));
    const ranks = await KeyRanks.of(connection, prefix);
    expect(ranks.count).toBe(matching.length);
    for (const first of [0, 5_000, 9_990]) {
      expect(await ranks.window(first, WINDOW)).toEqual(matching.slice(first, first + WINDOW));
    }
    const none = await KeyRanks.of(connection, text("nobody"));
    expect(none.count).toBe(0);
    expect(await none.window(0, WINDOW)).toEqual([]);
  });

  it("finds a rank among 300,000 keys with few calls and few keys", async () => {
    const { connection, calls, sorted } = await filled(numbered(300_000));
    const ranks = await KeyRanks.of(connection, new Uint8Array());
    for (const first of [150_000, 37_777, 299_000, 222_222]) {
      calls.count = 0;
      calls.keyCount = 0;
      expect(await ranks.window(first, WINDOW)).toEqual(sorted.slice(first, first + WINDOW));
      expect(calls.count).toBeLessThanOrEqual(25);
      expect(calls.keyCount).toBeLessThanOrEqual(1_100);
    }
  });
});
