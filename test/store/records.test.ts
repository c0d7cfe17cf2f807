/**
 * Random writes with conditions, expiries and timestamps, partial updates, walks, and the clock that goes on, against a map;
 * on devices where compaction has to keep up, with reopening in between.
 */
import { describe, expect, test } from "vitest";
import type { BatchOperation } from "../../store/batch.ts";
import type { WriteOptions } from "../../store/entry.ts";
import type { EntryIterator } from "../../store/iterator.ts";
import type { Store } from "../../store/store.ts";
import { Clock } from "./clock.ts";
import { openTiny, pause, runSeed } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import { Random } from "./random.ts";

const MIB = 1_048_576;
const OPERATIONS = 2500;
const seed = runSeed();

interface ModelRecord {
  value: string;
  expiresAt: number | undefined;
  timestamp: number | undefined;
}

interface Walk {
  iterator: EntryIterator<string, string>;
  expected: [string, string][];
}

class Records {
  store!: Store;
  readonly clock = new Clock();
  readonly model = new Map<string, ModelRecord>();
  readonly random = new Random(seed);
  readonly notes: string[] = [];
  walks: Walk[] = [];
  serial = 0;
  private readonly reopened: () => Promise<Store>;

  constructor(reopened: () => Promise<Store>) {
    this.reopened = reopened;
  }

  async run(): Promise<void> {
    this.store = await this.reopened();
    for (let i = 0; i < OPERATIONS; i++) {
      try {
        await this.step();
      } catch (cause) {
        const message = `seed ${seed}, operation ${i}:\n  ${this.notes.slice(-12).join("\n  ")}\n${(cause as Error).message}`;
        throw new Error(message, { cause });
      }
    }
    await this.compare();
    await this.reopen();
    await this.compare();
    await this.store.close();
  }

  private async step(): Promise<void> {
    const { random } = this;
    const draw = random.below(100);
    if (draw < 30) this.set();
    else if (draw < 38) this.erase();
    else if (draw < 46) this.batch();
    else if (draw < 72) this.part();
    else if (draw < 78) this.clock.turn(random.pick([1, 3, 20, 200]));
    else if (draw < 86) this.look();
    else if (draw < 89) this.open();
    else if (draw < 93) this.walk();
    else if (draw < 96) await pause();
    else if (draw < 97) this.store.flushSync();
    else if (draw < 98) await this.store.compact();
    else if (random.chance(0.3)) await this.compare();
    else if (random.chance(0.4)) await this.reopen();
    else if (random.chance(0.1)) this.clear();
  }

  private note(text: string): void {
    this.notes.push(text);
  }

  private key(): string {
    return `key:${this.random.below(60)}`;
  }

  private present(key: string): ModelRecord | undefined {
    const record = this.model.get(key);
    if (record?.expiresAt === undefined || record.expiresAt > this.clock.now) return record;
    this.model.delete(key);
    return undefined;
  }

  private value(): string {
    const { random } = this;
    const size = random.pick([0, 3, 30, 120, 128, 129, 1000, 4000, 9000, random.chance(0.15) ? 90_000 : 50]);
    return `${++this.serial}:${(random.chance(0.7) ? "x" : "é").repeat(size)}`;
  }

  /** Options, and the record that they make. */
  private options(value: string): [WriteOptions, ModelRecord] {
    const { random, clock } = this;
    const options: WriteOptions = {};
    const record: ModelRecord = { value, expiresAt: undefined, timestamp: undefined };
    if (random.chance(0.4)) {
      const ms = random.pick([1, 5, 50, 500, 5000, 100_000]);
      record.expiresAt = clock.now + ms;
      if (random.chance(0.5)) options.expiresIn = ms;
      else options.expiresAt = record.expiresAt;
    }
    if (random.chance(0.3)) {
      options.timestamp = random.below(1000);
      record.timestamp = options.timestamp;
    }
    return [options, record];
  }

  private isStale(key: string, timestamp: number | undefined): boolean {
    return timestamp !== undefined && (this.present(key)?.timestamp ?? -1) > timestamp;
  }

