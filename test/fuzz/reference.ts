/**
 * Real images, made by the real store, with all that their keys ever held: what fuzzed images are mutations of. Small, so that
 * every bit of one can be flipped; the same ones for the same seed.
 */
import type { CoreHost } from "../../store/core.ts";
import type { Store } from "../../store/store.ts";
import { blankImage, type Image } from "../simulation/pages.ts";
import type { Random } from "../simulation/random.ts";
import { clockReset, LATER_MS, START_MS } from "./clock.ts";
import { FuzzDevice } from "./device.ts";
import { type FuzzOptions, fuzzHost, openOver } from "./host.ts";

/** What a key holds, as `getEntry` has it. */
export interface Held {
  value: string;
  version: number;
  expiresAt: number | undefined;
  timestamp: number | undefined;
}

/** What a store holds; expired records are gone. */
export type State = ReadonlyMap<string, Held>;

/** See above. */
export interface Reference {
  name: string;
  image: Image;
  /** What the device held before, the oldest first. */
  earlier: Image[];
  growable: boolean;
  /** How it is opened. */
  options: FuzzOptions;
  /** The state after each commit; the first is empty. */
  states: State[];
  /** The highest version in each of them. */
  versions: number[];
  /** Every value that a key ever had. */
  history: Map<string, Set<string>>;
}

interface WriteOf {
  key: string;
  /** Absent: it is deleted. */
  value?: string | undefined;
  expiresIn?: number;
  timestamp?: number;
}

/** What a key begins with that is one of a namespace, whose name ends with a slash. */
export const SPACE = "@";

/** The store that a key of a reference is in, and its name there. */
export function faceOf(store: Store, key: string): [Store, string] {
  if (!key.startsWith(SPACE)) return [store, key];
  const end = key.indexOf("/");
  return [store.sub(key.slice(SPACE.length, end)), key.slice(end + 1)];
}

/** A store and its namespaces, each with what keys of a reference begin with there. */
export function facesOf(store: Store, keys: Iterable<string>): Map<string, Store> {
  const faces = new Map([["", store]]);
  for (const key of keys) {
    if (!key.startsWith(SPACE)) continue;
    const prefix = key.slice(0, key.indexOf("/") + 1);
    if (!faces.has(prefix)) faces.set(prefix, faceOf(store, key)[0]);
  }
  return faces;
}

/** A store under construction. */
class Author {
  readonly random: Random;
  readonly states: State[] = [new Map()];
  readonly versions = [0];
  readonly history = new Map<string, Set<string>>();
  readonly earlier: Image[] = [];
  device: FuzzDevice;
  options: FuzzOptions = {};
  growable: boolean;
  private readonly module: WebAssembly.Module;
  private opened: Store | undefined;

  constructor(module: WebAssembly.Module, random: Random, segments = 0) {
    this.module = module;
    this.random = random;
    this.growable = segments === 0;
    const size = segments === 0 ? 0 : 1_048_576 + segments * 65_536;
    this.device = new FuzzDevice(blankImage(size), { growable: this.growable });
  }

  get store(): Store {
    if (this.opened === undefined) throw new Error("the reference's store is not open");
    return this.opened;
  }

  async open(options: FuzzOptions = {}): Promise<void> {
    this.options = { ...this.options, ...options };
    this.opened = await openOver(this.device, this.host(), this.options);
  }

  /** Makes durable what was written: a commit group. */
  flush(): void {
    this.store.flushSync();
    this.earlier.push(this.device.image());
  }

  async close(): Promise<void> {
    await this.store.close();
    this.opened = undefined;
    this.earlier.push(this.device.image());
  }

  /** The process is killed: what was written out is there. */
  kill(): void {
    this.opened = undefined;
    this.device = new FuzzDevice(this.device.image(), { growable: this.growable });
  }

  set(key: string, value: string, options: { expiresIn?: number; timestamp?: number } = {}): void {
    const [face, rest] = faceOf(this.store, key);
    face.set(rest, value, options);
    this.tell([{ key, value, ...options }]);
  }

