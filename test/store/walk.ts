/**
 * A walk: random operations on a store and on the oracle, compared at every step.
 *
 * Iterators stay open across writes and must go on reading the snapshot that they began with. Keys are few enough to be
 * hit again, values mark every piece of themselves so that no part of an older one passes for a newer one.
 */
import { expect } from "vitest";
import type { BatchOperation } from "../../store/batch.ts";
import type { RangeIterator } from "../../store/iterator.ts";
import { compareBytes, type Range } from "../../store/range.ts";
import type { Store } from "../../store/store.ts";
import { codeOf, pause } from "./harness.ts";
import { Model, type ModelEntry, type ModelRange } from "./model.ts";
import { Random } from "./random.ts";

/** What a walk runs on. */
export interface WalkOptions {
  random: Random;
  /** Opens the store; called again after it was closed. */
  open(): Promise<Store<unknown, unknown>>;
  /** Whether what was closed is there when it is opened again. */
  keeps: boolean;
  keys: "utf8" | "binary";
  values: "utf8" | "binary" | "json" | "codec";
  operationCount: number;
  /** Bytes of a segment's payloads, whose multiples are boundaries of values. */
  segmentPayload: number;
  /** Bytes that the walk may write in all. */
  bytesMax: number;
}

interface OpenIterator {
  kind: "entries" | "keys" | "values";
  iterator: RangeIterator<unknown, unknown>;
  range: ModelRange;
  /** The whole range as it was, without its limit. */
  expected: ModelEntry<unknown>[];
  position: number;
  left: number;
  /** Whether it has said that it is at its end: then it stays there. */
  ended: boolean;
}

const BLOCK_PAYLOAD = 4040;
const LAST_PAYLOAD = 4008;
const RECORD_HEADER = 16;
const TAIL_LENGTH = 40;
const NOISE_SIZE = 8 * 1024 * 1024;

const encoder = new TextEncoder();
let noise: Uint8Array | undefined;

/** The bytes of a string in which each character is one. */
export function bytesOf(key: string): Uint8Array {
  const bytes = new Uint8Array(key.length);
  for (let i = 0; i < key.length; i++) bytes[i] = key.charCodeAt(i);
  return bytes;
}

/** A string with a character for each byte. */
export function stringOf(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return text;
}

/** Runs a walk; on failure the error names the last operations. */
export async function walk(options: WalkOptions): Promise<void> {
  const walker = new Walker(options);
  try {
    await walker.run();
  } catch (cause) {
    throw new Error(`after ${walker.done} operations:\n  ${walker.tail.join("\n  ")}\n${(cause as Error).message}`, {
      cause,
    });
  }
}

class Walker {
  done = 0;
  readonly tail: string[] = [];
  private readonly options: WalkOptions;
  private readonly random: Random;
  private readonly model = new Model<unknown>();
  private readonly pool: string[] = [];
  private store!: Store<unknown, unknown>;
  private iterators: OpenIterator[] = [];
  private promises: Promise<void>[] = [];
  private stamp = 0;
  private bytesLeft: number;

  constructor(options: WalkOptions) {
    this.options = options;
    this.random = options.random;
    this.bytesLeft = options.bytesMax;
    for (let i = 0; i < 400; i++) this.pool.push(this.newKey());
    // The longest and the shortest, and neighbours that differ in their last byte alone.
    this.pool.push("a", "a".repeat(2047), "a".repeat(2048), `${"a".repeat(2047)}b`, `${"a".repeat(2046)}b`);
    if (options.keys === "binary") this.pool.push("\0", "\0\0", "a\0", "\xff", "\xff\xff", "\xff".repeat(2048));
  }

  async run(): Promise<void> {
    this.store = await this.options.open();
    while (this.done < this.options.operationCount) {
      await this.step();
      this.done++;
    }
    await this.settle();
    for (const open of this.iterators) this.drain(open);
    await this.compareAll();
    if (this.options.keeps) {
      await this.reopen();
      await this.compareAll();
    }
    await this.store.close();
  }

