/**
 * Each system call of a store over a real file fails in turn, in every way that it can: opening with its lock, writing, growing,
 * reading, compaction, closing. Whatever fails, the error is a `CairnError`, no descriptor stays open, the lock is given up,
 * and what was acknowledged is there when the file is opened again.
 */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { CairnError, type CairnErrorCode } from "../../store/error.ts";
import type { Store } from "../../store/store.ts";
import { openOfRuntime, RUNTIME } from "../runtime.ts";
import { openBelow, scratchFolder } from "./scratch.ts";

/** What is called, and which call of it fails how. */
const plan = vi.hoisted(() => ({
  isOpen: false,
  count: 0,
  at: -1,
  kind: "",
  struck: "",
  /** Whether a call of a name can fail so. */
  applies: (_name: string): boolean => true,
  /** How this call fails; `undefined` when it does not. */
  meet(name: string): string | undefined {
    if (!this.isOpen || !this.applies(name)) return undefined;
    const at = this.count++;
    if (at !== this.at) return undefined;
    this.struck = name;
    return this.kind;
  },
}));

vi.mock("node:fs", async (importOriginal) => {
  const actual = await importOriginal<typeof fs>();
  type Call = (...args: unknown[]) => unknown;
  const failure = (code: string): Error => Object.assign(new Error(`${code}: planted`), { code });
  const paths = ["openSync", "statSync", "lstatSync", "realpathSync", "linkSync", "unlinkSync", "renameSync", "rmSync"];
  const others = ["closeSync", "fstatSync", "fdatasyncSync", "ftruncateSync", "readFileSync", "futimesSync"];
  const mocked: Record<string, unknown> = {};
  const of = (name: string): Call => (actual as unknown as Record<string, Call>)[name] as Call;
  for (const name of [...paths, ...others]) {
    mocked[name] = (...args: unknown[]) => {
      const kind = plan.meet(name);
      // A descriptor is closed also when that fails.
      if (name === "closeSync" && kind !== undefined) of(name)(...args);
      if (kind !== undefined) throw failure(kind);
      return of(name)(...args);
    };
  }
  for (const name of ["readSync", "writeSync"]) {
    mocked[name] = (...args: unknown[]) => {
      const kind = plan.meet(name);
      // A lock file is written as one string.
      if (kind === undefined || (kind === "short" && typeof args[1] === "string")) return of(name)(...args);
      if (kind === "zero") return 0;
      if (kind !== "short") throw failure(kind);
      args[3] = Math.ceil((args[3] as number) / 2);
      return of(name)(...args);
    };
  }
  for (const name of ["read", "readv", "write", "fdatasync"]) {
    mocked[name] = (...args: unknown[]) => {
      const kind = plan.meet(name);
      const settled = args.at(-1) as (cause: unknown, count?: number) => void;
      if (kind === undefined) return of(name)(...args);
      if (kind === "zero") return void setImmediate(() => settled(null, 0));
      if (kind !== "short") return void setImmediate(() => settled(failure(kind)));
      if (name !== "readv") args[3] = Math.ceil((args[3] as number) / 2);
      return of(name)(...args);
    };
  }
  const promises = {
    ...actual.promises,
    open: async (...args: Parameters<typeof actual.promises.open>) => {
      const kind = plan.meet("promises.open");
      if (kind !== undefined) throw failure(kind);
      const handle = await actual.promises.open(...args);
      const sync = handle.sync.bind(handle);
      handle.sync = async () => {
        const failed = plan.meet("handle.sync");
        if (failed !== undefined) throw failure(failed);
        await sync();
      };
      return handle;
    },
  };
  return { ...actual, ...mocked, promises, default: { ...actual, ...mocked, promises } };
});

const open = await openOfRuntime();
const folder = scratchFolder();
const MIB = 1_048_576;
const OPTIONS = { memoryBytes: 16 * MIB, writeBufferBytes: 262_144, cacheBytes: 0, durability: "manual" } as const;
const VALUE = "v".repeat(30_000);
let pathCount = 0;

afterEach(() => {
  plan.isOpen = false;
});

/** What a run has been told is durable, and what it wrote. */
interface Told {
  durable: Map<string, string>;
  written: Map<string, Set<string>>;
}

function wrote(told: Told, key: string, value: string): void {
  const values = told.written.get(key) ?? new Set();
  values.add(value);
  told.written.set(key, values);
}

