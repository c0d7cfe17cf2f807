/** The operations of protocols over one tenant's records; see operations.ts beside this folder. */
import type { Entry } from "../../../store/entry.ts";
import { nextTurn } from "../../../store/turn.ts";
import { ServerFailure } from "../failure.ts";
import type { Operations, ServedEntry, ServedPage, ServedRange, ServedWriteOptions } from "../operations.ts";
import type { Faces, Records, View, Watching } from "../tenants.ts";
import { isDoubtful, textOrBytes } from "./exact.ts";
import { pageOf } from "./page.ts";
import { Patch } from "./patch.ts";
import type { PatchNotes } from "./patch-notes.ts";
import { BOUNDS, bytesOf, NAMESPACE, RecordWalk, type WalkRange } from "./walk.ts";

type Key = string | Uint8Array;
type Value = string | Uint8Array;

/** Operations over the records of a store, or of a connection to its owner. */
export class StoreOperations implements Operations {
  readonly faces: Faces;
  private readonly notes: PatchNotes;

  constructor(faces: Faces, notes: PatchNotes) {
    this.faces = faces;
    this.notes = notes;
  }

  /** Throws what the store does, where it does at once. */
  get(key: Key): Value | undefined | Promise<Value | undefined> {
    const { text, bytesToText } = this.faces;
    const found = typeof key === "string" ? soon(text, key) : soon(bytesToText, this.checked(key));
    if (typeof found === "string") return isDoubtful(found) ? this.exact(key) : found;
    if (found === undefined) return undefined;
    return found.then((value) => (value !== undefined && isDoubtful(value) ? this.exact(key) : value));
  }

