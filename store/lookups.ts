/**
 * Looking keys up without blocking on the device: `getAsync` and `getMany`.
 *
 * A key whose value is in memory is answered at once. For another one the core plans the reads; when they have landed the
 * key is looked up again, so the answer is what it holds then, also when it was changed meanwhile. A value of more than
 * a part is read part by part, all of one version.
 */
import { type ColdReads, failureOf, type Waiter } from "./cold.ts";
import {
  AHEAD_BUSY,
  AHEAD_READS,
  ASK_AGAIN,
  ASK_FIRST,
  ASK_NO_READS,
  ASK_READ_NOW,
  AT_MEMORY,
  type Core,
  IN_PIECES,
  RESULT_ASCII_VALUE,
} from "./core.ts";
import type { CursorState, Cursors } from "./cursors.ts";
import { CairnError } from "./error.ts";
import { named } from "./key-errors.ts";
import type { Reader } from "./reader.ts";

/** Bytes of a value that `partAhead` gives at once. */
const PART_SIZE = 65_536;
/** Times that a value is begun anew because it was changed, before it is read in one go. */
const RESTARTS_MAX = 4;
/** Times that a part, or the blocks of a value, are planned before they are read in one go. */
const TRIES_MAX = 4;
/** Keys that one call of the core looks up. */
const GROUP_COUNT = 32;

/** What lookups need of their store. */
export interface LookupPlace {
  core: Core;
  cursors: Cursors;
  cold: ColdReads;
  valueReader: Reader;
  /** The lookups of the core that the store has moved on to; `undefined` while it works on this one. */
  successor(): Lookups | undefined;
  /** Throws when the store takes no calls. */
  ready(operation: string): void;
  /** What to say when the store is being closed and its core still answers; `undefined` when it is not. */
  closing(operation: string): CairnError | undefined;
  /** Puts an encoded key into KEY_A: its size. */
  keyIn(key: unknown, operation: string): number;
  /** Puts an encoded key at a multiple of 8, padded with zeros to one: its size. */
  keyAt(key: unknown, at: number, operation: string): number;
  error(status: number, operation: string): CairnError;
  guard<T>(run: () => T): T;
}

/** A lookup that waits. */
class Lookup implements Waiter {
  claims: number[] = [];
  missing = 0;
  failure: CairnError | undefined;
  tries = 0;
  private readonly lookups: Lookups;
  readonly key: string | Uint8Array;
  readonly operation: string;
  /** What it looks through; `undefined`: at what is there now. */
  readonly view: CursorState | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (cause: unknown) => void;

  constructor(
    lookups: Lookups,
    key: string | Uint8Array,
    operation: string,
    view: CursorState | undefined,
    resolve: (value: unknown) => void,
    reject: (cause: unknown) => void,
  ) {
    this.lookups = lookups;
    this.key = key;
    this.operation = operation;
    this.view = view;
    this.resolve = resolve;
    this.reject = reject;
  }

  landed(): void {
    this.lookups.resume(this);
  }
}

/** The views of reads whose value comes later. */
export interface LaterViews {
  begin(operation: string): CursorState | undefined;
  end(view: CursorState): void;
}

/** The lookups of one store. */
export class Lookups {
  private readonly place: LookupPlace;

  constructor(place: LookupPlace) {
    this.place = place;
  }

  /** The value of a key, as a view sees it or as it is now, or `undefined`. `key` is encoded. */
  get(key: unknown, view?: CursorState, operation = "getAsync"): Promise<unknown> {
    const { place } = this;
    const { cold } = place;
    try {
      const handle = this.handleOf(view, operation);
      const size = place.keyIn(key, operation);
      if (!cold.isCrowded) {
        const status = this.first(size, handle);
        if (status === 0) return Promise.resolve(undefined);
        if (status === AT_MEMORY) return Promise.resolve(this.value(operation));
        return new Promise((resolve, reject) => {
          this.proceed(new Lookup(this, copyOf(key), operation, view, resolve, reject), status);
        });
      }
    } catch (cause) {
      return Promise.reject(this.caught(cause));
    }
    return new Promise((resolve, reject) =>
      this.queue(new Lookup(this, copyOf(key), operation, view, resolve, reject)),
    );
  }

