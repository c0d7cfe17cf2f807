/**
 * Changing a keys file on disk.
 *
 * 1. It is replaced as a whole: written beside, synced, renamed over. Whoever reads it sees the old or the new one, and a power
 *    cut leaves one of them.
 * 2. One writer at a time, by a lock file beside it. The lock of a process that died is taken over.
 * 3. The new file is readable and writable by its owner alone, who is the one that the old file had.
 */
import { randomBytes } from "node:crypto";
import { chown, link, open, readFile, realpath, rename, stat, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CairnError } from "../../../store/error.ts";
import { KEYS_VERSION, type KeysFile, newTokenSecret, parseKeys, parseKeysText } from "./keys-format.ts";

/** How long a writer waits for another one. */
const WAIT_MS = 10_000;
/** A writer has its lock for milliseconds: older ones are of processes that died, wherever they ran. */
const STALE_MS = 20_000;

type Json = Record<string, unknown>;

/**
 * Reads the file, has `change` change it, and replaces it. Resolves with what `change` returns. A missing file is an empty one,
 * and is created, when `create` is true; else it is refused. What would make the file wrong is refused, and nothing changes.
 */
export async function changeKeysFile<Result>(
  path: string,
  change: (file: KeysFile) => Result,
  { create = false } = {},
): Promise<Result> {
  // A link goes on to lead to the file.
  const target = await realpath(path).catch(() => resolve(path));
  const release = await lock(`${target}.lock`);
  try {
    const before = await readIfThere(target);
    if (before === undefined && !create) throw refused(`there is no keys file ${path}; "cairn keys add" makes one`);
    const file =
      before === undefined
        ? { version: KEYS_VERSION, tokens: { secret: newTokenSecret() } }
        : parseKeysText(before, path);
    const result = change(file);
    const after = textOf(file);
    if (after === before) return result;
    await release.check();
    await replace(target, after);
    return result;
  } finally {
    await release.done();
  }
}

/** Reads a keys file. `INVALID_ARGUMENT` when it is missing or wrong. */
export async function readKeysFile(path: string): Promise<KeysFile> {
  const text = await readIfThere(path);
  if (text === undefined) throw refused(`there is no keys file ${path}; "cairn keys add" makes one`);
  return parseKeysText(text, path);
}

/** The file as text, in an order that people find their way in. */
function textOf(file: KeysFile): string {
  const { version, tenants, roles, keys, certificates, tokens } = parseKeys(file, "");
  const ordered: Json = {
    version: version ?? KEYS_VERSION,
    tenants: tenants ?? {},
    roles: roles ?? {},
    keys: keys ?? {},
  };
  if (certificates !== undefined) ordered["certificates"] = certificates;
  if (tokens !== undefined) ordered["tokens"] = tokens;
  return `${JSON.stringify(ordered, null, 2)}\n`;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw refused(`the keys file ${path} cannot be read: ${(error as Error).message}`, error);
  }
}

async function replace(target: string, text: string): Promise<void> {
  const beside = `${target}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    const handle = await open(beside, "wx", 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    const old = await stat(target).catch(() => undefined);
    // Written by root for a service: the service goes on to read it.
    if (old !== undefined && process.getuid?.() === 0 && old.uid !== 0) await chown(beside, old.uid, old.gid);
    await rename(beside, target);
  } catch (error) {
    await unlink(beside).catch(() => {});
    throw refused(`the keys file ${target} cannot be written: ${(error as Error).message}`, error);
  }
  await syncFolder(dirname(target));
}

/** The name is durable with the folder. Not every system can sync one. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // The file's contents are synced; the old name may come back after a power cut.
  }
}

interface Lock {
  /** Throws when another process has taken the lock meanwhile. */
  check(): Promise<void>;
  done(): Promise<void>;
}

async function lock(path: string): Promise<Lock> {
  const own = JSON.stringify({ pid: process.pid, host: hostname(), token: randomBytes(8).toString("hex") });
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    if (await create(path, own)) break;
    await removeStale(path);
    if (performance.now() > deadline) {
      throw refused(`another process is changing the keys file: ${path} is there; if none is, remove it`);
    }
    await sleep(10 + Math.random() * 20);
  }
  return {
    async check() {
      if ((await readIfThere(path)) !== own)
        throw refused(`another process took the lock ${path}: nothing was changed`);
    },
    async done() {
      if ((await readIfThere(path)) === own) await unlink(path);
    },
  };
}

/** Its contents are there as soon as the lock is: a lock without them could be nobody's. */
async function create(path: string, own: string): Promise<boolean> {
  const beside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const handle = await open(beside, "wx", 0o600);
    await handle.writeFile(own);
    await handle.close();
    await link(beside, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw refused(`the lock ${path} cannot be made: ${(error as Error).message}`, error);
  } finally {
    await unlink(beside).catch(() => {});
  }
}

/** Takes away the lock of a process that died. Renaming is for one alone; a lock that is not the one that was seen is put back. */
async function removeStale(path: string): Promise<void> {
  const seen = await readIfThere(path);
  const info = await stat(path).catch(() => undefined);
  if (seen === undefined || info === undefined) return;
  if (!isOfTheDead(seen) && Date.now() - info.mtimeMs < STALE_MS) return;
  const aside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    await rename(path, aside);
    if ((await readIfThere(aside)) !== seen) await link(aside, path);
  } catch {
    // Another one was faster.
  } finally {
    await unlink(aside).catch(() => {});
  }
}

function isOfTheDead(text: string): boolean {
  try {
    const { pid, host } = JSON.parse(text) as { pid: number; host: string };
    if (host !== hostname()) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

function refused(message: string, cause?: unknown): CairnError {
  return new CairnError("INVALID_ARGUMENT", "keys", message, { cause });
}
