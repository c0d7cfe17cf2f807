/**
 * The calls that the core imports, at the core-module level of WASI 0.2 (the lowered form of the canonical ABI), over
 * devices. It uses nothing of a runtime.
 *
 * 1. Nothing is thrown across the boundary: a throw out of an import would leave the core half updated and callable. An
 *    error becomes a code of `error-code`, and what was thrown is kept in `lastCause`.
 * 2. Bytes of a read land where `cabi_realloc` says, which is the frame that the core means them for.
 *    Clocks and random numbers have no error in WASI: a clock that fails stands. Without random numbers there is no store, nor
 *    a backup: that throw stops the core.
 * 3. Pointers over 2 GiB arrive as negative numbers: `>>> 0`.
 *
 * Return areas, little-endian, discriminant (0 done, 1 failed) at 0:
 *
 *   read                  4 pointer u32   8 size u32    12 end of file u8          error code at 4
 *   write                 8 bytes written u64                                      error code at 8
 *   sync-data, set-size                                                            error code at 1
 *   stat                  8 type u8   16 link count u64   24 size u64   32, 56, 80 no times    error code at 8
 *   wall-clock.now        0 seconds u64   8 nanoseconds u32, no discriminant
 */
import type { BlockDevice } from "../store/device.ts";
import { CairnError } from "../store/error.ts";

/** `error-code` of `wasi:filesystem/types`, in the order of the WIT file. */
const ERROR_CODES = (
  "access would-block already bad-descriptor busy deadlock quota exist file-too-large illegal-byte-sequence in-progress " +
  "interrupted invalid io is-directory loop too-many-links message-size name-too-long no-device no-entry no-lock " +
  "insufficient-memory insufficient-space not-directory not-empty not-recoverable unsupported no-tty no-such-device " +
  "overflow not-permitted pipe read-only invalid-seek text-file-busy cross-device"
).split(" ");

/** `errno` names and codes of `CairnError`, where a WASI code says more than `io`. */
const ERROR_NAMES: Record<string, string> = {
  EACCES: "access",
  EBADF: "bad-descriptor",
  EBUSY: "busy",
  EDQUOT: "quota",
  EFBIG: "file-too-large",
  EINTR: "interrupted",
  EINVAL: "invalid",
  ENODEV: "no-device",
  ENOMEM: "insufficient-memory",
  ENOSPC: "insufficient-space",
  ENXIO: "no-such-device",
  EPERM: "not-permitted",
  EROFS: "read-only",
  CLOSED: "bad-descriptor",
  INVALID_ARGUMENT: "invalid",
  NO_SPACE: "insufficient-space",
  OUT_OF_MEMORY: "insufficient-memory",
  OUT_OF_RANGE: "invalid",
  READ_ONLY: "read-only",
  UNSUPPORTED: "unsupported",
};

/** `descriptor-type` of `wasi:filesystem/types`. */
const TYPES = { block: 1, file: 6, memory: 6, opfs: 6, unknown: 0 };

/** The last moment that a `Date` can show, in milliseconds since 1970. */
const WALL_MS_MAX = 8.64e15;

/** Where time and randomness come from. A simulation brings its own. */
export interface WasiSources {
  /** Nanoseconds of a clock that only goes forward. */
  monotonicNs(): bigint;
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** 64 unpredictable bits. */
  randomU64(): bigint;
}

/** The clocks and the random numbers of the runtime. */
export const SYSTEM_SOURCES: WasiSources = {
  monotonicNs: () => BigInt(Math.round(performance.now() * 1e6)),
  wallMs: () => Date.now(),
  randomU64: () => crypto.getRandomValues(new BigUint64Array(1))[0] as bigint,
};

/** The core's `cabi_realloc`. */
export type Realloc = (oldPointer: number, oldSize: number, alignment: number, newSize: number) => number;

/** The handles of one instance of the core, and the import object over them. */
export class WasiTable {
  /** What was thrown last beneath an import. Whoever reports a failed call attaches it, then clears it. */
  lastCause: unknown;
  /** Whether a call of the core to its host is under way: the core must not be called then. */
  entered = false;
  /** For `WebAssembly.instantiate`: the WASI modules, and the memory as `env.memory`. */
  readonly imports: WebAssembly.Imports;
  private readonly devices = new Map<number, BlockDevice>();
  /** Handles whose writes and reads go past the device's cache. */
  private readonly uncachedHandles = new Set<number>();
  private handleNext = 1;

