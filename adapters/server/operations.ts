/**
 * What a request asks of a tenant's records, whatever protocol it came by. Checks of rights and of a protocol's limits come before;
 * here is what happens.
 *
 * 1. Operations of one caller that are called one after the other happen in that order, and see each other.
 * 2. A promise of a write resolves when it is on stable storage.
 * 3. Text is UTF-8. Values that are none are given as bytes.
 */

/** A record as the server gives it. */
export interface ServedEntry {
  /** Text, or bytes where they are no UTF-8. */
  value: string | Uint8Array;
  version: number;
  expiresAt?: number;
}

export interface ServedRecord {
  key: string | Uint8Array;
  value: string | Uint8Array;
}

/** What a write asks for beside the value. */
export interface ServedWriteOptions {
  ifVersion?: number | null | undefined;
  expiresIn?: number | undefined;
  expiresAt?: number | undefined;
  timestamp?: number | undefined;
}

/** A page of a range. */
export interface ServedPage {
  records: ServedRecord[];
  /** Whether there are more in the range: a limit or a size was reached. */
  truncated: boolean;
}

export interface ServedRange {
  /** Both ends inclusive; `undefined`: no end. */
  start?: string | Uint8Array | undefined;
  end?: string | Uint8Array | undefined;
  /** Records at most. */
  limit?: number | undefined;
  /** Bytes of keys and values at most, with `overhead` bytes for each record; at a record's boundary. */
  sizeMax?: number | undefined;
  overhead?: number | undefined;
  /** Records for which this is false are left out. */
  shows?: ((key: string | Uint8Array) => boolean) | undefined;
}

/** The operations over one tenant's records. Keys are text, or bytes from protocols that carry them. */
export interface Operations {
  get(key: string | Uint8Array): ServedEntry["value"] | undefined | Promise<ServedEntry["value"] | undefined>;
  getBytes(key: string | Uint8Array): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  getEntry(key: string | Uint8Array): Promise<ServedEntry | undefined>;
  /** Whether it was done: `false` when `ifVersion` did not hold. */
  put(key: string | Uint8Array, value: string | Uint8Array, options?: ServedWriteOptions): Promise<boolean>;
  /** Whether the key was there and, with `ifVersion`, had that version. */
  delete(key: string | Uint8Array, options?: ServedWriteOptions): Promise<boolean>;
  /**
   * HPKV's partial update: merges (RFC 7396) when both sides are JSON objects, else appends; creates a missing record. A result of more
   * than `sizeMax` bytes is refused with 400, and nothing changes. Watchers of notifications get the merged document with the
   * members that the patch deleted as explicit nulls.
   */
  patch(key: string | Uint8Array, value: string | Uint8Array, sizeMax: number): Promise<void>;
  /** Adds to a decimal 64-bit integer; a missing record counts as 0. */
  increment(key: string | Uint8Array, by: bigint): Promise<bigint>;
  range(range: ServedRange): Promise<ServedPage>;
}
