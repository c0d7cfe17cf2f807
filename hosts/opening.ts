/** What opening is on every runtime: options, the compiled binary, the target, the store. It uses nothing of a runtime. */
import type { CoreHost } from "../store/core.ts";
import type { BlockDevice } from "../store/device.ts";
import type { KeyEncoding, ValueEncoding } from "../store/encoding.ts";
import { CairnError } from "../store/error.ts";
import { Inspector } from "../store/inspect.ts";
import { openStore } from "../store/open.ts";
import { type KeyOf, type OpenOptions, readOptions, type ValueOf } from "../store/options.ts";
import type { Store } from "../store/store.ts";
import { MemoryDevice } from "./memory-device.ts";
import type { FileExchange, FileSwap, Target, TargetOptions } from "./target.ts";
import { WasiTable } from "./wasi.ts";

/** What one runtime brings. */
export interface Runtime {
  /** Compiles the `cairn.wasm` that lies beside the package. Called once, and again only after it has rejected. */
  loadModule(): Promise<WebAssembly.Module>;
  /** Opens a path or URL of this runtime. `":memory:"` and devices never come here. */
  openTarget(target: string | URL, options: TargetOptions): Promise<Target>;
  /** The fastest way between memory and strings; absent: `TextDecoder` and `TextEncoder`. */
  text?: CoreHost["text"];
  /** `text`, where it takes the binary to know. */
  textOf?(binary: WebAssembly.Module): Promise<CoreHost["text"]>;
  onExit?: CoreHost["onExit"];
  /** How files take each other's place; absent: they cannot. */
  exchange?: FileExchange;
  /** How a restored file takes its place; absent: there are no files. */
  swap?: FileSwap;
  /** Default of `memoryBytes`, in bytes; absent: 2 GiB. */
  memoryBytesDefault?: number;
}

/** The type of `open`. */
export type Open = <K extends KeyEncoding = "utf8", V extends ValueEncoding = "utf8">(
  target: string | URL | BlockDevice,
  options?: OpenOptions<K, V>,
) => Promise<Store<KeyOf<K>, ValueOf<V>>>;

const runtimes = new WeakMap<Open, Runtime>();
const modules = new WeakMap<Runtime, Promise<WebAssembly.Module>>();

/** The `open` of a runtime. */
export function openOn(runtime: Runtime): Open {
  const open: Open = async <K extends KeyEncoding, V extends ValueEncoding>(
    target: string | URL | BlockDevice,
    options?: OpenOptions<K, V>,
  ) => {
    const settings = readOptions(options, runtime);
    const host = await coreHost(runtime, settings.wasm);
    const place = await placeOf(runtime, target, settings);
    try {
      const { device, hasTail, release, predecessorAlive = false } = place;
      const opening = { device, host, hasTail, release, predecessorAlive };
      const store = await openStore<KeyOf<K>, ValueOf<V>>(opening, settings);
      place.settled?.();
      return store;
    } catch (error) {
      await place.discard();
      throw error;
    }
  };
  runtimes.set(open, runtime);
  return open;
}

/** The type of `inspect`. */
export type Inspect = (
  target: string | URL | BlockDevice,
  options?: Pick<OpenOptions, "wasm" | "memoryBytes">,
) => Promise<Inspector>;

/**
 * The `inspect` that goes with an `open`: looks at what lies on a target as it is, damaged or not, without opening it as
 * a store. Takes no lock and writes nothing. `target` as for `open`, and it must be there. `NOT_A_STORE` when there is no
 * trace of a store.
 */
export function inspectOn(open: Open): Inspect {
  const runtime = runtimeOf(open);
  return async (target, options) => {
    const settings = readOptions({ ...options, readOnly: true }, runtime);
    const host = await coreHost(runtime, settings.wasm);
    const place = await placeOf(runtime, target, settings);
    try {
      return await Inspector.create(place.device, host, settings.memoryBytes, place.release);
    } catch (error) {
      place.discard();
      throw error;
    }
  };
}

/** The runtime beneath an `open` of `openOn`: for tests that join store and host themselves. */
export function runtimeOf(open: Open): Runtime {
  return runtimes.get(open) as Runtime;
}

/** What the core needs of a runtime. `wasm` is the compiled binary; without it the runtime loads its own. */
export async function coreHost(runtime: Runtime, wasm?: WebAssembly.Module): Promise<CoreHost> {
  const module = wasm ?? (await moduleOf(runtime));
  const text = runtime.text ?? (await runtime.textOf?.(module));
  return {
    module,
    bind(device, memory, realloc) {
      const table = new WasiTable(memory, realloc);
      const handle = table.add(device);
      return { imports: table.imports, handle, uncachedHandle: table.add(device, { uncached: true }), table };
    },
    ...(text === undefined ? {} : { text }),
    ...(runtime.onExit === undefined ? {} : { onExit: runtime.onExit }),
  };
}

function moduleOf(runtime: Runtime): Promise<WebAssembly.Module> {
  let module = modules.get(runtime);
  if (module === undefined) {
    module = runtime.loadModule();
    modules.set(runtime, module);
    // A binary that could not be read once may be there the next time.
    module.catch(() => modules.delete(runtime));
  }
  return module;
}

/** The target that a program names, open. */
export function placeOf(runtime: Runtime, target: unknown, settings: TargetOptions): Target | Promise<Target> {
  if (target === ":memory:") return deviceTarget(new MemoryDevice(), true);
  if (isDevice(target)) return deviceTarget(target, false);
  return runtime.openTarget(target as string | URL, settings);
}

function deviceTarget(device: BlockDevice, created: boolean): Target {
  const release = (): void => device.close();
  return { device, created, hasTail: false, release, discard: release };
}

function isDevice(target: unknown): target is BlockDevice {
  if (typeof target !== "object" || target === null || target instanceof URL) return false;
  const device = target as Partial<BlockDevice>;
  const complete =
    typeof device.size === "function" &&
    typeof device.read === "function" &&
    typeof device.write === "function" &&
    typeof device.writeAsync === "function" &&
    typeof device.sync === "function" &&
    typeof device.syncAsync === "function" &&
    typeof device.close === "function";
  if (complete) return true;
  throw new CairnError(
    "INVALID_ARGUMENT",
    "open",
    "open: the target is neither a path, a file: URL nor a BlockDevice.",
  );
}
