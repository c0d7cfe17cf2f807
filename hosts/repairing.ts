/** What `repair` is on every runtime: options, the damaged target, where the repaired store goes. */

import type { BlockDevice } from "../store/device.ts";
import { CairnError } from "../store/error.ts";
import { BLOCK_SIZE, SUPERBLOCK_STRIDE } from "../store/layout.ts";
import { readOptions } from "../store/options.ts";
import { isPlain } from "../store/refusals.ts";
import { repairDevice } from "../store/repair/repair.ts";
import type { RepairProgress, RepairReport } from "../store/repair/report.ts";
import { turn } from "../store/verify.ts";
import { coreHost, type Open, placeOf, type Runtime, runtimeOf } from "./opening.ts";
import type { Target } from "./target.ts";

/** Options of `repair`. */
export interface RepairOptions {
  /**
   * Where the repaired store goes: a path that does not exist, or a blank `BlockDevice`. Default: the path of the damaged one
   * with `.repaired` behind it. Needed when that is a block device or a `BlockDevice`.
   */
  output?: string | URL | BlockDevice;
  /** Where values go that are not proven, if there are any. Default: the damaged one's path with `.unproven` behind it. */
  unproven?: string | URL | BlockDevice;
  /**
   * Whether the repaired store takes the damaged one's place, once it is complete, synced and verified. A file is replaced
   * by a rename; a block device, which needs `output` as well, is written over from there. Default `false`.
   */
  inPlace?: boolean;
  /** Whether, after a repair in place, the damaged file stays, with `.damaged` behind its name. Default `true`. */
  keepDamaged?: boolean;
  /** Whether values that something missing may have replaced or deleted are taken all the same. Default `false`. */
  keepExposed?: boolean;
  /** Memory for what is found, and for opening what was written, in bytes. Default as for `open`. */
  memoryBytes?: number;
  /** Called as the work goes on; what it throws is ignored. */
  onProgress?: (progress: RepairProgress) => void;
  /** As for `open`. */
  wasm?: WebAssembly.Module;
}

/** The type of `repair`. */
export type Repair = (target: string | URL | BlockDevice, options?: RepairOptions) => Promise<RepairReport>;

const KNOWN = [
  "output",
  "unproven",
  "inPlace",
  "keepDamaged",
  "keepExposed",
  "memoryBytes",
  "onProgress",
  "wasm",
] as const;
const COPY_BYTES = 1_048_576;

/**
 * The `repair` that goes with an `open`: rebuilds a store from what is left of a damaged one.
 *
 * The damaged one is locked, read, and not changed. Every block that proves itself is read; of each key the newest value
 * that is proven to be the last one goes to a new store, with its version, and whatever cannot be proven to a second one. Both
 * are verified before the promise resolves. What was lost is in the report and no reason to reject: `NOT_A_STORE` and `CORRUPT`
 * when nothing can be proven at all, `LOCKED`, `UNSUPPORTED_FORMAT`, `INVALID_ARGUMENT` when an output exists, `NO_SPACE`,
 * `OUT_OF_MEMORY`, `UNSUPPORTED` and the devices' own. When it rejects, what it had made is removed. Three passes over the
 * device, about 70 bytes and the key's own for each key that was found.
 */
export function repairOn(open: Open): Repair {
  const runtime = runtimeOf(open);
  return async (target, options = {}) => {
    checkOptions(options);
    const { memoryBytes, wasm } = options;
    const given = { ...(memoryBytes === undefined ? {} : { memoryBytes }), ...(wasm === undefined ? {} : { wasm }) };
    const settings = readOptions({ ...given, readOnly: true }, runtime);
    const host = await coreHost(runtime, settings.wasm);
    const plan = planOf(runtime, target, options);
    const source = await openSource(runtime, target, options);
    const made = new Outputs(runtime);
    try {
      if (source.device.kind === "block" && options.output === undefined) {
        throw invalid("a block device has no room beside it: say where the repaired store goes (output).");
      }
      const report = await repairDevice(source.device, {
        host,
        memoryBytes: settings.memoryBytes,
        keepExposed: options.keepExposed ?? false,
        onProgress: options.onProgress,
        output: () => made.create(plan.output),
        unproven: () => made.create(plan.unproven),
      });
      report.output = pathOf(plan.output);
      if (report.keysUnproven > 0) report.unproven = pathOf(plan.unproven);
      if (options.inPlace === true) await replace(runtime, source, plan, made, report);
      await made.release();
      source.release();
      return report;
    } catch (error) {
      await made.discard();
      source.release();
      throw error;
    }
  };
}

interface Plan {
  path: string | undefined;
  output: string | BlockDevice;
  unproven: string | BlockDevice;
  damaged: string | undefined;
}

