/**
 * The block device: the only way in which the store touches storage.
 *
 * 1. Offsets and sizes are bytes, multiples of 4,096. They are safe integers.
 * 2. `target` and `source` may be views on WebAssembly memory. A device copies from or into them, keeps none of them
 *    after its call has returned or its promise has settled, and never transfers or detaches their buffer.
 * 3. A sync covers exactly the writes that had completed before it was issued. A write in flight is not covered.
 * 4. A failed sync is never retried. After it the device must not be trusted until it is opened again.
 * 5. Failures are thrown, or rejected with, as `CairnError`.
 */

/** A span of memory and the place on the device where it belongs. */
export type DevicePiece = {
  /** Bytes from the device's start. */
  offset: number;
  /** What is written there. */
  source: Uint8Array;
  /** As for `writeUncached`. Default `false`. */
  uncached?: boolean;
};

/** A span of the device and the memory that it is read into. */
export type DeviceTarget = {
  /** Bytes from the device's start. */
  offset: number;
  /** What is filled. */
  target: Uint8Array;
};

/** What a runtime's host, or an embedder, implements. */
export interface BlockDevice {
  /** The device's size in bytes. It answers from memory: the core asks often. */
  size(): number;

  /**
   * Fills `target` from `offset` on and returns the count of bytes read. The count is smaller than `target.length` only
   * where the span reaches beyond `size()`. It loops over short reads; bytes missing inside `size()` are `DEVICE_SHRUNK`.
   */
  read(offset: number, target: Uint8Array): number;

  /**
   * `read` into `size` bytes of `memory` from `at` on, for hosts to whom making a view for each read is a cost: 0.4 µs on
   * Bun. Absent: `read` is used.
   */
  readInto?(offset: number, memory: Uint8Array, at: number, size: number): number;

  /**
   * `read` without blocking the thread: fills the targets of all pieces, neighbours in their order, or rejects. It settles
   * only when nothing is in flight any more; until then nobody else touches the targets. What ends inside `size()` is
   * `DEVICE_SHRUNK`. A failed read is tried again at most twice. `uncached` as for `readUncached`. Absent: `read` is used,
   * a few blocks between two turns of the event loop.
   */
  readAsync?(pieces: readonly DeviceTarget[], uncached?: boolean): Promise<void>;

  /** `read` past the host's cache, for stores that keep one of their own. Used after `prepareUncachedReads` only. */
  readUncached?(offset: number, target: Uint8Array): number;

  /** Makes sure that reads can go past the host's cache; else throws `UNSUPPORTED` with the reason. Absent: they cannot. */
  prepareUncachedReads?(): void;

  /**
   * Writes all of `source` at `offset`, inside `size()`, and returns the count of bytes written, always
   * `source.length`. Not durable before a sync. A growing device that is out of room throws `NO_SPACE`.
   */
  write(offset: number, source: Uint8Array): number;

  /**
   * `write`, for bytes that will hardly be read back: a host may bypass its cache. It is a hint. What is read, and what a
   * sync covers, is the same; `source` is best aligned to 4,096 bytes in memory. Absent: `write` is used.
   */
  writeUncached?(offset: number, source: Uint8Array): number;

  /**
   * Writes all pieces, in any order. It settles only when no piece is in flight any more, also when one of them failed.
   * Not durable before a sync. The pieces must not overlap.
   */
  writeAsync(pieces: readonly DevicePiece[]): Promise<void>;

  /** Makes every completed write, and the size, durable. */
  sync(): void;

  /** `sync` without blocking the thread. */
  syncAsync(): Promise<void>;

  /**
   * Writes all pieces and makes them durable, together with every write that had completed before the call: `writeAsync`
   * then `syncAsync`, in one trip where the host can. `NO_SPACE` only while nothing was synced: a failed sync is `DEVICE_WRITE`.
   */
  commitAsync?(pieces: readonly DevicePiece[]): Promise<void>;

  /** Grows or shrinks the device. New space reads as zeros. The new size is durable after a sync. */
  resize?(size: number): void;

  /** Looks anew how large the device is, which another opener may have grown: what `size()` answers from then on. */
  measure?(): void;

  /** Releases the device. Nothing is synced. Calls in flight end first; later calls throw `CLOSED`. */
  close(): void;

  /** Whether the store may `resize` the device as it fills. Absent: it may not. */
  readonly growable?: boolean;

  /** Whether reads may come from a cache of the host, in microseconds. Absent: they do not. */
  readonly hasHostCache?: boolean;

  /** What the device lies on. Absent: unknown. */
  readonly kind?: "file" | "block" | "memory" | "opfs";

  /** In browsers: whether the origin's files are kept when space runs out. */
  readonly persisted?: boolean;
}
