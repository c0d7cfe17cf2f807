/**
 * A raw block device as a device: `/dev/loop0`, an attached volume. Linux only. It does not grow.
 *
 * `stat` gives a block device no size: the kernel tells it in `/sys/dev/block/MAJOR:MINOR/size`, in sectors of 512
 * bytes. `O_EXCL` without `O_CREAT` excludes every other exclusive opener, and mounts, for as long as it is open.
 */
import * as fs from "node:fs";
import { CairnError } from "../store/error.ts";
import { DescriptorDevice } from "./descriptor-device.ts";
import { BLOCK_SIZE, closeQuietly, errnoOf, reasonOf } from "./positioned-io.ts";

const SECTOR_SIZE = 512;

/** A device on a raw block device. */
export class RawBlockDevice extends DescriptorDevice {
  readonly kind = "block";
  readonly growable = false;

  /** Takes over `descriptor`, open on the block device of `path`. */
  constructor(path: string, descriptor: number, options: { readOnly: boolean }) {
    super(path, options.readOnly, descriptor, readSize(path, descriptor));
  }

  measure(): void {
    this.checkOpen("measure");
    this.sizeBytes = readSize(this.path, this.descriptor);
  }

  protected override isAllocated(): boolean {
    return true;
  }

  /** Beyond its end a block device answers a write with ENOSPC. */
  protected override outOfSpace(operation: string, cause: unknown): CairnError {
    let size = this.sizeBytes;
    try {
      size = readSize(this.path, this.descriptor);
    } catch {
      // The cause at hand says more than a second failure would.
    }
    if (size < this.sizeBytes) return this.shrunk(operation, size);
    return new CairnError(
      "DEVICE_WRITE",
      operation,
      `${this.path}: the device has no room behind its size of ${size} bytes (${reasonOf(cause)}). Extend the volume beneath it, then open the store again.`,
      { cause },
    );
  }
}

/**
 * Opens the block device of `path`. Unless `readOnly`, it is opened exclusively, where the runtime can (`exclusive`):
 * `LOCKED` when it is mounted or open elsewhere, also in this process. Other failures are thrown as `node:fs` gives them.
 */
export function openBlockDevice(path: string, options: { readOnly: boolean; exclusive: boolean }): RawBlockDevice {
  const { O_RDONLY, O_RDWR, O_EXCL } = fs.constants;
  const flags = options.readOnly ? O_RDONLY : options.exclusive ? O_RDWR | O_EXCL : O_RDWR;
  let descriptor: number;
  try {
    descriptor = fs.openSync(path, flags);
  } catch (cause) {
    if (errnoOf(cause) !== "EBUSY") throw cause;
    throw inUse(path, cause);
  }
  try {
    // What an exclusive opening would have found out.
    if (!options.readOnly && !options.exclusive && isMounted(descriptor)) throw inUse(path);
    return new RawBlockDevice(path, descriptor, options);
  } catch (cause) {
    closeQuietly(descriptor);
    throw cause;
  }
}

function inUse(path: string, cause?: unknown): CairnError {
  return new CairnError(
    "LOCKED",
    "open",
    `${path} is mounted, or held by a process that opened it exclusively. Unmount it or close it there, or open it with readOnly: true.`,
    { cause },
  );
}

function readSize(path: string, descriptor: number): number {
  const file = `/sys/dev/block/${numberOf(descriptor)}/size`;
  try {
    const size = Number(fs.readFileSync(file, "latin1").trim()) * SECTOR_SIZE;
    if (!Number.isSafeInteger(size)) throw new Error(`${file} holds no number`);
    return size - (size % BLOCK_SIZE);
  } catch (cause) {
    throw new CairnError(
      "UNSUPPORTED",
      "open",
      `${path}: the size of this block device cannot be learnt (${reasonOf(cause)}). Raw block devices need Linux with /sys; use a file instead.`,
      { cause },
    );
  }
}

/** Major and minor number, as the kernel writes them in `/sys` and in its list of mounts. */
function numberOf(descriptor: number): string {
  const { rdev } = fs.fstatSync(descriptor, { bigint: true });
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

function isMounted(descriptor: number): boolean {
  const number = ` ${numberOf(descriptor)} `;
  return fs
    .readFileSync("/proc/self/mountinfo", "latin1")
    .split("\n")
    .some((line) => line.includes(number));
}
