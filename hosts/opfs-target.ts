/**
 * From a name to a device in the origin private file system.
 *
 * 1. A writer holds the Web Lock of the file before it opens it, until its handle is closed. A `readOnly` opener takes
 *    none, and creates nothing.
 * 2. Where a browser has only handles that exclude each other (Firefox), a reader and a writer exclude each other too.
 */
import { CairnError } from "../store/error.ts";
import { isQuotaExceeded, nameOf, OpfsDevice, reasonOf, type SyncHandle } from "./opfs-device.ts";
import type { Target } from "./target.ts";

/** What `openOpfs` needs to know. */
export interface OpfsOptions {
  create: boolean;
  readOnly: boolean;
  /** Whether the file's lock is taken. Default: unless `readOnly`. */
  locks?: boolean;
  /** Milliseconds in which a handle that a worker just ended held is waited for. Default 0. */
  patienceMs?: number;
}

interface FileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(options: { mode: "readwrite-unsafe" }): Promise<SyncHandle>;
}

const RETRY_MS = 10;

/** Why the origin private file system cannot be used here; `undefined` when it seems it can. */
export function opfsMissing(): string | undefined {
  if (typeof navigator === "undefined") return "this runtime has no navigator";
  if (globalThis.isSecureContext === false) {
    return "the page is no secure context: serve it over https, or from localhost";
  }
  if (typeof navigator.storage?.getDirectory !== "function") {
    return "this browser has no origin private file system (navigator.storage.getDirectory)";
  }
  if (navigator.locks === undefined) return "this browser has no Web Locks (navigator.locks)";
  return undefined;
}

/** Folders and file of a name. `INVALID_ARGUMENT` when it cannot name a file. */
export function partsOf(name: string): string[] {
  const parts = name.split("/").filter((part, index) => part !== "" || index > 0);
  if (parts.length === 0 || parts.some((part) => part === "" || part === "." || part === ".." || part.includes("\0"))) {
    const message = `open: the target "${name}" names no file. Pass a name such as "app.cairn", with folders before it if you like.`;
    throw new CairnError("INVALID_ARGUMENT", "open", message);
  }
  return parts;
}

/**
 * Opens a file of the origin private file system; creates it, and the folders before it, when `create` says so.
 * `UNSUPPORTED` with the reason outside a dedicated worker and where there is no such file system; `LOCKED` when another
 * worker or tab holds the file; `NOT_A_STORE` when it is missing and not to be created; `NO_SPACE`.
 */
export async function openOpfs(name: string, options: OpfsOptions): Promise<Target> {
  const parts = partsOf(name);
  const missing = opfsMissing() ?? handlesMissing();
  if (missing !== undefined) throw unsupported(missing);
  let root: FileSystemDirectoryHandle;
  try {
    root = await navigator.storage.getDirectory();
  } catch (cause) {
    throw unsupported(`the browser refuses the origin private file system here (${reasonOf(cause)})`, cause);
  }
  const end = performance.now() + (options.patienceMs ?? 0);
  const { locks = !options.readOnly } = options;
  const unlock = locks ? await lockFile(parts.join("/"), name, end) : () => undefined;
  try {
    return await openFile(root, parts, name, options, unlock, end);
  } catch (cause) {
    unlock();
    throw refusal(name, cause);
  }
}

/** Opens the file whose lock is ours, unless we only read. */
async function openFile(
  root: FileSystemDirectoryHandle,
  parts: string[],
  name: string,
  { create, readOnly }: OpfsOptions,
  unlock: () => void,
  end: number,
): Promise<Target> {
  const fileName = parts.pop() as string;
  const { folder, file, created } = await find(root, parts, fileName, name, create && !readOnly);
  // The opening has failed then, for a reason that says more than an empty file that stays.
  const discardFile = (): Promise<void> =>
    created ? folder.removeEntry(fileName).catch(() => undefined) : Promise.resolve();
  let handle: SyncHandle | undefined;
  try {
    handle = await take(file, end);
    const persisted = await navigator.storage.persisted().catch(() => false);
    const device = new OpfsDevice(name, handle, { readOnly, persisted });
    const discard = async (): Promise<void> => {
      device.close();
      await discardFile();
      unlock();
    };
    const hasTail = device.tail().some((byte) => byte !== 0);
    return { device, created, hasTail, release: () => device.closeThen(unlock), discard };
  } catch (cause) {
    handle?.close();
    if (nameOf(cause) !== "NoModificationAllowedError") await discardFile();
    throw cause;
  }
}

