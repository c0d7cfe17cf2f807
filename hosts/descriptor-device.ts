/**
 * The device over a file descriptor: what regular files and raw block devices have in common.
 *
 * 1. `completedCount` counts writes when they complete, never when they are issued, since a sync does not cover what was
 *    still in flight. `syncedCount` is what of it a successful sync covers.
 * 2. A device whose sync has failed answers every later sync with that failure: the kernel has dropped the dirty pages,
 *    and a second `fdatasync` would report success. One that has failed and of which nobody was told yet fails those that are
 *    asked for meanwhile: each goes through a descriptor of its own (`sync-descriptors.ts`).
 * 3. A descriptor is closed only when nothing is in flight on it: its number could otherwise be given to another file.
 * 4. An uncached write goes past the page cache where that works, else through it: `direct-io.ts` says when. Its sync is
 *    that of every other write.
 * 5. Writes of both kinds are never in flight together: what begins meanwhile goes the way of what is in flight. Linux keeps
 *    neighbours in one folio; one that a write through the cache has made dirty cannot be dropped when a direct write beside it
 *    has landed, and the next sync of the file fails with EIO for that.
 */
import * as fs from "node:fs";
import type { BlockDevice, DevicePiece, DeviceTarget } from "../store/device.ts";
import { CairnError } from "../store/error.ts";
import { DirectDescriptors, openAgain } from "./direct-io.ts";
import {
  BLOCK_SIZE,
  closeQuietly,
  endOfRun,
  errnoOf,
  isOutOfSpace,
  readFully,
  readFullyLater,
  reasonOf,
  writeFully,
  writeFullyLater,
  writePieces,
} from "./positioned-io.ts";
import { SyncDescriptors } from "./sync-descriptors.ts";

/** A commit of at most so many bytes counts as small: its cost is the trip and the sync, not the bytes. */
const SMALL_COMMIT_SIZE_MAX = 64 * 1024;

/** A device over an open file descriptor. Its subclasses say what opening, growing and a full device mean. */
export abstract class DescriptorDevice implements BlockDevice {
  abstract readonly kind: "file" | "block";
  abstract readonly growable: boolean;
  readonly hasHostCache = true;
  /** The path, for messages. */
  readonly path: string;
  readonly readOnly: boolean;
  protected readonly descriptor: number;
  protected sizeBytes: number;
  /** A second descriptor, opened `O_DSYNC`, or -1 where there is none. */
  private readonly durableDescriptor: number;
  private readonly direct: DirectDescriptors;
  private readonly syncing: SyncDescriptors;
  /** Whether a commit in one trip is under way: two would share the telling of a failure. */
  private commitsInOneTrip = false;
  /** Writes, resizes and fills that have completed so far. */
  private completedCount = 0;
  /** The value of `completedCount` that the last successful sync covers. */
  private syncedCount = 0;
  private inFlightCount = 0;
  /** Writes in flight, through the page cache and past it. */
  private readonly flying = { cached: 0, direct: 0 };
  private closed = false;
  private areDescriptorsClosed = false;
  private closeListeners: (() => void)[] = [];
  private syncFailure: CairnError | undefined;
  /** Whether one direct read may have several targets. */
  private readsVectors = true;

  /** Takes over `descriptor`, open on `path`, and opens a second one for one-trip commits where that works. */
  protected constructor(path: string, readOnly: boolean, descriptor: number, size: number) {
    this.path = path;
    this.readOnly = readOnly;
    this.descriptor = descriptor;
    this.durableDescriptor = readOnly ? -1 : openAgain(path, descriptor, fs.constants.O_DSYNC);
    this.direct = new DirectDescriptors(path, descriptor);
    this.syncing = new SyncDescriptors(path, descriptor, readOnly);
    this.sizeBytes = size;
  }

  size(): number {
    return this.sizeBytes;
  }

  read(offset: number, target: Uint8Array): number {
    return this.readNow(offset, target, this.descriptor);
  }

  readUncached(offset: number, target: Uint8Array): number {
    const descriptor = this.direct.descriptorForReading(target);
    return this.readNow(offset, target, descriptor < 0 ? this.descriptor : descriptor);
  }

  prepareUncachedReads(): void {
    this.checkOpen("open");
    const reason = this.direct.refusalOfReads();
    if (reason === undefined) return;
    const message = `open: directReads: ${this.path}: ${reason}. Leave the option out.`;
    throw new CairnError("UNSUPPORTED", "open", message);
  }

