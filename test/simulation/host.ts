/** The host that the simulation gives to the core: the real WASI table, over virtual time and seeded numbers. */
import { type Realloc, type WasiSources, WasiTable } from "../../hosts/wasi.ts";
import type { CoreExports, CoreHost } from "../../store/core.ts";
import type { BlockDevice } from "../../store/device.ts";
import { openStore } from "../../store/open.ts";
import { readOptions, type Settings } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import type { VirtualClock } from "./clock.ts";
import { PAGE_SIZE } from "./pages.ts";
import type { Random } from "./random.ts";
import { Violation } from "./violation.ts";
import type { SimulationOptions } from "./workload.ts";

const MIB = 1_048_576;
/** Less than programs may ask for: what a mount costs grows with it. */
const MEMORY_BYTES = 8 * MIB;
/** As in assembly/root.ts; CONSTANTS are the module's own data, in as many bytes as that may take. */
const CONSTANTS = 0x10000;
const CONSTANTS_SIZE = 0x10000;
const SUPERBLOCK_C = 0x61000;
const HASH_DIRECTORY = 0x62000;
const SLAB_TABLE = 0xa2000;
const POOL = 0x2b0000;
/** What the write buffer and its flight take of the pool: whatever they hold is overwritten before it is used. */
const WRITE_BUFFER = 262_144;
const CACHE_TABLE = POOL + WRITE_BUFFER + WRITE_BUFFER / 4;
const CHUNK = 65_536;
/**
 * What is cleared of a memory that is used again: all that the core takes for zeros. Of its tables of chunks a memory of this
 * size has no more than the first bytes. Everything else holds what was there before, in every store that lives for a while.
 */
const CLEARED: readonly [number, number][] = [
  [0, CONSTANTS + CONSTANTS_SIZE],
  [SUPERBLOCK_C, HASH_DIRECTORY + 4096],
  [SLAB_TABLE, SLAB_TABLE + 4096],
  [CACHE_TABLE, CACHE_TABLE + CHUNK],
];
const SHARE_OF_SHORT_TRANSFERS = 0.2;

type AnyStore = Store<string | Uint8Array, string | Uint8Array>;

export type { AnyStore as Store };

/** What `Buffer` has on every runtime, and its types do not say. */
interface Slices {
  latin1Slice(start: number, end: number): string;
  utf8Slice(start: number, end: number): string;
}

/** An instance of the core with its memory and what it imports, for one store after the other. */
class PooledInstance {
  readonly memory: WebAssembly.Memory;
  readonly instance: WebAssembly.Instance;
  /** What the module's own data puts into an empty memory. */
  private readonly constants: Uint8Array;
  private readonly table: WasiTable;
  private readonly imports: WebAssembly.Imports;
  private handles: number[] = [];
  // Of the store that it serves now
  private sources!: WasiSources;
  private random!: Random;
  private shortTransfers = false;

  constructor(module: WebAssembly.Module, pages: number) {
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const realloc: Realloc = (a, b, c, d) => (this.instance.exports as unknown as CoreExports).cabi_realloc(a, b, c, d);
    this.table = new WasiTable(this.memory, realloc, {
      monotonicNs: () => this.sources.monotonicNs(),
      wallMs: () => this.sources.wallMs(),
      randomU64: () => this.sources.randomU64(),
    });
    this.imports = withPlanted(shortened(this.table.imports, (size) => this.cut(size)));
    this.instance = new WebAssembly.Instance(module, this.imports);
    this.constants = new Uint8Array(this.memory.buffer, CONSTANTS, CONSTANTS_SIZE).slice();
  }

  /** The memory is as it was when the instance was made. */
  clear(): void {
    const bytes = new Uint8Array(this.memory.buffer);
    for (const [from, to] of CLEARED) bytes.fill(0, from, to);
    bytes.set(this.constants, CONSTANTS);
  }

  /** Serves another store from now on: what a host binds. */
  serve(
    device: BlockDevice,
    sources: WasiSources,
    random: Random,
    shortTransfers: boolean,
  ): ReturnType<CoreHost["bind"]> {
    const { table, imports } = this;
    this.sources = sources;
    this.random = random;
    this.shortTransfers = shortTransfers;
    const files = imports["wasi:filesystem/types@0.2.12"] as Files;
    for (const handle of this.handles) (files["[resource-drop]descriptor"] as (handle: number) => void)(handle);
    table.lastCause = undefined;
    table.entered = false;
    const handle = table.add(device);
    const uncachedHandle = table.add(device, { uncached: true });
    this.handles = [handle, uncachedHandle];
    return { imports, handle, uncachedHandle, table };
  }

