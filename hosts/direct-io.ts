/**
 * Writes and reads past the page cache: further descriptors of a device, `O_DIRECT`, opened when first needed.
 *
 * 1. Offset, size and memory have to be aligned. The first two are multiples of a block always. `byteOffset` tells of the
 *    memory only where its buffer starts at a page, as WebAssembly's does; other buffers are refused by the kernel.
 * 2. A write that is refused for how it is made (EINVAL, ENOTSUP) has to be made through the cache instead. What was
 *    refused is not tried again: a buffer after EINVAL, everything after ENOTSUP or a failed opening.
 * 3. Linux keeps the cache and the device in agreement: it writes dirty pages of the span back before a direct write, and
 *    drops the span's pages after it. Concurrent writes of a device do not overlap.
 * 4. A direct write is in the device's own cache and may need the file's metadata: it is durable after a sync only, and
 *    the sync of any descriptor of the file covers it.
 * 5. A direct read sees every write that has completed, also one through the cache.
 */
import * as fs from "node:fs";
import { BLOCK_SIZE, closeQuietly, errnoOf, reasonOf } from "./positioned-io.ts";

/** A descriptor that nobody has asked for so far. */
const UNOPENED = -2;

/** The `O_DIRECT` descriptors of one device. */
export class DirectDescriptors {
  private readonly path: string;
  private readonly descriptor: number;
  private plain = UNOPENED;
  private durable = UNOPENED;
  private reading = UNOPENED;
  /** Set when the file system has none of it. */
  private isRefused = false;
  /** Buffers that the kernel refused to write from. */
  private readonly unfit = new WeakSet<ArrayBufferLike>();

  /** For the file of `path`, on which `descriptor` is open. It stays the caller's. */
  constructor(path: string, descriptor: number) {
    this.path = path;
    this.descriptor = descriptor;
  }

  /**
   * The descriptor through which `source` bypasses the cache, or -1 where it cannot. With `isDurable` a write through it
   * returns when it is durable, as far as `O_DSYNC` goes.
   */
  descriptorFor(source: Uint8Array, isDurable: boolean): number {
    if (this.isRefused || source.byteOffset % BLOCK_SIZE !== 0 || this.unfit.has(source.buffer)) return -1;
    if (isDurable) {
      if (this.durable === UNOPENED) this.durable = this.open(fs.constants.O_DSYNC);
      return this.durable;
    }
    if (this.plain === UNOPENED) this.plain = this.open(0);
    return this.plain;
  }

  /**
   * Opens the descriptor for reads, and tries it: why there is none, or `undefined`. The trial finds out what opening does
   * not tell: that the file system, or the device beneath, takes no direct reads of a block.
   */
  refusalOfReads(): string | undefined {
    if (this.reading >= 0) return undefined;
    const { O_DIRECT, O_RDONLY } = fs.constants;
    if (process.platform !== "linux") return "reads past the system's cache need Linux";
    if (O_DIRECT === undefined) return "this runtime does not know O_DIRECT";
    let descriptor = -1;
    try {
      descriptor = openSame(this.path, this.descriptor, O_RDONLY | O_DIRECT);
      fs.readSync(descriptor, alignedBlock(), 0, BLOCK_SIZE, 0);
    } catch (cause) {
      if (descriptor >= 0) closeQuietly(descriptor);
      return `the file system refuses direct reads (${reasonOf(cause)})`;
    }
    this.reading = descriptor;
    return undefined;
  }

  /** The descriptor through which `target` is read past the cache, or -1 where it cannot. */
  descriptorForReading(target: Uint8Array): number {
    return target.byteOffset % BLOCK_SIZE !== 0 || this.unfit.has(target.buffer) ? -1 : Math.max(this.reading, -1);
  }

  /** Whether `cause` refuses a direct write of `source`, or read, which then has to go through the cache. */
  refuses(source: Uint8Array, cause: unknown): boolean {
    const code = errnoOf(cause);
    if (code === "EINVAL") this.unfit.add(source.buffer);
    else if (code === "ENOTSUP" || code === "EOPNOTSUPP") this.isRefused = true;
    else return false;
    return true;
  }

  /** Closes both for good. Nothing is in flight on them. */
  close(): void {
    this.isRefused = true;
    for (const descriptor of [this.plain, this.durable, this.reading]) if (descriptor >= 0) closeQuietly(descriptor);
  }

  private open(flags: number): number {
    const { O_DIRECT } = fs.constants;
    return O_DIRECT === undefined ? -1 : openAgain(this.path, this.descriptor, O_DIRECT | flags);
  }
}

/**
 * Opens the file of `path` once more, for writing with `flags` added. -1 where that is refused or not known to work, or
 * where the path names another file than `descriptor` by now.
 */
export function openAgain(path: string, descriptor: number, flags: number): number {
  if (process.platform !== "linux") return -1;
  try {
    return openSame(path, descriptor, fs.constants.O_WRONLY | flags);
  } catch {
    // What goes through `descriptor` takes longer, and comes to the same.
    return -1;
  }
}

/** Opens the file of `path`, which must be the one that `descriptor` is open on. */
function openSame(path: string, descriptor: number, flags: number): number {
  const again = fs.openSync(path, flags);
  try {
    const expected = fs.fstatSync(descriptor);
    const stat = fs.fstatSync(again);
    if (stat.dev === expected.dev && stat.ino === expected.ino && stat.rdev === expected.rdev) return again;
    throw new Error("the path names another file by now");
  } catch (cause) {
    closeQuietly(again);
    throw cause;
  }
}

/** A block of memory that starts at a page. */
function alignedBlock(): Uint8Array {
  return new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer, 0, BLOCK_SIZE);
}
