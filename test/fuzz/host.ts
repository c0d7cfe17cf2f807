/** The host that fuzzed images are opened with: the real table of WASI calls, memories that are used again, and seeded numbers. */
import { WasiTable } from "../../hosts/wasi.ts";
import type { CheckpointPace } from "../../store/checkpoints.ts";
import type { CoreHost } from "../../store/core.ts";
import { openStore } from "../../store/open.ts";
import { type OpenOptions, readOptions } from "../../store/options.ts";
import type { Store } from "../../store/store.ts";
import type { Random } from "../simulation/random.ts";
import { sources } from "./clock.ts";
import type { FuzzDevice } from "./device.ts";

const MIB = 1_048_576;
const PAGE = 65_536;
/** Less than programs may ask for, so that what claims too much is refused, and a mount costs little. */
const MEMORY_BYTES = 8 * MIB;
/** As in assembly/root.ts. */
const ROOT_POOL_END = (0x400 + 40) >> 2;
const ROOT_CHUNK_FRESH = (0x400 + 44) >> 2;
const SLAB_TABLE = 0xa2000;
const POOL = SLAB_TABLE + 2 * MIB;

/** Memories that are used again: making one takes longer than mounting a store of a few segments in it. */
export class Memories {
  private readonly free = new Map<number, WebAssembly.Memory[]>();
  private lent: WebAssembly.Memory[] = [];

  take(pages: number): WebAssembly.Memory {
    const used = this.free.get(pages)?.pop();
    const memory = used ?? new WebAssembly.Memory({ initial: pages, maximum: pages });
    if (used !== undefined) clear(used);
    this.lent.push(memory);
    return memory;
  }

  /** No core over one of these memories is called again. */
  takeBack(): void {
    for (const memory of this.lent) {
      const pages = memory.buffer.byteLength / PAGE;
      const list = this.free.get(pages) ?? [];
      list.push(memory);
      this.free.set(pages, list);
    }
    this.lent = [];
  }

  /** Of what was lent nobody knows what it is still used for. */
  forget(): void {
    this.lent = [];
    this.free.clear();
  }
}

/** Makes a memory as it was: the fixed areas, and what was ever taken of the pool. */
function clear(memory: WebAssembly.Memory): void {
  const bytes = new Uint8Array(memory.buffer);
  const words = new Uint32Array(memory.buffer);
  const fresh = words[ROOT_CHUNK_FRESH] as number;
  if (words[ROOT_POOL_END] !== bytes.length || fresh < POOL || fresh > bytes.length) {
    bytes.fill(0);
    return;
  }
  bytes.fill(0, 0, SLAB_TABLE + PAGE);
  bytes.fill(0, POOL, fresh);
}

/** A host. Without memories each core gets one of its own. */
export function fuzzHost(module: WebAssembly.Module, random: Random, memories?: Memories): CoreHost {
  return {
    module,
    ...(memories === undefined ? {} : { memory: (pages: number) => memories.take(pages) }),
    bind(device, memory, realloc) {
      const table = new WasiTable(memory, realloc, sources(random));
      const handle = table.add(device);
      const uncachedHandle = table.add(device, { uncached: true });
      return { imports: withPlanted(table.imports), handle, uncachedHandle, table };
    },
  };
}

/** The same imports, with the number of the bug that is on in a build with planted bugs; other builds do not ask for it. */
function withPlanted(imports: WebAssembly.Imports): WebAssembly.Imports {
  const { planted } = globalThis as { planted?: number };
  return planted === undefined ? imports : { ...imports, env: { ...imports["env"], planted } };
}

/** How an image is opened. */
export interface FuzzOptions extends OpenOptions {
  checkpoints?: CheckpointPace;
}

/** Opens a store of tiny segments over a device. */
export function openOver(device: FuzzDevice, host: CoreHost, options: FuzzOptions = {}): Promise<Store> {
  const { checkpoints = { auto: false }, ...rest } = options;
  const settings = readOptions({
    writeBufferBytes: 262_144,
    cacheBytes: 131_072,
    durability: "manual",
    compaction: { auto: false },
    memoryBytes: 16 * MIB,
    ...rest,
  });
  settings.memoryBytes = MEMORY_BYTES;
  const opening = { device, host, release: () => device.close(), segmentBlocks: 16, checkpoints };
  return openStore<string, string>(opening, settings);
}
