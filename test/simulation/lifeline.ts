/** A device as one life of a store has it. What is left of a store that died reaches the device no more. */
import type { BlockDevice, DevicePiece, DeviceTarget } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";

/** A call that nobody hears of any more. */
const NEVER = new Promise<never>(() => undefined);

/** Passes everything on until `end`: from then on calls that wait wait for good, and others fail. */
export class Lifeline implements BlockDevice {
  readonly kind = "memory";
  readonly growable: boolean;
  readonly readAsync?: (pieces: readonly DeviceTarget[]) => Promise<void>;
  readonly commitAsync?: (pieces: readonly DevicePiece[]) => Promise<void>;
  private device: BlockDevice | undefined;

  constructor(device: BlockDevice) {
    this.device = device;
    this.growable = device.growable ?? false;
    if (device.readAsync !== undefined) this.readAsync = (pieces) => this.device?.readAsync?.(pieces) ?? NEVER;
    if (device.commitAsync !== undefined) this.commitAsync = (pieces) => this.device?.commitAsync?.(pieces) ?? NEVER;
  }

  /** The store is dead. */
  end(): void {
    this.device = undefined;
  }

  size(): number {
    return this.alive.size();
  }

  read(offset: number, target: Uint8Array): number {
    return this.alive.read(offset, target);
  }

  readInto(offset: number, memory: Uint8Array, at: number, size: number): number {
    return this.alive.readInto?.(offset, memory, at, size) ?? 0;
  }

  write(offset: number, source: Uint8Array): number {
    return this.alive.write(offset, source);
  }

  writeAsync(pieces: readonly DevicePiece[]): Promise<void> {
    return this.device?.writeAsync(pieces) ?? NEVER;
  }

  sync(): void {
    this.alive.sync();
  }

  syncAsync(): Promise<void> {
    return this.device?.syncAsync() ?? NEVER;
  }

  resize(size: number): void {
    this.alive.resize?.(size);
  }

  close(): void {}

  private get alive(): BlockDevice {
    if (this.device === undefined) throw new CairnError("DEVICE_WRITE", "device", "the process is dead");
    return this.device;
  }
}
