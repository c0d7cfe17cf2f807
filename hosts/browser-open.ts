/** `open` in a browser's dedicated worker: over the origin private file system, memory, and devices of a program's own. */
import type { CoreHost } from "../store/core.ts";
import type { BlockDevice } from "../store/device.ts";
import type { KeyEncoding, ValueEncoding } from "../store/encoding.ts";
import { CairnError } from "../store/error.ts";
import { openStore } from "../store/open.ts";
import { type KeyOf, type OpenOptions, readOptions, type Settings, type ValueOf } from "../store/options.ts";
import type { Store } from "../store/store.ts";
import { MemoryDevice } from "./memory-device.ts";
import { reasonOf } from "./opfs-device.ts";
import { openOpfs } from "./opfs-target.ts";
import { WasiTable } from "./wasi.ts";

/** The memory of a store in a browser, unless the program says otherwise. */
const MEMORY_BYTES = 512 * 1024 * 1024;

let compiled: Promise<WebAssembly.Module> | undefined;

/** See `open` in `browser.ts`. */
export async function openInBrowser<K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  target: string | URL | BlockDevice,
  options?: OpenOptions<K, V>,
): Promise<Store<KeyOf<K>, ValueOf<V>>> {
  return openTarget<KeyOf<K>, ValueOf<V>>(target, readBrowserOptions(options));
}

/** Opens a store with settings that were read already. */
export async function openTarget<K, V>(
  target: unknown,
  settings: Settings,
  { wasm, patienceMs = 0 }: { wasm?: WebAssembly.Module | undefined; patienceMs?: number } = {},
): Promise<Store<K, V>> {
  const place = await placeOf(target, settings, patienceMs);
  try {
    const { device, hasTail, release } = place;
    return await openStore<K, V>({ device, host: await browserHost(wasm), hasTail, release }, settings);
  } catch (error) {
    await place.discard();
    throw error;
  }
}

/** The options of `open`, with what is different in a browser. */
export function readBrowserOptions(options: unknown): Settings {
  if (options === undefined) return readOptions({ memoryBytes: MEMORY_BYTES });
  const isPlain = typeof options === "object" && options !== null && !Array.isArray(options);
  if (!isPlain || (options as { memoryBytes?: unknown }).memoryBytes !== undefined) return readOptions(options);
  return readOptions({ ...options, memoryBytes: MEMORY_BYTES });
}

/** What the core needs of a browser. */
export async function browserHost(wasm?: WebAssembly.Module): Promise<CoreHost> {
  return {
    module: wasm ?? (await compileOnce()),
    bind(device, memory, realloc) {
      const table = new WasiTable(memory, realloc);
      const handle = table.add(device);
      return { imports: table.imports, handle, uncachedHandle: table.add(device, { uncached: true }), table };
    },
  };
}

/** Compiles the binary, which lies beside the code; once for all stores of a worker. */
function compileOnce(): Promise<WebAssembly.Module> {
  compiled ??= compile(new URL("../cairn.wasm", import.meta.url)).catch((error) => {
    compiled = undefined;
    throw error;
  });
  return compiled;
}

async function compile(url: URL): Promise<WebAssembly.Module> {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    // Streaming wants the right content type of the server, and saves little on a file of this size.
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (cause) {
    const message = `open: the binary at ${url.href} could not be loaded (${reasonOf(cause)}). Serve cairn.wasm beside the code.`;
    throw new CairnError("UNSUPPORTED", "open", message, { cause });
  }
}

interface Place {
  device: BlockDevice;
  hasTail: boolean;
  release(): void;
  discard(): void | Promise<void>;
}

async function placeOf(target: unknown, settings: Settings, patienceMs: number): Promise<Place> {
  if (target === ":memory:") return placeOn(new MemoryDevice());
  if (typeof target === "string" && target !== "") {
    const { create, readOnly } = settings;
    return openOpfs(target, { create, readOnly, patienceMs });
  }
  if (isDevice(target)) return placeOn(target);
  const message = "open: the target is neither the name of a file nor a BlockDevice; browsers have no file: URLs.";
  throw new CairnError("INVALID_ARGUMENT", "open", message);
}

function isDevice(target: unknown): target is BlockDevice {
  if (typeof target !== "object" || target === null) return false;
  const calls = ["size", "read", "write", "writeAsync", "sync", "syncAsync", "close"] as const;
  return calls.every((call) => typeof (target as Partial<BlockDevice>)[call] === "function");
}

function placeOn(device: BlockDevice): Place {
  const release = (): void => device.close();
  return { device, hasTail: false, release, discard: release };
}
