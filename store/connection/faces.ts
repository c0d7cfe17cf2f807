/**
 * What the owner of a store holds for its clients: faces for the namespaces that their calls name, their snapshots, and
 * their transactions.
 */
import type { Codec } from "../encoding.ts";
import { CairnError } from "../error.ts";
import type { Snapshot } from "../snapshot.ts";
import type { Store } from "../store.ts";
import type { Transaction } from "../transaction.ts";
import type { WireBytes, WireFace, WireView } from "./wire.ts";

/** What a store over the wire holds: keys and values in encoded form, which come out as bytes. */
export type WireStore = Store<WireBytes, WireBytes>;
export type WireSnapshot = Snapshot<WireBytes, WireBytes>;
export type WireTransaction = Transaction<WireBytes, WireBytes>;
/** What is held of a snapshot. */
export type HeldSnapshot = Pick<WireSnapshot, "in" | "version"> & { close(): unknown };
/** What calls are done on. */
export type WireTarget = WireStore | WireSnapshot | WireTransaction;
/** What passes keys and values on as they came. */
export type WireCodec = Codec<WireBytes>;

/** Namespaces whose faces are kept. */
const STORE_COUNT_MAX = 256;

/** See above. Clients get bytes, or text, from what it decodes to. */
export const WIRE_CODEC: WireCodec = { name: "wire", encode: (value) => value, decode: (bytes) => bytes };

/** A transaction of a client. Its function on this side is a promise that the client settles. */
interface Held {
  tx: WireTransaction;
  finish(): void;
  giveUp(): void;
  /** Whether it was done, on stable storage. */
  done: Promise<boolean>;
}

/** The namespaces of a store, by the names that lead there. */
export class WireStores {
  private readonly root: WireStore;
  private readonly encoding: WireCodec | "binary";
  private readonly known = new Map<string, WireStore>();

  /** `encoding` is that of the root's keys and values: `"binary"` where clients send bytes alone. */
  constructor(root: WireStore, encoding: WireCodec | "binary" = WIRE_CODEC) {
    this.root = root;
    this.encoding = encoding;
  }

  /** The face of a namespace. */
  at(path: readonly string[]): WireStore {
    if (path.length === 0) return this.root;
    const place = JSON.stringify(path);
    let found = this.known.get(place);
    if (found === undefined) {
      const { encoding } = this;
      found = this.root;
      for (const name of path) {
        found = found.sub(name, { keyEncoding: encoding, valueEncoding: encoding }) as unknown as WireStore;
      }
      if (this.known.size === STORE_COUNT_MAX) this.known.clear();
      this.known.set(place, found);
    }
    return found;
  }
}

/** The snapshots and transactions of one client. */
export class ClientViews {
  private readonly stores: WireStores;
  private readonly owner: string;
  private readonly snapshots = new Map<number, HeldSnapshot>();
  private readonly transactions = new Map<number, Held>();
  /** When each was used last, by `performance.now()`. */
  private readonly usedAt = new Map<number, number>();
  private next = 1;

  constructor(stores: WireStores, owner: string) {
    this.stores = stores;
    this.owner = owner;
  }

  /** How many snapshots are open. */
  get snapshotCount(): number {
    return this.snapshots.size;
  }

  /** How many transactions have not ended. */
  get transactionCount(): number {
    return this.transactions.size;
  }

  /** What a view is; `undefined` for one that has ended, and that never was. */
  kindOf(view: number): "snapshot" | "transaction" | undefined {
    if (this.snapshots.has(view)) return "snapshot";
    return this.transactions.has(view) ? "transaction" : undefined;
  }

  /** What calls with this face are done on. `SNAPSHOT_EXPIRED` when it is no longer there. */
  target({ path, view }: WireFace): WireTarget {
    const store = this.stores.at(path);
    if (view === undefined) return store;
    const found = this.snapshots.get(view) ?? this.transactions.get(view)?.tx;
    if (found !== undefined) {
      this.usedAt.set(view, performance.now());
      return found.in(store);
    }
    throw new CairnError("SNAPSHOT_EXPIRED", "view", "the snapshot, or the transaction, has ended. Begin a new one.");
  }

  /** Takes a snapshot. */
  snapshot(): WireView & { version: number } {
    return this.hold(this.stores.at([]).snapshot());
  }

  /** Holds a snapshot of the store, and closes it in the end. */
  hold(snapshot: HeldSnapshot): WireView & { version: number } {
    const view = this.next++;
    this.snapshots.set(view, snapshot);
    this.usedAt.set(view, performance.now());
    return { view, owner: this.owner, version: snapshot.version };
  }

  /** Closes a snapshot. */
  release(view: number): void {
    this.snapshots.get(view)?.close();
    this.snapshots.delete(view);
    this.usedAt.delete(view);
  }

  /** Begins a transaction, which runs once; it is repeated by its client. */
  begin(): WireView | Promise<unknown> {
    const held: Partial<Held> = {};
    const body = new Promise<void>((resolve, reject) => {
      held.finish = resolve;
      held.giveUp = () => reject(new CairnError("CLOSED", "transact", "transact: it was given up."));
    });
    const run = (tx: WireTransaction): Promise<void> => {
      held.tx = tx;
      return body;
    };
    const done = this.stores.at([]).transact(run, { retries: 0 });
    // It begins at once, unless it is refused.
    if (held.tx === undefined) return done;
    held.done = done.then(
      () => true,
      (error) => {
        if ((error as CairnError).code === "CONFLICT") return false;
        throw error;
      },
    );
    held.done.catch(() => undefined);
    const view = this.next++;
    this.transactions.set(view, held as Held);
    this.usedAt.set(view, performance.now());
    return { view, owner: this.owner };
  }

  /** Ends a transaction: whether it was done. */
  commit(view: number | undefined): Promise<boolean> {
    const held = this.take(view);
    held.finish();
    return held.done;
  }

  /** Gives a transaction up. */
  rollback(view: number | undefined): void {
    this.take(view).giveUp();
  }

  /** Ends those that were last used before a time of `performance.now()`. */
  endUnused(before: number): void {
    for (const [view, at] of [...this.usedAt]) {
      if (at >= before) continue;
      if (this.transactions.has(view)) this.rollback(view);
      else this.release(view);
    }
  }

  /** Ends everything. */
  end(): void {
    for (const snapshot of this.snapshots.values()) snapshot.close();
    for (const { giveUp } of this.transactions.values()) giveUp();
    this.snapshots.clear();
    this.transactions.clear();
    this.usedAt.clear();
  }

  private take(view = 0): Held {
    const held = this.transactions.get(view);
    this.transactions.delete(view);
    this.usedAt.delete(view);
    if (held !== undefined) return held;
    throw new CairnError("SNAPSHOT_EXPIRED", "transact", "transact: the transaction has ended. Begin a new one.");
  }
}

/** What is decoded to bytes as its client wants it, with no more of a buffer than is shown. */
export function shownBytes(value: WireBytes, isText: boolean, decoder: TextDecoder): WireBytes {
  if (typeof value === "string") return value;
  if (isText) return decoder.decode(value);
  // A small result is a view on a slab, which would be cloned as a whole.
  return value.length === value.buffer.byteLength ? value : value.slice();
}
