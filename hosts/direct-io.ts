/**
 * Writes past the page cache: a second and a third descriptor of a device, `O_DIRECT`, opened when first needed.
 *
 * 1. Offset, size and memory have to be aligned. The first two are multiples of a block always. `byteOffset` tells of the
 *    memory only where its buffer starts at a page, as WebAssembly's does; other buffers are refused by the kernel.
 * 2. A write that is refused for how it is made (EINVAL, ENOTSUP) has to be made through the cache instead. What was
 *    refused is not tried again: a buffer after EINVAL, everything after ENOTSUP or a failed opening.
 * 3. Linux keeps the cache and the device in agreement: it writes dirty pages of the span back before a direct write, and
 *    drops the span's pages after it. Concurrent writes of a device do not overlap.
 * 4. A direct write is in the device's own cache and may need the file's metadata: it is durable after a sync only, and
 *    the sync of any descriptor of the file covers it.
 */
import * as fs from "node:fs";
import { BLOCK_SIZE, errnoOf } from "./positioned-io.ts";

/** A descriptor that nobody has asked for so far. */
const UNOPENED = -2;

/** The `O_DIRECT` descriptors of one device. */
export class DirectDescriptors {
  private readonly path: string;
  private readonly descriptor: number;
  private plain = UNOPENED;
  private durable = UNOPENED;
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

  /** Whether `cause` refuses a direct write of `source`, which then is to be written through the cache. */
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
    for (const descriptor of [this.plain, this.durable]) if (descriptor >= 0) fs.closeSync(descriptor);
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
  let again = -1;
  try {
    again = fs.openSync(path, fs.constants.O_WRONLY | flags);
    const expected = fs.fstatSync(descriptor);
    const stat = fs.fstatSync(again);
    if (stat.dev === expected.dev && stat.ino === expected.ino && stat.rdev === expected.rdev) return again;
  } catch {
    // What goes through `descriptor` takes longer, and comes to the same.
  }
  if (again >= 0) fs.closeSync(again);
  return -1;
}
