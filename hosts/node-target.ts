/**
 * From what a program passes to `open` to a device with its lock: files, raw block devices and `":memory:"`.
 *
 * 1. The lock is held before anything is opened for writing. A `readOnly` opener takes none, and creates nothing.
 * 2. Paths are resolved first, so that two names of one file meet in one lock.
 * 3. A created file's entry in its folder is durable before the target is handed out.
 */
import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BlockDevice } from "../store/device.ts";
import { CairnError } from "../store/error.ts";
import { openBlockDevice } from "./block-device.ts";
import { FileDevice } from "./file-device.ts";
import { acquireLock, type FileLock } from "./lock.ts";
import { MemoryDevice } from "./memory-device.ts";
import { BLOCK_SIZE, errnoOf, isOutOfSpace, readFully, reasonOf } from "./positioned-io.ts";

/** What `open` was asked for, as far as it concerns the target. */
export interface TargetOptions {
  /** Whether a missing file is created. */
  create: boolean;
  readOnly: boolean;
  /** Whether the target may be formatted though it is not blank: the store's decision, once the device is open. */
  format: boolean;
}

/** An open target. */
export interface Target {
  device: BlockDevice;
  /** Whether the file did not exist before. */
  created: boolean;
  /** Whether something follows the last whole block of the file: it is not blank then, whatever the device shows. */
  hasTail: boolean;
  /** Closes the device and gives up the lock. May be called twice. */
  release(): void;
  /** `release`, and removes the file when this opening created it: for a store that could not be formatted. */
  discard(): void;
}

/** How often an opening starts anew because the file came or went meanwhile. */
const ATTEMPT_COUNT_MAX = 8;

/**
 * Opens `target`, a path, a `file:` URL or `":memory:"`. Throws `INVALID_ARGUMENT` for what cannot hold a store,
 * `NOT_A_STORE` for a missing file that is not to be created, `LOCKED`, and `DEVICE_READ` or `DEVICE_WRITE` where the
 * system refuses.
 */
export async function openTarget(target: string | URL, options: TargetOptions): Promise<Target> {
  const path = pathOf(target);
  if (path === ":memory:") {
    const device = new MemoryDevice();
    const release = (): void => device.close();
    return { device, created: true, hasTail: false, release, discard: release };
  }
  for (let attempt = 0; attempt < ATTEMPT_COUNT_MAX; attempt += 1) {
    const stat = statOf(path);
    const opened = stat === undefined ? await createFile(path, options) : await openExisting(path, stat, options);
    if (opened !== undefined) return opened;
  }
  throw new CairnError("LOCKED", "open", `${path} is created and removed again by another process. Stop it first.`);
}

function pathOf(target: string | URL): string {
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

async function openExisting(path: string, stat: fs.Stats, options: TargetOptions): Promise<Target | undefined> {
  if (stat.isDirectory()) {
    throw invalid(`the target ${path} is a directory. Name a file in it, such as ${join(path, "store.cairn")}.`);
  }
  if (!stat.isFile() && !stat.isBlockDevice()) {
    throw invalid(`the target ${path} is a ${typeOf(stat)}. A store needs a regular file or a block device.`);
  }
  const { readOnly } = options;
  try {
    if (stat.isBlockDevice()) {
      const device = openBlockDevice(path, { readOnly });
      const release = (): void => device.close();
      return { device, created: false, hasTail: false, release, discard: release };
    }
    const resolved = fs.realpathSync(path);
    const lock = readOnly ? undefined : await acquireLock(resolved);
    return openFile(resolved, readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR, lock, {
      readOnly,
      created: false,
    });
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw refusal(path, readOnly ? "read" : "write", cause);
  }
}

async function createFile(path: string, options: TargetOptions): Promise<Target | undefined> {
  if (options.readOnly || !options.create) {
    const reason = options.readOnly ? "a readOnly opening creates nothing" : "create is false";
    throw new CairnError("NOT_A_STORE", "open", `${path} does not exist, and ${reason}. Check the path.`);
  }
  if (fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
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
    const target = openFile(resolved, O_RDWR | O_CREAT | O_EXCL, lock, { readOnly: false, created: true });
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
  options: { readOnly: boolean; created: boolean },
): Target {
  let descriptor = -1;
  let device: FileDevice;
  let identity: string;
  let hasTail: boolean;
  try {
    descriptor = fs.openSync(path, flags, 0o666);
    const stat = fs.fstatSync(descriptor);
    if (!stat.isFile()) throw invalid(`the target ${path} was replaced by a ${typeOf(stat)} while it was opened.`);
    identity = identityOf(stat);
    lock?.identify(identity);
    hasTail = tailOf(descriptor, stat.size).some((byte) => byte !== 0);
    device = new FileDevice(path, descriptor, { readOnly: options.readOnly });
  } catch (cause) {
    if (descriptor >= 0) fs.closeSync(descriptor);
    lock?.release();
    throw cause;
  }
  const release = (): void => device.closeThen(() => lock?.release());
  const discard = (): void =>
    device.closeThen(() => {
      try {
        if (options.created && identityOf(fs.statSync(path)) === identity) fs.unlinkSync(path);
      } catch {
        // The opening has failed already, for a reason that says more than an empty file that stays.
      }
      lock?.release();
    });
  return { device, created: options.created, hasTail, release, discard };
}

/** The bytes of a file behind its last whole block. */
function tailOf(descriptor: number, size: number): Uint8Array {
  const tail = new Uint8Array(size % BLOCK_SIZE);
  return tail.subarray(0, readFully(descriptor, size - tail.length, tail));
}

/** Makes the entries of `folder` durable. Windows opens no folders, and needs no such sync. */
async function syncFolder(folder: string): Promise<void> {
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

function invalid(message: string, cause?: unknown): CairnError {
  return new CairnError("INVALID_ARGUMENT", "open", message, cause === undefined ? undefined : { cause });
}

/** The system's refusal in the API's terms. */
function refusal(path: string, access: "read" | "write", cause: unknown): CairnError {
  if (cause instanceof CairnError) return cause;
  const code = errnoOf(cause);
  const options = { cause };
  if (isOutOfSpace(cause)) {
    return new CairnError(
      "NO_SPACE",
      "open",
      `${path}: no room is left for it (${reasonOf(cause)}). Free some space.`,
      options,
    );
  }
  if (["ENOTDIR", "ELOOP", "ENAMETOOLONG", "EINVAL", "EISDIR"].includes(code)) {
    return invalid(`the target ${path} cannot name a file: ${reasonOf(cause)}.`, cause);
  }
  let advice = "Check the path and the system's limits.";
  if (code === "EACCES" || code === "EPERM") {
    advice = `This process has no permission to ${access} it: change the permissions${access === "write" ? ", or open with readOnly: true" : ""}.`;
  } else if (code === "EROFS") {
    advice = "The file system is read-only: open with readOnly: true.";
  }
  return new CairnError(
    access === "read" ? "DEVICE_READ" : "DEVICE_WRITE",
    "open",
    `${path} cannot be opened: ${reasonOf(cause)}. ${advice}`,
    options,
  );
}
