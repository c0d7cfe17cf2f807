/** What `restore` is on every runtime: options, the target, how a restored file takes its place. */

import { Remote } from "../store/backup/remote.ts";
import {
  type ByteSource,
  clearDevice,
  IncomingBackup,
  isBlank,
  Restoration,
  type RestoreReport,
  superblockOn,
} from "../store/backup/restore.ts";
import type { BlockDevice } from "../store/device.ts";
import { CairnError } from "../store/error.ts";
import type { StoreProgress } from "../store/options.ts";
import { isPlain } from "../store/refusals.ts";
import { nextTurn } from "../store/turn.ts";
import { TypedDevice } from "../store/typed-device.ts";
import { type Open, placeOf, type Runtime, runtimeOf } from "./opening.ts";
import type { FileSwap, Target } from "./target.ts";

/** What `restore` reads: the bytes of a backup as a stream or in chunks; or of several, each adding to those before it. */
export type BackupSource = ByteSource | readonly ByteSource[];

/** Options of `restore`. */
export interface RestoreOptions {
  /** Whether what the target holds is given up for the restored store. Default `false`. */
  overwrite?: boolean;
  /** Called as the work goes on, with the phase `restore` and the bytes of the backup that is read; what it throws is ignored. */
  onProgress?: (progress: StoreProgress) => void;
}

/** The type of `restore`. */
export type Restore = (
  target: string | URL | BlockDevice,
  source: BackupSource,
  options?: RestoreOptions,
) => Promise<RestoreReport>;

const COPY_BYTES = 1_048_576;

/**
 * The `restore` that goes with an `open`: makes a store of the bytes of a backup, or of a full one and those that add to it,
 * in their order. What adds to another one may also come alone, where the target is that one, restored and never opened
 * for writing since.
 *
 * A file is written beside its place, under the name with `.restoring` behind it, and takes its place by a rename when every byte
 * was proven and is on stable storage: when the promise rejects, the target is what it was. A device is written in place,
 * the superblock last: it holds no store then. A `BlockDevice` stays open.
 *
 * `INVALID_ARGUMENT` where the target holds something and `overwrite` is not set, or where the backup does not follow what is
 * there; `NOT_A_STORE` for bytes that are no backup; `CORRUPT` for damaged and for truncated ones; `UNSUPPORTED_FORMAT`,
 * `LOCKED` while the target is open, `NO_SPACE`, and what the source itself fails with.
 */
export function restoreOn(open: Open): Restore {
  const runtime = runtimeOf(open);
  return async (target, source, options = {}) => {
    checkRestoreOptions(options);
    const sources = sourcesOf(source);
    if (target === ":memory:") {
      throw invalid('what is restored to ":memory:" is gone at once. Pass a BlockDevice, and open that.');
    }
    const found = await placeOf(runtime, target, { create: true, format: false, readOnly: false });
    const isGiven = found.device === target;
    const place = isGiven ? { ...found, device: new TypedDevice(found.device, "restore") } : found;
    try {
      const first = await IncomingBackup.begin(sources[0] as ByteSource);
      const work = { runtime, place, first, others: sources.slice(1), options };
      try {
        const isFile = !isGiven && place.device.kind !== "block";
        const report = isFile ? await restoreFile(work, target as string | URL) : await restoreDevice(work);
        if (!isGiven) place.release();
        return report;
      } finally {
        await first.stop();
      }
    } catch (error) {
      if (!isGiven) await place.discard();
      throw error;
    }
  };
}

/** The type of `restoreSnapshot`. */
export type RestoreSnapshot = (
  remote: Remote,
  target: string | URL | BlockDevice,
  id?: string,
  options?: RestoreOptions,
) => Promise<RestoreReport>;

/**
 * The `restoreSnapshot` that goes with a `restore`: a snapshot that a store has pushed to a remote, by default the newest
 * one there, as `restore` does it. `NOT_A_STORE` where there is no such snapshot, `CORRUPT` where a piece of it is missing
 * or damaged, and what the remote fails with.
 */
export function restoreSnapshotWith(restore: Restore): RestoreSnapshot {
  return async (remote, target, id, options) => {
    if (!(remote instanceof Remote)) throw invalid("the remote must be one of folderRemote or s3Remote.");
    return restore(target, remote.backup(id ?? (await remote.newest())), options);
  };
}

interface Work {
  runtime: Runtime;
  /** The target, locked. */
  place: Target;
  first: IncomingBackup;
  others: readonly ByteSource[];
  options: RestoreOptions;
}