  /**
   * The value of an encoded key: itself where it is in memory, else a promise of what the key held at this call. `later` gives the
   * view that the promise reads through, and is told when that is done with. `size`: of the key, where it lies in KEY_A already.
   */
  soon(key: unknown, operation: string, later: LaterViews, size?: number): unknown {
    const { place } = this;
    let status: number = AHEAD_BUSY;
    if (!place.cold.isCrowded) {
      status = this.first(size ?? place.keyIn(key, operation), 0);
      if (status === 0) return undefined;
      if (status === AT_MEMORY) return this.value(operation);
    }
    let view: CursorState | undefined;
    try {
      view = later.begin(operation);
    } catch {
      // No room for a view: what the key holds when the read has landed has to do.
    }
    const found = new Promise((resolve, reject) => {
      this.proceed(new Lookup(this, copyOf(key), operation, view, resolve, reject), status);
    });
    if (view === undefined) return found;
    const held = view;
    return found.finally(() => later.end(held));
  }

  /** The values of many keys; a foreign codec's are left as bytes. The keys are encoded. */
  async getMany(keys: readonly unknown[]): Promise<unknown[]> {
    const found: unknown[] = new Array(keys.length).fill(undefined);
    const later: Promise<void>[] = [];
    const places: number[] = [];
    const { core, valueReader } = this.place;
    for (let from = 0, to = 0; from < keys.length; from = to) {
      to = this.groupIn(keys, from, places);
      this.place.guard(() => core.exports.getGroup(to - from));
      const cold: number[] = [];
      for (let i = from; i < to; i++) {
        const at = (core.exchangeOut >> 2) + (i - from) * 4;
        const state = core.words[at] as number;
        if (state === 0) continue;
        if (state === 1) {
          const isAscii = ((core.words[at + 1] as number) & RESULT_ASCII_VALUE) !== 0;
          const pointer = (core.words[at + 2] as number) >>> 0;
          try {
            found[i] = valueReader.readLater(pointer, core.words[at + 3] as number, isAscii, "getMany");
          } catch (error) {
            throw named(error, keys[i], valueReader.name);
          }
        } else cold.push(i);
      }
      for (const i of cold) {
        const at = places[i - from] as number;
        const size = core.words[at >> 2] as number;
        core.bytes.copyWithin(core.keyA, at + 8, at + 8 + size);
        const one = this.getOne(keys[i], size, (value) => (found[i] = value));
        later.push(
          one.catch((error: unknown) => {
            throw named(error, keys[i], valueReader.name);
          }),
        );
      }
    }
    await Promise.all(later);
    return found;
  }

  /** The blocks of a lookup have landed. */
  resume(lookup: Lookup): void {
    const { place } = this;
    const { core, cold } = place;
    const { successor } = this;
    if (successor !== undefined) {
      cold.release(lookup);
      successor.begin(lookup);
      return;
    }
    try {
      const closing = place.closing(lookup.operation);
      if (closing === undefined) place.ready(lookup.operation);
      const handle = this.handleOf(lookup.view, lookup.operation);
      const size = place.keyIn(lookup.key, lookup.operation);
      const failure = lookup.failure ?? closing;
      if (failure === undefined && ++lookup.tries < TRIES_MAX) {
        this.proceed(lookup, core.exports.getAhead(size, ASK_AGAIN, handle));
      } else if (failure === undefined || failure.code === "CORRUPT") {
        // What came is not what was written, unless the record moved meanwhile: the core says which.
        this.proceed(lookup, core.exports.getAhead(size, ASK_READ_NOW, handle));
      } else {
        const status = core.exports.getAhead(size, ASK_NO_READS, handle);
        if (status === AHEAD_READS) lookup.reject(failureOf(failure, lookup.operation));
        else this.proceed(lookup, status);
      }
    } catch (cause) {
      lookup.reject(this.caught(cause));
    }
    // A lookup that waits again has taken claims anew, behind those that it had.
    if (lookup.missing === 0) cold.release(lookup);
  }

