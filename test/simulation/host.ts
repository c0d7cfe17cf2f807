/** The host that the simulation gives to the core: the real WASI table, over virtual time and seeded numbers. */
import { WasiTable } from "../../hosts/wasi.ts";
import type { CoreHost } from "../../store/core.ts";
import type { BlockDevice } from "../../store/device.ts";
import { openStore } from "../../store/open.ts";
import { readOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import type { VirtualClock } from "./clock.ts";
import { PAGE_SIZE } from "./pages.ts";
import type { Random } from "./random.ts";
import { Violation } from "./violation.ts";
import type { SimulationOptions } from "./workload.ts";

const MIB = 1_048_576;
/** Less than programs may ask for: what a mount costs grows with it. */
const MEMORY_BYTES = 8 * MIB;
/** As in assembly/root.ts. */
const SLAB_TABLE = 0xa2000;
const POOL = SLAB_TABLE + 2 * MIB;
/**
 * What is cleared of a memory that is used again: the fixed areas, but for the table of slabs, of which a memory of this size
 * has no more than the first bytes, and what is taken of the pool in one run. The rest is undefined.
 */
const CLEARED: readonly [number, number][] = [
  [0, SLAB_TABLE + 65_536],
  [POOL, 3.5 * MIB],
];
const SHARE_OF_SHORT_TRANSFERS = 0.2;

type AnyStore = Store<string | Uint8Array, string | Uint8Array>;

export type { AnyStore as Store };

/** What `Buffer` has on every runtime, and its types do not say. */
interface Slices {
  latin1Slice(start: number, end: number): string;
  utf8Slice(start: number, end: number): string;
}

/** Memories that are used again: making one takes longer than mounting a store of a few segments in it. */
export class MemoryPool {
  private readonly free: WebAssembly.Memory[] = [];
  private readonly lent: WebAssembly.Memory[] = [];

  take(pages: number): WebAssembly.Memory {
    const memory = this.free.pop() ?? new WebAssembly.Memory({ initial: pages, maximum: pages });
    const bytes = new Uint8Array(memory.buffer);
    for (const [from, to] of CLEARED) bytes.fill(0, from, to);
    this.lent.push(memory);
    return memory;
  }

  /** No store over one of these memories is called again, and none has an open walk. */
  takeBack(): void {
    this.free.push(...this.lent.splice(0));
  }
}

/**
 * A host over a clock. With `shortTransfers`, reads and writes transfer less than they are asked for, now and then.
 * Without a pool each store gets a memory of its own.
 */
export function simulatedHost(
  module: WebAssembly.Module,
  clock: VirtualClock,
  random: Random,
  shortTransfers: boolean,
  pool?: MemoryPool,
): CoreHost {
  return {
    module,
    ...(pool === undefined ? {} : { memory: (pages: number) => pool.take(pages) }),
    text: (memory) => {
      const buffer = Buffer.from(memory.buffer) as Buffer & Slices;
      return {
        ascii: (start, end) => buffer.latin1Slice(start, end),
        utf8: (start, end) => buffer.utf8Slice(start, end),
      };
    },
    bind(device, memory, realloc) {
      const table = new WasiTable(memory, realloc, clock.sources(random));
      const handle = table.add(device);
      const uncachedHandle = table.add(device, { uncached: true });
      const imports = withPlanted(shortTransfers ? shortened(table.imports, random) : table.imports);
      return { imports, handle, uncachedHandle, table };
    },
  };
}

/** The same imports, with the number of the bug that is on in a build of test/planted; other builds do not ask for it. */
function withPlanted(imports: WebAssembly.Imports): WebAssembly.Imports {
  const { planted } = globalThis as { planted?: number };
  return planted === undefined ? imports : { ...imports, env: { ...imports["env"], planted } };
}

type Files = Record<string, (...given: never[]) => unknown>;

/** The same imports, which transfer a part of what they are asked for. The core asks again for what is left. */
function shortened(imports: WebAssembly.Imports, random: Random): WebAssembly.Imports {
  const name = "wasi:filesystem/types@0.2.12";
  const files = imports[name] as Files;
  const read = files["[method]descriptor.read"] as (...given: unknown[]) => unknown;
  const write = files["[method]descriptor.write"] as (...given: unknown[]) => unknown;
  const cut = (size: number): number => {
    if (size <= PAGE_SIZE || !random.chance(SHARE_OF_SHORT_TRANSFERS)) return size;
    return random.between(1, size / PAGE_SIZE - 1) * PAGE_SIZE;
  };
  return {
    ...imports,
    [name]: {
      ...files,
      "[method]descriptor.read": (handle: number, size: bigint, offset: bigint, result: number) =>
        read(handle, BigInt(cut(Number(size))), offset, result),
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
  predecessorAlive = false,
): Promise<AnyStore> {
  const settings = readOptions({
    writeBufferBytes: 262_144,
    cacheBytes: options.cacheBytes,
    durability: options.durability,
    flushIntervalMs: options.flushIntervalMs,
    compaction: { auto: options.compacts, garbageRatio: options.garbageRatio },
    keyEncoding: options.binaryKeys ? "binary" : "utf8",
    valueEncoding: options.binaryValues ? "binary" : "utf8",
    memoryBytes: 16 * MIB,
  });
  settings.memoryBytes = MEMORY_BYTES;
  const { checkpoints } = options;
  const opening = { device, host, release: () => undefined, segmentBlocks: 16, checkpoints, predecessorAlive };
  const opened = openStore<string | Uint8Array, string | Uint8Array>(opening, settings);
  return clock.wait(opened, () => new Violation("opening never ends"));
}
