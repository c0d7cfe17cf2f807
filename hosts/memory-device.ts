/**
 * A device in the process's memory: what `":memory:"` opens. It grows, keeps nothing, and syncs for free.
 *
 * Its content is an array of chunks, so growth copies nothing; a chunk comes into being with the first write to it, and
 * an absent one reads as zeros.
 */
import type { BlockDevice, DevicePiece, DeviceTarget } from "../store/device.ts";
import { CairnError } from "../store/error.ts";

const CHUNK_SIZE = 1024 * 1024;

/** A growable device whose content ends with it. */
export class MemoryDevice implements BlockDevice {
  readonly kind = "memory";
  readonly growable = true;
  private chunks: (Uint8Array | undefined)[] = [];
  private sizeBytes: number;
  private closed = false;

  /** `size` is in bytes, a multiple of 4,096. */
  constructor(size = 0) {
    this.sizeBytes = size;
  }

  size(): number {
    return this.sizeBytes;
  }

  read(offset: number, target: Uint8Array): number {
    this.checkOpen("read");
    const length = Math.max(0, Math.min(target.length, this.sizeBytes - offset));
    let done = 0;
    while (done < length) {
      const within = (offset + done) % CHUNK_SIZE;
      const count = Math.min(length - done, CHUNK_SIZE - within);
      const chunk = this.chunks[Math.floor((offset + done) / CHUNK_SIZE)];
      if (chunk === undefined) target.fill(0, done, done + count);
      else target.set(chunk.subarray(within, within + count), done);
      done += count;
    }
    return length;
  }

  async readAsync(pieces: readonly DeviceTarget[]): Promise<void> {
    for (const { offset, target } of pieces) {
      if (this.read(offset, target) === target.length) continue;
      const message = `the memory device ends at ${this.sizeBytes}, within what was to be read. Restore a backup.`;
      throw new CairnError("DEVICE_SHRUNK", "readAsync", message);
    }
  }

  write(offset: number, source: Uint8Array): number {
    this.checkOpen("write");
    if (offset < 0 || offset + source.length > this.sizeBytes) {
      throw new CairnError(
        "OUT_OF_RANGE",
        "write",
        `writing ${source.length} bytes at offset ${offset} would pass the device's end at ${this.sizeBytes}. Resize it first.`,
      );
    }
    let done = 0;
    while (done < source.length) {
      const within = (offset + done) % CHUNK_SIZE;
      const count = Math.min(source.length - done, CHUNK_SIZE - within);
      this.chunkAt(Math.floor((offset + done) / CHUNK_SIZE)).set(source.subarray(done, done + count), within);
      done += count;
    }
    return done;
  }

  async writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    for (const { offset, source } of pieces) this.write(offset, source);
  }

  commitAsync(pieces: readonly DevicePiece[]): Promise<void> {
    return this.writeAsync(pieces);
  }

  sync(): void {
    this.checkOpen("sync");
  }

  async syncAsync(): Promise<void> {
    this.checkOpen("syncAsync");
  }

  resize(size: number): void {
    this.checkOpen("resize");
    if (size < this.sizeBytes) {
      this.chunks.length = Math.min(this.chunks.length, Math.ceil(size / CHUNK_SIZE));
      this.chunks[Math.floor(size / CHUNK_SIZE)]?.fill(0, size % CHUNK_SIZE);
    }
    this.sizeBytes = size;
  }

  close(): void {
    this.closed = true;
    this.chunks = [];
  }

  private chunkAt(index: number): Uint8Array {
    let chunk = this.chunks[index];
    if (chunk === undefined) {
      try {
        chunk = new Uint8Array(CHUNK_SIZE);
      } catch (cause) {
        throw new CairnError(
          "NO_SPACE",
          "write",
          "the process has no memory left for the store. Delete records, or keep the store in a file.",
          { cause },
        );
      }
      this.chunks[index] = chunk;
    }
    return chunk;
  }

  private checkOpen(operation: string): void {
    if (this.closed) throw new CairnError("CLOSED", operation, "the memory device is closed. Open a new store.");
  }
}
