/**
 * Positioned input and output on file descriptors over `node:fs`, and the device that regular files and raw block
 * devices have in common.
 *
 * 1. A transfer loops to its end. The kernel may move fewer bytes than asked for; the count is always checked, because
 *    a detached view makes `fs` move 0 bytes without an error.
 * 2. `unsynced` counts completed writes that no successful sync covers. A write is counted when it completes, never
 *    when it is issued, since a sync does not cover what was still in flight.
 * 3. A device whose sync has failed answers every later sync with that failure: the kernel has dropped the dirty pages,
 *    and a second `fdatasync` would report success.
 * 4. A descriptor is closed only when nothing is in flight on it: its number could otherwise be given to another file.
 */
import * as fs from "node:fs";
import type { BlockDevice, DevicePiece } from "../store/device.ts";
import { CairnError } from "../store/error.ts";

/** Offsets and sizes are multiples of it. */
export const BLOCK_SIZE = 4096;

/** The most bytes of one system call: Linux moves at most 2 GiB less a page, `fs` takes lengths below 2^31. */
const TRANSFER_SIZE_MAX = 2 ** 30;

/** How often a read that fails with EIO is issued again. */
const READ_RETRY_COUNT = 2;

/** How often a system call that a signal interrupted is issued again before it counts as failed. */
const INTERRUPT_RETRY_COUNT = 100;

/** Writes in flight at once. Linux writes one file's pages under one lock, and the thread pool has four threads. */
const WRITE_CONCURRENCY = 2;

/** The `errno` name of an error of `node:fs`, such as `"ENOSPC"`, or the empty string. */
export function errnoOf(cause: unknown): string {
  const code = (cause as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : "";
}

/** The message of anything that was thrown. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Whether `cause` says that the file system or the quota has no room left. */
export function isOutOfSpace(cause: unknown): boolean {
  const code = errnoOf(cause);
  return code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
}

/**
 * Fills `target` from `offset` on. Returns the count of bytes read; it is short only when the file ended.
 * EIO is tried again at most twice. Throws the error of `node:fs`.
 */
export function readFully(descriptor: number, offset: number, target: Uint8Array): number {
  let done = 0;
  let errorCount = 0;
  let interruptCount = 0;
  while (done < target.length) {
    const length = Math.min(target.length - done, TRANSFER_SIZE_MAX);
    let count: number;
    try {
      count = fs.readSync(descriptor, target, done, length, offset + done);
    } catch (cause) {
      const code = errnoOf(cause);
      if (code === "EIO" && errorCount < READ_RETRY_COUNT) errorCount += 1;
      else if (isInterrupt(code) && interruptCount < INTERRUPT_RETRY_COUNT) interruptCount += 1;
      else throw cause;
      continue;
    }
    if (count === 0) break;
    done += count;
  }
  return done;
}

/** Writes all of `source` at `offset`. Throws the error of `node:fs`; a part may have been written then. */
export function writeFully(descriptor: number, offset: number, source: Uint8Array): void {
  let done = 0;
  let interruptCount = 0;
  while (done < source.length) {
    const length = Math.min(source.length - done, TRANSFER_SIZE_MAX);
    let count: number;
    try {
      count = fs.writeSync(descriptor, source, done, length, offset + done);
    } catch (cause) {
      if (!isInterrupt(errnoOf(cause)) || interruptCount >= INTERRUPT_RETRY_COUNT) throw cause;
      interruptCount += 1;
      continue;
    }
    if (count === 0) throw new Error(`the system wrote 0 of ${length} bytes and gave no reason`);
    done += count;
  }
}

/** `writeFully` in the thread pool. `settled` gets the error, or `undefined`; nothing is in flight when it is called. */
export function writeFullyLater(
  descriptor: number,
  offset: number,
  source: Uint8Array,
  settled: (cause: unknown) => void,
): void {
  let done = 0;
  let interruptCount = 0;
  const step = (): void => {
    const length = Math.min(source.length - done, TRANSFER_SIZE_MAX);
    if (length === 0) {
      settled(undefined);
      return;
    }
    try {
      fs.write(descriptor, source, done, length, offset + done, (cause, count) => {
        if (cause && (!isInterrupt(errnoOf(cause)) || interruptCount >= INTERRUPT_RETRY_COUNT)) {
          settled(cause);
        } else if (!cause && count === 0) {
          settled(new Error(`the system wrote 0 of ${length} bytes and gave no reason`));
        } else {
          if (cause) interruptCount += 1;
          else done += count;
          step();
        }
      });
    } catch (cause) {
      settled(cause);
    }
  };
  step();
}

/** Writes the pieces, a few at once. No new piece is started after a failure; those in flight are waited for. */
export function writePieces(descriptor: number, pieces: readonly DevicePiece[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0;
    let inFlightCount = 0;
    let failed = false;
    let failure: unknown;
    const advance = (): void => {
      while (!failed && next < pieces.length && inFlightCount < WRITE_CONCURRENCY) {
        const piece = pieces[next] as DevicePiece;
        next += 1;
        if (piece.source.length === 0) continue;
        inFlightCount += 1;
        writeFullyLater(descriptor, piece.offset, piece.source, (cause) => {
          inFlightCount -= 1;
          if (cause !== undefined && !failed) {
            failed = true;
            failure = cause;
          }
          advance();
        });
      }
      if (inFlightCount > 0) return;
      if (failed) reject(failure);
      else if (next === pieces.length) resolve();
    };
    advance();
  });
}

