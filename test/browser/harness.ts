/** `test/store/harness.ts` for a browser's dedicated worker: `open` over the origin private file system. */
import { afterAll } from "vitest";
import { open as openInBrowser, repair as repairInBrowser, restore as restoreInBrowser } from "../../hosts/browser.ts";
import { coreHost, runtimeOf } from "../../hosts/opening.ts";
import type { CheckpointPace } from "../../store/checkpoints.ts";
import type { CoreHost } from "../../store/core.ts";
import type { BlockDevice } from "../../store/device.ts";
import type { KeyEncoding, ValueEncoding } from "../../store/encoding.ts";
import { openStore } from "../../store/open.ts";
import { type KeyOf, type OpenOptions, readOptions, type ValueOf } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";

export { MemoryDevice } from "../../hosts/memory-device.ts";
export { codeOf, errorOf } from "../thrown.ts";

export const MEMORY_BYTES = 64 * 1024 * 1024;

/** `open`, with little memory. */
export function open<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  target: string | BlockDevice,
  options: OpenOptions<K, V> = {},
): Promise<Store<KeyOf<K>, ValueOf<V>>> {
  return openInBrowser<K, V>(target, { memoryBytes: MEMORY_BYTES, ...options });
}

export const openRaw = openInBrowser as (target?: unknown, options?: unknown) => Promise<Store>;

/** `repair` of this runtime. */
export const repair = repairInBrowser;

/** `restore` of this runtime. */
export const restore = restoreInBrowser;

/** What the core needs of a browser. */
export function host(): Promise<CoreHost> {
  return coreHost(runtimeOf(openInBrowser));
}

/** Opens a device whose segments, when it is formatted now, are as small as they may be: 16 blocks. */
export async function openTiny<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  device: BlockDevice,
  options: OpenOptions<K, V> = {},
  segmentBlocks = 16,
  checkpoints: CheckpointPace = {},
): Promise<Store<KeyOf<K>, ValueOf<V>>> {
  const settings = readOptions({ memoryBytes: MEMORY_BYTES, ...options });
  const opening = { device, host: await host(), release: () => device.close(), segmentBlocks, checkpoints };
  return openStore<KeyOf<K>, ValueOf<V>>(opening, settings);
}

/** A maker of names that nothing lies at, in a folder of the test file's own. */
export function scratchPaths(): () => string {
  const folder = `scratch-${crypto.randomUUID()}`;
  afterAll(async () => {
    const root = await navigator.storage.getDirectory();
    await root.removeEntry(folder, { recursive: true }).catch(() => undefined);
  });
  let count = 0;
  return () => `${folder}/store-${count++}.cairn`;
}

/** `CAIRN_SEED` as the run was started with it: vitest.browser.config.ts puts it there. */
declare const CAIRN_SEED: string;

/** The seed of this run: `CAIRN_SEED`, or a new one. */
export function runSeed(): number {
  const given = Number(CAIRN_SEED);
  return Number.isSafeInteger(given) && given > 0 ? given : 1 + Math.floor(Math.random() * 0x7fffffff);
}

/** Chromium collects garbage for programs only when it was started so: `--js-flags=--expose-gc`. */
export async function garbageCollector(): Promise<(() => void) | undefined> {
  return (globalThis as { gc?: () => void }).gc;
}

export function pause(ms = 0): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
