/** The calls of one client on the one store, and what the owner holds for it: walks, watches, snapshots, transactions, backups. */
import { type BatchOperation, deleteOperation, type SubOperation, setOperation } from "../batch.ts";
import type { CompactOptions } from "../compaction.ts";
import type { DeleteOptions, WriteOptions } from "../entry.ts";
import type { VerifyProgress } from "../verify.ts";
import { ClientViews, type WireStore, type WireStores } from "./faces.ts";
import { ServedBackups } from "./served-backups.ts";
import { ServedWalks, shownValue, type WalkKind } from "./served-walks.ts";
import { ServedWatch } from "./served-watch.ts";
import type { WireBytes, WireCall, WireFace, WireOperation, WireRange, WireWatch, WireWatching } from "./wire.ts";

/** A buffer of at least this size is handed over, not copied. */
const TRANSFER_SIZE_MIN = 4096;

/** What goes with a call. */
export interface RunExtras {
  /** Takes buffers that may be handed over. */
  transfer?: ArrayBuffer[] | undefined;
  onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/** See above. */
export class ServedCalls {
  readonly walks = new ServedWalks();
  readonly views: ClientViews;
  readonly backups: ServedBackups;
  private readonly watches = new Map<number, ServedWatch>();
  private readonly stores: WireStores;
  private readonly life: string;
  private watchNext = 1;

  /** `life` names the opening of the store, where that is more than this owner's. */
  constructor(stores: WireStores, owner: string, life = owner) {
    this.stores = stores;
    this.life = life;
    this.views = new ClientViews(stores, owner);
    this.backups = new ServedBackups(owner);
  }

  /** Watches that were begun and not ended. */
  get watchCount(): number {
    return this.watches.size;
  }

  /** How far the watches are that have nothing to give. */
  places(): [watch: number, version: number][] {
    const places: [number, number][] = [];
    for (const [id, watch] of this.watches) if (watch.isIdle) places.push([id, watch.version]);
    return places;
  }

  /** Ends all that was begun and not ended. */
  end(): void {
    this.walks.endAll();
    for (const watch of this.watches.values()) watch.stop();
    this.watches.clear();
    this.views.end();
    this.backups.endAll();
  }

  /**
   * Does a call on a face; its arguments are those from `at` on. What it came to, or a promise of that; throws what the store throws.
   * What a call gives may be looked at until the next call.
   */
  run(face: WireFace, call: WireCall, args: unknown[], at: number, { transfer, onProgress }: RunExtras): unknown {
    const first = args[at] as WireBytes;
    const { views, walks, backups } = this;
    switch (call) {
      case "next":
        return walks.next(face, args[at] as number, args[at + 1] as number, args[at + 2] as WireBytes | undefined);
      case "end":
        return walks.end(args[at] as number);
      case "watch":
        return this.watch(face, args[at] as WireWatch);
      case "changes": {
        const watch = this.watches.get(args[at] as number);
        return watch === undefined ? { items: [], version: 0, done: true } : watch.take();
      }
      case "unwatch":
        this.watches.get(args[at] as number)?.stop();
        this.watches.delete(args[at] as number);
        return undefined;
      case "snapshot":
        return views.snapshot();
      case "release":
        return views.release(args[at] as number);
      case "begin":
        return views.begin();
      case "commit":
        return views.commit(face.view);
      case "rollback":
        return views.rollback(face.view);
      case "backup":
        return backups.begin(this.stores.at([]), args[at] as number | undefined);
      case "backupPart":
        return backups.part(args[at] as number);
      case "backupEnd":
        return backups.end(args[at] as number);
    }
    const target = views.target(face);
    switch (call) {
      case "get":
        return handOver(shownValue(target.get(first), face), transfer);
      case "getEntry": {
        const entry = target.getEntry(first);
        return entry && { ...entry, value: handOver(shownValue(entry.value, face), transfer) };
      }
      case "has":
        return target.has(first);
      case "getMany":
        return target.getMany(args[at] as WireBytes[]).then((found) => found.map((value) => shownValue(value, face)));
      case "count":
        return target.count(args[at] as WireRange as object);
      case "walk":
        return walks.begin(target, face, args[at] as WalkKind, args[at + 1] as WireRange, args[at + 2] as number);
    }
    // Clients send nothing of this through snapshots; a server makes sure.
    return this.write(target as WireStore, call, args, at, onProgress);
  }

  /** What changes a store, or is about all of it. Of a transaction, the part that it has. */
  private write(
    store: WireStore,
    call: WireCall,
    args: unknown[],
    at: number,
    onProgress: ((progress: VerifyProgress) => void) | undefined,
  ): unknown {
    const first = args[at] as WireBytes;
    switch (call) {
      case "set":
        return store.set(first, args[at + 1] as WireBytes, args[at + 2] as WriteOptions | undefined);
      case "put":
        return store.put(first, args[at + 1] as WireBytes, args[at + 2] as WriteOptions | undefined);
      case "delete":
        return store.delete(first, args[at + 1] as DeleteOptions | undefined);
      case "del":
        return store.del(first, args[at + 1] as DeleteOptions | undefined);
      case "append":
        return store.append(first, args[at + 1] as WireBytes);
      case "patch":
        return store.patch(first, args[at + 1] as number, args[at + 2] as WireBytes);
      case "increment":
        return store.increment(first, args[at + 1] as bigint);
      case "batch": {
        const batch = store.batch();
        for (const [key, value, options, path] of args[at] as WireOperation[]) {
          const part = path === undefined ? batch : batch.in(this.stores.at(path));
          if (value === undefined) part.delete(key, options);
          else part.set(key, value, options);
        }
        return batch.commit();
      }
      case "batchDurable":
        return store.batch((args[at] as WireOperation[]).map((operation) => this.operation(operation)));
      case "clear": {
        const { gte, lt } = args[at] as WireRange;
        return gte === undefined && lt === undefined ? store.clear() : store.clear({ gte, lt } as object);
      }
      case "flush":
        return store.flush();
      case "stats":
        return store.stats();
      case "compact":
        return store.compact(args[at] as CompactOptions);
      case "verify":
        return store.verify(args[at] === true && onProgress !== undefined ? { onProgress } : {});
    }
    return undefined;
  }

  private operation([key, value, options, path]: WireOperation): BatchOperation<WireBytes, WireBytes> | SubOperation {
    const operation =
      value === undefined
        ? deleteOperation<WireBytes, WireBytes>(key, options)
        : setOperation<WireBytes, WireBytes>(key, value, options);
    return path === undefined ? operation : { ...operation, sub: this.stores.at(path) };
  }

  private watch({ path }: WireFace, terms: WireWatch): WireWatching {
    const { what, since, owner, bufferBytes } = terms;
    // What another life lost nobody saw: of what came back there is nothing to leave out.
    const isFromAnother = since !== undefined && owner !== undefined && owner !== this.life;
    const start = isFromAnother ? Math.min(since as number, this.stores.at([]).recoveredVersion) : since;
    const watch = this.stores.at(path).watch(what as WireBytes[], { since: start, bufferBytes });
    const id = this.watchNext++;
    this.watches.set(id, new ServedWatch(watch));
    return { watch: id, version: watch.version };
  }
}

/** Large bytes are ours alone, and go without a copy. */
export function handOver(value: WireBytes | undefined, transfer: ArrayBuffer[] | undefined): WireBytes | undefined {
  if (value instanceof Uint8Array && value.length >= TRANSFER_SIZE_MIN) transfer?.push(value.buffer as ArrayBuffer);
  return value;
}