/** Beside the file, then in its place. */
async function restoreFile(work: Work, target: string | URL): Promise<RestoreReport> {
  const { runtime, place, first, options } = work;
  const swap = runtime.swap as FileSwap;
  const addsToTarget = first.header.base !== undefined;
  if (!addsToTarget) checkFree(place, options);
  const path = swap.resolve(target);
  const beside = `${path}.restoring`;
  // Of a restore that was ended: whoever makes one holds the lock that is ours.
  await swap.remove(beside);
  const made = await placeOf(runtime, beside, { create: true, format: false, readOnly: false });
  let report: RestoreReport;
  try {
    const restoration = new Restoration(made.device, reporter(options));
    if (addsToTarget) await copyBase(place.device, made.device, restoration);
    report = await addAll(restoration, work);
  } catch (error) {
    await made.discard();
    throw error;
  }
  made.release();
  await swap.replace(path, beside, () => place.release());
  return report;
}

/** In place. */
async function restoreDevice(work: Work): Promise<RestoreReport> {
  const { place, first, options } = work;
  if (first.header.base !== undefined) {
    throw invalid("a device takes backups from the full one on: pass that one before those that add to it.");
  }
  checkFree(place, options);
  await clearDevice(place.device);
  try {
    return await addAll(new Restoration(place.device, reporter(options)), work);
  } catch (error) {
    // What is there is no store: it may be blank again.
    if (place.device.growable === true) await clearDevice(place.device).catch(() => undefined);
    throw error;
  }
}

async function addAll(restoration: Restoration, { first, others }: Work): Promise<RestoreReport> {
  await restoration.add(first);
  for (const source of others) {
    const backup = await IncomingBackup.begin(source);
    try {
      await restoration.add(backup);
    } finally {
      await backup.stop();
    }
  }
  return restoration.finish();
}

async function copyBase(from: BlockDevice, to: BlockDevice, restoration: Restoration): Promise<void> {
  const facts = superblockOn(from);
  if (facts === undefined)
    throw invalid("the backup adds to another one, which the target does not hold. Pass that one before it.");
  restoration.over(facts);
  to.resize?.(from.size());
  const piece = new Uint8Array(COPY_BYTES);
  for (let offset = 0; offset < from.size(); offset += COPY_BYTES) {
    const part = piece.subarray(0, Math.min(COPY_BYTES, from.size() - offset));
    if (from.readAsync === undefined) from.read(offset, part);
    else await from.readAsync([{ offset, target: part }]);
    await to.writeAsync([{ offset, source: part }]);
    await new Promise<void>((resolve) => nextTurn(resolve));
  }
}

function checkFree({ device, hasTail }: Target, { overwrite = false }: RestoreOptions): void {
  if (overwrite || (isBlank(device) && !hasTail)) return;
  throw invalid("the target holds something already. Name another one, or pass overwrite: true to give that up.");
}

function reporter({ onProgress }: RestoreOptions): ((done: number, total: number) => void) | undefined {
  if (onProgress === undefined) return undefined;
  return (done, total) => {
    try {
      onProgress({ phase: "restore", done, total });
    } catch {
      // A listener's failure is not the restore's.
    }
  };
}

/** The backups that a program passes, in their order. `INVALID_ARGUMENT`. */
export function sourcesOf(source: BackupSource): readonly ByteSource[] {
  const isSource = (value: unknown): boolean =>
    typeof value === "object" &&
    value !== null &&
    !(value instanceof Uint8Array) &&
    ("getReader" in value || Symbol.asyncIterator in value || Symbol.iterator in value);
  // An array is several sources, unless it is one, in chunks.
  const isOne = !Array.isArray(source) || source[0] instanceof Uint8Array;
  const sources = isOne ? [source as ByteSource] : (source as readonly ByteSource[]);
  if (sources.length > 0 && sources.every(isSource)) return sources;
  throw invalid("the source must be a stream of bytes, an iterable of Uint8Array, or an array of such.");
}

/** Checks the options of `restore`. `INVALID_ARGUMENT`. */
export function checkRestoreOptions(options: unknown): asserts options is RestoreOptions {
  if (!isPlain(options)) throw invalid("the options must be an object.");
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (name === "overwrite") {
      if (typeof value !== "boolean") throw invalid("overwrite must be true or false.");
    } else if (name !== "onProgress") throw invalid(`there is no option ${name}.`);
    else if (typeof value !== "function") throw invalid("onProgress must be a function.");
  }
}

function invalid(message: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "restore", `restore: ${message}`);
}