  private async step(): Promise<void> {
    const { random } = this;
    const draw = random.below(1000);
    if (draw < 300) this.write(random.chance(0.3));
    else if (draw < 380) this.erase(random.chance(0.5));
    else if (draw < 440) this.batch();
    else if (draw < 560) this.read();
    else if (draw < 620) await this.readLater();
    else if (draw < 650) await this.readMany();
    else if (draw < 720) this.open();
    else if (draw < 880) await this.advance();
    else if (draw < 920) this.countRange();
    else if (draw < 930) this.clear();
    else if (draw < 945) await this.flush();
    else if (draw < 985) await pause(random.chance(0.2) ? 3 : 0);
    else if (draw < 993) await this.settle();
    else await this.reopen();
  }

  private note(text: string): void {
    this.tail.push(`${this.done}: ${text}`);
    if (this.tail.length > TAIL_LENGTH) this.tail.shift();
  }

  // Writes

  private write(durable: boolean): void {
    const key = this.someKey();
    const value = this.newValue(key.length);
    this.note(`${durable ? "put" : "set"} ${nameOf(key)} ${nameOfValue(value)}`);
    if (durable) this.expectLater(this.store.put(this.keyOut(key), value), true);
    else expect(this.store.set(this.keyOut(key), value)).toBe(true);
    this.model.set(key, value);
  }

  private erase(durable: boolean): void {
    const key = this.someKey();
    this.note(`${durable ? "del" : "delete"} ${nameOf(key)}`);
    const was = this.model.delete(key);
    if (durable) this.expectLater(this.store.del(this.keyOut(key)), was);
    else expect(this.store.delete(this.keyOut(key))).toBe(was);
  }

  private batch(): void {
    const { random } = this;
    const count = random.chance(0.1) ? random.between(50, 400) : random.between(0, 12);
    // Keys repeat within a batch now and then.
    const few = random.chance(0.3) ? [this.someKey(), this.someKey()] : undefined;
    const operations: BatchOperation<unknown, unknown>[] = [];
    const expected: boolean[] = [];
    for (let i = 0; i < count; i++) {
      const key = few === undefined ? this.someKey() : random.pick(few);
      if (random.chance(0.3)) {
        operations.push({ type: random.pick(["delete", "del"]), key: this.keyOut(key) });
        expected.push(this.model.delete(key));
        this.note(`  in batch: delete ${nameOf(key)}`);
      } else {
        const value = count > 40 ? this.smallValue(key.length) : this.newValue(key.length);
        operations.push({ type: random.pick(["set", "put"]), key: this.keyOut(key), value });
        this.model.set(key, value);
        expected.push(true);
        this.note(`  in batch: set ${nameOf(key)} ${nameOfValue(value)}`);
      }
    }
    const way = random.below(3);
    this.note(`batch of ${count}, ${["array", "commit", "commitDurable"][way]}`);
    if (way === 0) {
      this.expectLater(this.store.batch(operations), expected);
      return;
    }
    const batch = this.store.batch();
    for (const operation of operations) {
      if ("value" in operation) batch.set(operation.key, operation.value);
      else batch.delete(operation.key);
    }
    expect(batch.length).toBe(count);
    if (way === 1) expect(batch.commit()).toEqual(expected);
    else this.expectLater(batch.commitDurable(), expected);
    expect(batch.length).toBe(0);
  }

  private clear(): void {
    if (this.random.chance(0.1)) {
      this.note("clear everything");
      expect(this.store.clear()).toBe(this.model.clear());
      return;
    }
    const { reverse: _, limit: __, ...some } = this.someRange();
    const range = { gte: "", ...some };
    this.note(`clear ${nameOfRange(range)}`);
    expect(this.store.clear(this.rangeOut(range))).toBe(this.model.clear(range));
  }

  private async flush(): Promise<void> {
    if (this.random.chance(0.4)) {
      this.note("flushSync");
      this.store.flushSync();
      const stats = this.store.stats();
      expect(stats.durableVersion).toBe(stats.version);
      return;
    }
    this.note("flush");
    const version = this.store.stats().version;
    await this.store.flush();
    expect(this.store.stats().durableVersion).toBeGreaterThanOrEqual(version);
  }

