/**
 * The simulated device: what a store reads, what is on the platter, and what lies in between.
 *
 * ```
 *   flying            landed                       synced
 *   async pieces ───> view, pending ─────────────> platter
 *   each at a time    read by the store;           kept by
 *   of its own        a crash keeps what it likes  every crash
 * ```
 *
 * 1. The cache is the set of writes since the last completed sync. A sync covers what had landed when it was issued.
 * 2. A piece in flight takes its bytes from memory when it lands, not when it was submitted.
 * 3. Pieces land while the thread is blocked; who waits for them hears of it in virtual time.
 * 4. When what lands, and whether it does, is decided by the random numbers that the device was given.
 */
import type { BlockDevice, DevicePiece, DeviceTarget } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import type { VirtualClock } from "./clock.ts";
import { type CacheState, type CrashMode, crashImage, type Pending } from "./crash.ts";
import type { FaultKind, FaultSchedule, Operation } from "./faults.ts";
import { type Image, PAGE_SIZE, Page, type Pages, pageOf, readPages } from "./pages.ts";
import type { Random } from "./random.ts";
import type { Trace } from "./trace.ts";

/** What a device is. */
export interface DeviceKind {
  growable: boolean;
  /** Bytes that are written whole or not at all: 512 or 4,096. */
  sectorSize: number;
  /** Bytes that a growing device can have at most. */
  capacity: number;
  /** Whether it reads asynchronously, and whether it commits in one trip. */
  readsAsync: boolean;
  commits: boolean;
  /** Longest time that an operation takes, in microseconds. */
  latencyUs: number;
}

/** What the device does when its time has come, whether or not anybody listens. */
interface Action {
  timeUs: number;
  run(): void;
}

/** A piece in flight. */
interface Flying {
  block: number;
  source: Uint8Array;
}

type Write = (pieces: readonly DevicePiece[]) => Promise<void>;
type Read = (pieces: readonly DeviceTarget[]) => Promise<void>;

/** See the head of this file. */
export class SimulatedDevice implements BlockDevice {
  readonly growable: boolean;
  readonly kind = "memory";
  readonly readAsync?: Read;
  readonly commitAsync?: Write;
  /** Called after everything that a crash could tell apart. */
  onChange: (() => void) | undefined;
  faults: FaultSchedule | undefined;
  /** Times that the store made it smaller. */
  cutCount = 0;
  private view: Image;
  private platter: Image;
  private pending: Pending[] = [];
  private flying: Flying[] = [];
  private actions: Action[] = [];
  /** The faults of the life in which a sync has failed. */
  private failedUnder: FaultSchedule | undefined;
  private serialNext = 0;
  private writeNext = 0;
  private capacity: number;
  private readonly of: DeviceKind;
  private readonly clock: VirtualClock;
  private readonly random: Random;
  private readonly trace: Trace;

  constructor(of: DeviceKind, image: Image, clock: VirtualClock, random: Random, trace: Trace) {
    this.of = of;
    this.growable = of.growable;
    this.capacity = of.capacity;
    this.view = { pages: image.pages.slice(), size: image.size };
    this.platter = { pages: image.pages.slice(), size: image.size };
    this.clock = clock;
    this.random = random;
    this.trace = trace;
    if (of.readsAsync) this.readAsync = (pieces) => this.readLater(pieces);
    if (of.commits) this.commitAsync = (pieces) => this.commitLater(pieces);
  }

  size(): number {
    return this.view.size;
  }

  read(offset: number, target: Uint8Array): number {
    return this.readInto(offset, target, 0, target.length);
  }

  readInto(offset: number, memory: Uint8Array, at: number, size: number): number {
    this.settle();
    if (this.meet("read") !== undefined) throw failure("DEVICE_READ", "read");
    return readPages(this.view, offset, memory, at, size);
  }

  write(offset: number, source: Uint8Array): number {
    this.block();
    this.checkSpan(offset, source.length);
    const fault = this.meet("write");
    if (fault === "write-error" || fault === "no-space") {
      // A part of it may have been done.
      const done = this.random.chance(0.5) ? this.random.below(source.length / PAGE_SIZE) * PAGE_SIZE : 0;
      if (done > 0) this.land(offset, source.subarray(0, done), undefined);
      throw failure(fault === "no-space" ? "NO_SPACE" : "DEVICE_WRITE", "write");
    }
    this.land(offset, source, fault);
    return source.length;
  }

  writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    return this.fly(pieces, () => undefined);
  }

  sync(): void {
    this.block();
    this.trace.add("sync");
    this.syncNow(this.serialNext, this.meet("sync"));
  }

  syncAsync(): Promise<void> {
    this.settle();
    const covers = this.serialNext;
    const fault = this.meet("sync");
    const end = this.clock.nowUs + this.latency();
    return new Promise((resolve, reject) => {
      this.later(
        end,
        () => {
          this.trace.add("synced", covers);
          this.syncNow(covers, fault);
        },
        resolve,
        reject,
      );
    });
  }

  resize(size: number): void {
    this.block();
    if (size % PAGE_SIZE !== 0) throw new RangeError(`resize to ${size} is not made of blocks`);
    const full = size > this.capacity || (size > this.view.size && this.meet("write") === "no-space");
    if (!this.growable || full) throw failure("NO_SPACE", "resize");
    this.trace.add("resize", size / PAGE_SIZE);
    if (size < this.view.size) this.cutCount++;
    this.view.size = size;
    if (this.view.pages.length > size / PAGE_SIZE) this.view.pages.length = size / PAGE_SIZE;
    this.pending.push({ serial: this.serialNext++, write: this.writeNext++, block: -1, page: undefined, size });
    this.onChange?.();
  }

  close(): void {}

  /** What a power cut now could leave. Changes nothing. */
  crashed(mode: CrashMode, random: Random): Image {
    const state: CacheState = { platter: this.platter, view: this.view, pending: this.pending, flying: this.flying };
    return crashImage(state, mode, this.of.sectorSize, random);
  }

  /** What the device shows now: what a killed process leaves. */
  shown(): Image {
    return { pages: this.view.pages.slice(), size: this.view.size };
  }

  /** The power is cut: the device holds `image`, and nothing else. */
  restart(image: Image): void {
    this.view = { pages: image.pages.slice(), size: image.size };
    this.platter = { pages: image.pages.slice(), size: image.size };
    this.pending = [];
    this.flying = [];
    this.actions = [];
  }

  /** The process is killed: what is in flight lands or not; the cache stays. */
  orphan(random: Random): void {
    for (const { block, source } of this.flying) {
      if (random.chance(0.5)) this.land(block * PAGE_SIZE, source, undefined);
    }
    this.flying = [];
    this.actions = [];
  }

  /** A growing device gets room for more. */
  enlarge(): void {
    this.capacity = Number.POSITIVE_INFINITY;
  }

  /** A device whose power was cut is larger by so many bytes. */
  extend(bytes: number): void {
    this.restart({ pages: this.view.pages, size: this.view.size + bytes });
  }

  private async commitLater(pieces: readonly DevicePiece[]): Promise<void> {
    const before = this.serialNext;
    await this.fly(pieces, (own) => {
      this.trace.add("committed", before, own.length);
      this.syncNow(before, this.meet("sync"), own);
    });
  }

  private readLater(pieces: readonly DeviceTarget[]): Promise<void> {
    const fault = this.meet("read");
    const end = this.clock.nowUs + this.latency();
    return new Promise((resolve, reject) => {
      this.later(
        end,
        () => {
          if (fault !== undefined) throw failure("DEVICE_READ", "readAsync");
          for (const { offset, target } of pieces) {
            if (readPages(this.view, offset, target, 0, target.length) < target.length) {
              throw failure("DEVICE_SHRUNK", "readAsync");
            }
          }
        },
        resolve,
        reject,
      );
    });
  }

  /** Sets pieces in flight; `landed` is called with their serials when the last one has landed. */
  private fly(pieces: readonly DevicePiece[], landed: (serials: readonly number[]) => void): Promise<void> {
    this.settle();
    let end = this.clock.nowUs;
    let error: unknown;
    const serials: number[] = [];
    for (const { offset, source } of pieces) {
      this.checkSpan(offset, source.length);
      // A large piece reaches the device in parts.
      const cut = this.random.chance(0.4)
        ? this.random.between(1, source.length / PAGE_SIZE) * PAGE_SIZE
        : source.length;
      for (let from = 0; from < source.length; ) {
        const to = from === 0 ? cut : source.length;
        const part = { block: (offset + from) / PAGE_SIZE, source: source.subarray(from, to) };
        const fault = this.meet("write");
        const time = this.clock.nowUs + this.latency();
        end = Math.max(end, time);
        this.flying.push(part);
        this.act(time, () => {
          this.flying.splice(this.flying.indexOf(part), 1);
          if (fault === "write-error" || fault === "no-space") {
            error = failure(fault === "no-space" ? "NO_SPACE" : "DEVICE_WRITE", "writeAsync");
          } else {
            serials.push(...this.land(part.block * PAGE_SIZE, part.source, fault));
          }
        });
        from = to;
      }
    }
    return new Promise((resolve, reject) => {
      this.later(
        end,
        () => {
          if (error !== undefined) throw error;
          landed(serials);
        },
        resolve,
        reject,
      );
    });
  }

  /** Writes land: in the view, and in the cache. Their serials. */
  private land(offset: number, source: Uint8Array, fault: FaultKind | undefined): number[] {
    const serials: number[] = [];
    const write = this.writeNext++;
    let first = offset / PAGE_SIZE;
    if (fault === "misdirected-write") {
      first = this.random.below(Math.max(1, (this.view.size - source.length) / PAGE_SIZE));
    }
    for (let from = 0; from < source.length; from += PAGE_SIZE) {
      const page = new Page(source.slice(from, from + PAGE_SIZE));
      const block = first + from / PAGE_SIZE;
      this.trace.add("write", block, page.tag);
      this.view.pages[block] = page;
      const serial = this.serialNext++;
      serials.push(serial);
      if (fault !== "lost-write") this.pending.push({ serial, write, block, page, size: 0 });
    }
    if (fault === "rot") this.rot();
    this.onChange?.();
    return serials;
  }

  /** A bit of something that was written flips. */
  private rot(): void {
    const blocks: number[] = [];
    for (let i = 0; i < this.platter.pages.length; i++) if (this.platter.pages[i] !== undefined) blocks.push(i);
    if (blocks.length === 0) return;
    const block = this.random.pick(blocks);
    const bit = this.random.below(PAGE_SIZE * 8);
    const flip = (pages: Pages): void => {
      const page = pageOf(pages, block).slice();
      page[bit >>> 3] = (page[bit >>> 3] as number) ^ (1 << (bit & 7));
      pages[block] = new Page(page);
    };
    this.trace.add("rot", block, bit);
    if (this.view.pages[block] === this.platter.pages[block]) flip(this.view.pages);
    flip(this.platter.pages);
  }

  /**
   * A sync of what landed before `covers`, and of the serials in `own`. One that fails may have met all that has landed. Those that come
   * after it in the same life fail, too, and do their work: hosts/sync-descriptors.ts.
   */
  private syncNow(covers: number, fault: FaultKind | undefined, own: readonly number[] = []): void {
    if (fault === "lying-sync") return;
    const failedBefore = this.faults !== undefined && this.failedUnder === this.faults;
    if (fault === "sync-error") this.failedUnder = this.faults;
    const kept: Pending[] = [];
    for (const entry of this.pending) {
      if (entry.serial >= covers && !own.includes(entry.serial) && fault !== "sync-error") {
        kept.push(entry);
      } else if (fault === "sync-error") {
        // The cache forgets that it is to write these, and goes on showing them. A few may still be written.
        if (this.random.chance(0.3)) kept.push(entry);
      } else if (entry.page !== undefined) {
        this.platter.pages[entry.block] = entry.page;
      } else {
        this.platter.size = entry.size;
        if (this.platter.pages.length > entry.size / PAGE_SIZE) this.platter.pages.length = entry.size / PAGE_SIZE;
      }
    }
    this.pending = kept;
    this.onChange?.();
    if (fault === "sync-error" || failedBefore) throw failure("DEVICE_WRITE", "sync");
  }

  /** Does `run` at a time, and then lets a promise know how it went. */
  private later(timeUs: number, run: () => void, resolve: () => void, reject: (error: unknown) => void): void {
    let tell: (() => void) | undefined;
    this.act(timeUs, () => {
      try {
        run();
        tell = resolve;
      } catch (error) {
        tell = () => reject(error);
      }
    });
    this.clock.at(timeUs, () => {
      this.settle();
      tell?.();
    });
  }

  private act(timeUs: number, run: () => void): void {
    let place = this.actions.length;
    while (place > 0 && (this.actions[place - 1] as Action).timeUs > timeUs) place--;
    this.actions.splice(place, 0, { timeUs, run });
  }

  /** Everything whose time has come is done. */
  private settle(): void {
    while (this.actions.length > 0 && (this.actions[0] as Action).timeUs <= this.clock.nowUs) {
      (this.actions.shift() as Action).run();
    }
  }

  /** Waits until all that is in flight has landed. */
  arrive(): void {
    this.clock.nowUs = Math.max(this.clock.nowUs, this.actions.at(-1)?.timeUs ?? 0);
    this.settle();
  }

  /** A call that blocks the thread takes its time. */
  private block(): void {
    this.clock.nowUs += this.latency();
    this.settle();
  }

  private latency(): number {
    return 1 + this.random.below(this.of.latencyUs);
  }

  private meet(operation: Operation): FaultKind | undefined {
    const fault = this.faults?.meet(operation);
    if (fault === undefined || (fault === "no-space" && !this.growable)) return undefined;
    this.trace.add(fault);
    return fault;
  }

  private checkSpan(offset: number, size: number): void {
    if (offset % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0) throw new RangeError("a write is not made of blocks");
    if (offset + size > this.view.size) throw new RangeError("a write passes the end of the device");
  }
}

function failure(code: "DEVICE_READ" | "DEVICE_WRITE" | "DEVICE_SHRUNK" | "NO_SPACE", operation: string): CairnError {
  return new CairnError(code, operation, `the simulated device fails: ${code}`);
}