  delete(key: string): void {
    const [face, rest] = faceOf(this.store, key);
    if (face.delete(rest)) this.tell([{ key }]);
  }

  async batch(writes: readonly WriteOf[]): Promise<void> {
    const done = this.store.batch(
      writes.map(({ key, value }) =>
        value === undefined ? { type: "delete" as const, key } : { type: "set" as const, key, value },
      ),
    );
    this.tell(writes);
    this.store.flushSync();
    await done;
    this.earlier.push(this.device.image());
  }

  /** Enters a commit of the keys as they are on the device. */
  tell(writes: readonly WriteOf[]): void {
    const state = new Map(this.states.at(-1));
    const { version } = this.store;
    for (const { key, value, expiresIn, timestamp } of writes) {
      const expiresAt = expiresIn === undefined ? undefined : START_MS + expiresIn;
      if (value === undefined || (expiresAt !== undefined && expiresAt <= START_MS + LATER_MS)) state.delete(key);
      else state.set(key, { value, version, expiresAt, timestamp });
      const values = this.history.get(key) ?? new Set();
      if (value !== undefined) values.add(value);
      this.history.set(key, values);
    }
    this.states.push(state);
    this.versions.push(version);
  }

  /** A value of a size whose bytes say where they come from. */
  value(size: number, alphabet = "abcdefghijklmnopqrstuvwxyz"): string {
    const from = this.states.length;
    let text = `${from}:`;
    const { random } = this;
    while (text.length < size) text += `${random.pick([...alphabet])}${random.below(100)}`;
    return text.slice(0, Math.max(size, `${from}:`.length));
  }

  /** A value that compresses well. */
  plain(size: number): string {
    const from = this.states.length;
    return `${from} ${this.random.below(1000)} is said again. `.repeat(1 + Math.ceil(size / 20)).slice(0, size);
  }

  done(name: string): Reference {
    const { device, earlier, growable, options, states, versions, history } = this;
    return { name, image: device.image(), earlier, growable, options, states, versions, history };
  }

  private host(): CoreHost {
    return fuzzHost(this.module, this.random);
  }
}

/** A few small writes of few keys, and now and then one of two blocks. */
function some(author: Author, count: number): void {
  const { random } = author;
  for (let i = 0; i < count; i++) {
    const key = `key ${random.below(8)}`;
    if (random.chance(0.2)) author.delete(key);
    else author.set(key, author.value(random.pick([3, 30, 200, random.below(900)])));
  }
}

type Maker = (author: Author) => Promise<void>;

