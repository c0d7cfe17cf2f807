/** A device in memory that outlives its store, counts and records what is done to it, and fails on demand. */
import type { BlockDevice, DevicePiece } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";

/** What was done to a device, in order. */
export type DeviceEvent =
  | { type: "write"; offset: number; size: number }
  | { type: "sync" }
  | { type: "resize"; size: number };

/** See above. `size` in bytes; a device that does not grow keeps it. */
export class ImageDevice implements BlockDevice {
  readonly growable: boolean;
  bytes: Uint8Array;
  events: DeviceEvent[] = [];
  /** Called before an operation; what it throws is the operation's failure. */
  before: ((operation: "read" | "write" | "sync" | "resize", offset: number) => void) | undefined;
  /** Milliseconds that an asynchronous sync takes. */
  syncMs = 0;
  private gate: Promise<void> | undefined;
  /** Bytes that writes may still reach; beyond, the device is full, though its size says otherwise. */
  capacity = Number.POSITIVE_INFINITY;
  private used: number;
  private closed = false;

  constructor(size = 0, growable = true) {
    this.growable = growable;
    this.used = size;
    this.bytes = new Uint8Array(size);
  }

  /** A device that holds a copy of an image. */
  static of(image: Uint8Array, growable = true): ImageDevice {
    const device = new ImageDevice(0, growable);
    device.take(image);
    return device;
  }

  /** Takes over an image, as what the device holds. */
  protected take(image: Uint8Array): void {
    this.bytes = image.slice();
    this.used = image.length;
  }

  /** Takes calls again after it was closed. */
  reopen(): this {
    this.closed = false;
    return this;
  }

  /** Makes asynchronous writes wait before their first byte is written, until the result is called. */
  holdWrites(): () => void {
    let release = (): void => {};
    this.gate = new Promise((resolve) => {
      release = () => {
        this.gate = undefined;
        resolve();
      };
    });
    return release;
  }

  /** A copy of what the device holds. */
  image(): Uint8Array {
    return this.bytes.slice(0, this.used);
  }

  count(type: DeviceEvent["type"]): number {
    return this.events.filter((event) => event.type === type).length;
  }

  size(): number {
    return this.used;
  }

  read(offset: number, target: Uint8Array): number {
    this.begin("read", offset);
    const length = Math.max(0, Math.min(target.length, this.used - offset));
    target.set(this.bytes.subarray(offset, offset + length));
    return length;
  }

  write(offset: number, source: Uint8Array): number {
    this.begin("write", offset);
    if (offset + source.length > this.used) throw new CairnError("OUT_OF_RANGE", "write", "write: behind the end");
    if (offset + source.length > this.capacity) throw new CairnError("NO_SPACE", "write", "write: the device is full");
    this.bytes.set(source, offset);
    this.events.push({ type: "write", offset, size: source.length });
    return source.length;
  }

  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    // Not at once: what is in flight is not written yet.
    await this.gate;
    for (const { offset, source } of pieces) this.write(offset, source);
  }

  sync(): void {
    this.begin("sync", 0);
    this.events.push({ type: "sync" });
  }

  async syncAsync(): Promise<void> {
    if (this.syncMs > 0) await new Promise((resolve) => setTimeout(resolve, this.syncMs));
    this.sync();
  }

  resize(size: number): void {
    if (!this.growable) throw new CairnError("UNSUPPORTED", "resize", "resize: the device has a fixed size");
    this.begin("resize", size);
    if (size > this.bytes.length) {
      const grown = new Uint8Array(Math.max(size, this.bytes.length * 2));
      grown.set(this.bytes);
      this.bytes = grown;
    } else if (size < this.used) {
      this.bytes.fill(0, size, this.used);
    }
    this.used = size;
    this.events.push({ type: "resize", size });
  }

  close(): void {
    this.closed = true;
  }

  private begin(operation: "read" | "write" | "sync" | "resize", offset: number): void {
    if (this.closed) throw new CairnError("CLOSED", operation, `${operation}: the device is closed`);
    this.before?.(operation, offset);
  }
}
