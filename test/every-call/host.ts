/** The core's host over devices whose calls fail: the real WASI table, over virtual time, counted by the same gate. */
import { WasiTable } from "../../hosts/wasi.ts";
import type { CoreHost } from "../../store/core.ts";
import type { VirtualClock } from "../simulation/clock.ts";
import type { Random } from "../simulation/random.ts";
import type { Gate } from "./gate.ts";

const FILES = "wasi:filesystem/types@0.2.12";
const TEN_YEARS_MS = 315_576_000_000;
/** `error-code` of WASI: `io`. */
const ERROR_IO = 13;
const SEGMENT_SIZE = 65_536n;

/** What `Buffer` has on every runtime, and its types do not say. */
interface Slices {
  latin1Slice(start: number, end: number): string;
  utf8Slice(start: number, end: number): string;
}

/** Memories that are used again: making one takes longer than mounting a store of a few segments in it. */
export class Memories {
  private readonly free = new Map<number, WebAssembly.Memory[]>();
  private lent: [number, WebAssembly.Memory][] = [];

  take(pages: number): WebAssembly.Memory {
    const memory = this.free.get(pages)?.pop() ?? new WebAssembly.Memory({ initial: pages, maximum: pages });
    new Uint8Array(memory.buffer).fill(0);
    this.lent.push([pages, memory]);
    return memory;
  }

  /** No store over one of these memories is called again. */
  takeBack(): void {
    for (const [pages, memory] of this.lent) {
      const list = this.free.get(pages) ?? [];
      list.push(memory);
      this.free.set(pages, list);
    }
    this.lent = [];
  }
}

/** A host whose calls `gate` counts. */
export function gatedHost(
  module: WebAssembly.Module,
  clock: VirtualClock,
  random: Random,
  gate: Gate,
  memories?: Memories,
): CoreHost {
  const oddly = (): never => {
    throw new Error("the host has no more of it");
  };
  const jumps = { forth: TEN_YEARS_MS, back: -TEN_YEARS_MS, nonsense: Number.NaN } as const;
  return {
    module,
    ...(memories === undefined ? {} : { memory: (pages: number) => memories.take(pages) }),
    text: (memory) => {
      const buffer = Buffer.from(memory.buffer) as Buffer & Slices;
      return {
        ascii: (start, end) => buffer.latin1Slice(start, end),
        utf8: (start, end) => buffer.utf8Slice(start, end),
      };
    },
    bind(device, memory, realloc) {
      const system = clock.sources(random);
      const table = new WasiTable(memory, realloc, {
        monotonicNs: () => {
          const fault = gate.meet("tick");
          if (fault === "forth") clock.nowUs += 3_600_000_000;
          const now = system.monotonicNs();
          return fault === "back" ? 0n : now;
        },
        wallMs: () => {
          const fault = gate.meet("clock");
          if (fault === "odd") oddly();
          return system.wallMs() + (jumps[fault as keyof typeof jumps] ?? 0);
        },
        randomU64: () => (gate.meet("random") === undefined ? system.randomU64() : oddly()),
      });
      const handle = table.add(device);
      const uncachedHandle = table.add(device, { uncached: true });
      return { imports: gated(table.imports, memory, gate), handle, uncachedHandle, table };
    },
  };
}

type Calls = Record<string, (...given: never[]) => unknown>;

/** The same imports, which transfer a part of what they are asked for, or fail to say a size, where the gate says so. */
function gated(imports: WebAssembly.Imports, memory: WebAssembly.Memory, gate: Gate): WebAssembly.Imports {
  const files = imports[FILES] as Calls;
  const call = (name: string) => files[name] as (...given: unknown[]) => void;
  const read = call("[method]descriptor.read");
  const write = call("[method]descriptor.write");
  const stat = call("[method]descriptor.stat");
  const half = (size: number): number => Math.max(1, Math.floor(size / 2));
  return {
    ...imports,
    [FILES]: {
      ...files,
      "[method]descriptor.read": (handle: number, size: bigint, offset: bigint, result: number) =>
        read(handle, gate.peek("read") === "short" ? BigInt(half(Number(size))) : size, offset, result),
      "[method]descriptor.write": (handle: number, source: number, size: number, offset: bigint, result: number) =>
        write(handle, source, gate.peek("write") === "short" ? half(size >>> 0) : size, offset, result),
      "[method]descriptor.stat": (handle: number, result: number) => {
        const fault = gate.meet("stat");
        stat(handle, result);
        const view = new DataView(memory.buffer, result >>> 0);
        if (fault === "eio") {
          view.setUint8(0, 1);
          view.setUint8(8, ERROR_IO);
        } else if (fault === "short") {
          const size = view.getBigUint64(24, true);
          view.setBigUint64(24, size > SEGMENT_SIZE ? size - SEGMENT_SIZE : size, true);
        }
      },
    } as WebAssembly.ModuleImports,
  };
}
