/** The operations of protocols over one tenant's records; see operations.ts beside this folder. */
import { ServerFailure } from "../failure.ts";
import type { Operations, ServedEntry, ServedPage, ServedRange, ServedWriteOptions } from "../operations.ts";
import type { Faces, Records } from "../tenants.ts";
import { isDoubtful, textOrBytes } from "./exact.ts";
import { pageOf } from "./page.ts";
import { Patch } from "./patch.ts";
import type { PatchNotes } from "./patch-notes.ts";
import { NAMESPACE } from "./walk.ts";

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
    const { textToBytes, bytes } = this.faces;
    const patch = new Patch(value, sizeMax);
    if (typeof key === "string") await this.patchIn(textToBytes, key, patch);
    else await this.patchIn(bytes, this.checked(key), patch);
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

  /** The version of what was written last, right behind a call that writes; `undefined` where that is not known at once. */
  get version(): number | undefined {
    return this.faces.text.version;
  }

  private async patchIn<K extends Key>(records: Records<K, Uint8Array>, key: K, patch: Patch): Promise<void> {
    let shown: string | undefined;
    const done = records.update(key, (before) => {
      const patched = patch.appliedTo(before);
      shown = patched.shown;
      return typeof patched.value === "string" ? encoder.encode(patched.value) : patched.value;
    });
    const { version } = records;
    if (shown !== undefined && version !== undefined && typeof key === "string") this.notes.add(version, key, shown);
    await Promise.all([done, records.flush()]);
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
  private checked(key: Uint8Array): Uint8Array {
    if (this.faces.isRoot && key[0] === NAMESPACE) {
      throw new ServerFailure(400, "A key must not begin with the byte 0xff: there lie the store's namespaces.");
    }
    return key;
  }
}

const encoder = new TextEncoder();

function ofBytes(bytes: Uint8Array | undefined): Value | undefined {
  return bytes === undefined ? undefined : textOrBytes(bytes);
}

function soon<K, V>(records: Records<K, V>, key: K): V | undefined | Promise<V | undefined> {
  return records.getSoon === undefined ? records.get(key) : records.getSoon(key);
}

function entrySoon<K, V>(records: Records<K, V>, key: K): ReturnType<Records<K, V>["getEntry"]> {
  return records.getEntrySoon === undefined ? records.getEntry(key) : records.getEntrySoon(key);
}
