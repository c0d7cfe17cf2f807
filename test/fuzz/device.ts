/**
 * A device over an image whose pages are shared: a write replaces a page. It counts what is done to it, and notes what no store
 * may do, whatever lies on it: read or write without end, write where it must not, or write beyond its end.
 */
import type { BlockDevice, DevicePiece, DeviceTarget } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import { type Image, PAGE_SIZE, Page, type Pages, readPages } from "../simulation/pages.ts";

/** A file of this size is full. */
const SIZE_MAX = 4 * 1_073_741_824;
/** Blocks that one opening, with all that is done in it, may read: so many times those of the device, and so many more. */
const READS_PER_BLOCK = 400;
const READS_MORE = 40_000;
/** Blocks that are written at most. */
const WRITES_MAX = 40_000;

/** See above. */
export class FuzzDevice implements BlockDevice {
  readonly kind = "memory";
  readonly growable: boolean;
  /** What was done that must not be, the first time. */
  violation: string | undefined;
  private readonly pages: Pages;
  private readonly readOnly: boolean;
  private readonly readsMax: number;
  private used: number;
  private blocksRead = 0;
  private blocksWritten = 0;

  constructor(image: Image, { growable = true, readOnly = false } = {}) {
    this.pages = image.pages.slice();
    this.used = image.size;
    this.growable = growable;
    this.readOnly = readOnly;
    this.readsMax = READS_MORE + (READS_PER_BLOCK * image.size) / PAGE_SIZE;
  }

  /** What it holds: later writes do not change it. */
  image(): Image {
    return { pages: this.pages.slice(), size: this.used };
  }

  size(): number {
    return this.used;
  }

  read(offset: number, target: Uint8Array): number {
    return this.readInto(offset, target, 0, target.length);
  }

  readInto(offset: number, memory: Uint8Array, at: number, size: number): number {
    this.blocksRead += Math.ceil(size / PAGE_SIZE);
    if (this.blocksRead > this.readsMax) this.refuse("DEVICE_READ", `it read more than ${this.readsMax} blocks`);
    if (offset < 0 || size < 0) this.refuse("DEVICE_READ", `it read ${size} bytes at ${offset}`);
    return readPages({ pages: this.pages, size: this.used }, offset, memory, at, size);
  }

  async readAsync(pieces: readonly DeviceTarget[]): Promise<void> {
    for (const { offset, target } of pieces) {
      if (this.read(offset, target) === target.length) continue;
      throw new CairnError("DEVICE_SHRUNK", "read", `read: the device ends at ${this.used}`);
    }
  }

  write(offset: number, source: Uint8Array): number {
    if (this.readOnly) this.refuse("DEVICE_WRITE", `it wrote to what it was to read, at ${offset}`);
    if (offset < 0 || offset % PAGE_SIZE !== 0 || source.length % PAGE_SIZE !== 0) {
      this.refuse("DEVICE_WRITE", `it wrote ${source.length} bytes at ${offset}`);
    }
    if (offset + source.length > this.used) this.refuse("DEVICE_WRITE", `it wrote beyond the end, at ${offset}`);
    this.blocksWritten += source.length / PAGE_SIZE;
    if (this.blocksWritten > WRITES_MAX) this.refuse("DEVICE_WRITE", `it wrote more than ${WRITES_MAX} blocks`);
    for (let done = 0; done < source.length; done += PAGE_SIZE) {
      this.pages[(offset + done) / PAGE_SIZE] = new Page(source.slice(done, done + PAGE_SIZE));
    }
    return source.length;
  }

  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    for (const { offset, source } of pieces) this.write(offset, source);
  }

  sync(): void {
    // What is written is there.
  }

  async syncAsync(): Promise<void> {
    // As above.
  }

  resize(size: number): void {
    if (!this.growable) throw new CairnError("UNSUPPORTED", "resize", "resize: the device has a fixed size");
    if (this.readOnly) this.refuse("DEVICE_WRITE", "it resized what it was to read");
    if (size > SIZE_MAX) throw new CairnError("NO_SPACE", "resize", "resize: the disk is full");
    if (size < this.used) this.pages.length = Math.min(this.pages.length, Math.ceil(size / PAGE_SIZE));
    this.used = size;
  }

  close(): void {
    // Its image is looked at afterwards.
  }

  private refuse(code: "DEVICE_READ" | "DEVICE_WRITE", what: string): never {
    this.violation ??= what;
    throw new CairnError(code, "fuzz", `fuzz: ${what}`);
  }
}
