/**
 * A file of the origin private file system as a device, over `FileSystemSyncAccessHandle`. It grows. Such handles exist
 * in dedicated workers alone.
 *
 * 1. Bytes go through a bounce buffer when they are few: Chromium takes longer to reach into a view on a large memory
 *    than to fill 4 KiB and copy them.
 * 2. All calls of a handle are synchronous. What is asked for as a promise is done in slices of SLICE_MS, between which
 *    other work of the worker gets its turn.
 * 3. A device whose sync has failed answers every later sync with that failure.
 */
import type { BlockDevice, DevicePiece } from "../store/device.ts";
import { CairnError } from "../store/error.ts";
import { BLOCK_SIZE } from "../store/layout.ts";

const BOUNCE_SIZE = 64 * 1024;
/** Synchronous writing after which other work of the worker gets its turn. */
const SLICE_MS = 8;
/** Bytes written in one call, so that a slice does not last. */
const WRITE_SIZE_MAX = 4 * 1024 * 1024;

/** What the standard library's types leave out. */
export interface SyncHandle {
  read(target: Uint8Array, options: { at: number }): number;
  write(source: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

/** A device on a file of the origin private file system. */
export class OpfsDevice implements BlockDevice {
  readonly kind = "opfs";
  readonly growable: boolean;
  /** Whether the browser has promised to keep the origin's files when space runs out. */
  readonly persisted: boolean;
  private readonly name: string;
  private readonly handle: SyncHandle;
  private readonly readOnly: boolean;
  private readonly bounce = new Uint8Array(BOUNCE_SIZE);
  private readonly bounceBlock = this.bounce.subarray(0, BLOCK_SIZE);
  /** Changed for each call: a new object a read would be garbage. */
  private readonly place = { at: 0 };
  private fileSize: number;
  private sizeBytes: number;
  private inFlightCount = 0;
  private closed = false;
  private isHandleClosed = false;
  private closeListeners: (() => void)[] = [];
  private syncFailure: CairnError | undefined;

  /** Takes over `handle`, open on the file of `name`. */
  constructor(name: string, handle: SyncHandle, options: { readOnly: boolean; persisted: boolean }) {
    this.name = name;
    this.handle = handle;
    this.readOnly = options.readOnly;
    this.persisted = options.persisted;
    this.growable = !options.readOnly;
    this.fileSize = handle.getSize();
    this.sizeBytes = this.fileSize - (this.fileSize % BLOCK_SIZE);
  }

  size(): number {
    return this.sizeBytes;
  }

  read(offset: number, target: Uint8Array): number {
    return this.readInto(offset, target, 0, target.length);
  }

  readInto(offset: number, memory: Uint8Array, at: number, asked: number): number {
    this.checkOpen("read");
    // The writer beside this reader may have made the file longer.
    if (this.readOnly && offset + asked > this.sizeBytes) this.measure();
    const length = Math.max(0, Math.min(asked, this.sizeBytes - offset));
    let done = 0;
    try {
      while (done < length) {
        const size = Math.min(length - done, BOUNCE_SIZE);
        const bounce = size === BLOCK_SIZE ? this.bounceBlock : this.bounce.subarray(0, size);
        this.place.at = offset + done;
        const count = this.handle.read(bounce, this.place);
        if (count === 0) break;
        memory.set(count === size ? bounce : bounce.subarray(0, count), at + done);
        done += count;
      }
    } catch (cause) {
      const message = `${this.name}: reading ${length} bytes at offset ${offset} failed: ${reasonOf(cause)}.`;
      throw new CairnError("DEVICE_READ", "read", message, { cause });
    }
    if (done === length) return length;
    const message =
      `${this.name} ends at offset ${offset + done}, inside its known size of ${this.sizeBytes} bytes: it was truncated. ` +
      "Bring the whole file back, or restore a backup.";
    throw new CairnError("DEVICE_SHRUNK", "read", message);
  }

  write(offset: number, source: Uint8Array): number {
    this.checkWrite("write", offset, source.length);
    for (let done = 0; done < source.length; ) done += this.writePart("write", offset + done, source, done);
    return source.length;
  }

  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    for (const { offset, source } of pieces) this.checkWrite("writeAsync", offset, source.length);
    this.inFlightCount += 1;
    try {
      let sliceEnd = performance.now() + SLICE_MS;
      for (const { offset, source } of pieces) {
        for (let done = 0; done < source.length; ) {
          if (performance.now() > sliceEnd) {
            await turn();
            sliceEnd = performance.now() + SLICE_MS;
          }
          done += this.writePart("writeAsync", offset + done, source, done);
        }
      }
    } finally {
      this.settle();
    }
  }

  sync(): void {
    this.checkOpen("sync");
    this.flush("sync");
  }

  async syncAsync(): Promise<void> {
    this.checkOpen("syncAsync");
    this.flush("syncAsync");
  }

  async commitAsync(pieces: readonly DevicePiece[]): Promise<void> {
    this.checkOpen("commitAsync");
    this.inFlightCount += 1;
    try {
      // The caller's turn ends first: what it does after asking for a commit need not wait for the disk.
      await turn();
      await this.writeAsync(pieces);
      this.flush("commitAsync");
    } finally {
      this.settle();
    }
  }

  resize(size: number): void {
    this.checkWritable("resize");
    if (!Number.isSafeInteger(size) || size < 0 || size % BLOCK_SIZE !== 0) {
      throw new CairnError("INVALID_ARGUMENT", "resize", `size ${size} must be a multiple of ${BLOCK_SIZE}.`);
    }
    try {
      // A tail of less than a block belongs to nobody, but new space reads as zeros.
      if (this.fileSize > this.sizeBytes) this.handle.truncate(this.sizeBytes);
      this.fileSize = this.sizeBytes;
      this.handle.truncate(size);
    } catch (cause) {
      throw this.writeError("resize", cause);
    }
    this.sizeBytes = size;
    this.fileSize = size;
  }

  /** Looks anew how large the file is, which its writer may have changed. */
  measure(): void {
    this.checkOpen("measure");
    try {
      this.fileSize = this.handle.getSize();
    } catch (cause) {
      throw new CairnError("DEVICE_READ", "measure", `${this.name} cannot be measured: ${reasonOf(cause)}.`, { cause });
    }
    this.sizeBytes = this.fileSize - (this.fileSize % BLOCK_SIZE);
  }

  close(): void {
    this.closeThen(() => undefined);
  }

  /** `close`, then `done`: at once when nothing is in flight, else when the last call has ended. */
  closeThen(done: () => void): void {
    this.closed = true;
    this.closeListeners.push(done);
    if (this.inFlightCount === 0) this.closeHandle();
  }

  /** The bytes of the file behind its last whole block. */
  tail(): Uint8Array {
    const tail = new Uint8Array(this.fileSize - this.sizeBytes);
    if (tail.length === 0) return tail;
    return tail.subarray(0, this.handle.read(tail, { at: this.sizeBytes }));
  }

  /** Writes the bytes of `source` from `from` on, or a part of them: how many. */
  private writePart(operation: string, offset: number, source: Uint8Array, from: number): number {
    const size = Math.min(source.length - from, WRITE_SIZE_MAX);
    let part = source.subarray(from, from + size);
    if (size <= BOUNCE_SIZE) {
      this.bounce.set(part);
      part = this.bounce.subarray(0, size);
    }
    let count: number;
    this.place.at = offset;
    try {
      count = this.handle.write(part, this.place);
    } catch (cause) {
      throw this.writeError(operation, cause);
    }
    if (count === 0) throw this.writeError(operation, new Error(`the browser wrote 0 of ${size} bytes`));
    return count;
  }

  private flush(operation: string): void {
    if (this.syncFailure !== undefined) throw this.syncFailure;
    if (this.readOnly) return;
    try {
      this.handle.flush();
    } catch (cause) {
      this.syncFailure = new CairnError(
        "DEVICE_WRITE",
        operation,
        `${this.name}: a sync failed: ${reasonOf(cause)}. What was not synced before may be lost, and trying again would prove nothing: open the store again.`,
        { cause },
      );
      throw this.syncFailure;
    }
  }

  private checkOpen(operation: string): void {
    if (this.closed) {
      throw new CairnError("CLOSED", operation, `${this.name}: the device is closed. Open the store again.`);
    }
  }

  private checkWritable(operation: string): void {
    this.checkOpen(operation);
    if (!this.readOnly) return;
    const message = `${this.name} was opened readOnly. Open it without readOnly to write.`;
    throw new CairnError("READ_ONLY", operation, message);
  }

  private checkWrite(operation: string, offset: number, size: number): void {
    // A write that was under way when the device was closed goes on to its end.
    if (this.inFlightCount === 0) this.checkOpen(operation);
    if (this.readOnly) this.checkWritable(operation);
    if (offset % BLOCK_SIZE !== 0 || size % BLOCK_SIZE !== 0 || offset < 0) {
      const message = `offset ${offset} and size ${size} must be multiples of ${BLOCK_SIZE}.`;
      throw new CairnError("INVALID_ARGUMENT", operation, message);
    }
    if (offset + size <= this.sizeBytes) return;
    const message = `${this.name}: writing ${size} bytes at offset ${offset} would pass the device's end at ${this.sizeBytes}. Resize it first.`;
    throw new CairnError("OUT_OF_RANGE", operation, message);
  }

  private writeError(operation: string, cause: unknown): CairnError {
    if (cause instanceof CairnError) return cause;
    if (isQuotaExceeded(cause)) {
      const message = `${this.name}: the browser's quota for this origin is used up (${reasonOf(cause)}). Free some space; the store goes on from there.`;
      return new CairnError("NO_SPACE", operation, message, { cause });
    }
    const message = `${this.name}: writing failed: ${reasonOf(cause)}. Open the store again.`;
    return new CairnError("DEVICE_WRITE", operation, message, { cause });
  }

  private settle(): void {
    this.inFlightCount -= 1;
    if (this.closed && this.inFlightCount === 0) this.closeHandle();
  }

  private closeHandle(): void {
    if (!this.isHandleClosed) {
      this.isHandleClosed = true;
      this.handle.close();
    }
    for (const done of this.closeListeners.splice(0)) done();
  }
}

/** The name of a `DOMException` or an error, such as `"NotFoundError"`. */
export function nameOf(cause: unknown): string {
  const name = (cause as { name?: unknown } | null | undefined)?.name;
  return typeof name === "string" ? name : "";
}

/** The message of anything that was thrown. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Error && cause.message !== "" ? cause.message : nameOf(cause) || String(cause);
}

/** Whether `cause` says that the origin may store no more. */
export function isQuotaExceeded(cause: unknown): boolean {
  return nameOf(cause) === "QuotaExceededError";
}

let turns: MessageChannel | undefined;
let waiting: (() => void)[] = [];

/** A turn of the event loop. Timers would take 4 ms. */
function turn(): Promise<void> {
  if (turns === undefined) {
    turns = new MessageChannel();
    turns.port1.onmessage = () => {
      const due = waiting;
      waiting = [];
      for (const resume of due) resume();
    };
  }
  const { port2 } = turns;
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) port2.postMessage(undefined);
  });
}
