/** An image device that reads asynchronously, counts that, and holds or fails reads on demand. */
import type { DeviceTarget } from "../../store/device.ts";
import { ImageDevice } from "./image-device.ts";

/** See above. */
export class WaitingDevice extends ImageDevice {
  /** Pieces that were read asynchronously, and calls. */
  pieceCount = 0;
  callCount = 0;
  /** Calls that have begun and not ended. */
  inFlightCount = 0;
  /** Targets of the calls in flight. */
  readonly targets = new Set<Uint8Array>();
  private gateOfReads: Promise<void> | undefined;

  /** Makes asynchronous reads wait before their first byte, until the result is called. */
  holdReads(): () => void {
    let release = (): void => {};
    this.gateOfReads = new Promise((resolve) => {
      release = () => {
        this.gateOfReads = undefined;
        resolve();
      };
    });
    return release;
  }

  async readAsync(pieces: readonly DeviceTarget[]): Promise<void> {
    this.callCount++;
    this.inFlightCount++;
    for (const { target } of pieces) {
      this.targets.add(target);
      // Whoever reads the frame before the read has landed gets this.
      target.fill(0xee);
    }
    try {
      await this.gateOfReads;
      await Promise.resolve();
      for (const { offset, target } of pieces) {
        this.pieceCount++;
        this.read(offset, target);
      }
    } finally {
      for (const { target } of pieces) this.targets.delete(target);
      this.inFlightCount--;
    }
  }
}
