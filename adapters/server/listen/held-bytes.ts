/** Bytes that came and are not read yet, in a buffer that grows by doubling: any number of pieces costs no more than their bytes. */
export class HeldBytes {
  private buffer: Buffer | undefined;
  size = 0;

  add(chunk: Uint8Array): void {
    const size = this.size + chunk.length;
    if (this.buffer === undefined || size > this.buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(size, 2 * this.size, 512));
      if (this.buffer !== undefined) this.buffer.copy(grown, 0, 0, this.size);
      this.buffer = grown;
    }
    this.buffer.set(chunk, this.size);
    this.size = size;
  }

  /** All of them, until something is added or dropped. */
  get bytes(): Buffer {
    return this.buffer === undefined ? Buffer.alloc(0) : this.buffer.subarray(0, this.size);
  }

  /** All of them, which are the caller's from then on. */
  take(): Buffer {
    const { bytes } = this;
    this.clear();
    return bytes;
  }

  /** The first `count` were read. */
  drop(count: number): void {
    if (count >= this.size) this.clear();
    else if (count > 0) {
      this.buffer?.copyWithin(0, count, this.size);
      this.size -= count;
    }
  }

  clear(): void {
    this.buffer = undefined;
    this.size = 0;
  }
}