  /** A condition that holds, or one that does not. */
  private condition(key: string, holds: boolean): number | null {
    const version = this.store.getEntry(key)?.version;
    if (holds) return version ?? null;
    return version === undefined || this.random.chance(0.5) ? this.store.version + 1 : null;
  }

  private set(): void {
    const key = this.key();
    const [options, record] = this.options(this.value());
    const { random, store } = this;
    const fails = random.chance(0.1);
    if (fails || random.chance(0.2)) options.ifVersion = this.condition(key, !fails);
    this.note(`set ${key} ${record.value.length} ${JSON.stringify(options)}`);
    if (!fails && this.isStale(key, options.timestamp)) {
      expect(() => store.set(key, record.value, options)).toThrow(/newer timestamp/);
      return;
    }
    expect(store.set(key, record.value, options)).toBe(!fails);
    if (!fails) this.model.set(key, record);
  }

  private erase(): void {
    const key = this.key();
    this.note(`delete ${key}`);
    const was = this.present(key) !== undefined;
    expect(this.store.delete(key)).toBe(was);
    this.model.delete(key);
  }

  private batch(): void {
    const { random } = this;
    const operations: BatchOperation[] = [];
    const after = new Map<string, ModelRecord | undefined>();
    const fails = random.chance(0.2);
    for (let n = random.between(1, 6); n > 0; n--) {
      const key = this.key();
      if (random.chance(0.3)) {
        operations.push({ type: "delete", key });
        after.set(key, undefined);
        continue;
      }
      const [options, record] = this.options(this.value());
      if (this.isStale(key, options.timestamp)) continue;
      operations.push({ type: "set", key, value: record.value, ...options });
      after.set(key, record);
    }
    if (fails) {
      const key = this.key();
      operations.push({ type: "set", key, value: "never", ifVersion: this.condition(key, false) });
    }
    this.note(`batch ${fails ? "refused" : ""} ${operations.map(({ type, key }) => `${type} ${key}`).join(", ")}`);
    const results = this.store.batch();
    for (const operation of operations) {
      const { type: _, key, ...options } = operation as BatchOperation & { value?: string };
      if ("value" in options) {
        const { value, ...rest } = options as { value: string };
        results.set(key, value, rest);
      } else results.delete(key);
    }
    expect(results.commit().every((result) => !result)).toBe(
      fails || operations.every(({ type, key }) => type === "delete" && this.present(key) === undefined),
    );
    if (fails) return;
    for (const [key, record] of after) {
      if (record === undefined) this.model.delete(key);
      else this.model.set(key, record);
    }
  }

  private part(): void {
    const key = this.random.chance(0.5) ? `count:${this.random.below(8)}` : this.key();
    const record = this.present(key) ?? { value: "", expiresAt: undefined, timestamp: undefined };
    const before = record.value;
    let value: string;
    if (key.startsWith("count:")) {
      const by = BigInt(this.random.pick([1, -1, 7, 123_456_789, -1_000_000_000_000]));
      value = `${BigInt(before) + by}`;
      this.note(`increment ${key} by ${by}`);
      expect(this.store.increment(key, by)).toBe(BigInt(value));
    } else if (before.length > 300_000) {
      value = "short again";
      this.note(`update ${key}`);
      expect(this.store.update(key, () => value)).toBe(value);
    } else if (this.random.chance(0.5)) {
      const piece = this.value();
      value = before + piece;
      this.note(`append ${key} ${piece.length}`);
      expect(this.store.append(key, piece)).toBe(true);
    } else {
      // Before the first character of more than one byte, so that characters count as bytes.
      const ascii = before.search(/[^\0-\x7f]/);
      const offset = this.random.between(0, ascii < 0 ? before.length : ascii);
      const room = (ascii < 0 ? before.length : ascii) - offset;
      const piece = "p".repeat(this.random.between(0, ascii < 0 ? 300 : room));
      value = before.slice(0, offset) + piece + before.slice(offset + piece.length);
      this.note(`patch ${key} at ${offset} ${piece.length}`);
      expect(this.store.patch(key, offset, piece)).toBe(true);
    }
    // An increment that found something to begin with, or not: count keys may also get an expiry.
    this.model.set(key, { ...record, value });
    if (key.startsWith("count:") && this.random.chance(0.05)) {
      const [{ ifVersion: _, ...options }, made] = this.options(value);
      if (this.isStale(key, options.timestamp)) return;
      this.note(`set ${key} ${JSON.stringify(options)}`);
      this.store.set(key, value, options);
      this.model.set(key, made);
    }
  }

