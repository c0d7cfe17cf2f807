/**
 * One life of a store over a device whose calls may fail. What is done to it goes through here: every answer is held against
 * what was written, every refusal against what the table of faults allows.
 */

import type { CheckpointPace } from "../../store/checkpoints.ts";
import type { WriteOptions } from "../../store/entry.ts";
import { CairnError } from "../../store/error.ts";
import { openStore } from "../../store/open.ts";
import { type HistoryOptions, readOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { drain, VirtualClock } from "../simulation/clock.ts";
import { CRASH_MODES, type CrashMode } from "../simulation/crash.ts";
import type { Image } from "../simulation/pages.ts";
import { Random } from "../simulation/random.ts";
import { contentsOf } from "./contents.ts";
import { type DeviceKind, FailingDevice } from "./device.ts";
import { type Fault, requiredOf } from "./faults.ts";
import type { Gate } from "./gate.ts";
import { apply, type Commit, difference, type State, stateAfter, type Times } from "./history.ts";
import { gatedHost, type Memories } from "./host.ts";
import { Violation } from "./violation.ts";
import { waitFor } from "./waiting.ts";

const MIB = 1_048_576;
/** Less than programs may ask for: what a mount costs grows with it. */
const MEMORY_BYTES = 8 * MIB;
const NEVER = Number.POSITIVE_INFINITY;

/** How a store is opened, and over what. */
export interface LifeOptions {
  device: DeviceKind;
  /** Bytes of a device that does not grow. */
  deviceSize?: number;
  durability?: "interval" | "sync" | "manual";
  cacheBytes?: number;
  memoryBytes?: number;
  /** Memory of the stores that look at what a run left, where that is more. */
  fullMemoryBytes?: number;
  readOnly?: boolean;
  compression?: "none" | "lz4";
  compacts?: boolean;
  checkpoints?: CheckpointPace;
  history?: HistoryOptions;
  namespaces?: readonly string[];
  /** Whether calls look at a place again that could not be read, more often than twice: for what a writer may be changing. */
  looksAgain?: boolean;
  /** Whether it has writes that outgrow the write buffer: what fails half-way through one may poison, whatever it is. */
  outgrows?: boolean;
  /** Codes that calls may give without a fault. */
  codes?: readonly string[];
}

/** What all runs of a program share. */
export interface World {
  module: WebAssembly.Module;
  memories: Memories;
}

/** What is on a device, and what was written to it. */
export interface Base {
  image: Image;
  commits: readonly Commit[];
  /** Of them, those that are durable. */
  acked: number;
  nowUs: number;
}

/** An image that a crash could have left, and what is known of it. */
export interface CrashPoint extends Base {
  where: string;
}

/** The store takes no calls any more: the rest of what a workload does is left out. */
export class Ended extends Error {}

/** See the head of this file. */
export class Life {
  readonly clock = new VirtualClock();
  readonly device: FailingDevice;
  readonly gate: Gate;
  readonly options: LifeOptions;
  store!: Store;
  commits: Commit[];
  acked: number;
  model: State;
  phase: "new" | "opening" | "open" | "closing" | "closed" | "refused" = "new";
  /** In which phase the first call failed. */
  struckIn: Life["phase"] | undefined;
  poisoned = false;
  /** Whether the store has said, by its event, that it takes no more calls. */
  saidPoisoned = false;
  /** Whether a call or a promise has told of the failure. */
  told = false;
  /** Whether a batch was refused, which may have been half-way. */
  isHalfway = false;
  /** Refusals that the options allow without a fault. */
  refusalCount = 0;
  /** Calls and promises that were refused, for whatever reason. */
  private refusedCount = 0;
  readonly crashes: CrashPoint[] = [];
  private readonly world: World;
  private readonly fault: Fault | undefined;
  private readonly random: Random;
  private pending: Promise<void>[] = [];
  private failure: unknown;

  constructor(world: World, options: LifeOptions, base: Base, gate: Gate, fault?: Fault) {
    this.world = world;
    this.options = options;
    this.gate = gate;
    gate.boundsReads &&= options.looksAgain !== true;
    this.fault = fault;
    this.random = new Random(BigInt(1 + (fault?.at ?? 0)));
    this.commits = base.commits.slice();
    this.acked = base.acked;
    this.model = stateAfter(this.commits, this.commits.length);
    this.clock.nowUs = base.nowUs;
    this.clock.install();
    this.device = new FailingDevice(options.device, base.image, this.clock, gate);
    gate.onStrike = () => {
      this.struckIn = this.phase;
      this.capture("none", "as the call fails");
      this.capture(this.random.pick(CRASH_MODES), "as the call fails");
    };
  }

  /** Opens the store. `counts`: the calls of that are counted as well. */
  async open(counts: boolean): Promise<void> {
    this.phase = "opening";
    if (counts) this.gate.begin();
    this.gate.nextCall();
    try {
      this.store = await this.wait(this.opened(), "opening");
    } catch (error) {
      this.phase = "refused";
      this.refused(error, "open");
      throw new Ended();
    }
    this.phase = "open";
    this.gate.begin();
  }

  /** The state that was recovered is the one that counts from now on. */
  recovered(count: number): void {
    this.commits.length = count;
    this.acked = count;
    this.model = stateAfter(this.commits, count);
  }

  /** A write that is done when the call returns. */
  write(operation: string, commit: Commit, call: (store: Store) => unknown): void {
    const { isDone, refusal } = this.tried(commit, () => void call(this.store));
    if (refusal !== undefined) this.refused(refusal.error, operation);
    else if (!isDone && this.changes(commit)) throw new Violation(`${operation} was not refused, and changed nothing`);
    else if (this.options.durability === "sync") this.acked = this.commits.length;
  }

  /** A write that gives a promise. */
  promised(operation: string, commit: Commit, call: (store: Store) => Promise<unknown>): void {
    let promise: Promise<unknown> | undefined;
    const owes = this.changes(commit);
    const { isDone, refusal } = this.tried(commit, () => {
      promise = call(this.store);
    });
    if (refusal !== undefined) {
      this.refused(refusal.error, operation);
      return;
    }
    const number = this.commits.length;
    this.expect(operation, promise as Promise<unknown>, () => {
      if (owes && !isDone) throw new Violation(`${operation} was not refused, and changed nothing`);
      if (commit.size > 0) this.acked = Math.max(this.acked, number);
    });
  }

  /** Watches a promise: `settled` when it resolves; its rejection must be one that is allowed. */
  expect<T>(operation: string, promise: Promise<T>, settled: (value: T) => void = () => undefined): void {
    const guarded = (body: () => void): void => {
      try {
        body();
      } catch (error) {
        if (!(error instanceof Ended)) this.failure ??= error;
      }
    };
    this.pending.push(
      promise.then(
        (value) => guarded(() => settled(value)),
        (error) => guarded(() => this.refused(error, operation)),
      ),
    );
  }

  /** Something that only reads. */
  read(operation: string, body: (store: Store) => void): void {
    this.begin();
    try {
      body(this.store);
    } catch (error) {
      this.refused(error, operation);
    }
  }

  /** Something that is waited for. It may read through `reads`; what it writes goes through the other calls. */
  async later(operation: string, body: (store: Store) => Promise<void>): Promise<void> {
    this.begin();
    try {
      await this.wait(body(this.store), operation);
    } catch (error) {
      this.refused(error, operation);
    }
    this.rethrow();
  }

  /** Makes everything durable that was written before. */
  async flush(): Promise<void> {
    const number = this.commits.length;
    await this.later("flush", async (store) => {
      await store.flush();
      this.acked = Math.max(this.acked, number);
    });
  }

  flushSync(): void {
    this.read("flushSync", (store) => {
      store.flushSync();
      this.acked = this.commits.length;
    });
  }

  /** Waits for all promises, and lets a time go by. */
  async settle(ms = 0): Promise<void> {
    const { pending } = this;
    this.pending = [];
    await this.wait(Promise.all(pending), "a promise");
    if (ms > 0) await this.clock.advance(ms * 1000);
    this.rethrow();
    this.begin();
  }

  async close(): Promise<void> {
    this.begin();
    this.phase = "closing";
    const wasPoisoned = this.poisoned;
    const { refusedCount } = this;
    let refusal: { error: unknown } | undefined;
    try {
      await this.wait(this.store.close(), "close");
    } catch (error) {
      refusal = { error };
    }
    await this.settleQuietly();
    this.phase = "closed";
    if (refusal !== undefined) this.refused(refusal.error, "close");
    // A close says nothing of a failure that a promise has told of meanwhile.
    else if (!wasPoisoned && this.refusedCount === refusedCount) this.acked = this.commits.length;
    if (!this.device.isClosed) throw new Violation("the store is closed, and its device is not");
  }

  /** `get` gives what it must. */
  get(key: string): void {
    this.read("get", (store) => this.same(key, store.get(key)));
  }

  /** What was read of a key must be what it holds. */
  same(key: string, found: string | undefined, state: State = this.model): void {
    const one: State = new Map();
    const value = state.get(key);
    if (value !== undefined) one.set(key, value);
    const wrong = difference(one, new Map(found === undefined ? [] : [[key, found]]), this.times());
    if (wrong !== undefined) throw new Violation(`wrong value: ${wrong}`);
  }

  /** A scan gives what it must, and so does a look at each key. */
  scan(): void {
    const { struck } = this.gate;
    const before = struck.length;
    this.read("entries", (store) => {
      let found: Map<string, string>;
      try {
        found = contentsOf(store, this.options.namespaces ?? []);
      } catch (error) {
        // A clock that jumped meanwhile parts what a scan shows from what a key shows.
        if (!(error instanceof Violation) || !struck.slice(before).includes("clock")) throw error;
        found = contentsOf(store, this.options.namespaces ?? []);
      }
      const wrong = difference(this.model, found, this.times());
      if (wrong !== undefined) throw new Violation(`wrong state: ${wrong}`);
    });
  }

  set(key: string, text: string, options?: WriteOptions): void {
    const expiresIn = (options as { expiresIn?: number } | undefined)?.expiresIn;
    this.write("set", this.one(key, text, expiresIn), (store) => store.set(key, text, options));
  }

  delete(key: string): void {
    this.write("delete", this.one(key, undefined), (store) => store.delete(key));
  }

  put(key: string, text: string): void {
    this.promised("put", this.one(key, text), (store) => store.put(key, text));
  }

  del(key: string): void {
    this.promised("del", this.one(key, undefined), (store) => store.del(key));
  }

  batch(commit: Commit): void {
    this.promised("batch", commit, (store) => store.batch(operationsOf(commit)));
  }

  /** A commit of one key. */
  one(key: string, text: string | undefined, expiresIn?: number): Commit {
    const expiresAt = expiresIn === undefined ? NEVER : this.clock.wallMs() + expiresIn;
    return new Map([[key, text === undefined ? undefined : { text, expiresAt }]]);
  }

  /** Puts aside what a crash now could leave. */
  capture(mode: CrashMode, where: string): void {
    const image = this.device.crashed(mode, this.random);
    const { acked, clock } = this;
    this.crashes.push({ image, commits: this.commits.slice(), acked, nowUs: clock.nowUs, where: `${where}, ${mode}` });
  }

  /** What time it may be for the store. */
  times(): Times {
    const { struck } = this.gate;
    if (struck.includes("clock") || struck.includes("tick")) return { lowMs: 0, highMs: Number.MAX_VALUE };
    return { lowMs: this.clock.wallMs(), highMs: this.clock.wallMs() };
  }

  /** Waits for a promise; one that never settles is a hang. */
  async wait<T>(promise: Promise<T>, what: string): Promise<T> {
    return waitFor(this.clock, promise, what, () => this.gate.end());
  }

  /** Throws what went wrong in a callback. */
  rethrow(): void {
    if (this.failure !== undefined) throw this.failure;
    const [wrong] = [...this.gate.violations, ...this.device.violations];
    if (wrong !== undefined) throw new Violation(wrong);
  }

  /** A call, or a promise, was refused. Throws a `Violation` unless the table allows it; `Ended` when no more calls are taken. */
  refused(error: unknown, operation: string): void {
    this.refusedCount++;
    if (error instanceof Violation || error instanceof Ended) throw error;
    if (!(error instanceof CairnError)) {
      throw new Violation(`${operation} gives ${described(error)}, which is no CairnError`, { cause: error });
    }
    const { code } = error;
    const { struck } = this.gate;
    if (this.options.codes?.includes(code)) {
      this.refusalCount++;
      return;
    }
    if (this.fault === undefined || struck.length === 0) {
      throw new Violation(`${operation} gives ${code} where nothing failed: ${error.message}`, { cause: error });
    }
    if (operation === "batch" || operation === "clear") this.isHalfway = this.options.outgrows === true;
    const { codes } = requiredOf(this.fault.kind, struck);
    const follows = this.isHalfway && code === "POISONED";
    const ends = this.phase === "closing" && code === "CLOSED";
    if (!codes.includes(code) && !ends && !follows) {
      throw new Violation(`${operation} gives ${code} after ${struck.slice(0, 3)}: ${error.message}`, { cause: error });
    }
    this.told = true;
    if (this.phase !== "open") return;
    this.poisoned = this.isPoisoned();
    if (this.poisoned) throw new Ended();
    if (code === "DEVICE_SHRUNK" && this.options.readOnly !== true) {
      throw new Violation(`${operation} gives DEVICE_SHRUNK, and the store is not poisoned`);
    }
  }

  /** Whether the store takes no more calls. */
  isPoisoned(): boolean {
    try {
      this.store.has("x");
      return false;
    } catch (error) {
      if (error instanceof CairnError && error.code === "POISONED") return true;
      throw error;
    }
  }

  /** Waits for what is under way, whatever it comes to. */
  async settleQuietly(): Promise<void> {
    const { pending } = this;
    this.pending = [];
    await this.wait(Promise.all(pending), "a promise");
    await drain();
    this.rethrow();
  }

  private begin(): void {
    if (this.phase !== "open" || this.poisoned) throw new Ended();
    this.gate.nextCall();
  }

  private tried(commit: Commit, call: () => void): { isDone: boolean; refusal: { error: unknown } | undefined } {
    this.begin();
    const before = this.store.version;
    this.commits.push(commit);
    let refusal: { error: unknown } | undefined;
    try {
      call();
    } catch (error) {
      refusal = { error };
    }
    const isDone = this.store.version !== before;
    if (isDone) apply(this.model, commit);
    else this.commits.pop();
    return { isDone, refusal };
  }

  private changes(commit: Commit): boolean {
    for (const [key, value] of commit) if (value !== undefined || this.model.has(key)) return true;
    return false;
  }

  private opened(): Promise<Store> {
    const { options, device, clock, gate, world } = this;
    const settings = readOptions({
      writeBufferBytes: 262_144,
      cacheBytes: options.cacheBytes ?? 262_144,
      durability: options.durability ?? "interval",
      flushIntervalMs: 20,
      compaction: { auto: options.compacts ?? false },
      compression: options.compression ?? "none",
      readOnly: options.readOnly ?? false,
      history: options.history ?? { bytes: 0, ms: 0 },
      memoryBytes: 16 * MIB,
      onEvent: ({ type }: { type: string }) => {
        if (type === "poisoned") this.saidPoisoned = true;
      },
    });
    settings.memoryBytes = options.memoryBytes ?? MEMORY_BYTES;
    const host = gatedHost(world.module, clock, new Random(7n), gate, world.memories);
    const opening = { device, host, release: () => device.close(), segmentBlocks: 16 };
    const { checkpoints = { auto: false } } = options;
    return openStore<string, string>({ ...opening, checkpoints }, settings);
  }
}

/** The operations of a batch that does a commit. */
export function operationsOf(
  commit: Commit,
): ({ type: "set"; key: string; value: string } | { type: "delete"; key: string })[] {
  return [...commit].map(([key, value]) =>
    value === undefined ? { type: "delete", key } : { type: "set", key, value: value.text },
  );
}

function described(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