async function use(path: string, told: Told): Promise<void> {
  const store = await open(path, OPTIONS);
  try {
    const durable = (...pairs: [string, string][]): void => {
      for (const [key, value] of pairs) told.durable.set(key, value);
    };
    for (let i = 0; i < 12; i++) {
      wrote(told, `key ${i}`, VALUE + i);
      store.set(`key ${i}`, VALUE + i);
    }
    await store.flush();
    for (let i = 0; i < 12; i++) durable([`key ${i}`, VALUE + i]);
    wrote(told, "small", "1");
    await store.put("small", "1");
    durable(["small", "1"]);
    for (let i = 0; i < 12; i += 2) {
      const value = `new ${i}`;
      wrote(told, `key ${i}`, value);
      told.durable.delete(`key ${i}`);
      store.set(`key ${i}`, value);
    }
    store.flushSync();
    for (let i = 0; i < 12; i += 2) durable([`key ${i}`, `new ${i}`]);
    check(store, "key 1", told);
    expect(await store.getAsync("key 3")).toBe(told.durable.get("key 3"));
    for await (const [key, value] of store.entries({ gte: "key 5" })) expect(told.durable.get(key)).toBe(value);
    await store.compact({ full: true });
  } finally {
    await store.close();
  }
}

function check(store: Store, key: string, { durable }: Told): void {
  expect(store.get(key)).toBe(durable.get(key));
}

/** What was acknowledged is there, and nothing that was never written. */
async function expectKept(path: string, { durable, written }: Told): Promise<void> {
  const store = await open(path, OPTIONS);
  for (const [key, value] of durable) expect(store.get(key), key).toBe(value);
  for (const [key, value] of store.entries()) expect(written.get(key)?.has(value), key).toBe(true);
  expect((await store.verify()).faults).toEqual([]);
  await store.close();
}

/** Calls that end the use of a lock file: what stays of it is taken over when this process has ended. */
const OF_LOCKS = ["closeSync", "fstatSync", "statSync", "openSync", "readFileSync", "unlinkSync"];
const CODES: readonly CairnErrorCode[] = [
  "DEVICE_READ",
  "DEVICE_WRITE",
  "DEVICE_SHRUNK",
  "NO_SPACE",
  "POISONED",
  "LOCKED",
];
/** Milliseconds that each kind of failure may take. */
const KIND_MS_MAX = 8000;
const STEP = 7;
/** Which calls can fail how. */
const APPLIES: Record<string, (name: string) => boolean> = {
  EIO: () => true,
  EACCES: (name) => /open|stat|link|path|rename/i.test(name),
  ENOSPC: (name) => /^(write|fdatasync|ftruncate|open|link|promises|handle)/.test(name),
  short: (name) => /^(read|write)(Sync)?$/.test(name),
  zero: (name) => /^(read|readv|write)(Sync)?$/.test(name),
};

for (const [kind, applies] of Object.entries(APPLIES)) {
  test(`${kind} from each system call in turn`, async () => {
    let trials = 0;
    const names = new Set<string>();
    const end = performance.now() + KIND_MS_MAX;
    // In steps, so that a slow machine tries some of all of them.
    for (let first = 0, at = 0; first < STEP && performance.now() < end; at += STEP) {
      const path = join(folder, `store-${pathCount++}`);
      const told: Told = { durable: new Map(), written: new Map() };
      Object.assign(plan, { count: 0, at, kind, struck: "", isOpen: true, applies });
      let thrown: unknown;
      let failed = false;
      try {
        await use(path, told);
      } catch (error) {
        thrown = error;
        failed = true;
      }
      plan.isOpen = false;
      const { struck } = plan;
      const where = `call ${at}, ${struck}`;
      if (struck === "") {
        expect(failed, String(thrown)).toBe(false);
        for (const suffix of ["", ".lock"]) fs.rmSync(path + suffix, { force: true });
        first++;
        at = first - STEP;
        continue;
      }
      trials++;
      names.add(struck);
      if (failed) {
        expect(thrown, `${where}: ${(thrown as Error)?.stack}`).toBeInstanceOf(CairnError);
        expect(CODES, `${where}: ${thrown}`).toContain((thrown as CairnError).code);
      }
      if (kind === "short") expect(failed, `${where}: ${(thrown as Error)?.stack}`).toBe(false);
      // A sync that is in flight may take seconds on a busy machine.
      await vi.waitFor(() => expect(openBelow(folder), where).toEqual([]), { timeout: 20_000 });
      if (OF_LOCKS.includes(struck)) fs.rmSync(`${path}.lock`, { force: true });
      if (told.durable.size > 0)
        await expectKept(path, told).catch((error) => {
          throw new Error(`${where}: ${error}`, { cause: error });
        });
      for (const suffix of ["", ".lock"]) fs.rmSync(path + suffix, { force: true });
    }
    console.log(`${kind}: ${trials} calls failed, of ${[...names].sort().join(", ")}, on ${RUNTIME}`);
    expect(trials).toBeGreaterThan(5);
  });
}
