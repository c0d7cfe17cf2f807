/**
 * All that the store's tests need of a runtime: `open`, paths, the environment. On Node, Bun and Deno it takes the entry
 * point of the runtime that it finds itself on; in a browser this module is replaced. The tests whose name starts with
 * `node-` need real files, devices and processes, and run on those three.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { coreHost, runtimeOf } from "../../hosts/opening.ts";
import { type Repair, repairOn } from "../../hosts/repairing.ts";
import { type Restore, type RestoreSnapshot, restoreOn, restoreSnapshotWith } from "../../hosts/restoring.ts";
import type { CheckpointPace } from "../../store/checkpoints.ts";
import type { CoreHost } from "../../store/core.ts";
import type { BlockDevice } from "../../store/device.ts";
import type { KeyEncoding, ValueEncoding } from "../../store/encoding.ts";
import { openStore } from "../../store/open.ts";
import { type KeyOf, type OpenOptions, readOptions, type ValueOf } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import { openOfRuntime } from "../runtime.ts";

export { codeOf, errorOf } from "../thrown.ts";

const openHere = await openOfRuntime();

export { MemoryDevice } from "../../hosts/memory-device.ts";

/** Every store of a test gets so little address space, unless it says otherwise. */
export const MEMORY_BYTES = 64 * 1024 * 1024;

/** What `open` gets where a test says nothing: with CAIRN_COMPRESSION=lz4 the whole suite runs compressed. */
const COMPRESSION = process.env["CAIRN_COMPRESSION"] === "lz4" ? ({ compression: "lz4" } as const) : {};

/** `open`, with little memory. */
export function open<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  target: string | URL | BlockDevice,
  options: OpenOptions<K, V> = {},
): Promise<Store<KeyOf<K>, ValueOf<V>>> {
  return openHere<K, V>(target, { memoryBytes: MEMORY_BYTES, ...COMPRESSION, ...options });
}

/** `repair` of this runtime. */
export const repair: Repair = repairOn(openHere);

/** `restore` of this runtime. */
export const restore: Restore = restoreOn(openHere);

/** `restoreSnapshot` of this runtime. */
export const restoreSnapshot: RestoreSnapshot = restoreSnapshotWith(restore);

/** `open` with nothing added: for what is wrong with its arguments. */
export const openRaw = openHere as (target?: unknown, options?: unknown) => Promise<Store>;

/** What the core needs of this runtime. */
export function host(): Promise<CoreHost> {
  return coreHost(runtimeOf(openHere));
}

/** Opens a device whose segments, when it is formatted now, have so many blocks: as few as they may, 16, by default. */
export async function openTiny<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  device: BlockDevice,
  options: OpenOptions<K, V> = {},
  segmentBlocks = 16,
  checkpoints: CheckpointPace = {},
): Promise<Store<KeyOf<K>, ValueOf<V>>> {
  const settings = readOptions({ memoryBytes: MEMORY_BYTES, ...COMPRESSION, ...options });
  const opening = { device, host: await host(), release: () => device.close(), segmentBlocks, checkpoints };
  return openStore<KeyOf<K>, ValueOf<V>>(opening, settings);
}

/** A new folder, removed after the test file's last test. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cairn-store-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A maker of paths that nothing lies at, in a folder of the test file's own. */
export function scratchPaths(): () => string {
  const folder = scratchFolder();
  let count = 0;
  return () => join(folder, `store-${count++}.cairn`);
}

/** The seed of this run: `CAIRN_SEED`, or a new one. */
export function runSeed(): number {
  const { CAIRN_SEED } = process.env;
  const given = Number(CAIRN_SEED);
  return Number.isSafeInteger(given) && given > 0 ? given : 1 + Math.floor(Math.random() * 0x7fffffff);
}

/** Collects garbage now; `undefined` where a program cannot ask for that. */
export async function garbageCollector(): Promise<(() => void) | undefined> {
  const { Bun } = globalThis as { Bun?: { gc(full: boolean): void } };
  if (Bun !== undefined) return () => Bun.gc(true);
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as (() => void) | undefined;
}

/** Turns of the event loop, so that timers and devices get theirs. */
export function pause(ms = 0): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
