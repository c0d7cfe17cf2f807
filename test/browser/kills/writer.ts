/** Writes to a store, or through a connection, until it is stopped or its thread ends, and tells what was acknowledged. */
import type { Connection, Store } from "../../../hosts/browser.ts";
import { operationOf, writtenBy, writtenValue } from "./operations.ts";

/** What lies in a store. */
export interface Found {
  /** Each key with the number of the operation that wrote its value. */
  entries: [key: string, index: number][];
  /** Keys whose values no operation has written there. */
  wrong: string[];
  /** What a verification says of it. */
  faults: string[];
}

/** How far a writer is: what came since it told last. */
export interface Progress {
  acknowledged: number[];
  failed: [index: number, code: string][];
  issued: number;
  /** Which time it tells, from 1. */
  count: number;
}

/** Who writes what. */
export interface Order {
  seed: number;
  writer: string;
  /** Operations under way at once, at most. */
  inFlight: number;
}

type Face = Store | Connection;

/** Operations in a row after which a writer whose calls are all done at once lets others have their turn. */
const TURN_COUNT = 20;

/** Looks at everything that is there. */
export async function look(store: Face, seed: number): Promise<Found> {
  const found: Found = { entries: [], wrong: [], faults: [] };
  for await (const [key, value] of store.entries()) {
    const index = writtenBy(seed, key, value);
    if (index === undefined) found.wrong.push(`${key}: ${value.length} characters, ${value.slice(0, 40)}`);
    else found.entries.push([key, index]);
  }
  const { faults, ok } = await store.verify();
  found.faults = faults.map((fault) => JSON.stringify(fault));
  if (!ok && faults.length === 0) found.faults.push("not ok");
  return found;
}

/** See above. */
export class Writer {
  private readonly store: Face;
  private readonly order: Order;
  private readonly tell: (progress: Progress) => void;
  private readonly turns = new MessageChannel();
  private news: Progress = { acknowledged: [], failed: [], issued: 0, count: 1 };
  private isTelling = false;
  private isGoing = false;
  private pending = new Set<Promise<void>>();
  private running: Promise<void> | undefined;

  constructor(store: Face, order: Order, tell: (progress: Progress) => void) {
    this.store = store;
    this.order = order;
    this.tell = tell;
    this.turns.port1.onmessage = () => this.tellNow();
  }

  /** Begins with the operation of a number. */
  start(from: number): void {
    this.isGoing = true;
    this.running = this.run(from);
  }

  /** Begins nothing more, waits for what is under way, and tells of it: how often it has told. */
  async stop(): Promise<number> {
    this.isGoing = false;
    await this.running;
    await Promise.all(this.pending);
    this.tellNow();
    return this.news.count - 1;
  }

  private async run(from: number): Promise<void> {
    for (let index = from; this.isGoing; index++) {
      this.news.issued = index;
      const done = this.perform(index).then(
        () => void this.news.acknowledged.push(index),
        (error) => void this.news.failed.push([index, error.code ?? String(error)]),
      );
      const settled = done.then(() => {
        this.pending.delete(settled);
        this.tellSoon();
      });
      this.pending.add(settled);
      if (this.pending.size >= this.order.inFlight) await Promise.race(this.pending);
      if (index % TURN_COUNT === 0) await new Promise((resolve) => setTimeout(resolve));
    }
  }

  private async perform(index: number): Promise<unknown> {
    const { store } = this;
    const { seed, writer } = this.order;
    const { call, writes } = operationOf(seed, writer, index);
    if (call === "flush") return store.flush();
    const [{ key, size = 0 }] = writes as [(typeof writes)[0]];
    if (call === "put") return store.put(key, writtenValue(writer, index, size));
    if (call === "set") return store.set(key, writtenValue(writer, index, size));
    if (call === "del" || call === "delete") return store[call](key);
    const batch = store.batch();
    for (const write of writes) {
      if (write.size === undefined) batch.delete(write.key);
      else batch.set(write.key, writtenValue(writer, index, write.size));
    }
    return call === "batch" ? batch.commitDurable() : batch.commit();
  }

  private tellSoon(): void {
    if (this.isTelling) return;
    this.isTelling = true;
    this.turns.port2.postMessage(undefined);
  }

  private tellNow(): void {
    this.isTelling = false;
    const { news } = this;
    this.news = { acknowledged: [], failed: [], issued: news.issued, count: news.count + 1 };
    this.tell(news);
  }
}
