/** Where a repair of a file puts its work, and how the repaired file takes the place of the damaged one. */
import * as fs from "node:fs";
import { dirname } from "node:path";
import { CairnError } from "../store/error.ts";
import { pathOf, syncFolder } from "./node-target.ts";
import { errnoOf, reasonOf } from "./positioned-io.ts";
import type { FileExchange } from "./target.ts";

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
      const message = `repair: ${replacement} is complete, but could not take the place of ${path} (${reasonOf(cause)}). Rename it yourself.`;
      throw new CairnError("DEVICE_WRITE", "repair", message, { cause });
    }
  },
  remove: (path) => fs.rmSync(path, { force: true }),
};

function keep(path: string, kept: string): void {
  try {
    fs.linkSync(path, kept);
  } catch (cause) {
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"].includes(errnoOf(cause))) throw cause;
    fs.renameSync(path, kept);
  }
}