  /** `realloc` is called during reads only, so it may look up the export of an instance that comes to be later. */
  constructor(memory: WebAssembly.Memory, realloc: Realloc, sources: WasiSources = SYSTEM_SOURCES) {
    // Reading `memory.buffer` takes longer than all else here: only when the memory has grown, which empties old views.
    let bytes = new Uint8Array(memory.buffer);
    let view = new DataView(bytes.buffer);
    const area = (): DataView => {
      if (bytes.length === 0) {
        bytes = new Uint8Array(memory.buffer);
        view = new DataView(bytes.buffer);
      }
      return view;
    };

    /** Runs `body` on the device of `handle`; `body` fills the return area. The error code goes to `errorAt`. */
    const call = (handle: number, result: number, errorAt: number, body: (device: BlockDevice) => void): void => {
      const pointer = result >>> 0;
      let code: number;
      this.entered = true;
      try {
        const device = this.devices.get(handle);
        if (device === undefined) throw new CairnError("CLOSED", "wasi", `handle ${handle} names no device.`);
        area().setUint8(pointer, 0);
        body(device);
        return;
      } catch (cause) {
        this.lastCause = cause;
        code = errorCodeOf(cause);
      } finally {
        this.entered = false;
      }
      area().setUint8(pointer, 1);
      area().setUint8(pointer + errorAt, code);
    };

    this.imports = {
      env: { memory },
      "wasi:filesystem/types@0.2.12": {
        "[method]descriptor.read": (handle: number, length: bigint, offset: bigint, result: number): void =>
          call(handle, result, 4, (device) => {
            const size = Number(length);
            const target = realloc(0, 0, 1, size) >>> 0;
            const isUncached = this.uncachedHandles.has(handle);
            area();
            const count = readOrEnd(device, Number(offset), bytes, target, size, isUncached, this);
            const at = result >>> 0;
            area().setUint32(at + 4, target, true);
            area().setUint32(at + 8, count, true);
            area().setUint8(at + 12, count < size ? 1 : 0);
          }),
        "[method]descriptor.write": (handle: number, source: number, size: number, offset: bigint, result: number) =>
          call(handle, result, 8, (device) => {
            const bytes = new Uint8Array(memory.buffer, source >>> 0, size >>> 0);
            const count =
              this.uncachedHandles.has(handle) && device.writeUncached !== undefined
                ? device.writeUncached(Number(offset), bytes)
                : device.write(Number(offset), bytes);
            area().setBigUint64((result >>> 0) + 8, BigInt(count), true);
          }),
        "[method]descriptor.sync-data": (handle: number, result: number): void =>
          call(handle, result, 1, (device) => device.sync()),
        "[method]descriptor.stat": (handle: number, result: number): void =>
          call(handle, result, 8, (device) => {
            const at = result >>> 0;
            new Uint8Array(memory.buffer, at, 104).fill(0);
            area().setUint8(at + 8, TYPES[device.kind ?? "unknown"]);
            area().setBigUint64(at + 16, 1n, true);
            area().setBigUint64(at + 24, BigInt(device.size()), true);
          }),
        "[method]descriptor.set-size": (handle: number, size: bigint, result: number): void =>
          call(handle, result, 1, (device) => {
            if (device.resize === undefined) {
              throw new CairnError("UNSUPPORTED", "resize", "the device has a fixed size.");
            }
            device.resize(Number(size));
          }),
        "[resource-drop]descriptor": (handle: number): void => {
          this.devices.delete(handle);
          this.uncachedHandles.delete(handle);
        },
      },
      "wasi:clocks/monotonic-clock@0.2.12": { now: () => sources.monotonicNs() },
      "wasi:clocks/wall-clock@0.2.12": {
        now: (result: number): void => {
          const ms = wallMs(sources);
          const seconds = Math.floor(ms / 1000);
          area().setBigUint64(result >>> 0, BigInt(seconds), true);
          area().setUint32((result >>> 0) + 8, Math.floor((ms - seconds * 1000) * 1e6), true);
        },
      },
      "wasi:random/random@0.2.12": { "get-random-u64": () => sources.randomU64() },
    };
  }

  /**
   * Gives `device` a handle for the core, also a second one. Through an `uncached` handle `descriptor.write` is the
   * device's `writeUncached`, and `descriptor.read` its `readUncached`, where it has them. Dropping a handle does not close the device.
   */
  add(device: BlockDevice, options: { uncached: boolean } = { uncached: false }): number {
    const handle = this.handleNext;
    this.handleNext += 1;
    this.devices.set(handle, device);
    if (options.uncached) this.uncachedHandles.add(handle);
    return handle;
  }
}

/**
 * A clock that shows no time that can be, or throws, is taken for one that stands: the core goes by the highest time that it
 * has seen.
 */
function wallMs(sources: WasiSources): number {
  try {
    const ms = sources.wallMs();
    return ms >= 0 && ms <= WALL_MS_MAX ? ms : 0;
  } catch {
    return 0;
  }
}

/** A device that shrank answers as WASI has it: the file ends here. The core knows that it must not. */
function readOrEnd(
  device: BlockDevice,
  offset: number,
  memory: Uint8Array,
  at: number,
  size: number,
  isUncached: boolean,
  table: WasiTable,
): number {
  try {
    if (isUncached && device.readUncached !== undefined) {
      return device.readUncached(offset, new Uint8Array(memory.buffer, at, size));
    }
    if (device.readInto !== undefined) return device.readInto(offset, memory, at, size);
    return device.read(offset, new Uint8Array(memory.buffer, at, size));
  } catch (cause) {
    if (!(cause instanceof CairnError) || cause.code !== "DEVICE_SHRUNK") throw cause;
    table.lastCause = cause;
    return 0;
  }
}

/** `DEVICE_WRITE` and the like are `io` whatever caused them: only a device that can go on answers `NO_SPACE`. */
function errorCodeOf(cause: unknown): number {
  if (cause instanceof RangeError) return ERROR_CODES.indexOf("invalid");
  const code = (cause as { code?: unknown } | null | undefined)?.code;
  return ERROR_CODES.indexOf((typeof code === "string" && ERROR_NAMES[code]) || "io");
}
