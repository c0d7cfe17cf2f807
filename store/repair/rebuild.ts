/** A fresh store that takes records as they stood in another one; see `assembly/recovery/rebuild.ts`. */
import { Core, type CoreHost, MOUNT_GROWABLE } from "../core.ts";
import type { BlockDevice } from "../device.ts";
import { CairnError } from "../error.ts";
import { openStore } from "../open.ts";
import { readOptions } from "../options.ts";

const ENGINE_DUAL = 1;
const MEMORY_BYTES = 32 * 1_048_576;
const WRITE_BUFFER_BYTES = 1_048_576;
const CACHE_BYTES = 262_144;

/** See the head of this file. */
export class Rebuilder {
  readonly device: BlockDevice;
  private readonly core: Core;
  /** Keys that it holds. */
  keys = 0;

  private constructor(core: Core) {
    this.core = core;
    this.device = core.device;
  }

  /** Formats a blank device, or one that holds nothing yet. */
  static async create(device: BlockDevice, host: CoreHost, segmentBlocks: number): Promise<Rebuilder> {
    const core = await Core.create(host, device, MEMORY_BYTES);
    const { exports, handle } = core;
    const flags = device.growable === true && device.resize !== undefined ? MOUNT_GROWABLE : 0;
    const check = (status: number): void => {
      if (status < 0) throw core.error(status, "repair");
    };
    check(exports.initialize(core.memory.buffer.byteLength, WRITE_BUFFER_BYTES, CACHE_BYTES, 0));
    if (exports.probe(handle) !== 0) throw notBlank();
    check(exports.format(handle, ENGINE_DUAL, segmentBlocks, flags));
    check(exports.probe(handle));
    check(exports.mount(handle, handle, ENGINE_DUAL, flags));
    return new Rebuilder(core);
  }

  /** Appends a record: its bytes up to the end of its key, and those of its value. */
  append(head: Uint8Array, value: Uint8Array): void {
    const { core } = this;
    core.bytes.set(head, core.exchangeIn);
    this.check(core.exports.rebuildRecord(head.length, head.length + value.length));
    for (let done = 0; done < value.length; ) {
      const piece = value.subarray(done, done + core.exchangeSize);
      core.bytes.set(piece, core.exchangeIn);
      this.check(core.exports.rebuildBytes(piece.length));
      done += piece.length;
    }
    core.exports.rebuildEnd();
  }

  /** Lets the records count, makes them durable, and closes the store. `sequence` is the highest that was ever used. */
  finish(sequence: number, highestTimeMs: number): void {
    this.check(this.core.exports.rebuildFinish(sequence, highestTimeMs));
    this.check(this.core.exports.close());
  }

  /** Opens what was written anew, and proves that it is sound and holds as many keys as were put there. */
  async prove(memoryBytes: number): Promise<void> {
    const settings = readOptions({ readOnly: true, memoryBytes, keyEncoding: "binary", valueEncoding: "binary" });
    const store = await openStore({ device: this.device, host: this.core.host, release: () => undefined }, settings);
    try {
      const { ok, keys, faults } = await store.verify();
      if (ok && keys === this.keys) return;
      const what = faults[0]?.message ?? `it holds ${keys} keys, not ${this.keys}`;
      const message = `repair: what was written does not read back (${what}). Give another output, on a sound device.`;
      throw new CairnError(faults[0]?.kind === "device" ? "DEVICE_READ" : "CORRUPT", "repair", message);
    } finally {
      await store.close();
    }
  }

  private check(status: number): void {
    if (status < 0) throw this.core.error(status, "repair");
  }
}

function notBlank(): CairnError {
  return new CairnError(
    "INVALID_ARGUMENT",
    "repair",
    "repair: the output holds something already. Give one that is blank, or does not exist.",
  );
}
