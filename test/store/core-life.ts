/**
 * The life of a core without a store around it: writes, flights of all kinds that land when chance wants it, compaction,
 * checkpoints, reads, verification, a close. It is driven by one seed and is synchronous, so that a call of the device has a number.
 */
import { Core } from "../../store/core.ts";
import { CairnError } from "../../store/error.ts";
import { host } from "./harness.ts";
import { ImageDevice } from "./image-device.ts";
import type { Random } from "./random.ts";

const OK = 0;
const CORRUPT = -4;
const DEVICE_READ = -5;
const DEVICE_WRITE = -6;
const DEVICE_SHRUNK = -7;
const FENCED = -13;
const ENGINE = 1;
const GROWABLE = 2;
const COMPRESSION = 64;
/** Of a cursor's mode: with values. */
const VALUES = 1;
const DONE = 0;
const FULL = 1;
const FAILED = 2;
const SIZE_STEP = 1;
const WORD = 4;
const MEMORY_BYTES = 16 * 1_048_576;

/** What makes a call fail: a device that fails, a disk that is full, and one that ends early. */
export type Fault = "eio" | "full" | "short";

/** A device in memory whose calls are counted, and one of which fails, or all from one on. */
export class CountedDevice extends ImageDevice {
  /** Calls so far. */
  calls = 0;
  /** The call that fails, and how. */
  failsAt = Number.POSITIVE_INFINITY;
  fault: Fault = "eio";
  lasting = false;

  static over(image: Uint8Array, growable: boolean): CountedDevice {
    const device = new CountedDevice(0, growable);
    if (image.length > 0) device.take(image);
    return device;
  }

  /** Whether the present call fails. */
  private fails(): boolean {
    const number = this.calls++;
    return this.lasting ? number >= this.failsAt : number === this.failsAt;
  }

  private fail(operation: string, canFill: boolean): void {
    if (this.fault === "full" && canFill) throw new CairnError("NO_SPACE", operation, `${operation}: the disk is full`);
    throw new Error(`${operation}: EIO`);
  }

  override size(): number {
    if (this.fails()) this.fail("stat", false);
    return super.size();
  }

  override read(offset: number, target: Uint8Array): number {
    if (!this.fails()) return super.read(offset, target);
    if (this.fault === "short") return super.read(offset, target.subarray(0, target.length >> 1));
    return this.fail("read", false) as never;
  }

  override write(offset: number, source: Uint8Array): number {
    if (this.fails()) this.fail("write", true);
    return super.write(offset, source);
  }

  override sync(): void {
    if (this.fails()) this.fail("sync", false);
    super.sync();
  }

  override resize(size: number): void {
    if (this.fails()) this.fail("resize", true);
    super.resize(size);
  }
}

/** Thrown when the core says that its device is in doubt: the store would be poisoned. */
class Poisoned extends Error {}

/** See the head of this file. */
export class Life {
  /** By key the values that it may have: the last one known to be durable, and all that were written since. */
  readonly possible = new Map<string, (string | undefined)[]>();
  private readonly core: Core;
  private readonly random: Random;
  private readonly flags: number;
  /** Flights whose report is still to come. */
  private flights: (() => void)[] = [];

  private constructor(core: Core, random: Random, flags: number) {
    this.core = core;
    this.random = random;
    this.flags = flags;
  }

  /**
   * A life over a device that holds `present`, of `steps` steps: what may be there afterwards. It ends early where a store
   * would.
   */
  static async run(
    device: CountedDevice,
    present: ReadonlyMap<string, string>,
    random: Random,
    steps: number,
    compression: boolean,
  ): Promise<Life> {
    const flags = (device.growable ? GROWABLE : 0) | (compression ? COMPRESSION : 0);
    const life = new Life(await Core.create(await host(), device, MEMORY_BYTES), random, flags);
    for (const [key, value] of present) life.possible.set(key, [value]);
    try {
      if (life.open()) {
        for (let i = 0; i < steps; i++) life.step(i);
        life.end();
      }
    } catch (error) {
      if (!(error instanceof Poisoned)) throw error;
    }
    return life;
  }