/** Where everything goes. Refuses what exists before anything is read. */
function planOf(runtime: Runtime, target: string | URL | BlockDevice, options: RepairOptions): Plan {
  if (target === ":memory:") throw invalid('":memory:" is empty when it is opened: there is nothing to repair.');
  const { exchange } = runtime;
  const isPath = typeof target === "string" || target instanceof URL;
  const path = !isPath ? undefined : (exchange?.resolve(target) ?? String(target));
  const resolve = (
    given: string | URL | BlockDevice | undefined,
    suffix: string,
    name: string,
  ): string | BlockDevice => {
    if (given === undefined && path === undefined) {
      if (name === "unproven") return refusing();
      throw invalid(`a BlockDevice has no name to put another one beside: pass one as ${name}.`);
    }
    if (given === undefined) return `${path}${suffix}`;
    if (typeof given !== "string" && !(given instanceof URL)) return given;
    return exchange?.resolve(given) ?? String(given);
  };
  const plan: Plan = {
    path,
    output: resolve(options.output, ".repaired", "output"),
    unproven: resolve(options.unproven, ".unproven", "unproven"),
    damaged: undefined,
  };
  if (options.inPlace === true) {
    if (path === undefined) throw invalid("a BlockDevice is not repaired in place: pass another one as output.");
    if (exchange === undefined) {
      const message =
        "repair: files cannot be put in each other's place here, so nothing is repaired in place. Repair to another name, and open that.";
      throw new CairnError("UNSUPPORTED", "repair", message);
    }
    if (options.keepDamaged !== false) plan.damaged = `${path}.damaged`;
  }
  for (const place of [plan.output, plan.unproven, plan.damaged]) {
    if (typeof place !== "string") continue;
    if (place === path || exchange?.exists(place) === true) {
      throw invalid(`${place} exists already. Remove it, or name another place.`);
    }
  }
  if (plan.output === plan.unproven) throw invalid("output and unproven are the same place.");
  return plan;
}

/** Stands for an output that nobody named: it is asked for only when there is something to put there. */
function refusing(): string {
  return "";
}

async function openSource(
  runtime: Runtime,
  target: string | URL | BlockDevice,
  options: RepairOptions,
): Promise<Target> {
  const readOnly = { create: false, format: false, readOnly: true, locks: true };
  const source = await placeOf(runtime, target, readOnly);
  // A block device that is to be written over is opened for that, under the same lock.
  if (options.inPlace !== true || source.device.kind !== "block") return source;
  source.release();
  return placeOf(runtime, target, { create: false, format: false, readOnly: false });
}

/** What a repair makes, to be given up or removed together. */
class Outputs {
  private readonly runtime: Runtime;
  private readonly targets: Target[] = [];

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  async create(place: string | BlockDevice): Promise<BlockDevice> {
    if (place === "") throw invalid("there are values that cannot be proven: pass a BlockDevice for them as unproven.");
    const target = await placeOf(this.runtime, place, { create: true, format: false, readOnly: false });
    if (typeof place === "string" && !target.created && target.device.kind !== "block") {
      await target.discard();
      throw invalid(`${place} exists already. Remove it, or name another place.`);
    }
    this.targets.push(target);
    return target.device;
  }

  async release(): Promise<void> {
    for (const target of this.targets.splice(0)) target.release();
  }

  async discard(): Promise<void> {
    for (const target of this.targets.splice(0)) await target.discard();
  }
}

/** Puts the repaired store in the damaged one's place. */
async function replace(
  runtime: Runtime,
  source: Target,
  plan: Plan,
  made: Outputs,
  report: RepairReport,
): Promise<void> {
  const { exchange } = runtime;
  const { path, output } = plan;
  if (exchange === undefined || path === undefined) return;
  if (source.device.kind === "block") {
    const copy = await placeOf(runtime, output, { create: false, format: false, readOnly: true });
    try {
      await writeOver(source.device, copy.device);
    } finally {
      copy.release();
    }
    return;
  }
  if (typeof output !== "string") throw invalid("what is to take a file's place must be a file: name one as output.");
  // Its lock is given up under its old name; that of the damaged one, which we hold, guards the new one.
  await made.release();
  await exchange.replace(path, output, plan.damaged);
  report.output = path;
  report.damaged = plan.damaged;
}

/** Writes a store over a block device: a crash on the way leaves no store there, and the copy where it is. */
async function writeOver(device: BlockDevice, copy: BlockDevice): Promise<void> {
  if (copy.size() > device.size()) {
    const message = `repair: the repaired store has ${copy.size()} bytes, and the device ${device.size()}. It stays where it is.`;
    throw new CairnError("NO_SPACE", "repair", message);
  }
  const zeros = new Uint8Array(BLOCK_SIZE);
  for (let i = 0; i < 4; i++) device.write(i * SUPERBLOCK_STRIDE, zeros);
  device.sync();
  const piece = new Uint8Array(COPY_BYTES);
  // The superblocks lie in the first piece.
  for (let offset = COPY_BYTES; offset < copy.size(); offset += COPY_BYTES) {
    const part = piece.subarray(0, Math.min(COPY_BYTES, copy.size() - offset));
    copy.read(offset, part);
    device.write(offset, part);
    await turn();
  }
  device.sync();
  copy.read(0, piece);
  device.write(0, piece);
  device.sync();
}

function pathOf(place: string | BlockDevice): string | undefined {
  return typeof place === "string" ? place : undefined;
}

function checkOptions(options: unknown): void {
  if (!isPlain(options)) throw invalid("the options must be an object.");
  for (const [name, value] of Object.entries(options)) {
    if (!(KNOWN as readonly string[]).includes(name)) throw invalid(`there is no option ${name}.`);
    const isFlag = name === "inPlace" || name === "keepDamaged" || name === "keepExposed";
    if (isFlag && value !== undefined && typeof value !== "boolean") throw invalid(`${name} must be true or false.`);
    if (name === "onProgress" && value !== undefined && typeof value !== "function") {
      throw invalid("onProgress must be a function.");
    }
  }
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "repair", `repair: ${message}`);
}