  private look(): void {
    const key = this.random.chance(0.2) ? `count:${this.random.below(8)}` : this.key();
    this.note(`look at ${key}`);
    this.same(key, this.present(key));
  }

  private same(key: string, record: ModelRecord | undefined): void {
    const { store } = this;
    expect(store.has(key)).toBe(record !== undefined);
    expect(store.get(key) === record?.value, key).toBe(true);
    const entry = store.getEntry(key);
    expect(entry === undefined).toBe(record === undefined);
    if (entry === undefined || record === undefined) return;
    expect(entry.value === record.value, key).toBe(true);
    expect([entry.expiresAt, entry.timestamp]).toEqual([record.expiresAt, record.timestamp]);
  }

  /** What is there now, in order. */
  private all(): [string, string][] {
    return [...this.model.keys()]
      .filter((key) => this.present(key) !== undefined)
      .sort()
      .map((key) => [key, (this.model.get(key) as ModelRecord).value]);
  }

  private open(): void {
    this.note("open a walk");
    this.walks.push({ iterator: this.store.entries(), expected: this.all() });
    if (this.walks.length > 6) this.walks.shift()?.iterator.return();
  }

  private walk(): void {
    const { walks, random } = this;
    if (walks.length === 0) return;
    const at = random.below(walks.length);
    const { iterator, expected } = walks[at] as Walk;
    this.note(`walk ${at}, ${expected.length} left`);
    const count = random.between(1, 40);
    const got = iterator.nextv(count);
    const wanted = expected.splice(0, count);
    expect(got.map(([key]) => key)).toEqual(wanted.map(([key]) => key));
    for (const [i, [key, value]] of got.entries()) expect(value === wanted[i]?.[1], key).toBe(true);
    if (wanted.length < count) walks.splice(at, 1);
  }

  private clear(): void {
    this.note("clear");
    const range = { gte: "key:2", lt: "key:4" };
    const keys = this.all().filter(([key]) => key >= range.gte && key < range.lt);
    expect(this.store.clear(range)).toBe(keys.length);
    for (const [key] of keys) this.model.delete(key);
  }

  private async compare(): Promise<void> {
    this.note("compare");
    const { store } = this;
    const all = this.all();
    const got = [...store.entries()];
    expect(got.map(([key]) => key)).toEqual(all.map(([key]) => key));
    for (const [i, [key, value]] of got.entries()) expect(value === all[i]?.[1], key).toBe(true);
    for (const [key] of all) this.same(key, this.present(key));
    expect(store.count()).toBe(all.length);
    expect(store.count({ lt: "key:3" })).toBe(all.filter(([key]) => key < "key:3").length);
    expect((await store.verify()).faults).toEqual([]);
  }

  private async reopen(): Promise<void> {
    this.note("close and open");
    this.walks = [];
    await this.store.close();
    if (this.random.chance(0.3)) this.clock.turn(this.random.pick([10, 1000]));
    this.store = await this.reopened();
  }
}

const SMALL = { writeBufferBytes: 262_144, cacheBytes: 262_144, memoryBytes: 16 * MIB };

describe(`records against a map, CAIRN_SEED=${seed}`, () => {
  test("on a device of fixed size, flushed all the time", async () => {
    const device = new ImageDevice(9 * MIB, false);
    await new Records(() => openTiny(device.reopen(), { ...SMALL, flushIntervalMs: 1 })).run();
  });

  test("in a file with larger segments", async () => {
    const device = new ImageDevice();
    await new Records(() => openTiny(device.reopen(), { ...SMALL, flushIntervalMs: 20 }, 64)).run();
  });

  test("flushed by hand, mostly in memory", async () => {
    const device = new ImageDevice();
    await new Records(() => openTiny(device.reopen(), { durability: "manual" })).run();
  });
});