/** A commit of at most so many bytes counts as small: its cost is the trip and the sync, not the bytes. */
const SMALL_COMMIT_SIZE_MAX = 64 * 1024;

/** A device over an open file descriptor. Its subclasses say what opening, growing and a full device mean. */
export abstract class DescriptorDevice implements BlockDevice {
  abstract readonly kind: "file" | "block";
  abstract readonly growable: boolean;
  /** The path, for messages. */
  readonly path: string;
  readonly readOnly: boolean;
  protected readonly descriptor: number;
  /** A second descriptor, opened `O_DSYNC`, or -1 where there is none. */
  protected readonly durableDescriptor: number;
  protected sizeBytes: number;
  /** Writes, resizes and fills that have completed so far. */
  private completedCount = 0;
  /** The value of `completedCount` that the last successful sync covers. */
  private syncedCount = 0;
  private inFlightCount = 0;
  private closed = false;
  private areDescriptorsClosed = false;
  private closeListeners: (() => void)[] = [];
  private syncFailure: CairnError | undefined;

  protected constructor(path: string, readOnly: boolean, descriptor: number, durableDescriptor: number, size: number) {
    this.path = path;
    this.readOnly = readOnly;
    this.descriptor = descriptor;
    this.durableDescriptor = durableDescriptor;
    this.sizeBytes = size;
  }

  size(): number {
    return this.sizeBytes;
  }

  read(offset: number, target: Uint8Array): number {
    this.checkOpen("read");
    const length = Math.max(0, Math.min(target.length, this.sizeBytes - offset));
    let count: number;
    try {
      count = readFully(this.descriptor, offset, length === target.length ? target : target.subarray(0, length));
    } catch (cause) {
      throw new CairnError(
        "DEVICE_READ",
        "read",
        `${this.path}: reading ${length} bytes at offset ${offset} failed: ${reasonOf(cause)}. Check the device and its log.`,
        { cause },
      );
    }
    if (count < length) throw this.shrunk("read", offset + count);
    return count;
  }

  write(offset: number, source: Uint8Array): number {
    this.checkWrite("write", offset, source.length);
    this.writing(offset, source.length);
    try {
      writeFully(this.descriptor, offset, source);
      if (source.length <= SMALL_COMMIT_SIZE_MAX) this.written(offset, source.length);
    } catch (cause) {
      throw this.writeError("write", cause);
    } finally {
      this.completedCount += 1;
    }
    return source.length;
  }

  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    const size = this.checkPieces("writeAsync", pieces);
    await this.writeChecked("writeAsync", pieces, size);
  }

  sync(): void {
    this.checkSync("sync");
    const covered = this.completedCount;
    try {
      fs.fdatasyncSync(this.descriptor);
    } catch (cause) {
      throw this.failSync("sync", cause);
    }
    this.syncedCount = Math.max(this.syncedCount, covered);
  }

  async syncAsync(): Promise<void> {
    this.checkSync("syncAsync");
    const covered = this.completedCount;
    this.inFlightCount += 1;
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fdatasync(this.descriptor, (cause) => (cause ? reject(cause) : resolve()));
      });
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
  protected written(_offset: number, _size: number): void {}

  /** Whether the span lies where the file system has space allocated already, as far as is known. */
  protected abstract isAllocated(offset: number, size: number): boolean;

  /** The error for a write that failed with ENOSPC or its like. */
  protected abstract outOfSpace(operation: string, cause: unknown): CairnError;

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

  private async writeChecked(operation: string, pieces: readonly DevicePiece[], size: number): Promise<void> {
    this.inFlightCount += 1;
    for (const piece of pieces) this.writing(piece.offset, piece.source.length);
    try {
      await writePieces(this.descriptor, pieces);
      if (size <= SMALL_COMMIT_SIZE_MAX) for (const piece of pieces) this.written(piece.offset, piece.source.length);
    } catch (cause) {
      throw this.writeError(operation, cause);
    } finally {
      this.completedCount += 1;
      this.settle();
    }
  }

  /**
   * Writes a single piece through the `O_DSYNC` descriptor, when that makes durable all that a commit has to: only its
   * own range is synced, so nothing else may be unsynced. Returns whether the commit is done. ENOSPC leaves open whether
   * the write or its sync met it, so the caller writes the same bytes again in two trips, whose answers are unambiguous.
   */
  private async commitInOneTrip(pieces: readonly DevicePiece[]): Promise<boolean> {
    const piece = pieces[0];
    if (piece === undefined || pieces.length > 1 || this.durableDescriptor < 0) return false;
    if (this.completedCount !== this.syncedCount) return false;
    if (!this.isAllocated(piece.offset, piece.source.length)) return false;
    this.inFlightCount += 1;
    this.writing(piece.offset, piece.source.length);
    try {
      const cause = await new Promise<unknown>((resolve) => {
        writeFullyLater(this.durableDescriptor, piece.offset, piece.source, resolve);
      });
      if (cause === undefined) return true;
      this.completedCount += 1;
      if (isOutOfSpace(cause)) return false;
      throw this.failSync("commitAsync", cause);
    } finally {
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
      fs.closeSync(this.descriptor);
      if (this.durableDescriptor >= 0) fs.closeSync(this.durableDescriptor);
    }
    for (const done of this.closeListeners.splice(0)) done();
  }
}

function isInterrupt(code: string): boolean {
  return code === "EINTR" || code === "EAGAIN";
}
