/** Opening: from a device to a store. Hosts bring the device; see `hosts/node.ts`. */
import { type CheckpointPace, paceCheckpoints } from "./checkpoints.ts";
import { trap } from "./commit.ts";
import {
  Core,
  type CoreHost,
  MOUNT_COMPRESSION,
  MOUNT_DIRECT_READS,
  MOUNT_FENCE,
  MOUNT_GROWABLE,
  MOUNT_PREDECESSOR_ALIVE,
  MOUNT_READ_ONLY,
} from "./core.ts";
import type { BlockDevice } from "./device.ts";
import { CairnError } from "./error.ts";
import { BLOCK_SIZE } from "./layout.ts";
import type { Settings } from "./options.ts";
import { type Ending, Session } from "./session.ts";
import { Store } from "./store.ts";
import { TypedDevice } from "./typed-device.ts";

const ENGINE_DUAL = 1;
const SEGMENT_BLOCKS_DEFAULT = 256;
const PROBED_BLANK = 0;
const PROBED_STORE = 1;
const STATUS_NOT_A_STORE = -1;
const STATUS_UNSUPPORTED_FORMAT = -2;
const STATUS_CORRUPT = -4;
/** Of the superblock, and what it says in a store of this version; see assembly/format/superblock.ts. */
const FORMAT_VERSION_OFFSET = 16;
const FORMAT_VERSION = 3;
const FEATURE_NAME_OFFSET = 432;
const FEATURE_NAME_SIZE = 64;
const VERSION_NEEDED_SIZE = 16;
const STAT_RECOVERED_RECORDS = 29;
const STAT_RECOVERED_TAIL_BLOCKS = 30;
const STAT_CHECKPOINT_FALLBACKS = 83;
const STAT_CHECKPOINTS_KEPT = 85;
const STAT_SCAN_FOLD = 115;
/** Of all that is to be read, how much comes between two calls of `onProgress`. */
const PROGRESS_SHARE = 0.01;

/** What `openStore` gets beside the settings. */
export interface Opening extends Ending {
  device: BlockDevice;
  host: CoreHost;
  /** Blocks of 4,096 bytes in a segment when a store is formatted: a power of two, 16 to 16,384. Default 256. */
  segmentBlocks?: number;
  /** When checkpoints are made. Default: as `CheckpointPace` says. */
  checkpoints?: CheckpointPace;
  /** Whether the target holds something that the device does not show. It is not blank then. */
  hasTail?: boolean;
  /** Whether whoever had the store may still write to it. It is fenced then, and none of the space that it may write to is used. */
  predecessorAlive?: boolean;
}

/** How often a readOnly mount is tried while nothing changes: what a writer was just changing must be whole then. */
const STILL_ATTEMPT_COUNT_MAX = 5;
/** How often it is tried while a writer goes on, and how long the pauses become. */
const READ_ATTEMPT_COUNT_MAX = 40;
const READ_ATTEMPT_PAUSE_MS = 5;
const READ_ATTEMPT_PAUSE_MAX_MS = 100;

/** Formats the device when it is blank, mounts it, and gives the store. On failure the device is the caller's still. */
export async function openStore<K, V>(opening: Opening, settings: Settings): Promise<Store<K, V>> {
  const start = performance.now();
  const core = await (settings.readOnly
    ? mountForReading(opening, settings)
    : mountForWriting(opening, settings)
  ).catch(stopped);
  paceCheckpoints(core, opening.checkpoints ?? {}, settings.readOnly);
  const ending = { release: opening.release, remount: () => mountForReading(opening, settings).catch(stopped) };
  const store = new Store<K, V>(new Session(core, settings, ending), settings.keys, settings.values);
  const tailBlocks = core.exports.stat(STAT_RECOVERED_TAIL_BLOCKS);
  const emit = (event: Parameters<NonNullable<Settings["onEvent"]>>[0]): void => {
    try {
      settings.onEvent?.(event);
    } catch {
      // A listener's failure is not the store's.
    }
  };
  const damaged = core.exports.stat(STAT_CHECKPOINT_FALLBACKS);
  if (damaged > 0) {
    const used = core.exports.stat(STAT_CHECKPOINTS_KEPT) > 0 ? "older" : "log";
    emit({ type: "checkpointDamaged", damaged, used });
  }
  if (tailBlocks > 0) emit({ type: "recovered", records: core.exports.stat(STAT_RECOVERED_RECORDS), tailBlocks });
  emit({ type: "opened", records: core.exports.stat(0), ms: performance.now() - start });
  return store;
}

