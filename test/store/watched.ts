/** What a store was written, as an oracle for watchers: every change in the order of commits, and the state after it. */
import type { Store } from "../../store/store.ts";
import type { Change, Watch } from "../../store/watch.ts";
import type { Random } from "./random.ts";

/** A store with a record of what was done to it. */
export class Recorded {
  store: Store;
  readonly state = new Map<string, string>();
  readonly changes: Change[] = [];
  private readonly random: Random;
  private readonly keyCount: number;
  private count = 0;

  constructor(store: Store, random: Random, keyCount: number) {
    this.store = store;
    this.random = random;
    this.keyCount = keyCount;
  }

  /** One write of a random kind. */
  async write(): Promise<void> {
    const { store, random, state } = this;
    const key = this.key();
    const value = this.value();
    switch (random.below(12)) {
      case 0:
        await store.put(key, value);
        return this.note([[key, value]]);
      case 1:
        return this.deleted(key, store.delete(key));
      case 2: {
        const operations = Array.from({ length: 1 + random.below(20) }, () => {
          const of = this.key();
          return random.below(3) === 0
            ? { type: "delete" as const, key: of }
            : { type: "set" as const, key: of, value: this.value() };
        });
        const done = store.batch(operations);
        this.noteBatch(operations.map((each) => [each.key, each.type === "set" ? each.value : undefined]));
        await done;
        return;
      }
      case 3: {
        const list: [string, string | undefined][] = [];
        store.transaction((tx) => {
          for (let i = random.below(5); i >= 0; i--) {
            const of = this.key();
            const isDeleted = random.below(3) === 0;
            const next = isDeleted ? undefined : this.value();
            if (next === undefined) tx.delete(of);
            else tx.set(of, next);
            list.push([of, next]);
          }
        });
        // A transaction writes the last state of each key, and nothing for one that it made and deleted.
        const last = new Map(list);
        return this.noteBatch([...last].filter(([of, next]) => next !== undefined || state.has(of)));
      }
      case 4: {
        const gte = this.key();
        const lt = `${gte.slice(0, 2)}z`;
        const gone = [...state.keys()].filter((of) => of >= gte && of < lt).sort();
        store.clear({ gte, lt });
        return this.note(gone.map((of) => [of, undefined]));
      }
      case 5:
        store.append(key, "+");
        return this.note([[key, `${state.get(key) ?? ""}+`]]);
      case 6:
        store.update(key, (old) => (old === undefined ? value : undefined));
        return this.note([[key, state.has(key) ? undefined : value]]);
      default:
        store.set(key, value);
        return this.note([[key, value]]);
    }
  }

  /** What a watcher of a range should have seen after a version. */
  since(version: number, covers: (key: string) => boolean): Change[] {
    return this.changes.filter((change) => change.version > version && covers(change.key));
  }

  /** Each key's latest change after a version. */
  latest(version: number, covers: (key: string) => boolean): Change[] {
    const last = new Map<string, Change>();
    for (const change of this.since(version, covers)) {
      last.delete(change.key);
      last.set(change.key, change);
    }
    return [...last.values()];
  }

  private deleted(key: string, wasThere: boolean): void {
    if (wasThere) this.note([[key, undefined]]);
  }

  private noteBatch(list: [string, string | undefined][]): void {
    const last = new Map<string, string | undefined>();
    const there = new Set(this.state.keys());
    for (const [key, value] of list) {
      // A deletion of what is not there changes nothing.
      if (value === undefined && !there.has(key)) continue;
      if (value === undefined) there.delete(key);
      else there.add(key);
      last.delete(key);
      last.set(key, value);
    }
    this.note([...last]);
  }

  private note(list: [string, string | undefined][]): void {
    const { version } = this.store;
    for (const [key, value] of list) {
      if (value === undefined) this.state.delete(key);
      else this.state.set(key, value);
      this.changes.push(value === undefined ? { type: "delete", key, version } : { type: "set", key, value, version });
    }
  }

  private key(): string {
    return `k${this.random.below(4)}${this.random.below(this.keyCount)}`;
  }

  private value(): string {
    const size = [3, 100, 200, 5000, 20_000][[0, 0, 0, 1, 1, 2, 3, 4][this.random.below(8)] as number] as number;
    return `${this.count++}:${"v".repeat(size)}`;
  }
}

/**
 * What is wrong with what a watcher saw, which may have been slow: each change once and as it was, in the order of versions, and the
 * last one of each key.
 */
export function faultIn(
  seen: readonly Change[],
  all: readonly Change[],
  latest: readonly Change[],
): string | undefined {
  const idOf = ({ key, version, type, value }: Change): string => `${version} ${type} ${key} ${value}`;
  const known = new Set(all.map(idOf));
  const ids = new Set<string>();
  let version = 0;
  for (const change of seen) {
    const id = idOf(change);
    if (!known.has(id)) return `${id.slice(0, 60)} never was`;
    if (ids.has(id)) return `${id.slice(0, 60)} came twice`;
    if (change.version < version) return `${id.slice(0, 60)} came after version ${version}`;
    version = change.version;
    ids.add(id);
  }
  const missing = latest.find((change) => !ids.has(idOf(change)));
  return missing === undefined ? undefined : `${idOf(missing).slice(0, 60)} is missing`;
}

/** The next changes, one after the other. */
export async function take<K, V>(watch: Watch<K, V>, count: number): Promise<Change<K, V>[]> {
  const changes: Change<K, V>[] = [];
  while (changes.length < count) {
    const { done, value } = await watch.next();
    if (done === true) throw new Error(`the watch ended after ${changes.length} of ${count} changes`);
    changes.push(value);
  }
  return changes;
}

/** A change in short. */
export const told = ({ type, key, value }: Change): string => (type === "set" ? `${key}=${value}` : `-${key}`);
