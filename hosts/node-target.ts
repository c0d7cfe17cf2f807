/**
 * From what a program passes to `open` to a device with its lock: files and raw block devices.
 *
 * 1. The lock is held before anything is opened for writing. A `readOnly` opener takes none, and creates nothing.
 * 2. Paths are resolved first, so that two names of one file meet in one lock.
 * 3. A created file's entry in its folder is durable before the target is handed out.
 */
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CairnError } from "../store/error.ts";
import { openBlockDevice, type RawBlockDevice } from "./block-device.ts";
import { FileDevice } from "./file-device.ts";
import { acquireLock, type FileLock } from "./lock.ts";
import { BLOCK_SIZE, closeQuietly, errnoOf, readFully, reasonOf } from "./positioned-io.ts";
import { invalid, refusal } from "./refusal.ts";
import type { Target, TargetOptions } from "./target.ts";

/** How a runtime's `node:fs` differs from Node's. */
export interface SystemFiles {
  /** Whether `O_EXCL` opens a block device exclusively. */
  opensExclusively: boolean;
  /** Takes an advisory lock on a file that exists: how it is given up, or `undefined` when another process has it. */
  tryLock?(path: string): (() => void) | undefined;
}

const NODE_FILES: SystemFiles = { opensExclusively: true };

/** How often an opening starts anew because the file came or went meanwhile. */
const ATTEMPT_COUNT_MAX = 8;

/**
 * Opens `target`, a path or a `file:` URL. Throws `INVALID_ARGUMENT` for what cannot hold a store,
 * `NOT_A_STORE` for a missing file that is not to be created, `LOCKED`, and `DEVICE_READ` or `DEVICE_WRITE` where the
 * system refuses.
 */
export async function openTarget(
  target: string | URL,
  options: TargetOptions,
  files: SystemFiles = NODE_FILES,
): Promise<Target> {
  const path = pathOf(target);
  for (let attempt = 0; attempt < ATTEMPT_COUNT_MAX; attempt += 1) {
    const stat = statOf(path);
    const opened =
      stat === undefined ? await createFile(path, options, files) : await openExisting(path, stat, options, files);
    if (opened !== undefined) return opened;
  }
  throw new CairnError("LOCKED", "open", `${path} is created and removed again by another process. Stop it first.`);
}

/** The path that a target names. `INVALID_ARGUMENT` when it cannot be one. */
export function pathOf(target: string | URL): string {
  if (target instanceof URL) {
    if (target.protocol === "file:") {
      try {
        return fileURLToPath(target);
      } catch (cause) {
        throw invalid(`the target ${target.href} names no file: ${reasonOf(cause)}.`, cause);
      }
    }
    throw invalid(`the target ${target.href} is no file: URL. Pass a path or a file: URL.`);
  }
  if (typeof target !== "string" || target === "" || target.includes("\0")) {
    throw invalid("the target must be a path, a file: URL or a BlockDevice; a path is not empty and holds no NUL.");
  }
  return target;
}

/** What `path` names, through symbolic links; `undefined` when nothing. */
function statOf(path: string): fs.Stats | undefined {
  try {
    return fs.statSync(path);
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw refusal(path, "read", cause);
  }
}

