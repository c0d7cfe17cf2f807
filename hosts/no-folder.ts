/** `folderRemote` on runtimes without a file system, so that types are the same under every condition of `exports`. */
import type { Remote } from "../store/backup/remote.ts";
import { CairnError } from "../store/error.ts";

/** Throws `UNSUPPORTED`: there are no folders here. */
export function folderRemote(_path: string): Remote {
  throw new CairnError(
    "UNSUPPORTED",
    "folderRemote",
    "folderRemote: this runtime has no file system. Use s3Remote of cairn-kv/s3, or a Remote over files of your own.",
  );
}