  /** Checks a promise's result when the walk settles. */
  private expectLater<T>(promise: Promise<T>, expected: T): void {
    this.promises.push(promise.then((result) => expect(result).toEqual(expected)));
  }

  private async settle(): Promise<void> {
    this.note("await all");
    await Promise.all(this.promises);
    this.promises = [];
    const { durableVersion } = this.store.stats();
    expect(durableVersion).toBeGreaterThanOrEqual(0);
  }

  // Reads

  private read(): void {
    const key = this.random.chance(0.8) ? this.presentKey() : this.someKey();
    this.note(`get ${nameOf(key)}`);
    this.expectValue(this.store.get(this.keyOut(key)), this.model.get(key), key);
    expect(this.store.has(this.keyOut(key))).toBe(this.model.has(key));
  }

  private async readLater(): Promise<void> {
    const keys = Array.from({ length: this.random.between(1, 8) }, () => this.presentKey());
    this.note(`getAsync of ${keys.map(nameOf).join(", ")}`);
    const values = await Promise.all(keys.map((key) => this.store.getAsync(this.keyOut(key))));
    for (const [index, key] of keys.entries()) this.expectValue(values[index], this.model.get(key), key);
  }

  private async readMany(): Promise<void> {
    const keys: string[] = [];
    for (let i = this.random.below(70); i > 0; i--)
      keys.push(this.random.chance(0.7) ? this.presentKey() : this.someKey());
    this.note(`getMany of ${keys.length}`);
    const values = await this.store.getMany(keys.map((key) => this.keyOut(key)));
    expect(values.length).toBe(keys.length);
    for (const [index, key] of keys.entries()) this.expectValue(values[index], this.model.get(key), key);
  }

  private countRange(): void {
    const range = this.someRange();
    this.note(`count ${nameOfRange(range)}`);
    expect(this.store.count(this.rangeOut(range))).toBe(this.model.range(range).length);
    expect(this.store.count()).toBe(this.model.size);
  }

  // Iterators

  private open(): void {
    const kind = this.random.pick(["entries", "keys", "values"] as const);
    const range = this.someRange();
    this.note(`${kind} ${nameOfRange(range)}, iterator ${this.iterators.length}`);
    const { limit, ...whole } = range;
    const iterator = this.store[kind](this.rangeOut(range)) as RangeIterator<unknown, unknown>;
    const expected = this.model.range(whole);
    this.iterators.push({
      kind,
      iterator,
      range,
      expected,
      position: 0,
      left: limit ?? Number.POSITIVE_INFINITY,
      ended: false,
    });
    if (this.iterators.length > 12) this.finish(0);
  }

  private async advance(): Promise<void> {
    if (this.iterators.length === 0) return;
    const index = this.random.below(this.iterators.length);
    const open = this.iterators[index] as OpenIterator;
    const draw = this.random.below(10);
    if (draw < 4) {
      this.note(`next of iterator ${index}`);
      for (let i = this.random.between(1, 40); i > 0; i--) if (!this.next(open)) break;
    } else if (draw < 6) {
      const count = this.random.between(1, 100);
      const way = this.random.pick(["nextv", "nextvAsync"] as const);
      this.note(`${way}(${count}) of iterator ${index}`);
      const entries = await open.iterator[way](count);
      const expected = open.ended ? 0 : Math.min(count, open.left, open.expected.length - open.position);
      expect(entries.length).toBe(expected);
      if (expected < count) open.ended = true;
      for (const entry of entries) this.expectEntry(open, entry);
    } else if (draw < 8) {
      const key = this.random.chance(0.7) ? this.presentKey() : this.someKey();
      this.note(`seek of iterator ${index} to ${nameOf(key)}`);
      open.iterator.seek(this.keyOut(key));
      const reverse = open.range.reverse === true;
      const found = open.expected.findIndex((entry) => (reverse ? entry.key <= key : entry.key >= key));
      open.position = found < 0 ? open.expected.length : found;
    } else this.finish(index);
  }

