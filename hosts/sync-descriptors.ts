/**
 * The descriptors that the syncs of a device go through, no two at a time through the same one.
 *
 * Linux tells of a failed write-back once for each descriptor. Of two syncs that share one, the first gets EIO, perhaps in the
 * thread pool, where nobody hears of it before the event loop turns; the second says that all is well of pages that the kernel has
 * given up. Through descriptors of their own both fail.
 *
 * 1. A descriptor is given back when the caller of its sync has been told. One whose sync failed never is.
 * 2. All are opened with the device: one that is opened later is not told of what failed before.
 * 3. Where the file cannot be opened again, all syncs share the device's own descriptor.
 */
import { openAgain } from "./direct-io.ts";
import { closeQuietly } from "./positioned-io.ts";

/** Beside the device's own: a commit group, a superblock, and what is synced at once may coincide. */
const FURTHER_COUNT = 2;

/** The descriptors for syncs of one device. */
export class SyncDescriptors {
  private readonly descriptor: number;
  private readonly further: readonly number[];
  private readonly free: number[];

  /** For the file of `path`, on which `descriptor` is open, which stays the caller's. */
  constructor(path: string, descriptor: number, readOnly: boolean) {
    const count = readOnly ? 0 : FURTHER_COUNT;
    this.descriptor = descriptor;
    this.further = Array.from({ length: count }, () => openAgain(path, descriptor, 0)).filter((again) => again >= 0);
    this.free = [descriptor, ...this.further];
  }

  /** One that no sync goes through. */
  take(): number {
    return this.free.pop() ?? this.descriptor;
  }

  /** Takes one back whose sync has succeeded. */
  give(descriptor: number): void {
    if (!this.free.includes(descriptor)) this.free.push(descriptor);
  }

  /** Closes them for good. Nothing is in flight on them. */
  close(): void {
    for (const descriptor of this.further) closeQuietly(descriptor);
  }
}