  /**
   * One value part by part, of the key as it is now, or as a cursor or view sees it; `undefined` when it is not there.
   * `isWhole`: the key has the prefix of its namespace in front already.
   */
  async parts(
    key: string | Uint8Array,
    isWhole: boolean,
    view: CursorState | undefined,
    operation: string,
  ): Promise<Uint8Array | undefined> {
    const { core, cold } = this.place;
    let value: Uint8Array | undefined;
    let version = 0;
    let offset = 0;
    let restarts = 0;
    const part = (ask: number): number => {
      this.place.ready(operation);
      if (this.successor !== undefined) {
        throw expired(operation);
      }
      const handle = this.handleOf(view, operation);
      let size = key.length;
      if (isWhole) core.bytes.set(key as Uint8Array, core.keyA);
      else size = this.place.keyIn(key, operation);
      const status = this.place.guard(() => core.exports.partAhead(size, offset, handle, ask));
      if (status < 0 && status !== STATUS_INVALID_ARGUMENT) throw this.place.error(status, operation);
      if (status === 0) value = undefined;
      if (status !== AT_MEMORY && status !== STATUS_INVALID_ARGUMENT) return status;
      const whole = core.words[core.result + 1] as number;
      const now = core.exports.readVersion();
      if (status < 0 || (value !== undefined && (now !== version || whole !== value.length))) {
        value = undefined;
        offset = 0;
        restarts++;
        return AT_MEMORY;
      }
      version = now;
      if (value === undefined) {
        if (offset !== 0) throw new Error("a value is read from its start");
        value = new Uint8Array(whole);
      }
      const pointer = (core.words[core.result] as number) >>> 0;
      const count = Math.min(PART_SIZE, whole - offset);
      value.set(core.bytes.subarray(pointer, pointer + count), offset);
      offset += count;
      return AT_MEMORY;
    };
    do {
      let status: number = AHEAD_READS;
      if (restarts < RESTARTS_MAX) {
        status = await cold.settle((again) => part(again ? ASK_AGAIN : ASK_FIRST), TRIES_MAX, operation);
      }
      if (status === AHEAD_READS) {
        // In one go, so that nothing comes between.
        do status = part(ASK_READ_NOW);
        while (status !== 0 && (value === undefined || offset < (value as Uint8Array).length));
      }
      if (status === 0) return undefined;
    } while (value === undefined || offset < (value as Uint8Array).length);
    return value;
  }

  /** Where whoever waits here is answered from now on. */
  private get successor(): Lookups | undefined {
    return this.place.successor();
  }

  /** What the core answers for the key in KEY_A at first: it reads at once where that is quick, else it plans. */
  private first(size: number, handle: number): number {
    const { core, cold } = this.place;
    const { pace } = cold;
    const { guard } = this.place;
    if (!pace.readsNow()) return guard(() => core.exports.getAhead(size, ASK_FIRST, handle));
    const start = performance.now();
    const status = guard(() => core.exports.getAhead(size, ASK_READ_NOW, handle));
    pace.took(performance.now() - start);
    return status;
  }

  private handleOf(view: CursorState | undefined, operation: string): number {
    return view === undefined ? 0 : this.place.cursors.handleOf(view, operation);
  }

  private getOne(key: unknown, size: number, take: (value: unknown) => void): Promise<void> {
    const { cold } = this.place;
    const status = cold.isCrowded ? AHEAD_BUSY : this.first(size, 0);
    if (status < 0) throw this.place.error(status, "getMany");
    if (status === 0) return Promise.resolve();
    if (status === AT_MEMORY) {
      take(this.value("getMany"));
      return Promise.resolve();
    }
    return new Promise<void>((resolve, reject) => {
      const done = (value: unknown): void => {
        take(value);
        resolve();
      };
      this.proceed(new Lookup(this, copyOf(key), "getMany", undefined, done, reject), status);
    });
  }

