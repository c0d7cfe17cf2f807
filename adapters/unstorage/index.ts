/**
 * `cairn-kv/unstorage`: a driver of unstorage, and so of Nitro and Nuxt.
 *
 * @module cairn-kv/unstorage
 */
import { type BlockDevice, CairnError, type OpenOptions, open, type Store } from "cairn-kv";
import type { Driver, GetKeysOptions, StorageMeta, TransactionOptions } from "unstorage";
import { TEXT_OR_BYTES, textOf } from "../text-or-bytes.ts";

/** The store beneath a driver. */
export type CairnDriverStore = Store<string, string | Uint8Array>;

/** Options of the driver: where the store is, when writes resolve, and those of `open`. */
export interface CairnDriverOptions extends Omit<OpenOptions, "keyEncoding" | "valueEncoding"> {
  /** What `open` takes: a path, a `file:` URL, a block device, `":memory:"`, a `BlockDevice`. */
  base: string | URL | BlockDevice;
  /**
   * Whether writes resolve only when they are on stable storage. Default `true`; with `false` they resolve at once, and are
   * durable as the option `durability` says.
   */
  sync?: boolean;
}

/** An option of `setItem`, `setItemRaw` and `setItems`. */
export interface CairnItemOptions extends TransactionOptions {
  /** Seconds until the item is gone, more than 0. Default: never. */
  ttl?: number;
}

/**
 * Makes a driver. The store is opened by the first call, and closed by `dispose`; when opening fails, that call rejects with
 * a `CairnError` (`LOCKED`, `NOT_A_STORE` and the others of `open`), and the next one tries again.
 *
 * Keys are at most 2,048 bytes and values 64 MiB; what exceeds a limit rejects before anything changes. `setItems` is
 * atomic, also after a crash. An item with a `ttl` is invisible from its time on, and `getMeta` says how many seconds it has
 * left. A watcher hears of every change, whatever made it: `clear`, `setItems`, expiry, the store itself. `getItemRaw` gives a `Uint8Array`. `maxDepth` skips what lies deeper instead of reading it.
 */
export default function cairnDriver(
  options: CairnDriverOptions,
): Driver<CairnDriverOptions, Promise<CairnDriverStore>> {
  const { base, sync = true, ...rest } = options ?? {};
  if (base === undefined) {
    const message =
      "unstorage: the option base is missing. Name the file of the store, as in cairnDriver({ base: path }).";
    throw new CairnError("INVALID_ARGUMENT", "unstorage", message);
  }
  let opening: Promise<CairnDriverStore> | undefined;

  const ready = (): Promise<CairnDriverStore> => {
    if (opening === undefined) {
      const attempt = open(base, {
        ...rest,
        keyEncoding: "utf8",
        valueEncoding: TEXT_OR_BYTES,
      }) as Promise<CairnDriverStore>;
      attempt.catch(() => {
        if (opening === attempt) opening = undefined;
      });
      opening = attempt;
    }
    return opening;
  };
  const write = async (key: string, value: string | Uint8Array, item?: CairnItemOptions): Promise<void> => {
    const store = await ready();
    const expiry = expiryOf(item);
    if (sync) await store.put(key, value, expiry);
    else store.set(key, value, expiry);
  };

  return {
    name: "cairn",
    options,
    flags: { maxDepth: true, ttl: true },
    getInstance: ready,

    async hasItem(key) {
      return (await ready()).has(key);
    },

    async getItem(key) {
      const value = await (await ready()).getAsync(key);
      return value === undefined ? null : textOf(value);
    },

    async getItems(items) {
      const values = await (await ready()).getMany(items.map(({ key }) => key));
      return items.map(({ key }, index) => {
        const value = values[index];
        return { key, value: value === undefined ? null : textOf(value) };
      });
    },

    async getItemRaw(key) {
      return (await (await ready()).getAsync(key)) ?? null;
    },

    setItem: write,

    async setItems(items, common) {
      const store = await ready();
      const operations = items.map(({ key, value, options: own }) => {
        return { type: "set" as const, key, value, ...expiryOf({ ...common, ...own }) };
      });
      if (sync) await store.batch(operations);
      else {
        const batch = store.batch();
        for (const { key, value, type, ...expiry } of operations) batch.set(key, value, expiry);
        batch.commit();
      }
    },

    async setItemRaw(key, value, item) {
      await write(key, rawOf(value), item);
    },

    async removeItem(key) {
      const store = await ready();
      if (sync) await store.del(key);
      else store.delete(key);
    },

    async getMeta(key): Promise<StorageMeta | null> {
      const entry = (await ready()).getEntry(key);
      if (entry === undefined) return null;
      const { value, version, expiresAt } = entry;
      const size = typeof value === "string" ? new TextEncoder().encode(value).length : value.length;
      return {
        size,
        version,
        ...(expiresAt === undefined ? {} : { ttl: Math.max(0, (expiresAt - Date.now()) / 1000) }),
      };
    },

    async getKeys(prefix, { maxDepth }: GetKeysOptions = {}) {
      const walk = (await ready()).keys(prefix ? { prefix } : {});
      if (maxDepth === undefined) return [...walk];
      const keys: string[] = [];
      for (const key of walk) {
        const deeper = indexOfSeparator(key, maxDepth + 1);
        if (deeper < 0) keys.push(key);
        // The first key behind all that lie beneath this part: ";" follows ":".
        else walk.seek(`${key.slice(0, deeper)};`);
      }
      return keys;
    },

    async clear(prefix) {
      const store = await ready();
      // Namespaces of the store are not unstorage's.
      store.clear({ prefix: prefix ?? "" });
      if (sync) await store.flush();
    },

    async watch(callback) {
      const store = await ready();
      // Nothing is written through it, and what another process writes is not seen.
      if (rest.readOnly === true) return () => undefined;
      let changes = store.watch({}, { durable: sync });
      const follow = async (): Promise<void> => {
        while (true) {
          try {
            for await (const { type, key } of changes) callback(type === "set" ? "update" : "remove", key);
            return;
          } catch (error) {
            if ((error as CairnError).code !== "VERSION_COMPACTED") throw error;
            changes = store.watch({}, { durable: sync });
          }
        }
      };
      // A store that is poisoned says so to every call.
      follow().catch(() => undefined);
      return async () => {
        await changes.return();
      };
    },

    async dispose() {
      const opened = opening;
      opening = undefined;
      await (await opened?.catch(() => undefined))?.close();
    },
  };
}

/** Where the `count`th ":" of a key is, or -1. */
function indexOfSeparator(key: string, count: number): number {
  let index = -1;
  for (let found = 0; found < count; found++) {
    index = key.indexOf(":", index + 1);
    if (index < 0) return -1;
  }
  return index;
}

function expiryOf(item: CairnItemOptions | undefined): { expiresIn?: number } {
  const ttl = item?.ttl;
  if (ttl === undefined || ttl === null) return {};
  if (typeof ttl === "number" && ttl > 0) return { expiresIn: ttl * 1000 };
  const message = `unstorage: the option ttl must be a number of seconds above 0, not ${ttl}.`;
  throw new CairnError("INVALID_ARGUMENT", "unstorage", message);
}

/** What is stored raw: text, or bytes of any view. */
function rawOf(value: unknown): string | Uint8Array {
  if (typeof value === "string" || value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  const message = "unstorage: a raw value must be a string, an ArrayBuffer or a view of one. Use setItem for others.";
  throw new CairnError("INVALID_ARGUMENT", "unstorage", message);
}