  readAsync(pieces: readonly DeviceTarget[], uncached = false): Promise<void> {
    const count = uncached && !this.readsVectors ? Math.min(1, pieces.length) : endOfRun(pieces, 0);
    const run = count === pieces.length ? pieces : pieces.slice(0, count);
    const direct = uncached && count > 0 ? this.direct.descriptorForReading((run[0] as DeviceTarget).target) : -1;
    const reading = this.readLater(run, direct);
    // Each run is waited for, also when one before it has failed.
    return count === pieces.length
      ? reading
      : reading.finally(() => this.readAsync(pieces.slice(count), uncached)).then(() => undefined);
  }

  readInto(offset: number, memory: Uint8Array, at: number, size: number): number {
    if (offset + size > this.sizeBytes) return this.read(offset, memory.subarray(at, at + size));
    this.checkOpen("read");
    let count: number;
    try {
      count = readFully(this.descriptor, offset, memory, at, size);
    } catch (cause) {
      throw this.readError(offset, size, cause);
    }
    if (count < size) throw this.shrunk("read", offset + count);
    return count;
  }

  write(offset: number, source: Uint8Array): number {
    this.writeNow("write", offset, source, false);
    return source.length;
  }

  writeUncached(offset: number, source: Uint8Array): number {
    this.writeNow("writeUncached", offset, source, true);
    return source.length;
  }

  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    const size = this.checkPieces("writeAsync", pieces);
    await this.writeChecked("writeAsync", pieces, size);
  }

  sync(): void {
    this.checkSync("sync");
    const covered = this.completedCount;
    const descriptor = this.syncing.take();
    try {
      fs.fdatasyncSync(descriptor);
    } catch (cause) {
      throw this.failSync("sync", cause);
    }
    this.syncing.give(descriptor);
    this.syncedCount = Math.max(this.syncedCount, covered);
  }

  async syncAsync(): Promise<void> {
    this.checkSync("syncAsync");
    const covered = this.completedCount;
    const descriptor = this.syncing.take();
    this.inFlightCount += 1;
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fdatasync(descriptor, (cause) => (cause ? reject(cause) : resolve()));
      });
      this.syncing.give(descriptor);
      this.syncedCount = Math.max(this.syncedCount, covered);
    } catch (cause) {
      throw this.failSync("syncAsync", cause);
    } finally {
      this.settle();
    }
  }

  async commitAsync(pieces: readonly DevicePiece[]): Promise<void> {
    const size = this.checkPieces("commitAsync", pieces);
    this.checkSync("commitAsync");
    if (size === 0 && this.completedCount === this.syncedCount) return;
    if (await this.commitInOneTrip(pieces)) return;
    await this.writeChecked("commitAsync", pieces, size);
    await this.syncAsync();
  }

  close(): void {
    this.closeThen(() => {});
  }

  /** `close`, then `done`: at once when nothing is in flight, else when the last call has ended. */
  closeThen(done: () => void): void {
    this.closed = true;
    this.closeListeners.push(done);
    if (this.inFlightCount === 0) this.closeDescriptors();
  }

  /** Called before a span is written, also when it is about to be written in the thread pool. */
  protected writing(_offset: number, _size: number): void {}

  /** Called when a span of a small commit has been written, before the sync that is to cover it. */
  protected written(_offset: number, _size: number, _uncached: boolean): void {}

  /** Whether the span lies where the file system has space allocated already, as far as is known. */
  protected abstract isAllocated(offset: number, size: number): boolean;

  /** Looks anew how large the device is: a writer beside this reader may have changed that. */
  abstract measure(): void;

  /** The error for a write that failed with ENOSPC or its like. */
  protected abstract outOfSpace(operation: string, cause: unknown): CairnError;

  /** Writes all of `source`, past the page cache if `uncached` and possible. Throws the error of `node:fs`. */
  protected put(offset: number, source: Uint8Array, uncached: boolean): void {
    const descriptor = this.goesDirect(uncached) ? this.direct.descriptorFor(source, false) : -1;
    if (descriptor >= 0) {
      try {
        writeFully(descriptor, offset, source, BLOCK_SIZE);
        return;
      } catch (cause) {
        if (!this.direct.refuses(source, cause)) throw cause;
      }
    }
    writeFully(this.descriptor, offset, source);
  }

  protected checkOpen(operation: string): void {
    if (this.closed)
      throw new CairnError("CLOSED", operation, `${this.path}: the device is closed. Open the store again.`);
  }

  protected checkWritable(operation: string): void {
    this.checkOpen(operation);
    if (this.readOnly) {
      throw new CairnError(
        "READ_ONLY",
        operation,
        `${this.path} was opened readOnly. Open it without readOnly to write.`,
      );
    }
  }

  /** Counts a change that the next sync must cover. */
  protected changed(): void {
    this.completedCount += 1;
  }

  protected shrunk(operation: string, offset: number): CairnError {
    return new CairnError(
      "DEVICE_SHRUNK",
      operation,
      `${this.path} ends at offset ${offset}, inside its known size of ${this.sizeBytes} bytes: ` +
        "it was truncated or replaced by a smaller one. Bring the whole device back, or restore a backup.",
    );
  }

  protected writeError(operation: string, cause: unknown): CairnError {
    if (cause instanceof CairnError) return cause;
    if (isOutOfSpace(cause)) return this.outOfSpace(operation, cause);
    return new CairnError(
      "DEVICE_WRITE",
      operation,
      `${this.path}: writing failed: ${reasonOf(cause)}. Check the device and its log, then open the store again.`,
      { cause },
    );
  }

  private readNow(offset: number, target: Uint8Array, descriptor: number): number {
    this.checkOpen("read");
    if (this.readOnly && offset + target.length > this.sizeBytes) this.measure();
    const length = Math.max(0, Math.min(target.length, this.sizeBytes - offset));
    const part = length === target.length ? target : target.subarray(0, length);
    let count: number;
    try {
      count = readFully(descriptor, offset, part);
    } catch (cause) {
      if (descriptor !== this.descriptor && this.direct.refuses(target, cause)) {
        return this.readNow(offset, target, this.descriptor);
      }
      throw this.readError(offset, length, cause);
    }
    if (count < length) throw this.shrunk("read", offset + count);
    return count;
  }

  /** Reads neighbours in the thread pool, through `direct` unless that is -1. */
  private readLater(run: readonly DeviceTarget[], direct: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.checkOpen("readAsync");
      let size = 0;
      for (const { target } of run) size += target.length;
      const offset = run[0]?.offset ?? 0;
      if (this.readOnly && offset + size > this.sizeBytes) this.measure();
      if (offset + size > this.sizeBytes) throw this.shrunk("readAsync", this.sizeBytes);
      this.inFlightCount += 1;
      const settled = (cause: unknown, count: number): void => {
        if (cause && direct >= 0 && run.length > 1 && errnoOf(cause) === "EINVAL") {
          // Deno reads several targets through memory of its own, which is not aligned.
          this.readsVectors = false;
          this.readAsync(run, true).then(resolve, reject);
        } else if (cause && direct >= 0 && this.direct.refuses((run[0] as DeviceTarget).target, cause)) {
          this.readLater(run, -1).then(resolve, reject);
        } else if (cause) reject(this.readError(offset, size, cause));
        else if (count < size) reject(this.shrunk("readAsync", offset + count));
        else resolve();
        this.settle();
      };
      if (size === 0) settled(undefined, 0);
      else readFullyLater(direct < 0 ? this.descriptor : direct, run, direct < 0 ? 1 : BLOCK_SIZE, settled);
    });
  }

  private readError(offset: number, size: number, cause: unknown): CairnError {
    return new CairnError(
      "DEVICE_READ",
      "read",
      `${this.path}: reading ${size} bytes at offset ${offset} failed: ${reasonOf(cause)}. Check the device and its log.`,
      { cause },
    );
  }

  private checkWrite(operation: string, offset: number, size: number): void {
    this.checkWritable(operation);
    if (offset % BLOCK_SIZE !== 0 || size % BLOCK_SIZE !== 0 || offset < 0) {
      throw new CairnError(
        "INVALID_ARGUMENT",
        operation,
        `offset ${offset} and size ${size} must be multiples of ${BLOCK_SIZE}.`,
      );
    }
    if (offset + size > this.sizeBytes) {
      throw new CairnError(
        "OUT_OF_RANGE",
        operation,
        `${this.path}: writing ${size} bytes at offset ${offset} would pass the device's end at ${this.sizeBytes}. Resize it first.`,
      );
    }
  }

  private checkPieces(operation: string, pieces: readonly DevicePiece[]): number {
    this.checkWritable(operation);
    let size = 0;
    for (const piece of pieces) {
      this.checkWrite(operation, piece.offset, piece.source.length);
      size += piece.source.length;
    }
    return size;
  }

  private checkSync(operation: string): void {
    this.checkOpen(operation);
    if (this.syncFailure !== undefined) throw this.syncFailure;
  }

  private failSync(operation: string, cause: unknown): CairnError {
    this.syncFailure = new CairnError(
      "DEVICE_WRITE",
      operation,
      `${this.path}: a sync failed: ${reasonOf(cause)}. What was not synced before may be lost, and trying again would prove nothing: open the store again.`,
      { cause },
    );
    return this.syncFailure;
  }

  private writeNow(operation: string, offset: number, source: Uint8Array, uncached: boolean): void {
    this.checkWrite(operation, offset, source.length);
    this.writing(offset, source.length);
    try {
      this.put(offset, source, uncached);
      if (source.length <= SMALL_COMMIT_SIZE_MAX) this.written(offset, source.length, uncached);
    } catch (cause) {
      throw this.writeError(operation, cause);
    } finally {
      this.completedCount += 1;
    }
  }

  /** `put` in the thread pool. */
  private putLater({ offset, source, uncached }: DevicePiece, settled: (cause: unknown) => void): void {
    const direct = this.goesDirect(uncached === true) ? this.direct.descriptorFor(source, false) : -1;
    const cached = (): void => {
      this.flying.cached += 1;
      writeFullyLater(this.descriptor, offset, source, 1, (cause) => {
        this.flying.cached -= 1;
        settled(cause);
      });
    };
    if (direct < 0) {
      cached();
      return;
    }
    this.flying.direct += 1;
    writeFullyLater(direct, offset, source, BLOCK_SIZE, (cause) => {
      this.flying.direct -= 1;
      if (cause === undefined || !this.direct.refuses(source, cause)) settled(cause);
      else cached();
    });
  }

  /** Whether a write goes past the page cache: where others are in flight, as they do. */
  private goesDirect(uncached: boolean): boolean {
    const { cached, direct } = this.flying;
    return cached > 0 ? false : direct > 0 ? true : uncached;
  }

  private async writeChecked(operation: string, pieces: readonly DevicePiece[], size: number): Promise<void> {
    this.inFlightCount += 1;
    for (const piece of pieces) this.writing(piece.offset, piece.source.length);
    try {
      const put = (piece: DevicePiece, settled: (cause: unknown) => void): void => this.putLater(piece, settled);
      const cached = pieces.filter(({ uncached }) => uncached !== true);
      // One after the other, so that each goes its own way.
      if (cached.length > 0) await writePieces(cached, put);
      if (cached.length < pieces.length)
        await writePieces(
          pieces.filter(({ uncached }) => uncached === true),
          put,
        );
      if (size <= SMALL_COMMIT_SIZE_MAX) {
        for (const { offset, source, uncached } of pieces) this.written(offset, source.length, uncached === true);
      }
    } catch (cause) {
      throw this.writeError(operation, cause);
    } finally {
      this.completedCount += 1;
      this.settle();
    }
  }

  /**
   * Writes a single piece through an `O_DSYNC` descriptor, when that makes durable all that a commit has to: only its own
   * range is synced, so nothing else may be unsynced. Returns whether the commit is done. ENOSPC leaves open whether the
   * write or its sync met it, so the caller writes the same bytes again in two trips, whose answers are unambiguous.
   */
  private async commitInOneTrip(pieces: readonly DevicePiece[]): Promise<boolean> {
    const piece = pieces[0];
    if (piece === undefined || pieces.length > 1 || this.completedCount !== this.syncedCount) return false;
    if (this.commitsInOneTrip) return false;
    const { offset, source, uncached } = piece;
    if (!this.isAllocated(offset, source.length)) return false;
    const direct = this.goesDirect(uncached === true) ? this.direct.descriptorFor(source, true) : -1;
    const descriptor = direct >= 0 ? direct : this.durableDescriptor;
    if (descriptor < 0) return false;
    const way = direct >= 0 ? "direct" : "cached";
    this.inFlightCount += 1;
    this.flying[way] += 1;
    this.commitsInOneTrip = true;
    this.writing(offset, source.length);
    try {
      const cause = await new Promise<unknown>((resolve) => {
        writeFullyLater(descriptor, offset, source, direct >= 0 ? BLOCK_SIZE : 1, resolve);
      });
      this.flying[way] -= 1;
      if (cause === undefined) return true;
      this.completedCount += 1;
      if (isOutOfSpace(cause) || (direct >= 0 && this.direct.refuses(source, cause))) return false;
      throw this.failSync("commitAsync", cause);
    } finally {
      this.commitsInOneTrip = false;
      this.settle();
    }
  }

  private settle(): void {
    this.inFlightCount -= 1;
    if (this.closed && this.inFlightCount === 0) this.closeDescriptors();
  }

  private closeDescriptors(): void {
    if (!this.areDescriptorsClosed) {
      this.areDescriptorsClosed = true;
      closeQuietly(this.descriptor);
      if (this.durableDescriptor >= 0) closeQuietly(this.durableDescriptor);
      this.direct.close();
      this.syncing.close();
    }
    for (const done of this.closeListeners.splice(0)) done();
  }
}
