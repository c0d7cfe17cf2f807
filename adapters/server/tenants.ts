/** Tenants: the key space of each in one store, under the encodings that protocols ask for. */
import type { Entry, WriteOptions } from "../../store/entry.ts";
import type { KeyOf, ValueOf } from "../../store/options.ts";
import type { Range } from "../../store/range.ts";
import type { Store } from "../../store/store.ts";
import type { Change, WatchRange } from "../../store/watch.ts";
import { PatchNotes } from "./operations/patch-notes.ts";
import { StoreOperations } from "./operations/store-operations.ts";

/** A view of one moment. */
export interface View {
  readonly version: number;
  /** The same moment of records of the same store. */
  in<K, V>(records: Records<K, V>): { getEntry(key: K): Entry<V> | undefined | Promise<Entry<V> | undefined> };
  close(): unknown;
}

/** A range, read through a view of the same store. */
export type ViewRange<K> = Omit<Range<K>, "snapshot"> & { snapshot?: View };

/** Changes as they come; see `Store.watch`. */
export interface Watching<K = Uint8Array, V = Uint8Array> {
  /** The version to go on from. */
  readonly version: number;
  next(): Promise<IteratorResult<Change<K, V>, undefined>>;
  return(): Promise<unknown>;
  /** Where another process watches: resolves when it does. */
  readonly begun?: Promise<unknown>;
}

/** Records under one pair of encodings: a store's calls, which answer at once, or those of a connection to it, which give promises. */
export interface Records<K, V> {
  getSoon?(key: K): V | undefined | Promise<V | undefined>;
  get(key: K): V | undefined | Promise<V | undefined>;
  getEntrySoon?(key: K): Entry<V> | undefined | Promise<Entry<V> | undefined>;
  getEntry(key: K): Entry<V> | undefined | Promise<Entry<V> | undefined>;
  put(key: K, value: V, options?: WriteOptions): Promise<boolean>;
  del(key: K, options?: WriteOptions): Promise<boolean>;
  increment(key: K, by: bigint): bigint | Promise<bigint>;
  entries(range?: ViewRange<K>): AsyncIterable<[K, V]>;
  keys(range?: ViewRange<K>): AsyncIterable<K>;
  count(range?: ViewRange<K>): number | Promise<number>;
  clear(range: Range<K>): number | Promise<number>;
  snapshot(): View | Promise<View>;
  watch(what: WatchRange<K>, options: { since?: number }): Watching<K, V>;
  flush(): Promise<void>;
  /** The version of the last write. Stores only. */
  readonly version?: number;
}

/** One tenant's records, by what keys and values are. */
export interface Faces {
  /** Keys and values are text. */
  text: Records<string, string>;
  /** Keys are text, values bytes. */
  textToBytes: Records<string, Uint8Array>;
  /** Keys are bytes, values text. */
  bytesToText: Records<Uint8Array, string>;
  /** Keys and values are bytes. */
  bytes: Records<Uint8Array, Uint8Array>;
  /** Whether these are the store's own keys, behind which lie the namespaces of all others. */
  isRoot: boolean;
}

/** The tenants of one store. */
export class Tenants {
  private readonly store: Store<unknown, unknown>;
  private readonly namespaceOf: (tenant: string) => string;
  private readonly notes = new Map<string, PatchNotes>();
  private readonly known = new Map<string, StoreOperations>();
  private readonly spaces = new Map<string, StoreOperations>();
  /** Told what notifications show of a partial update that deleted members, as it is done. */
  onPatched: ((namespace: string, version: number, key: string, shown: string) => void) | undefined;

  /** `namespaceOf`: the namespace of a tenant by its name; `""`: the store's own keys. */
  constructor(store: Store<unknown, unknown>, namespaceOf: (tenant: string) => string) {
    this.store = store;
    this.namespaceOf = namespaceOf;
  }

  /** The operations over a tenant's records: the same object for each call. */
  operationsOf(tenant: string): StoreOperations {
    let operations = this.known.get(tenant);
    if (operations === undefined) {
      operations = this.operationsIn(this.namespaceOf(tenant));
      this.known.set(tenant, operations);
    }
    return operations;
  }

  /** The operations over a namespace's records: the same object for each call. */
  operationsIn(namespace: string): StoreOperations {
    let operations = this.spaces.get(namespace);
    if (operations === undefined) {
      operations = new StoreOperations(facesOf(this.store, namespace), this.notesOf(namespace));
      this.spaces.set(namespace, operations);
    }
    return operations;
  }

  /**
   * What notifications show of a partial update that deleted members: the merged document with those members as explicit
   * `null`. `undefined` where the value itself is shown: nothing was deleted, or it was too long ago.
   */
  patched(tenant: string, version: number, key: string): string | undefined {
    return this.notesOf(this.namespaceOf(tenant)).find(version, key);
  }

  private notesOf(namespace: string): PatchNotes {
    let notes = this.notes.get(namespace);
    if (notes === undefined) {
      notes = new PatchNotes((version, key, shown) => this.onPatched?.(namespace, version, key, shown));
      this.notes.set(namespace, notes);
    }
    return notes;
  }
}

/** The records of a namespace; `""`: the store's own. */
export function facesOf(store: Store<unknown, unknown>, namespace: string): Faces {
  return facesWith(namespace, (encodings) =>
    namespace === "" ? store.withEncodings(encodings) : store.sub(namespace, encodings),
  );
}

/** The faces of a namespace, from what gives its records in encodings of keys and values. */
export function facesWith(namespace: string, recordsIn: (encodings: FaceEncodings) => unknown): Faces {
  const face = <K extends "utf8" | "binary", V extends "utf8" | "binary">(keyEncoding: K, valueEncoding: V) =>
    // A view is of the kind that its store makes, which the types of both kinds cannot tell.
    recordsIn({ keyEncoding, valueEncoding }) as Records<KeyOf<K>, ValueOf<V>>;
  return {
    text: face("utf8", "utf8"),
    textToBytes: face("utf8", "binary"),
    bytesToText: face("binary", "utf8"),
    bytes: face("binary", "binary"),
    isRoot: namespace === "",
  };
}

/** How a face encodes its keys and values. */
export interface FaceEncodings {
  keyEncoding: "utf8" | "binary";
  valueEncoding: "utf8" | "binary";
}