  getBytes(key: Key): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const { textToBytes, bytes } = this.faces;
    return typeof key === "string" ? soon(textToBytes, key) : soon(bytes, this.checked(key));
  }

  async getEntry(key: Key): Promise<ServedEntry | undefined> {
    return this.getEntrySoon(key);
  }

  /** `getEntry`, at once where the value is in memory. Throws what the store does, where it does at once. */
  getEntrySoon(key: Key): ServedEntry | undefined | Promise<ServedEntry | undefined> {
    const { text, bytesToText } = this.faces;
    const found = typeof key === "string" ? entrySoon(text, key) : entrySoon(bytesToText, this.checked(key));
    if (found === undefined) return undefined;
    if (found instanceof Promise) {
      return found.then((entry) => (entry !== undefined && isDoubtful(entry.value) ? this.exactEntry(key) : entry));
    }
    return isDoubtful(found.value) ? this.exactEntry(key) : found;
  }

  put(key: Key, value: Value, options?: ServedWriteOptions): Promise<boolean> {
    const { text, textToBytes, bytesToText, bytes } = this.faces;
    if (typeof key === "string") {
      return typeof value === "string" ? text.put(key, value, options) : textToBytes.put(key, value, options);
    }
    const checked = this.checked(key);
    return typeof value === "string" ? bytesToText.put(checked, value, options) : bytes.put(checked, value, options);
  }

  delete(key: Key, options?: ServedWriteOptions): Promise<boolean> {
    const { text, bytes } = this.faces;
    const asked = options === undefined ? undefined : { ifVersion: options.ifVersion, timestamp: options.timestamp };
    return typeof key === "string" ? text.del(key, asked) : bytes.del(this.checked(key), asked);
  }

  async patch(key: Key, value: Value, sizeMax: number): Promise<void> {
    await this.patchIf(key, value, sizeMax);
  }

  /**
   * `patch`, under conditions: whether it was done. Without an expiry and a timestamp of its own the record keeps those that
   * it has.
   */
  async patchIf(key: Key, value: Value, sizeMax: number, options: ServedWriteOptions = {}): Promise<boolean> {
    const { textToBytes, bytes } = this.faces;
    const patch = new Patch(value, sizeMax);
    if (typeof key === "string") return this.patchIn(textToBytes, key, patch, options);
    return this.patchIn(bytes, this.checked(key), patch, options);
  }

  /** `increment` of a record that has a version, or with `null` is absent; `undefined`, and nothing done, where it has not. */
  async incrementIf(key: Key, by: bigint, ifVersion: number | null): Promise<bigint | undefined> {
    const { text, bytes } = this.faces;
    const found = typeof key === "string" ? text.getEntry(key) : bytes.getEntry(this.checked(key));
    // A store answers at once, so that nothing comes between.
    const entry = found instanceof Promise ? await found : found;
    return (entry?.version ?? null) === ifVersion ? this.increment(key, by) : undefined;
  }

  async increment(key: Key, by: bigint): Promise<bigint> {
    const { text, bytes } = this.faces;
    const sum = typeof key === "string" ? text.increment(key, by) : bytes.increment(this.checked(key), by);
    // Both at once, so that what follows is behind both.
    const [result] = await Promise.all([sum, text.flush()]);
    return result;
  }

  range(range: ServedRange): Promise<ServedPage> {
    return pageOf(this.faces, range);
  }

  /** The version of what was written last; `undefined` where that is not known at once. */
  get version(): number | undefined {
    return this.faces.text.version;
  }

  /** The version that a write has made; ask right behind the call that gave `done`. `undefined` where nobody knows. */
  versionOf(_done: Promise<unknown>): number | undefined | Promise<number | undefined> {
    return this.version;
  }

  /** A walk over records, from this moment on or through a view. */
  walk(range: WalkRange): RecordWalk {
    return new RecordWalk(this.faces, range);
  }

  /** A view of this moment, of the whole store. Close it. */
  snapshot(): View | Promise<View> {
    return this.faces.text.snapshot();
  }

  /** What a key held at the moment of a view. */
  async getEntryAt(key: Key, view: View): Promise<ServedEntry | undefined> {
    const walk = this.walk({ gte: key, lte: key, limit: 1, view });
    const record = await walk.next();
    walk.end();
    if (record === undefined) return undefined;
    const { textToBytes, bytes } = this.faces;
    // The value is in the cache by now.
    const entry = await (typeof key === "string" ? view.in(textToBytes).getEntry(key) : view.in(bytes).getEntry(key));
    return entry === undefined ? undefined : { ...(entry as ServedEntry), value: record.value };
  }

  /** How many records a range has. About 1 ns a record. */
  async count(range: WalkRange = {}): Promise<number> {
    const { snapshot, ...asked } = { ...this.boundsOf(range), snapshot: range.view };
    return this.faces.bytes.count(snapshot === undefined ? asked : { ...asked, snapshot });
  }

  /**
   * Deletes the records of a range, and resolves with how many there were when that is on stable storage: all at once where they are
   * few, else in steps, from the first key on.
   */
  async deleteRange(range: WalkRange): Promise<number> {
    const { bytes } = this.faces;
    const asked = this.boundsOf(range);
    let deleted = 0;
    if ((await bytes.count({ ...asked, limit: CLEAR_COUNT + 1 })) > CLEAR_COUNT) {
      const walk = this.walk({ ...range, keysOnly: true });
      try {
        let count = 0;
        let start: Uint8Array | undefined;
        for (let record = await walk.next(); record !== undefined; record = await walk.next()) {
          start ??= bytesOf(record.key);
          if (++count % CLEAR_COUNT !== 0) continue;
          deleted += await bytes.clear({ gte: start, lte: bytesOf(record.key) });
          start = undefined;
          await new Promise<void>(nextTurn);
        }
      } finally {
        walk.end();
      }
    }
    deleted += await bytes.clear(asked);
    await bytes.flush();
    return deleted;
  }

  /** Changes, durable ones, as bytes; see `Store.watch`. Text in them is for `textOrBytes` to find. */
  watch(range: WalkRange, since: number | undefined): Watching {
    return this.faces.bytes.watch(this.boundsOf(range), since === undefined ? {} : { since });
  }

  /** The bounds of a range in the terms of a store of bytes, without the namespaces that lie behind the store's own keys. */
  private boundsOf(range: WalkRange): Bounds {
    const bounds: Bounds = {};
    for (const name of BOUNDS) {
      const bound = range[name];
      if (bound !== undefined) bounds[name] = bytesOf(bound);
    }
    if (this.faces.isRoot && (bounds.lt === undefined || bounds.lt[0] === NAMESPACE))
      bounds.lt = Uint8Array.of(NAMESPACE);
    // A range to delete has a bound.
    if (Object.keys(bounds).length === 0) bounds.prefix = new Uint8Array(0);
    return bounds;
  }

  private patchIn<K extends Key>(
    records: Records<K, Uint8Array>,
    key: K,
    patch: Patch,
    options: ServedWriteOptions,
  ): Promise<boolean> {
    const found = records.getEntry(key);
    if (found instanceof Promise) return this.patchOver(records, key, patch, options, found);
    // A store answers at once, so that nothing comes between.
    return this.putPatched(records, key, patch, options, found);
  }

  /** Over a connection others may write meanwhile: then it is done anew. */
  private async patchOver<K extends Key>(
    records: Records<K, Uint8Array>,
    key: K,
    patch: Patch,
    options: ServedWriteOptions,
    first: Promise<Entry<Uint8Array> | undefined>,
  ): Promise<boolean> {
    let entry = await first;
    for (let tries = 0; tries < PATCH_TRIES; tries++) {
      if (await this.putPatched(records, key, patch, options, entry)) return true;
      const before = entry?.version;
      entry = await records.getEntry(key);
      // It was the condition, and no other write.
      if (entry?.version === before) return false;
    }
    throw new ServerFailure(409, "The record was changed by others again and again. Nothing was changed; try again.");
  }

  private async putPatched<K extends Key>(
    records: Records<K, Uint8Array>,
    key: K,
    patch: Patch,
    options: ServedWriteOptions,
    entry: Entry<Uint8Array> | undefined,
  ): Promise<boolean> {
    const ifVersion = entry?.version ?? null;
    if (options.ifVersion !== undefined && options.ifVersion !== ifVersion) return false;
    const { value, shown } = patch.appliedTo(entry?.value);
    const { expiresIn, timestamp = entry?.timestamp } = options;
    const expiresAt = expiresIn === undefined ? (options.expiresAt ?? entry?.expiresAt) : undefined;
    const bytes = typeof value === "string" ? encoder.encode(value) : value;
    const done = records.put(key, bytes, { ifVersion, expiresIn, expiresAt, timestamp });
    const { version } = records;
    if (shown !== undefined && version !== undefined && typeof key === "string") this.notes.add(version, key, shown);
    return done;
  }

  private exact(key: Key): Value | undefined | Promise<Value | undefined> {
    const bytes = this.getBytes(key);
    return bytes instanceof Promise ? bytes.then(ofBytes) : ofBytes(bytes);
  }

  private exactEntry(key: Key): ServedEntry | undefined | Promise<ServedEntry | undefined> {
    const { textToBytes, bytes } = this.faces;
    const entry = typeof key === "string" ? entrySoon(textToBytes, key) : entrySoon(bytes, key);
    if (entry instanceof Promise) return entry.then((found) => found && { ...found, value: textOrBytes(found.value) });
    return entry && { ...entry, value: textOrBytes(entry.value) };
  }

  /** A key of bytes, unless it lies in somebody's namespace. */
  protected checked(key: Uint8Array): Uint8Array {
    if (this.faces.isRoot && key[0] === NAMESPACE) {
      throw new ServerFailure(400, "A key must not begin with the byte 0xff: there lie the store's namespaces.");
    }
    return key;
  }
}

const encoder = new TextEncoder();
/** Records that are deleted at once at most: a few milliseconds. */
const CLEAR_COUNT = 10_000;
const PATCH_TRIES = 100;

type Bounds = Partial<Record<(typeof BOUNDS)[number], Uint8Array>>;

function ofBytes(bytes: Uint8Array | undefined): Value | undefined {
  return bytes === undefined ? undefined : textOrBytes(bytes);
}

function soon<K, V>(records: Records<K, V>, key: K): V | undefined | Promise<V | undefined> {
  return records.getSoon === undefined ? records.get(key) : records.getSoon(key);
}

function entrySoon<K, V>(records: Records<K, V>, key: K): ReturnType<Records<K, V>["getEntry"]> {
  return records.getEntrySoon === undefined ? records.getEntry(key) : records.getEntrySoon(key);
}