  private next(open: OpenIterator): boolean {
    const { done, value } = open.iterator.next();
    const more = !open.ended && open.left > 0 && open.position < open.expected.length;
    expect(done === true).toBe(!more);
    if (!more) open.ended = true;
    if (more) this.expectEntry(open, value);
    return more;
  }

  private expectEntry(open: OpenIterator, entry: unknown): void {
    const { key, value } = open.expected[open.position++] as ModelEntry<unknown>;
    open.left--;
    if (open.kind === "values") {
      this.expectValue(entry, value, key);
      return;
    }
    const [gotKey, gotValue] = open.kind === "keys" ? [entry, undefined] : (entry as [unknown, unknown]);
    expect(nameOf(this.keyIn(gotKey))).toBe(nameOf(key));
    expect(this.keyIn(gotKey) === key).toBe(true);
    if (open.kind === "entries") this.expectValue(gotValue, value, key);
  }

  private drain(open: OpenIterator): void {
    while (this.next(open));
    expect(open.iterator.next().done).toBe(true);
  }

  private finish(index: number): void {
    const [open] = this.iterators.splice(index, 1) as [OpenIterator];
    const draw = this.random.below(3);
    this.note(`end of iterator ${index}: ${["drain", "return", "drop"][draw]}`);
    if (draw === 0) this.drain(open);
    else if (draw === 1) open.iterator.return();
  }

  // The whole

  private async reopen(): Promise<void> {
    if (!this.options.keeps) return;
    this.note("close and open");
    const dropped = this.iterators.filter(
      (open) => !open.ended && open.left > 600 && open.expected.length - open.position > 600,
    );
    await this.store.close();
    for (const open of dropped) expect(await codeOf(() => open.iterator.nextv(600))).toBe("CLOSED");
    this.iterators = [];
    await Promise.all(this.promises);
    this.promises = [];
    this.store = await this.options.open();
    expect(this.store.count()).toBe(this.model.size);
  }

  private async compareAll(): Promise<void> {
    this.note("compare all");
    const { store, model } = this;
    const all = model.range();
    let index = 0;
    let keyBytes = 0;
    for (const [key, value] of store.entries()) {
      const expected = all[index++] as ModelEntry<unknown>;
      expect(this.keyIn(key) === expected.key).toBe(true);
      this.expectValue(value, expected.value, expected.key);
      keyBytes += expected.key.length;
    }
    expect(index).toBe(all.length);
    for (const key of store.keys({ reverse: true }))
      expect(this.keyIn(key) === (all[--index] as ModelEntry<unknown>).key).toBe(true);
    expect(index).toBe(0);
    for await (const [key, value] of store.entries()) {
      const expected = all[index++] as ModelEntry<unknown>;
      expect(this.keyIn(key) === expected.key).toBe(true);
      this.expectValue(value, expected.value, expected.key);
    }
    expect(index).toBe(all.length);
    for (const { key, value } of all) this.expectValue(store.get(this.keyOut(key)), value, key);
    expect((await store.verify()).faults).toEqual([]);
    const stats = store.stats();
    expect(stats.keyCount).toBe(all.length);
    expect(stats.keyBytes).toBe(keyBytes);
    expect(stats.valueBytes).toBe(all.reduce((sum, { value }) => sum + this.sizeOf(value), 0));
    // What dropped iterators may still see counts as live until they are collected.
    if (stats.olderVersionCount > 0) return;
    expect(stats.liveBytes).toBeGreaterThanOrEqual(stats.keyBytes + stats.valueStoredBytes + 16 * stats.keyCount);
    expect(stats.liveBytes).toBeLessThanOrEqual(
      // Each record has its header and padding, each part of a value in several the key and its numbers once more.
      stats.keyBytes + stats.valueStoredBytes + 28 * stats.keyCount + (stats.valueBytes / 40_000) * 2112,
    );
  }

  // Keys