/**
 * Mounts a store to write to it. An opener that may still be alive can have made the device longer since it was opened here, so one
 * that looks too short is measured again.
 */
async function mountForWriting(opening: Opening, settings: Settings): Promise<Core> {
  const { device, predecessorAlive } = opening;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await mount(opening, settings);
    } catch (error) {
      const isShort = error instanceof CairnError && error.code === "DEVICE_SHRUNK";
      if (
        !isShort ||
        predecessorAlive !== true ||
        device.measure === undefined ||
        attempt === STILL_ATTEMPT_COUNT_MAX
      ) {
        throw error;
      }
      device.measure();
    }
  }
}

/**
 * Mounts what a writer may be working on: between two reads of one mount it may make the device longer or shorter, begin a
 * segment, or use one anew. What looks damaged then is looked at again, and counts when all is as it was. A writer that
 * always is faster is `SNAPSHOT_EXPIRED`.
 */
async function mountForReading(opening: Opening, settings: Settings): Promise<Core> {
  let still = 0;
  let seen = -1;
  for (let attempt = 1; ; attempt += 1) {
    opening.device.measure?.();
    let core: Core | undefined;
    try {
      return await mount(opening, settings, (made) => {
        core = made;
      });
    } catch (error) {
      const code = error instanceof CairnError ? error.code : "";
      if (code !== "CORRUPT" && code !== "DEVICE_SHRUNK") throw error;
      const found = core?.exports.stat(STAT_SCAN_FOLD) ?? -1;
      still = found === seen ? still + 1 : 1;
      seen = found;
      if (still === STILL_ATTEMPT_COUNT_MAX) throw error;
      if (attempt === READ_ATTEMPT_COUNT_MAX) {
        const message =
          `open: the writer of the store went on faster than it could be read, ${attempt} times. ` +
          "Open it, or refresh it, again when less is written.";
        throw new CairnError("SNAPSHOT_EXPIRED", "open", message, { cause: error });
      }
    }
    const ms = Math.min(READ_ATTEMPT_PAUSE_MS * attempt, READ_ATTEMPT_PAUSE_MAX_MS);
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
}

/** An instance of the core over the device, with the store on it mounted. `made` gets it before that. */
async function mount(opening: Opening, settings: Settings, made?: (core: Core) => void): Promise<Core> {
  const { device, host } = opening;
  if (settings.directReads) prepareDirectReads(device);
  const { onProgress } = settings;
  const core = await Core.create(host, device, settings.memoryBytes, onProgress !== undefined);
  made?.(core);
  const interval = settings.durability === "manual" ? 0 : settings.flushIntervalMs;
  check(
    core,
    core.exports.initialize(core.memory.buffer.byteLength, settings.writeBufferBytes, settings.cacheBytes, interval),
  );
  const growable = device.growable === true && device.resize !== undefined ? MOUNT_GROWABLE : 0;
  let probed = core.exports.probe(core.handle);
  if (probed === PROBED_BLANK && opening.hasTail === true) probed = STATUS_NOT_A_STORE;
  if (probed !== PROBED_STORE && mayFormat(probed, settings)) {
    if (probed !== PROBED_BLANK) erase(new TypedDevice(device, "open"));
    check(
      core,
      core.exports.format(core.handle, ENGINE_DUAL, opening.segmentBlocks ?? SEGMENT_BLOCKS_DEFAULT, growable),
    );
    probed = core.exports.probe(core.handle);
  }
  if (probed === STATUS_UNSUPPORTED_FORMAT) throw unsupportedFormat(core);
  if (probed === PROBED_BLANK) {
    throw new CairnError("NOT_A_STORE", "open", "open: the target is blank, and a readOnly opening formats nothing.");
  }
  check(core, probed);
  let flags = growable | (settings.readOnly ? MOUNT_READ_ONLY : 0) | (settings.directReads ? MOUNT_DIRECT_READS : 0);
  if (settings.compression === "lz4") flags |= MOUNT_COMPRESSION;
  if (opening.predecessorAlive === true) flags |= MOUNT_FENCE;
  // A device of fixed size has no other space to offer.
  if (opening.predecessorAlive === true && growable !== 0) flags |= MOUNT_PREDECESSOR_ALIVE;
  const progress = onProgress && recoveryProgress(onProgress);
  const mounted = core.watched(
    () => core.exports.mount(core.handle, core.uncachedHandle, ENGINE_DUAL, flags),
    progress?.told,
  );
  if (mounted === STATUS_UNSUPPORTED_FORMAT) throw unsupportedFormat(core);
  check(core, mounted);
  progress?.end();
  return core;
}

/**
 * Tells of an opening, now and then: it may begin anew when a checkpoint is damaged, so it never goes back. The end tells that all
 * is done, also of what needed no reading after all.
 */
function recoveryProgress(onProgress: NonNullable<Settings["onProgress"]>): {
  told(done: number, total: number): void;
  end(): void;
} {
  let share = 0;
  let totalBytes = 0;
  return {
    told: (done, total) => {
      const now = total > 0 ? Math.min(done / total, 1) : 0;
      if (now === 0 || (now < 1 && now < share + PROGRESS_SHARE) || now <= share) return;
      share = now;
      totalBytes = total * BLOCK_SIZE;
      onProgress({ phase: "recovery", done: Math.min(done, total) * BLOCK_SIZE, total: totalBytes });
    },
    end: () => {
      if (share === 0 || share === 1) return;
      try {
        onProgress({ phase: "recovery", done: totalBytes, total: totalBytes });
      } catch {
        // A listener's failure is not the store's.
      }
    },
  };
}

/** `UNSUPPORTED` where reads cannot go past a cache, before anything is read or changed. */
function prepareDirectReads(device: BlockDevice): void {
  if (device.prepareUncachedReads !== undefined && device.readUncached !== undefined) {
    device.prepareUncachedReads();
    return;
  }
  const what = device.kind === undefined ? "this device" : `a device of the kind ${device.kind}`;
  const message = `open: directReads: ${what} has no way to read past a cache. Leave the option out.`;
  throw new CairnError("UNSUPPORTED", "open", message);
}

/** Whether a target that holds no store is to hold one now. */
function mayFormat(probed: number, settings: Settings): boolean {
  if (settings.readOnly) return false;
  if (probed === PROBED_BLANK) return true;
  return (
    settings.format &&
    (probed === STATUS_NOT_A_STORE || probed === STATUS_CORRUPT || probed === STATUS_UNSUPPORTED_FORMAT)
  );
}

/** Takes from a device what would make it look like a store, or like one that was. */
function erase(device: BlockDevice): void {
  const zeros = new Uint8Array(65_536);
  const end = Math.min(device.size(), 1_048_576);
  for (let offset = 0; offset + 4096 <= end; offset += zeros.length) {
    device.write(offset, zeros.subarray(0, Math.min(zeros.length, end - offset)));
  }
  device.sync();
}

/** What is no error of the store's own stopped the engine half-way, as a trap does. */
function stopped(cause: unknown): never {
  throw trap(cause);
}

function check(core: Core, status: number): void {
  if (status < 0) throw core.error(status, "open");
}

function unsupportedFormat(core: Core): CairnError {
  const found = core.words[(core.superblock + FORMAT_VERSION_OFFSET) >> 2] as number;
  if (found < FORMAT_VERSION) {
    const message = `open: the store has the older format ${found}, and this version of cairn-kv reads format ${FORMAT_VERSION} alone. Copy its records with the version that wrote it; nothing was changed.`;
    return new CairnError("UNSUPPORTED_FORMAT", "open", message);
  }
  const at = core.superblock + FEATURE_NAME_OFFSET;
  const feature = zeroEnded(core.bytes.subarray(at, at + FEATURE_NAME_SIZE));
  const version = zeroEnded(core.bytes.subarray(at + FEATURE_NAME_SIZE, at + FEATURE_NAME_SIZE + VERSION_NEEDED_SIZE));
  const format = found > FORMAT_VERSION ? `the newer format ${found}` : "a newer format";
  const what = feature === "" ? format : `the feature ${feature}`;
  const need = version === "" ? "a newer version of cairn-kv" : `cairn-kv ${version} or later`;
  return new CairnError(
    "UNSUPPORTED_FORMAT",
    "open",
    `open: the store uses ${what}. It needs ${need}; nothing was changed.`,
  );
}

function zeroEnded(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
