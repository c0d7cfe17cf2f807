/**
 * A device whose every call may fail. It keeps what it shows apart from what is durable, as a disk with a cache does.
 *
 * 1. Asynchronous calls land later, in virtual time, piece by piece; their bytes are taken from memory when they land.
 * 2. A sync covers what had landed when it was issued. One that failed has dropped what it was to make durable.
 * 3. What no store may do is noted in `violations`: a sync after a failed one, a call after the close.
 */
import type { BlockDevice, DevicePiece, DeviceTarget } from "../../store/device.ts";
import { CairnError, type CairnErrorCode } from "../../store/error.ts";
import type { VirtualClock } from "../simulation/clock.ts";
import { type CrashMode, crashImage, type Pending } from "../simulation/crash.ts";
import { type Image, PAGE_SIZE, Page, pageOf, readPages } from "../simulation/pages.ts";
import type { Random } from "../simulation/random.ts";
import type { CallKind, FaultKind } from "./faults.ts";
import type { Gate } from "./gate.ts";

/** Microseconds that a piece takes, and a sync. */
const PIECE_US = 30;
const SYNC_US = 80;
const SECTOR_SIZE = 512;

/** What a device is. */
export interface DeviceKind {
  growable: boolean;
  readsAsync: boolean;
  /** Whether it commits in one trip. */
  commits: boolean;
}

type Write = (pieces: readonly DevicePiece[]) => Promise<void>;
type Read = (pieces: readonly DeviceTarget[]) => Promise<void>;

/** See the head of this file. */
export class FailingDevice implements BlockDevice {
  readonly kind = "memory";
  readonly growable: boolean;
  readonly readAsync?: Read;
  readonly commitAsync?: Write;
  readonly violations: string[] = [];
  /** Writes, syncs and changes of the size that were asked for. */
  changeCount = 0;
  isClosed = false;
  private view: Image;
  private platter: Image;
  private pending: Pending[] = [];
  private flying = new Set<{ block: number; source: Uint8Array }>();
  private serialNext = 0;
  private hasFailedSync = false;
  private oddNext = 0;
  private readonly clock: VirtualClock;
  private readonly gate: Gate;

  constructor(of: DeviceKind, image: Image, clock: VirtualClock, gate: Gate) {
    this.growable = of.growable;
    this.view = { pages: image.pages.slice(), size: image.size };
    this.platter = { pages: image.pages.slice(), size: image.size };
    this.clock = clock;
    this.gate = gate;
    if (of.readsAsync) this.readAsync = (pieces) => this.readLater(pieces);
    if (of.commits) this.commitAsync = (pieces) => this.flyChecked("commitAsync", pieces, true);
  }

  size(): number {
    return this.view.size;
  }

  read(offset: number, target: Uint8Array): number {
    this.checkOpen("read");
    const fault = this.gate.meet("read", offset);
    if (fault === "zero") return 0;
    if (fault === "eio" || fault === "odd") throw this.failure(fault, "DEVICE_READ", "read");
    return readPages(this.view, offset, target, 0, target.length);
  }

  write(offset: number, source: Uint8Array): number {
    this.change("write");
    this.checkSpan(offset, source.length);
    const fault = this.gate.meet("write");
    if (fault === "zero") return 0;
    if (fault !== undefined && fault !== "short") {
      // A part of it was done.
      this.land(offset, source.subarray(0, Math.floor(source.length / PAGE_SIZE / 2) * PAGE_SIZE));
      throw this.failure(fault, "DEVICE_WRITE", "write");
    }
    this.land(offset, source);
    return source.length;
  }

  writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    return this.flyChecked("writeAsync", pieces, false);
  }

  sync(): void {
    this.change("sync");
    this.syncNow(this.serialNext, this.gate.meet("sync"));
  }

  syncAsync(): Promise<void> {
    return this.later(SYNC_US, () => {
      this.change("syncAsync");
      const covers = this.serialNext;
      const fault = this.gate.meet("syncAsync");
      return () => this.syncNow(covers, fault);
    });
  }

  resize(size: number): void {
    this.change("resize");
    if (size % PAGE_SIZE !== 0) this.violations.push(`resize to ${size}, which is no multiple of a block`);
    const fault = this.gate.meet("resize");
    if (fault !== undefined) throw this.failure(fault, "DEVICE_WRITE", "resize");
    this.view.size = size;
    if (this.view.pages.length > size / PAGE_SIZE) this.view.pages.length = size / PAGE_SIZE;
    const serial = this.serialNext++;
    this.pending.push({ serial, write: serial, block: -1, page: undefined, size });
  }

  close(): void {
    this.isClosed = true;
  }

  /** What the device shows: what a killed process leaves. */
  shown(): Image {
    return { pages: this.view.pages.slice(), size: this.view.size };
  }

  /** What a power cut now could leave. */
  crashed(mode: CrashMode, random: Random): Image {
    const { platter, view, pending } = this;
    return crashImage({ platter, view, pending, flying: [...this.flying] }, mode, SECTOR_SIZE, random);
  }

  private readLater(pieces: readonly DeviceTarget[]): Promise<void> {
    return this.later(PIECE_US * pieces.length, () => {
      this.checkOpen("readAsync");
      const fault = this.gate.meet("readAsync", pieces[0]?.offset);
      return () => {
        if (fault === "zero") throw this.failure(fault, "DEVICE_SHRUNK", "readAsync");
        if (fault !== undefined) throw this.failure(fault, "DEVICE_READ", "readAsync");
        for (const { offset, target } of pieces) {
          if (readPages(this.view, offset, target, 0, target.length) < target.length) {
            throw this.failure("zero", "DEVICE_SHRUNK", "readAsync");
          }
        }
      };
    });
  }

  private flyChecked(call: CallKind, pieces: readonly DevicePiece[], syncs: boolean): Promise<void> {
    return this.later(PIECE_US * pieces.length + (syncs ? SYNC_US : 0), () => {
      this.change(call);
      for (const { offset, source } of pieces) this.checkSpan(offset, source.length);
      const fault = this.gate.meet(call);
      const fails = fault !== undefined && fault !== "sync-eio";
      const before = this.serialNext;
      const own: number[] = [];
      for (const [i, { offset, source }] of pieces.entries()) {
        const part = { block: offset / PAGE_SIZE, source };
        this.flying.add(part);
        this.clock.at(this.clock.nowUs + PIECE_US * (i + 1), () => {
          this.flying.delete(part);
          // Every second piece of a failed call is there all the same.
          if (!fails || i % 2 === 1) own.push(...this.land(offset, source));
        });
      }
      return () => {
        if (fails) throw this.failure(fault, "DEVICE_WRITE", call);
        if (syncs) this.syncNow(before, fault, own);
      };
    });
  }

  /** Issues a call now, and does what that gave in virtual time. Throws of either reject. */
  private later(us: number, issue: () => () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = issue();
      this.clock.at(this.clock.nowUs + us, () => {
        try {
          end();
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  private land(offset: number, source: Uint8Array): number[] {
    const serials: number[] = [];
    const write = this.serialNext;
    for (let done = 0; done < source.length; ) {
      const block = Math.floor((offset + done) / PAGE_SIZE);
      const within = (offset + done) % PAGE_SIZE;
      const count = Math.min(source.length - done, PAGE_SIZE - within);
      const bytes = pageOf(this.view.pages, block).slice();
      bytes.set(source.subarray(done, done + count), within);
      const page = new Page(bytes);
      this.view.pages[block] = page;
      const serial = this.serialNext++;
      serials.push(serial);
      this.pending.push({ serial, write, block, page, size: 0 });
      done += count;
    }
    return serials;
  }

  /** A sync of what had landed before `covers`, and of the serials in `own`. */
  private syncNow(covers: number, fault: FaultKind | undefined, own: readonly number[] = []): void {
    const kept: Pending[] = [];
    for (const entry of this.pending) {
      if (entry.serial >= covers && !own.includes(entry.serial)) kept.push(entry);
      else if (fault !== undefined) continue;
      else if (entry.page !== undefined) this.platter.pages[entry.block] = entry.page;
      else {
        this.platter.size = entry.size;
        if (this.platter.pages.length > entry.size / PAGE_SIZE) this.platter.pages.length = entry.size / PAGE_SIZE;
      }
    }
    this.pending = kept;
    if (fault === undefined) return;
    this.hasFailedSync = true;
    throw this.failure(fault, "DEVICE_WRITE", "sync");
  }

  private change(call: CallKind): void {
    this.checkOpen(call);
    this.changeCount++;
    if (this.hasFailedSync && (call === "sync" || call === "syncAsync" || call === "commitAsync")) {
      this.violations.push(`${call} after a sync that failed`);
    }
  }

  private checkOpen(call: CallKind): void {
    if (!this.isClosed) return;
    this.violations.push(`${call} after the close`);
    throw new CairnError("CLOSED", call, "the device is closed");
  }

  private checkSpan(offset: number, size: number): void {
    if (offset + size > this.view.size) this.violations.push(`a write passes the end: ${offset}, ${size}`);
  }

  private failure(fault: FaultKind, code: CairnErrorCode, call: CallKind): unknown {
    if (fault === "odd") return ODD[this.oddNext++ % ODD.length]?.();
    if (fault === "enospc") return new CairnError("NO_SPACE", call, "no room is left on the device");
    const cause = fault === "zero" ? undefined : Object.assign(new Error("EIO: i/o error"), { code: "EIO" });
    return new CairnError(code, call, `the device fails: ${code}`, { cause });
  }
}

/** What a device may throw that knows nothing of `CairnError`. */
const ODD: readonly (() => unknown)[] = [
  () => Object.assign(new Error("EIO: i/o error"), { code: "EIO" }),
  () => undefined,
  () => "the disk is tired",
  () => new RangeError("offset is out of range"),
  () => null,
  () => Object.freeze({ code: 5 }),
];
