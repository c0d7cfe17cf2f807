/** A device that counts the time that the calling thread spends in it. */
import type { BlockDevice, DevicePiece } from "../store/device.ts";

/** Passes every call on to a device. Only what is synchronous counts: the rest does not hold the caller up. */
export class TimedDevice implements BlockDevice {
  /** Nanoseconds in synchronous calls so far, and in the synchronous part of the others. */
  spentNs = 0;
  readonly #device: BlockDevice;

  constructor(device: BlockDevice) {
    this.#device = device;
  }

  get kind(): "file" | "block" | "memory" | "opfs" {
    return this.#device.kind ?? "file";
  }

  get growable(): boolean {
    return this.#device.growable ?? false;
  }

  size(): number {
    return this.#device.size();
  }

  read(offset: number, target: Uint8Array): number {
    return this.#timed(() => this.#device.read(offset, target));
  }

  write(offset: number, source: Uint8Array): number {
    return this.#timed(() => this.#device.write(offset, source));
  }

  writeUncached(offset: number, source: Uint8Array): number {
    const device = this.#device;
    return this.#timed(() => device.writeUncached?.(offset, source) ?? device.write(offset, source));
  }

  writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    return this.#timed(() => this.#device.writeAsync(pieces));
  }

  sync(): void {
    this.#timed(() => this.#device.sync());
  }

  syncAsync(): Promise<void> {
    return this.#timed(() => this.#device.syncAsync());
  }

  async commitAsync(pieces: readonly DevicePiece[]): Promise<void> {
    const device = this.#device;
    if (device.commitAsync !== undefined) {
      await this.#timed(() => device.commitAsync!(pieces));
    } else {
      await this.writeAsync(pieces);
      await this.syncAsync();
    }
  }

  resize(size: number): void {
    this.#timed(() => this.#device.resize?.(size));
  }

  close(): void {
    this.#device.close();
  }

  #timed<Result>(call: () => Result): Result {
    const start = performance.now();
    try {
      return call();
    } finally {
      this.spentNs += (performance.now() - start) * 1e6;
    }
  }
}
