/** Where a repair of a file puts its work, and how the repaired file takes the place of the damaged one. */
import * as fs from "node:fs";
import { dirname } from "node:path";
import { CairnError } from "../store/error.ts";
import { pathOf, syncFolder } from "./node-target.ts";
import { errnoOf, reasonOf } from "./positioned-io.ts";

/** What a host with files offers to a repair. */
export interface FileExchange {
  /** The path of a target, through symbolic links where it is there. */
  resolve(target: string | URL): string;
  exists(path: string): boolean;
  /**
   * Puts the file at `replacement` in the place of the one at `path`, at once and durably. With `kept`, the old file has
   * that name afterwards. At every instant there is a file at `path`, unless the file system has no hard links.
   */
  replace(path: string, replacement: string, kept: string | undefined): Promise<void>;
  remove(path: string): void;
}

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
