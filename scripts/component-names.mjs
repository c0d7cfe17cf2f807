/** The names that the canonical ABI gives to what the core of the component exports. */
const EXPORT_SECTION = 7;
const HEADER_SIZE = 8;

const STORE = "cairn:kv/store@0.1.0#";
const BUCKETS = "wasi:keyvalue/store@0.2.0-draft2#";
const ATOMICS = "wasi:keyvalue/atomics@0.2.0-draft2#";
const BATCH = "wasi:keyvalue/batch@0.2.0-draft2#";

/** Exports of assembly/component/index.ts, and what the component calls them. */
const NAMES = new Map([
  ["memory", "memory"],
  ["cabi_realloc", "cabi_realloc"],
  ["storeOpen", `${STORE}[static]store.open`],
  ["storeGet", `${STORE}[method]store.get`],
  ["storeHas", `${STORE}[method]store.has`],
  ["storeSet", `${STORE}[method]store.set`],
  ["storeDelete", `${STORE}[method]store.delete`],
  ["storePutDurable", `${STORE}[method]store.put-durable`],
  ["storeDeleteDurable", `${STORE}[method]store.delete-durable`],
  ["storeFlush", `${STORE}[method]store.flush`],
  ["storeScan", `${STORE}[method]store.scan`],
  ["storeCount", `${STORE}[method]store.count`],
  ["storeStats", `${STORE}[method]store.stats`],
  ["storeClose", `${STORE}[method]store.close`],
  ["storeDrop", `${STORE}[dtor]store`],
  ["cursorEntries", `${STORE}[method]cursor.next`],
  ["cursorDrop", `${STORE}[dtor]cursor`],
  ["bucketOpen", `${BUCKETS}open`],
  ["bucketGet", `${BUCKETS}[method]bucket.get`],
  ["bucketSet", `${BUCKETS}[method]bucket.set`],
  ["bucketDelete", `${BUCKETS}[method]bucket.delete`],
  ["bucketExists", `${BUCKETS}[method]bucket.exists`],
  ["bucketListKeys", `${BUCKETS}[method]bucket.list-keys`],
  ["bucketDrop", `${BUCKETS}[dtor]bucket`],
  ["casNew", `${ATOMICS}[static]cas.new`],
  ["casCurrent", `${ATOMICS}[method]cas.current`],
  ["casDropped", `${ATOMICS}[dtor]cas`],
  ["increment", `${ATOMICS}increment`],
  ["swap", `${ATOMICS}swap`],
  ["getMany", `${BATCH}get-many`],
  ["setMany", `${BATCH}set-many`],
  ["deleteMany", `${BATCH}delete-many`],
]);

/**
 * A number as unsigned LEB128.
 *
 * @param {number} value
 * @returns {number[]}
 */
export function leb(value) {
  const bytes = [];
  for (; value >= 0x80; value >>>= 7) bytes.push((value & 0x7f) | 0x80);
  return [...bytes, value];
}

/** Reads a binary from front to back. */
class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = /** @type {number} */ (this.bytes[this.at++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  /** @param {number} size */
  take(size) {
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }
}

/**
 * The export section with the component's names.
 *
 * @param {Uint8Array} section
 */
function renamed(section) {
  const reader = new Reader(section);
  const count = reader.number();
  const out = leb(count);
  const missing = new Set(NAMES.keys());
  for (let i = 0; i < count; i++) {
    const name = new TextDecoder().decode(reader.take(reader.number()));
    const kind = reader.take(1);
    const index = reader.number();
    const to = NAMES.get(name);
    if (to === undefined) throw new Error(`the export ${name} has no name in the component: add it to NAMES`);
    missing.delete(name);
    const bytes = new TextEncoder().encode(to);
    out.push(...leb(bytes.length), ...bytes, ...kind, ...leb(index));
  }
  if (missing.size > 0) throw new Error(`assembly/component exports no ${[...missing].join(", ")}`);
  return out;
}

/**
 * A module with the component's names for its exports. Throws when an export has none, or one is missing.
 *
 * @param {Uint8Array} binary
 */
export function withNames(binary) {
  const reader = new Reader(binary);
  /** @type {Uint8Array[]} */
  const parts = [reader.take(HEADER_SIZE)];
  while (reader.at < binary.length) {
    const id = /** @type {number} */ (reader.take(1)[0]);
    const section = reader.take(reader.number());
    const body = id === EXPORT_SECTION ? renamed(section) : section;
    parts.push(Uint8Array.from([id, ...leb(body.length)]), Uint8Array.from(body));
  }
  return Buffer.concat(parts);
}
