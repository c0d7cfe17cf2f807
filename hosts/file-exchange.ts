/** Where a repair of a file puts its work, and how the repaired file takes the place of the damaged one. */
import * as fs from "node:fs";
import { dirname } from "node:path";
import { CairnError } from "../store/error.ts";
import { pathOf, syncFolder } from "./node-target.ts";
import { errnoOf, reasonOf } from "./positioned-io.ts";
import type { FileExchange, FileSwap } from "./target.ts";

/** The exchange over `node:fs`. */
export const fileExchange: FileExchange = {
  resolve(target) {
    const path = pathOf(target);
    try {
      return fs.realpathSync(path);
    } catch {
      return path;
    }
  },
  exists: (path) => fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined,
  async replace(path, replacement, kept) {
    try {
      if (kept !== undefined) keep(path, kept);
      fs.renameSync(replacement, path);
      await syncFolder(dirname(path));
    } catch (cause) {
      throw notReplaced("repair", path, replacement, cause);
    }
  },
  remove: (path) => fs.rmSync(path, { force: true }),
};

/** The swap over `node:fs`. */
export const fileSwap: FileSwap = {
  resolve: fileExchange.resolve,
  remove: fileExchange.remove,
  async replace(path, replacement) {
    try {
      fs.renameSync(replacement, path);
      await syncFolder(dirname(path));
    } catch (cause) {
      throw notReplaced("restore", path, replacement, cause);
    }
  },
};

function notReplaced(operation: string, path: string, replacement: string, cause: unknown): CairnError {
  const message = `${operation}: ${replacement} is complete, but could not take the place of ${path} (${reasonOf(cause)}). Rename it yourself.`;
  return new CairnError("DEVICE_WRITE", operation, message, { cause });
}

function keep(path: string, kept: string): void {
  try {
    fs.linkSync(path, kept);
  } catch (cause) {
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(errnoOf(cause))) throw cause;
    fs.renameSync(path, kept);
  }
}