  private open(): boolean {
    const { exports, handle, memory } = this.core;
    if (exports.initialize(memory.buffer.byteLength, 262_144, 262_144, 0) !== OK) throw new Error("no memory");
    let status = exports.probe(handle);
    if (status === 0) {
      status = exports.format(handle, ENGINE, 16, this.flags);
      if (status === OK) status = exports.probe(handle);
    }
    if (status > 0) status = exports.mount(handle, handle, ENGINE, this.flags);
    if (status < 0) return false;
    exports.hostFlies();
    exports.compactConfigure(true, 200);
    exports.checkpointConfigure(true, 65_536, 0, 2);
    exports.historyConfigure(100_000, 0);
    return true;
  }

  private step(i: number): void {
    const { exports } = this.core;
    const { random } = this;
    const choice = random.below(20);
    const key = `key ${random.below(50)}`.padEnd(random.pick([8, 8, 40]), "k");
    if (choice < 9) this.write(key, `${i} `.padEnd(random.pick([8, 60, 700, 6000, 20_000]), `${i}`));
    else if (choice < 11)
      this.write(random.pick(["large 1", "large 2"]), `${i} `.repeat(random.pick([40_000, 60_000])));
    else if (choice < 14) this.remove(key);
    else if (choice < 15) this.flush();
    else if (choice < 16) this.read(key);
    else if (choice < 17) this.walk();
    else if (choice < 18 && random.chance(0.3)) this.compactFully();
    else if (choice < 19 && random.chance(0.2)) this.verify();
    this.host();
    this.settle(exports.compactStep(0, random.pick([0, 1, 2]), 500));
    this.settle(exports.checkpointStep());
    if (random.chance(0.1)) this.settle(exports.shrink(random.below(3)));
    exports.maintain();
  }

  private end(): void {
    const { exports } = this.core;
    this.land(1);
    if (this.flush() === OK) {
      const begun = exports.backupBegin();
      this.settle(begun);
      if (begun === OK) {
        const count = exports.backupSegments(0);
        const at = this.core.exchangeOut / WORD;
        const pinned = Array.from({ length: count }, (_, i) => this.core.words[at + i * 6] as number);
        this.write("while it is pinned", "1");
        this.compactFully();
        for (const index of pinned) exports.backupUnpin(index);
      }
    }
    this.land(1);
    if (exports.close() === OK) this.durable();
  }

  /** What the core says: what must poison ends the life. */
  private settle(status: number): number {
    if (status === DEVICE_WRITE || status === FENCED || status === DEVICE_SHRUNK) throw new Poisoned();
    return status;
  }

  private putKey(key: string): number {
    this.core.bytes.set(new TextEncoder().encode(key), this.core.keyA);
    return key.length;
  }

  private write(key: string, value: string): void {
    const { core } = this;
    const bytes = new TextEncoder().encode(value);
    this.note(key, value);
    let status: number;
    if (bytes.length <= core.exchangeSize) {
      core.bytes.set(bytes, core.exchangeIn);
      status = core.exports.set(this.putKey(key), bytes.length, 0);
    } else {
      status = core.exports.writeBegin(this.putKey(key), bytes.length, 0);
      for (let at = 0; status >= 0 && at < bytes.length; at += core.exchangeSize) {
        const piece = bytes.subarray(at, at + core.exchangeSize);
        core.bytes.set(piece, core.exchangeIn);
        status = core.exports.writePart(piece.length);
        // A value that is refused half-way is taken back.
        if (status < 0) core.exports.writeAbort();
      }
    }
    this.settle(status);
    if (status < 0) this.possible.get(key)?.pop();
  }

  private remove(key: string): void {
    this.note(key, undefined);
    if (this.settle(this.core.exports.remove(this.putKey(key))) < 0) this.possible.get(key)?.pop();
  }

  private note(key: string, value: string | undefined): void {
    const values = this.possible.get(key) ?? [undefined];
    values.push(value);
    this.possible.set(key, values);
  }

  /** All that was written is durable. */
  private durable(): void {
    for (const [key, values] of this.possible) this.possible.set(key, values.slice(-1));
  }

  private flush(): number {
    const status = this.settle(this.core.exports.flushSync());
    if (status === OK) this.durable();
    return status;
  }

  private read(key: string): void {
    const { exports, bytes } = this.core;
    const found = exports.get(this.putKey(key));
    if (found === 1) {
      const at = (this.core.words[this.core.result] as number) >>> 0;
      const value = new TextDecoder().decode(
        bytes.subarray(at, at + (this.core.words[this.core.result + 1] as number)),
      );
      if (this.possible.get(key)?.at(-1) !== value) throw new Error(`${key} is ${value.slice(0, 20)}`);
    } else if (found === 2) {
      exports.valueRead(0);
    } else if (found === 0 && this.possible.get(key)?.at(-1) !== undefined) {
      throw new Error(`${key} is not there`);
    }
  }

