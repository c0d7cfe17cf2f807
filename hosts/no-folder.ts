/** `folderRemote` on runtimes without a file system, so that types are the same under every condition of `exports`. */
import { CairnError } from "../store/error.ts";
import type { folderRemote as folderRemoteOfFiles } from "./folder-remote.ts";

/** Throws `UNSUPPORTED`: there are no folders here. */
export const folderRemote: typeof folderRemoteOfFiles = () => {
  throw new CairnError(
    "UNSUPPORTED",
    "folderRemote",
    "folderRemote: this runtime has no file system. Use s3Remote of cairn-kv/s3, or a Remote over files of your own.",
  );
};