/** Whether anything has the name of a path that leads to nothing. */
function isLink(path: string): boolean {
  try {
    return fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch (cause) {
    throw refusal(path, "read", cause);
  }
}

async function openExisting(
  path: string,
  stat: fs.Stats,
  options: TargetOptions,
  files: SystemFiles,
): Promise<Target | undefined> {
  if (stat.isDirectory()) {
    throw invalid(`the target ${path} is a directory. Name a file in it, such as ${join(path, "store.cairn")}.`);
  }
  if (!stat.isFile() && !stat.isBlockDevice()) {
    throw invalid(`the target ${path} is a ${typeOf(stat)}. A store needs a regular file or a block device.`);
  }
  const { readOnly } = options;
  try {
    const resolved = fs.realpathSync(path);
    const locks = !readOnly || options.locks === true;
    if (stat.isBlockDevice()) return await openBlock(resolved, { readOnly, locks }, files);
    const lock = locks ? await acquireLock(resolved) : undefined;
    const flags = readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR;
    return openFile(resolved, flags, lock, { readOnly, locks, created: false }, files);
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw refusal(path, readOnly ? "read" : "write", cause);
  }
}

async function createFile(path: string, options: TargetOptions, files: SystemFiles): Promise<Target | undefined> {
  if (options.readOnly || !options.create) {
    const reason = options.readOnly ? "a readOnly opening creates nothing" : "create is false";
    throw new CairnError("NOT_A_STORE", "open", `${path} does not exist, and ${reason}. Check the path.`);
  }
  if (isLink(path)) {
    throw invalid(`the target ${path} is a symbolic link to nothing. Create what it points to, or remove it.`);
  }
  let folder: string;
  try {
    folder = fs.realpathSync(dirname(path));
  } catch (cause) {
    if (errnoOf(cause) !== "ENOENT") throw refusal(path, "write", cause);
    throw invalid(`the folder of the target ${path} does not exist. Create it first.`, cause);
  }
  const resolved = join(folder, basename(path));
  const { O_RDWR, O_CREAT, O_EXCL } = fs.constants;
  try {
    const lock = await acquireLock(resolved);
    const target = openFile(
      resolved,
      O_RDWR | O_CREAT | O_EXCL,
      lock,
      { readOnly: false, locks: true, created: true },
      files,
    );
    try {
      await syncFolder(folder);
    } catch (cause) {
      target.discard();
      throw cause;
    }
    return target;
  } catch (cause) {
    if (errnoOf(cause) === "EEXIST") return undefined;
    throw refusal(path, "write", cause);
  }
}

/** Opens the file of `path`, whose lock is ours. The lock is given up when that fails. */
function openFile(
  path: string,
  flags: number,
  lock: FileLock | undefined,
  options: { readOnly: boolean; locks: boolean; created: boolean },
  files: SystemFiles,
): Target {
  let descriptor = -1;
  let unlock: (() => void) | undefined;
  let device: FileDevice;
  let identity: string;
  let hasTail: boolean;
  try {
    descriptor = fs.openSync(path, flags, 0o666);
    const stat = fs.fstatSync(descriptor);
    if (!stat.isFile()) throw invalid(`the target ${path} was replaced by a ${typeOf(stat)} while it was opened.`);
    identity = identityOf(stat);
    lock?.identify(identity);
    if (options.locks) unlock = lockAlso(path, files);
    hasTail = tailOf(descriptor, stat.size).some((byte) => byte !== 0);
    device = new FileDevice(path, descriptor, { readOnly: options.readOnly });
  } catch (cause) {
    if (descriptor >= 0) closeQuietly(descriptor);
    unlock?.();
    lock?.release();
    throw cause;
  }
  const unlockAll = (): void => {
    unlock?.();
    lock?.release();
  };
  const release = (): void => device.closeThen(unlockAll);
  const discard = (): void =>
    device.closeThen(() => {
      try {
        if (options.created && identityOf(fs.statSync(path)) === identity) fs.unlinkSync(path);
      } catch {
        // The opening has failed already, for a reason that says more than an empty file that stays.
      }
      unlockAll();
    });
  const predecessorAlive = lock?.predecessorAlive === true;
  const settled = (): void => lock?.settled();
  return { device, created: options.created, hasTail, predecessorAlive, settled, release, discard };
}

/**
 * Opens a block device. Beside the kernel's own exclusive opening, which not every runtime has, it gets a lock file as
 * well, if `/dev` takes one.
 */
async function openBlock(
  path: string,
  { readOnly, locks }: { readOnly: boolean; locks: boolean },
  files: SystemFiles,
): Promise<Target> {
  const lock = locks ? await acquireDeviceLock(path) : undefined;
  let unlock: (() => void) | undefined;
  let device: RawBlockDevice;
  try {
    lock?.identify(`block ${fs.statSync(path).rdev}`);
    if (locks) unlock = lockAlso(path, files);
    device = openBlockDevice(path, { readOnly, exclusive: files.opensExclusively });
  } catch (cause) {
    unlock?.();
    lock?.release();
    throw cause;
  }
  const release = (): void =>
    device.closeThen(() => {
      unlock?.();
      lock?.release();
    });
  const predecessorAlive = lock?.predecessorAlive === true;
  const settled = (): void => lock?.settled();
  return { device, created: false, hasTail: false, predecessorAlive, settled, release, discard: release };
}

async function acquireDeviceLock(path: string): Promise<FileLock | undefined> {
  try {
    return await acquireLock(path);
  } catch (error) {
    if ((error as CairnError).code === "LOCKED") throw error;
    return undefined;
  }
}

/** Takes the runtime's own lock of a file, beside the lock file. */
function lockAlso(path: string, files: SystemFiles): (() => void) | undefined {
  if (files.tryLock === undefined) return undefined;
  const unlock = files.tryLock(path);
  if (unlock !== undefined) return unlock;
  throw new CairnError(
    "LOCKED",
    "open",
    `${path} is locked (flock) by another process. Close it there, or open with readOnly: true.`,
  );
}

/** The bytes of a file behind its last whole block. */
function tailOf(descriptor: number, size: number): Uint8Array {
  const tail = new Uint8Array(size % BLOCK_SIZE);
  return tail.subarray(0, readFully(descriptor, size - tail.length, tail));
}

/** Makes the entries of `folder` durable. Windows opens no folders, and needs no such sync. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await fs.promises.open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function identityOf(stat: fs.Stats): string {
  return `${stat.dev}:${stat.ino}`;
}

function typeOf(stat: fs.Stats): string {
  if (stat.isFIFO()) return "named pipe";
  if (stat.isSocket()) return "socket";
  if (stat.isCharacterDevice()) return "character device";
  return stat.isDirectory() ? "directory" : "file of an unknown type";
}