  private walk(): void {
    const { exports } = this.core;
    const handle = exports.cursorOpen(0, 0, 0, 0);
    if (handle < 0) return;
    for (let i = 0; i < 100; i++) {
      const count = exports.cursorNext(handle, 20, VALUES);
      if (count <= 0 || (this.core.words[this.core.result + 2] as number) === 1) break;
    }
    exports.cursorClose(handle);
  }

  private verify(): void {
    const { exports } = this.core;
    if (exports.verifyBegin() !== OK) return;
    for (let i = 0; i < 10_000 && exports.verifyStep(1) !== 5; i++);
    exports.verifyEnd();
  }

  private compactFully(): void {
    const { exports } = this.core;
    if (this.settle(exports.compactBegin()) !== 1) return;
    for (let i = 0; i < 200; i++) {
      const result = this.settle(exports.compactStep(2, this.random.pick([0, 2]), 500));
      if (result === OK || (result < 0 && result !== CORRUPT && result !== DEVICE_READ)) break;
      this.host();
      if (result === 2) {
        this.settle(exports.compactSettle(2));
        exports.markDue();
        this.flush();
      }
    }
  }

  /** Puts in flight what the core has planned, and lets some of what flies land. */
  private host(): void {
    const { core } = this;
    const { exports, words, result } = core;
    const word = (i: number): number => (words[result + i] as number) >>> 0;
    const pieces = this.settle(exports.groupBegin());
    if (pieces > 0) {
      const plan = core.piecesAt(core.plan, pieces);
      this.fly(
        () => {
          for (const { offset, source } of plan) core.device.write(offset, source);
          core.device.sync();
        },
        (outcome) => this.settle(exports.groupFinish(outcome)),
      );
    }
    for (let offset = exports.sourcePlan(); offset >= 0; offset = exports.sourcePlan()) {
      const target = core.bytes.subarray(word(0), word(0) + word(1));
      const [from, window] = [offset, word(2)];
      this.fly(
        () => void core.device.read(from, target),
        (outcome) => exports.sourceLanded(window, outcome === DONE),
      );
    }
    const copies = this.settle(exports.sideBegin());
    if (copies > 0) {
      const plan = core.piecesAt(core.sidePlan, copies);
      this.fly(
        () => {
          for (const { offset, source } of plan) core.device.write(offset, source);
        },
        (outcome) => this.settle(exports.sideFinish(outcome)),
      );
    }
    this.superblock(this.settle(exports.superblockBegin()));
    const blocks = this.settle(exports.checkpointBegin());
    if (blocks > 0) {
      const plan = core.piecesAt(word(0) >> 2, blocks);
      this.fly(
        () => {
          for (const { offset, source } of plan) core.device.write(offset, source);
        },
        (outcome) => this.settle(exports.checkpointLanded(outcome)),
      );
    }
    this.land(0.5);
  }

  private superblock(step: number): void {
    if (step <= 0) return;
    const { core } = this;
    const pointer = (core.words[core.result] as number) >>> 0;
    const offset = (core.words[core.result + 1] as number) >>> 0;
    this.fly(
      () => {
        if (step !== SIZE_STEP) core.device.write(offset, core.bytes.subarray(pointer, pointer + 4096));
        core.device.sync();
      },
      (outcome) => this.superblock(this.settle(core.exports.superblockLanded(outcome))),
    );
  }

  private fly(run: () => void, report: (outcome: number) => void): void {
    this.flights.push(() => {
      let outcome = DONE;
      try {
        run();
      } catch (error) {
        outcome = error instanceof CairnError && error.code === "NO_SPACE" ? FULL : FAILED;
      }
      report(outcome);
    });
  }

  /** Lets flights land, in any order, each with a probability. */
  private land(probability: number): void {
    for (let rounds = 0; this.flights.length > 0 && rounds < 1000; rounds++) {
      const [flight] = this.flights.splice(this.random.below(this.flights.length), 1);
      if (this.random.chance(probability)) flight?.();
      else {
        this.flights.push(flight as () => void);
        return;
      }
    }
  }
}