  /** How much of what it is asked for a call transfers. */
  private cut(size: number): number {
    if (!this.shortTransfers || size <= PAGE_SIZE || !this.random.chance(SHARE_OF_SHORT_TRANSFERS)) return size;
    return this.random.between(1, size / PAGE_SIZE - 1) * PAGE_SIZE;
  }
}

/** Instances that are used again: making one takes longer than mounting a store of a few segments in it. */
export class InstancePool {
  readonly module: WebAssembly.Module;
  private readonly free: PooledInstance[] = [];
  private readonly lent: PooledInstance[] = [];

  constructor(module: WebAssembly.Module) {
    this.module = module;
  }

  /** One whose memory is as good as new. */
  take(pages: number): PooledInstance {
    const instance = this.free.pop() ?? new PooledInstance(this.module, pages);
    instance.clear();
    this.lent.push(instance);
    return instance;
  }

  /** No store over one of these instances is called again, and none has an open walk. */
  takeBack(): void {
    this.free.push(...this.lent.splice(0));
  }
}

/** A host over a clock. With `shortTransfers`, reads and writes transfer less than they are asked for, now and then. */
export function simulatedHost(
  clock: VirtualClock,
  random: Random,
  shortTransfers: boolean,
  pool: InstancePool,
): CoreHost {
  let pooled: PooledInstance | undefined;
  return {
    module: pool.module,
    memory(pages) {
      pooled = pool.take(pages);
      return pooled.memory;
    },
    instance: () => (pooled as PooledInstance).instance,
    text: (memory) => {
      const buffer = Buffer.from(memory.buffer) as Buffer & Slices;
      return {
        ascii: (start, end) => buffer.latin1Slice(start, end),
        utf8: (start, end) => buffer.utf8Slice(start, end),
      };
    },
    bind: (device) => (pooled as PooledInstance).serve(device, clock.sources(random), random, shortTransfers),
  };
}

/** The same imports, with the number of the bug that is on in a build of test/planted; other builds do not ask for it. */
function withPlanted(imports: WebAssembly.Imports): WebAssembly.Imports {
  const { planted } = globalThis as { planted?: number };
  return planted === undefined ? imports : { ...imports, env: { ...imports["env"], planted } };
}

type Files = Record<string, (...given: never[]) => unknown>;

/** The same imports, which transfer as much as `cut` says of what they are asked for. The core asks again for what is left. */
function shortened(imports: WebAssembly.Imports, cut: (size: number) => number): WebAssembly.Imports {
  const name = "wasi:filesystem/types@0.2.12";
  const files = imports[name] as Files;
  const read = files["[method]descriptor.read"] as (...given: unknown[]) => unknown;
  const write = files["[method]descriptor.write"] as (...given: unknown[]) => unknown;
  return {
    ...imports,
    [name]: {
      ...files,
      "[method]descriptor.read": (handle: number, size: bigint, offset: bigint, result: number) => {
        const whole = Number(size);
        const part = cut(whole);
        return read(handle, part === whole ? size : BigInt(part), offset, result);
      },
      "[method]descriptor.write": (handle: number, source: number, size: number, offset: bigint, result: number) =>
        write(handle, source, cut(size >>> 0), offset, result),
    } as WebAssembly.ModuleImports,
  };
}

/** Opens a store of tiny segments over a device, in virtual time. */
export function openOver(
  device: BlockDevice,
  host: CoreHost,
  clock: VirtualClock,
  options: SimulationOptions,
  { predecessorAlive = false, readOnly = false } = {},
): Promise<AnyStore> {
  const settings = settingsOf(options, readOnly);
  const { checkpoints } = options;
  const opening = { device, host, release: () => undefined, segmentBlocks: 16, checkpoints, predecessorAlive };
  const opened = openStore<string | Uint8Array, string | Uint8Array>(opening, settings);
  return clock.wait(opened, () => new Violation("opening never ends"));
}

const known = new WeakMap<SimulationOptions, Settings[]>();

/** What a run's options are to the store: read once, for every mount of it. */
function settingsOf(options: SimulationOptions, readOnly: boolean): Settings {
  const both = known.get(options) ?? [false, true].map((only) => readSettings(options, only));
  known.set(options, both);
  return both[readOnly ? 1 : 0] as Settings;
}

function readSettings(options: SimulationOptions, readOnly: boolean): Settings {
  const settings = readOptions({
    writeBufferBytes: WRITE_BUFFER,
    cacheBytes: options.cacheBytes,
    durability: options.durability,
    flushIntervalMs: options.flushIntervalMs,
    compaction: { auto: options.compacts, garbageRatio: options.garbageRatio },
    keyEncoding: options.binaryKeys ? "binary" : "utf8",
    valueEncoding: options.binaryValues ? "binary" : "utf8",
    memoryBytes: 16 * MIB,
    readOnly,
  });
  settings.memoryBytes = MEMORY_BYTES;
  return settings;
}