/** Takes the lock that says who may write to a file: how to give it up. It ends with the worker. */
async function lockFile(place: string, name: string, end: number): Promise<() => void> {
  for (;;) {
    const unlock = await new Promise<(() => void) | undefined>((resolve, reject) => {
      navigator.locks
        .request(`cairn-kv:${place}:file`, { ifAvailable: true }, (lock) => {
          if (lock === null) {
            resolve(undefined);
            return undefined;
          }
          return new Promise<void>((release) => resolve(release));
        })
        .catch(reject);
    });
    if (unlock !== undefined) return unlock;
    if (performance.now() >= end) throw locked(name);
    await pause();
  }
}

/** Why a file's synchronous handle cannot be had here, such as on a page; `undefined` where it can. */
export function handlesMissing(): string | undefined {
  const { FileSystemFileHandle: type } = globalThis as { FileSystemFileHandle?: { prototype: object } };
  if (type !== undefined && "createSyncAccessHandle" in type.prototype) return undefined;
  return "synchronous access to files exists in dedicated workers alone: call open there, or connect on a page";
}

async function find(
  root: FileSystemDirectoryHandle,
  folders: readonly string[],
  fileName: string,
  name: string,
  create: boolean,
): Promise<{ folder: FileSystemDirectoryHandle; file: FileHandle; created: boolean }> {
  let folder = root;
  try {
    for (const part of folders) folder = await folder.getDirectoryHandle(part, { create });
    const existing = await folder.getFileHandle(fileName).catch((cause) => {
      if (nameOf(cause) !== "NotFoundError") throw cause;
      return undefined;
    });
    if (existing !== undefined) return { folder, file: existing as FileHandle, created: false };
    if (create) {
      return { folder, file: (await folder.getFileHandle(fileName, { create })) as FileHandle, created: true };
    }
  } catch (cause) {
    if (nameOf(cause) !== "NotFoundError" || create) throw refusal(name, cause);
  }
  throw new CairnError("NOT_A_STORE", "open", `${name} does not exist, and is not to be created. Check the name.`);
}

/**
 * The file's handle. Where the browser knows such handles it is one of several, so that readers can be beside the writer,
 * which a lock makes the only one; elsewhere it excludes every other. One that a worker just ended held is waited for.
 */
async function take(file: FileHandle, end: number): Promise<SyncHandle> {
  for (;;) {
    try {
      return await file.createSyncAccessHandle({ mode: "readwrite-unsafe" });
    } catch (cause) {
      if (nameOf(cause) !== "NoModificationAllowedError" || performance.now() >= end) throw cause;
    }
    await pause();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, RETRY_MS));
}

function locked(name: string, cause?: unknown): CairnError {
  const message = `${name} is held by another tab or worker of this origin. Close it there, or share it with connect.`;
  return new CairnError("LOCKED", "open", message, cause === undefined ? undefined : { cause });
}

function unsupported(reason: string, cause?: unknown): CairnError {
  const message = `open: ${reason}. ":memory:" works everywhere.`;
  return new CairnError("UNSUPPORTED", "open", message, cause === undefined ? undefined : { cause });
}

/** The browser's refusal in the API's terms. */
function refusal(name: string, cause: unknown): CairnError {
  if (cause instanceof CairnError) return cause;
  const kind = nameOf(cause);
  const fail = (code: "NO_SPACE" | "INVALID_ARGUMENT" | "UNSUPPORTED" | "DEVICE_READ", text: string) =>
    new CairnError(code, "open", `${name} ${text}`, { cause });
  if (kind === "NoModificationAllowedError") return locked(name, cause);
  if (isQuotaExceeded(cause)) return fail("NO_SPACE", "has no room: the browser's quota for this origin is used up.");
  if (kind === "TypeMismatchError" || kind === "TypeError") {
    return fail("INVALID_ARGUMENT", `cannot name a file: ${reasonOf(cause)}.`);
  }
  if (kind === "SecurityError") return fail("UNSUPPORTED", `is out of reach: ${reasonOf(cause)}.`);
  return fail("DEVICE_READ", `cannot be opened: ${reasonOf(cause)}.`);
}