  /** Begins a lookup anew that has waited elsewhere. */
  private begin({ key, operation, view, resolve, reject }: Lookup): void {
    if (view !== undefined) {
      reject(expired(operation));
      return;
    }
    this.queue(new Lookup(this, key, operation, view, resolve, reject));
  }

  /** What the core has answered. */
  private proceed(lookup: Lookup, status: number): void {
    const { operation } = lookup;
    if (status === AHEAD_READS) this.place.cold.take(lookup);
    else if (status === AHEAD_BUSY) this.queue(lookup);
    else if (status === 0) lookup.resolve(undefined);
    else if (status === AT_MEMORY) lookup.resolve(this.value(operation));
    else if (status === IN_PIECES) this.large(lookup);
    else throw this.place.error(status, operation);
  }

  private queue(lookup: Lookup): void {
    const { place } = this;
    place.cold.whenFree(() => {
      const { successor } = this;
      if (successor !== undefined) {
        successor.begin(lookup);
        return true;
      }
      try {
        place.ready(lookup.operation);
        const handle = this.handleOf(lookup.view, lookup.operation);
        const status = place.core.exports.getAhead(place.keyIn(lookup.key, lookup.operation), ASK_FIRST, handle);
        if (status === AHEAD_BUSY) return false;
        this.proceed(lookup, status);
      } catch (cause) {
        lookup.reject(this.caught(cause));
      }
      return true;
    });
  }

  private large(lookup: Lookup): void {
    const { operation } = lookup;
    this.parts(lookup.key, false, lookup.view, operation)
      .then((bytes) => (bytes === undefined ? bytes : this.owned(bytes, operation)))
      .then(lookup.resolve, (error) => {
        const { successor } = this;
        if (successor === undefined) lookup.reject(error);
        else successor.begin(lookup);
      });
  }

  /** The value that the core's result words name; for `getMany` a foreign codec's as bytes. */
  private value(operation: string): unknown {
    const { core, valueReader } = this.place;
    const { words, result } = core;
    const pointer = (words[result] as number) >>> 0;
    const size = words[result + 1] as number;
    const isAscii = ((words[result + 2] as number) & RESULT_ASCII_VALUE) !== 0;
    if (operation === "getMany") return valueReader.readLater(pointer, size, isAscii, operation);
    return valueReader.read(pointer, size, isAscii, operation);
  }

  private owned(bytes: Uint8Array, operation: string): unknown {
    const { valueReader } = this.place;
    return operation === "getMany" && valueReader.isForeign ? bytes : valueReader.own(bytes, operation);
  }

  /** Puts as many keys as a group takes into the exchange area, and notes where: the index behind the last one. */
  private groupIn(keys: readonly unknown[], from: number, places: number[]): number {
    const { core } = this.place;
    let at = core.exchangeIn;
    let to = from;
    for (; to < keys.length && to - from < GROUP_COUNT; to++) {
      const size = this.place.keyAt(keys[to], at + 8, "getMany");
      core.words[at >> 2] = size;
      places[to - from] = at;
      at += 8 + ((size + 7) & ~7);
    }
    return to;
  }

  /** What was caught, as what the store throws: a trap poisons it. */
  private caught(cause: unknown): unknown {
    if (!(cause instanceof WebAssembly.RuntimeError)) return cause;
    try {
      return this.place.guard(() => {
        throw cause;
      });
    } catch (error) {
      return error;
    }
  }
}

const STATUS_INVALID_ARGUMENT = -16;

function expired(operation: string): CairnError {
  const message = `${operation}: the store was refreshed after this iterator or snapshot began. Begin a new one.`;
  return new CairnError("SNAPSHOT_EXPIRED", operation, message);
}

/** A key that its owner may change, as it is now. */
function copyOf(key: unknown): string | Uint8Array {
  return typeof key === "string" ? key : new Uint8Array(key as Uint8Array);
}