  private newKey(): string {
    const { random } = this;
    const binary = this.options.keys === "binary";
    switch (random.below(8)) {
      case 0:
        return binary
          ? stringOf(this.noiseOf(random.between(1, 40)))
          : stringOf(encoder.encode(this.text(random.between(1, 20))));
      case 1:
        // A prefix longer than any index keeps at hand.
        return `${"shared/".repeat(random.pick([4, 40, 200]))}${random.below(1000)}`;
      case 2:
        return stringOf(encoder.encode(`ключ-${random.below(300)}-🔑${"é".repeat(random.below(5))}`));
      case 3:
        return binary
          ? `\0${"\0".repeat(random.below(4))}${String.fromCharCode(random.below(256))}`
          : `${random.below(50)}`;
      case 4:
        return "x".repeat(random.between(1, 2048));
      case 5:
        return `user:${String(random.below(1000)).padStart(8, "0")}`;
      case 6:
        return `${"y".repeat(random.between(1, 12))}${binary ? "\xff".repeat(random.below(4)) : "z"}`;
      default:
        return `k${random.below(500)}`;
    }
  }

  private someKey(): string {
    return this.random.chance(0.9) ? this.random.pick(this.pool) : this.newKey();
  }

  private presentKey(): string {
    const keys = this.model.keys();
    return keys.length === 0 ? this.someKey() : this.random.pick(keys);
  }

  private keyOut(key: string): unknown {
    const bytes = bytesOf(key);
    return this.options.keys === "binary" ? bytes : decode(bytes);
  }

  private keyIn(key: unknown): string {
    return stringOf(key instanceof Uint8Array ? key : encoder.encode(key as string));
  }

  private someRange(): ModelRange {
    const { random } = this;
    const range: ModelRange = {};
    if (random.chance(0.3)) range.gte = this.someBound();
    if (random.chance(0.2)) range.gt = this.someBound();
    if (random.chance(0.3)) range.lt = this.someBound();
    if (random.chance(0.2)) range.lte = this.someBound();
    if (random.chance(0.25)) range.prefix = this.somePrefix();
    if (random.chance(0.4)) range.reverse = random.chance(0.8);
    if (random.chance(0.3)) range.limit = random.pick([0, 1, 2, 15, 16, 17, 64, 100]);
    return range;
  }

  private someBound(): string {
    if (this.random.chance(0.05)) return "";
    return this.random.chance(0.6) ? this.presentKey() : this.someKey();
  }

  private somePrefix(): string {
    const key = this.someBound();
    if (this.options.keys === "binary") return key.slice(0, this.random.between(0, Math.min(key.length, 20)));
    const text = decode(bytesOf(key));
    // Whole characters: half a pair would be another prefix.
    const characters = [...text];
    return stringOf(
      encoder.encode(characters.slice(0, this.random.between(0, Math.min(characters.length, 20))).join("")),
    );
  }

  private rangeOut(range: ModelRange): Range<unknown> {
    const out: Range<unknown> = {};
    for (const name of ["gt", "gte", "lt", "lte", "prefix"] as const) {
      const bound = range[name];
      if (bound !== undefined) out[name] = this.keyOut(bound);
    }
    if (range.reverse !== undefined) out.reverse = range.reverse;
    if (range.limit !== undefined) out.limit = range.limit;
    return out;
  }

  // Values

  private newValue(keySize: number): unknown {
    const { random } = this;
    const draw = random.below(100);
    let size: number;
    if (draw < 35) size = random.below(60);
    else if (draw < 50) size = random.pick([0, 1, 7, 8, 9, 126, 127, 128, 129, 130, 136, 255, 256, 257]);
    else if (draw < 64) {
      const blocks = random.between(1, 4);
      const payload = random.pick([BLOCK_PAYLOAD, LAST_PAYLOAD]) + (blocks - 1) * BLOCK_PAYLOAD;
      size = payload - RECORD_HEADER - keySize + random.between(-9, 9);
    } else if (draw < 80) size = random.between(100, 5000);
    else if (draw < 90)
      size = random.pick([16_384, 20_000, 32_768, 60_000]) - random.pick([0, RECORD_HEADER + keySize]);
    else if (draw < 94) size = 131_072 + random.pick([-16_384, -1, 0, 1, 8, 4096]);
    else if (draw < 97) size = random.pick([1, 2]) * this.options.segmentPayload + random.between(-12_000, 40);
    else if (draw < 98) size = random.pick([262_144, 1_048_576]) + random.between(-40, 40);
    else if (draw < 99) size = random.between(200_000, 3_000_000);
    else size = random.between(1, 400);
    return this.valueOf(Math.max(0, size));
  }