/** Each kind of image; where it has a number, its device is fixed and has so many segments. */
const KINDS: Record<string, [Maker, number?]> = {
  plain: [
    async (author) => {
      await author.open();
      for (let i = 0; i < 4; i++) {
        some(author, 6);
        if (i === 2) author.set("large", author.value(5000));
        author.flush();
      }
      await author.close();
    },
  ],
  killed: [
    async (author) => {
      await author.open();
      for (let i = 0; i < 4; i++) {
        some(author, 6);
        if (i === 2) author.set("large", author.value(5000));
        author.flush();
      }
      author.kill();
    },
  ],
  recovered: [
    async (author) => {
      await author.open();
      for (let i = 0; i < 3; i++) {
        some(author, 5);
        author.flush();
      }
      author.kill();
      await author.open();
      some(author, 5);
      author.flush();
      author.kill();
    },
  ],
  batches: [
    async (author) => {
      await author.open();
      for (let i = 0; i < 4; i++) {
        some(author, 2);
        const size = author.random.pick([10, 400, 1500]);
        await author.batch(
          ["a", "b", "c"].map((name) => ({
            key: `batch ${i % 2} ${name}`,
            value: author.random.chance(0.2) ? undefined : author.value(size),
          })),
        );
      }
      await author.close();
    },
  ],
  compressed: [
    async (author) => {
      await author.open({ compression: "lz4" });
      for (let i = 0; i < 3; i++) {
        some(author, 2);
        author.set(`text ${i}`, author.plain(900 + 3000 * i));
        if (i === 1) author.set("long text", author.plain(150_000));
        author.flush();
      }
      await author.close();
    },
  ],
  checkpoint: [
    async (author) => {
      const checkpoints = { logBytes: 1, liveThousandths: 0, auto: false };
      await author.open({ checkpoints });
      some(author, 12);
      author.set("large", author.value(5000));
      author.flush();
      await author.close();
      await author.open();
      some(author, 4);
      author.flush();
      author.kill();
    },
  ],
  "two checkpoints": [
    async (author) => {
      const checkpoints = { logBytes: 1, liveThousandths: 0, auto: false };
      for (let i = 0; i < 2; i++) {
        await author.open({ checkpoints });
        some(author, 8);
        author.set("text", author.plain(700));
        author.flush();
        await author.close();
      }
    },
  ],
  expiry: [
    async (author) => {
      await author.open({ checkpoints: { logBytes: 1, liveThousandths: 0, auto: false } });
      for (let i = 0; i < 3; i++) {
        author.set(`soon ${i}`, author.value(40), { expiresIn: 3_600_000 });
        author.set(`late ${i}`, author.value(60), { expiresIn: 100 * LATER_MS + i });
        author.set(`timed ${i}`, author.value(50), { timestamp: 1000 + i });
        author.set("both", author.value(20), { expiresIn: 50 * LATER_MS, timestamp: 77 + i });
        some(author, 2);
        author.flush();
        if (i === 1) {
          await author.close();
          await author.open();
        }
      }
      author.kill();
    },
  ],
  namespaces: [
    async (author) => {
      await author.open({ history: { bytes: 65_536, ms: 1000 } });
      for (let i = 0; i < 4; i++) {
        author.set(`${SPACE}space ${i % 2}/key ${i}`, author.value(100));
        if (i === 3) author.delete(`${SPACE}space 0/key 0`);
        some(author, 3);
        author.flush();
      }
      await author.close();
    },
  ],
  "long keys": [
    async (author) => {
      await author.open();
      for (let i = 0; i < 3; i++) {
        author.set("k".repeat(2040) + i, author.value(700));
        author.set("é".repeat(30) + i, `${author.value(20)} ünïcödé ${i}`);
        author.set(`empty ${i}`, "");
        author.delete(`${"k".repeat(2040)}${i - 1}`);
        author.flush();
      }
      await author.close();
    },
  ],
  extents: [
    async (author) => {
      await author.open({ checkpoints: { logBytes: 1, liveThousandths: 0, auto: false } });
      some(author, 3);
      author.set("huge", author.value(70_000));
      author.flush();
      some(author, 3);
      author.flush();
      await author.close();
    },
  ],
  compacted: [
    async (author) => {
      await author.open();
      for (let i = 0; i < 5; i++) {
        author.set(`large ${i % 3}`, author.value(9000));
        some(author, 4);
        author.flush();
      }
      await author.store.compact({ full: true });
      author.flush();
      some(author, 3);
      author.flush();
      author.kill();
    },
  ],
  fixed: [
    async (author) => {
      await author.open();
      for (let i = 0; i < 3; i++) {
        some(author, 6);
        author.flush();
      }
      await author.close();
    },
    6,
  ],
  "fixed and reused": [
    async (author) => {
      await author.open();
      for (let i = 0; i < 26; i++) {
        author.set(`large ${i % 3}`, author.value(random9000(author)));
        some(author, 3);
        author.flush();
        if (i % 6 === 5) await author.store.compact({ full: true });
      }
      author.kill();
    },
    8,
  ],
};

function random9000({ random }: Author): number {
  return random.pick([500, 4000, 9000]);
}

/** The names of all kinds of images. */
export const KIND_NAMES: readonly string[] = Object.keys(KINDS);

/** Makes the image of a kind. */
export async function makeReference(name: string, module: WebAssembly.Module, random: Random): Promise<Reference> {
  const [make, segments] = KINDS[name] as [Maker, number?];
  clockReset(START_MS);
  const author = new Author(module, random, segments);
  await make(author);
  return author.done(name);
}
