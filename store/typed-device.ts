/**
 * A device that a program brought, for work that calls it directly and not through the core: whatever it throws becomes a
 * `CairnError`, and a read that ends inside the device is `DEVICE_SHRUNK`, as the core has both.
 */
import type { BlockDevice, DevicePiece, DeviceTarget } from "./device.ts";
import { CairnError, type CairnErrorCode } from "./error.ts";

/** See above. Calls that a device lacks are absent here as well. */
export class TypedDevice implements BlockDevice {
  readonly growable: boolean;
  readonly readAsync?: (pieces: readonly DeviceTarget[]) => Promise<void>;
  readonly resize?: (size: number) => void;
  readonly kind?: NonNullable<BlockDevice["kind"]>;
  private readonly device: BlockDevice;
  private readonly operation: string;

  /** `operation` is the call of the API that errors name. */
  constructor(device: BlockDevice, operation: string) {
    this.device = device;
    this.operation = operation;
    this.growable = device.growable === true;
    if (device.kind !== undefined) this.kind = device.kind;
    if (device.readAsync !== undefined) {
      this.readAsync = (pieces) => this.later("DEVICE_READ", async () => device.readAsync?.(pieces));
    }
    if (device.resize !== undefined) this.resize = (size) => this.now("DEVICE_WRITE", () => device.resize?.(size));
  }

  size(): number {
    return this.now("DEVICE_READ", () => this.device.size());
  }

  read(offset: number, target: Uint8Array): number {
    const count = this.now("DEVICE_READ", () => this.device.read(offset, target));
    if (count < target.length && offset + target.length <= this.size()) throw shrunk(this.operation, offset + count);
    return count;
  }

  write(offset: number, source: Uint8Array): number {
    const count = this.now("DEVICE_WRITE", () => this.device.write(offset, source));
    if (count === source.length) return count;
    const message = `${this.operation}: the device wrote ${count} of ${source.length} bytes at offset ${offset}.`;
    throw new CairnError("DEVICE_WRITE", this.operation, message);
  }

  writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    return this.later("DEVICE_WRITE", () => this.device.writeAsync(pieces));
  }

  sync(): void {
    this.now("DEVICE_WRITE", () => this.device.sync(), true);
  }

  syncAsync(): Promise<void> {
    return this.later("DEVICE_WRITE", () => this.device.syncAsync(), true);
  }

  close(): void {
    this.device.close();
  }

  private now<T>(code: CairnErrorCode, call: () => T, syncs = false): T {
    try {
      return call();
    } catch (cause) {
      throw this.typed(code, cause, syncs);
    }
  }

  private async later(code: CairnErrorCode, call: () => Promise<void>, syncs = false): Promise<void> {
    try {
      await call();
    } catch (cause) {
      throw this.typed(code, cause, syncs);
    }
  }

  private typed(code: CairnErrorCode, cause: unknown, syncs: boolean): CairnError {
    // Want of room in a sync is a failed sync.
    if (cause instanceof CairnError && !(syncs && cause.code === "NO_SPACE")) return cause;
    const what = code === "DEVICE_READ" ? "read" : syncs ? "sync" : "write";
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new CairnError(code, this.operation, `${this.operation}: the device failed to ${what}: ${reason}.`, {
      cause,
    });
  }
}

/** A device that ends before the end that it told. */
export function shrunk(operation: string, offset: number): CairnError {
  const message =
    `${operation}: the device ends at offset ${offset}, inside the size that it told. ` +
    "Bring the whole device back, or restore a backup.";
  return new CairnError("DEVICE_SHRUNK", operation, message);
}