  private smallValue(keySize: number): unknown {
    return this.random.chance(0.1)
      ? this.valueOf(Math.max(0, 4040 - 16 - keySize))
      : this.valueOf(this.random.below(300));
  }

  private valueOf(wanted: number): unknown {
    const size = wanted > this.bytesLeft ? wanted % 200 : wanted;
    this.bytesLeft -= size;
    this.stamp++;
    if (this.options.values === "binary") return this.noiseOf(size);
    if (this.options.values === "utf8") return this.random.chance(0.7) ? this.ascii(size) : this.text(size);
    return {
      stamp: this.stamp,
      text: this.random.chance(0.7) ? this.ascii(size) : this.text(size),
      list: [null, true, size],
    };
  }

  /** Bytes that start at a place of their own in a stretch of noise, and carry their number. */
  private noiseOf(size: number): Uint8Array {
    if (noise === undefined) {
      const source = new Random(1);
      const words = new Uint32Array(NOISE_SIZE / 4);
      for (let i = 0; i < words.length; i++) words[i] = source.u32();
      noise = new Uint8Array(words.buffer);
    }
    const from = this.random.below(NOISE_SIZE - size);
    const bytes = noise.slice(from, from + size);
    if (size >= 4) new DataView(bytes.buffer).setUint32(size - 4, this.stamp);
    return bytes;
  }

  private ascii(size: number): string {
    return `${this.stamp}:${"0123456789abcdef".repeat(Math.ceil(size / 16))}`.slice(0, size);
  }

  /** Text of exactly so many bytes, most of its characters longer than one. */
  private text(size: number): string {
    const mark = `${this.stamp}:`;
    if (size <= mark.length) return mark.slice(0, size);
    const rest = size - mark.length;
    return `${mark}${"aé€🙂".repeat(Math.floor(rest / 10))}${"é".repeat(Math.floor((rest % 10) / 2))}${"z".repeat(rest % 2)}`;
  }

  private sizeOf(value: unknown): number {
    if (value instanceof Uint8Array) return value.length;
    if (typeof value === "string") return encoder.encode(value).length;
    return encoder.encode(JSON.stringify(value)).length + (this.options.values === "codec" ? 1 : 0);
  }

  /** Compared by hand: a mismatch of megabytes is nothing to print. */
  private expectValue(got: unknown, expected: unknown, key: string): void {
    if (equal(got, expected)) return;
    throw new Error(`the value of ${nameOf(key)} is ${nameOfValue(got)}, not ${nameOfValue(expected)}`);
  }
}

function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return a.length === b.length && compareBytes(a, b) === 0;
  if (typeof a !== "object" || typeof b !== "object" || a instanceof Uint8Array || b instanceof Uint8Array)
    return false;
  return JSON.stringify(a) === JSON.stringify(b);
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

function nameOf(key: string): string {
  const shown = key.length > 40 ? `${key.slice(0, 12)}…${key.slice(-12)}` : key;
  return `${JSON.stringify(shown)} (${key.length})`;
}

function nameOfValue(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes ${value.subarray(0, 8)}`;
  if (typeof value === "string") return `text of ${value.length}: ${value.slice(0, 16)}`;
  return String(JSON.stringify(value)).slice(0, 40);
}

function nameOfRange(range: ModelRange): string {
  return Object.entries(range)
    .map(([name, value]) => `${name} ${typeof value === "string" ? nameOf(value) : value}`)
    .join(", ");
}
