/**
 * One store in one life of a child: what is done to it, and what is said of it. It is told how to open a store, and how to speak, so that
 * a test can do the same without a process.
 */
import { setImmediate } from "node:timers";
import type { OpenOptions, Store } from "../../hosts/node.ts";
import { Random } from "../simulation/random.ts";
import type { Order, Saying } from "./protocol.ts";
import { COUNTER, type Step, tagOf, textOf, WINDOW, Workload, type Write } from "./workload.ts";

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

/** How a store is opened. */
export type Opener = (path: string, options: OpenOptions) => Promise<Store>;

/** One store in one life of the child. */
export class Life {
  private readonly path: string;
  private readonly index: number;
  private readonly workload: Workload;
  private readonly options: OpenOptions;
  private readonly isSync: boolean;
  private readonly openStore: Opener;
  private readonly say: (saying: Saying) => void;
  private store!: Store;
  /** Commits issued, and of these durable as far as is known, and as far as it was said. */
  private issued = 0;
  private durable = 0;
  private said = 0;
  private version = 0;
  private failure: { error: unknown } | undefined;

  constructor(order: Order, index: number, openStore: Opener, say: (saying: Saying) => void) {
    this.openStore = openStore;
    this.say = say;
    const { path, seed } = order.stores[index] as Order["stores"][number];
    this.path = path;
    this.index = index;
    this.workload = new Workload(seed, order.life);
    const random = new Random(BigInt(seed)).fork(order.life);
    const durability = random.pick(["interval", "interval", "sync", "manual"] as const);
    this.isSync = durability === "sync";
    this.options = {
      durability,
      flushIntervalMs: random.between(1, 40),
      memoryBytes: 33_554_432,
      cacheBytes: 262_144,
      writeBufferBytes: 262_144 << random.below(2),
      compression: random.chance(0.2) ? "lz4" : "none",
      compaction: { auto: true, garbageRatio: random.pick([0.05, 0.3, 0.6]) },
    };
  }

  async open(verifies: boolean): Promise<void> {
    this.store = await this.openStore(this.path, this.options);
    const faults: string[] = [];
    const entries: [string, string][] = [];
    for (const [key, value] of this.store.entries()) {
      const tag = tagOf(key, value);
      if (tag === undefined) faults.push(`${key} holds other bytes than were written: ${value.slice(0, 60)}`);
      if (this.store.get(key) !== value) faults.push(`${key} is another one by get`);
      entries.push([key, tag ?? ""]);
    }
    if (this.store.count() !== entries.length) faults.push(`${this.store.count()} keys, ${entries.length} in a scan`);
    if (verifies) {
      const report = await this.store.verify();
      for (const fault of report.faults) if (fault.kind !== "superblock") faults.push(JSON.stringify(fault));
    }
    this.say({ type: "open", store: this.index, version: this.store.version, entries, faults });
  }

  async close(): Promise<void> {
    await this.store.close();
    this.say({ type: "closed", store: this.index });
  }

  /** Writes for ever, or until a call fails. */
  async run(): Promise<void> {
    try {
      for (let count = 1; ; count++) {
        await this.do(this.workload.next());
        if (this.failure !== undefined) throw this.failure.error;
        if (this.issued - this.durable >= WINDOW) await this.flush();
        if (count % 8 === 0) await turn();
      }
    } catch (error) {
      await this.fail(error as { code?: string; message: string });
    }
  }

  private async flush(): Promise<void> {
    const { issued } = this;
    await this.store.flush();
    this.acknowledge(issued);
  }

  private acknowledge(commit: number): void {
    if (commit <= this.durable) return;
    this.durable = commit;
    // Promises of a group settle together: one line for all of them.
    queueMicrotask(() => {
      if (this.said === this.durable) return;
      this.said = this.durable;
      this.say({ type: "durable", store: this.index, commit: this.said, version: this.version });
    });
  }

  private async do(step: Step): Promise<void> {
    const { store } = this;
    if (step.writes.length > 0) {
      await this.write(step, ++this.issued);
      return;
    }
    if (step.kind === "flush") await this.flush();
    else if (step.kind === "flushSync") {
      store.flushSync();
      this.acknowledge(this.issued);
    } else if (step.kind === "compact") await store.compact({ full: true });
    else if (step.kind === "scan") for await (const [key] of store.entries({ limit: 40 })) store.has(key);
    else if (step.kind === "reopen") {
      await store.close();
      // A close says nothing of a failure that a promise has told of meanwhile.
      if (this.failure !== undefined) throw this.failure.error;
      this.acknowledge(this.issued);
      this.store = await this.openStore(this.path, this.options);
    }
  }

  private async write({ kind, writes, waits }: Step, commit: number): Promise<void> {
    const { store } = this;
    const [key, tag] = writes[0] as Write;
    const before = store.version;
    let promise: Promise<unknown> | undefined;
    if (kind === "set") store.set(key, textOf(tag as string));
    else if (kind === "delete") store.delete(key);
    else if (kind === "increment") store.increment(COUNTER, BigInt((tag as string).slice(1)));
    else if (kind === "clear") store.clear({ prefix: key });
    else if (kind === "put") promise = store.put(key, textOf(tag as string));
    else if (kind === "del") promise = store.del(key);
    else if (kind === "batch") promise = store.batch(writes.map(operationOf));
    else {
      store.transaction((tx) => {
        for (const [name, its] of writes) {
          tx.get(name);
          if (its === undefined) tx.delete(name);
          else tx.set(name, textOf(its));
        }
      });
    }
    this.version = Math.max(this.version, store.version);
    if (promise !== undefined) {
      const done = promise.then(
        () => this.acknowledge(commit),
        (error) => {
          this.failure ??= { error };
        },
      );
      if (waits) await done;
    } else if (this.isSync && store.version > before) {
      // One that found nothing to delete had nothing to make durable: promises before it may still wait.
      this.acknowledge(commit);
    }
  }

  /** Says what failed, and what it is that the store answers from then on. */
  private async fail(error: { code?: string; message: string }): Promise<void> {
    const { store } = this;
    const afterwards: string[] = [];
    const calls = [() => store.get(COUNTER), () => store.set("late", "."), () => store.flush(), () => store.close()];
    for (const call of calls) {
      try {
        await call();
        afterwards.push("done");
      } catch (refusal) {
        afterwards.push((refusal as { code?: string }).code ?? String(refusal));
      }
    }
    this.say({ type: "failed", store: this.index, code: error.code ?? "", message: String(error.message), afterwards });
  }
}

function operationOf([key, tag]: Write): { type: "delete"; key: string } | { type: "set"; key: string; value: string } {
  return tag === undefined ? { type: "delete", key } : { type: "set", key, value: textOf(tag) };
}
