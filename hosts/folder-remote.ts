/** Versioned snapshots in a folder of the file system. */
import { randomUUID } from "node:crypto";
import * as fs from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { Remote, type RemoteFile, type RemoteFiles } from "../store/backup/remote.ts";
import { CairnError } from "../store/error.ts";
import { syncFolder } from "./node-target.ts";
import { errnoOf, isOutOfSpace, reasonOf } from "./positioned-io.ts";

/**
 * A folder that keeps versioned snapshots of stores; created when missing. Several stores, and several processes, may use
 * one. Each file is written beside its place, synced, and renamed.
 */
export function folderRemote(path: string): Remote {
  if (typeof path !== "string" || path === "" || path.includes("\0")) {
    throw new CairnError("INVALID_ARGUMENT", "folderRemote", "folderRemote: the path must be that of a folder.");
  }
  return new Remote(new FolderFiles(path));
}

/** What is being written has such a name, which no file of a remote has. */
const UNFINISHED = ".unfinished-";
/** Of a process that is gone. */
const UNFINISHED_MS = 24 * 3_600_000;

class FolderFiles implements RemoteFiles {
  private readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  async read(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      return new Uint8Array(await fs.readFile(this.pathOf(name)));
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") return undefined;
      throw refusal(this.pathOf(name), "read", cause);
    }
  }

  async write(name: string, bytes: Uint8Array, isNew = false): Promise<boolean> {
    const path = this.pathOf(name);
    const folder = dirname(path);
    const beside = join(folder, `${UNFINISHED}${randomUUID()}`);
    try {
      await fs.mkdir(folder, { recursive: true });
      const file = await fs.open(beside, "wx");
      try {
        await file.writeFile(bytes);
        await file.datasync();
      } finally {
        await file.close();
      }
      // A link, unlike a rename, does not replace what is there.
      if (isNew) await fs.link(beside, path);
      else await fs.rename(beside, path);
      await syncFolder(folder);
      return true;
    } catch (cause) {
      if (isNew && errnoOf(cause) === "EEXIST") return false;
      throw refusal(path, "write", cause);
    } finally {
      await fs.rm(beside, { force: true }).catch(() => undefined);
    }
  }

  async has(name: string): Promise<boolean> {
    try {
      await fs.stat(this.pathOf(name));
      return true;
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") return false;
      throw refusal(this.pathOf(name), "read", cause);
    }
  }

  async *list(prefix: string): AsyncGenerator<RemoteFile> {
    const end = prefix.lastIndexOf("/");
    const folder = end < 0 ? this.root : this.pathOf(prefix.slice(0, end));
    let names: string[];
    try {
      names = await fs.readdir(folder, { recursive: end >= 0 });
    } catch (cause) {
      if (errnoOf(cause) === "ENOENT") return;
      throw refusal(folder, "read", cause);
    }
    for (const entry of names) {
      const path = join(folder, entry);
      const name = relative(this.root, path).split(sep).join("/");
      if (!name.startsWith(prefix)) continue;
      // It may be gone meanwhile.
      const stat = await fs.stat(path).catch(() => undefined);
      if (stat?.isFile() !== true) continue;
      if (!entry.includes(UNFINISHED)) yield { name, size: stat.size, modifiedMs: stat.mtimeMs };
      else if (Date.now() - stat.mtimeMs > UNFINISHED_MS) await fs.rm(path, { force: true });
    }
  }

  async remove(name: string): Promise<void> {
    try {
      await fs.rm(this.pathOf(name), { force: true });
    } catch (cause) {
      throw refusal(this.pathOf(name), "write", cause);
    }
  }

  private pathOf(name: string): string {
    return join(this.root, ...name.split("/"));
  }
}

function refusal(path: string, access: "read" | "write", cause: unknown): CairnError {
  const code = isOutOfSpace(cause) ? "NO_SPACE" : access === "read" ? "DEVICE_READ" : "DEVICE_WRITE";
  const done = access === "read" ? "read" : "written";
  const message = `${path} cannot be ${done}: ${reasonOf(cause)}. Check the remote's folder and its permissions.`;
  return new CairnError(code, "remote", message, { cause });
}
