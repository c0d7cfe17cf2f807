/** How a restored file takes its place in the origin private file system. */
import { CairnError } from "../store/error.ts";
import { nameOf, reasonOf } from "./opfs-device.ts";
import { partsOf } from "./opfs-target.ts";
import type { FileSwap } from "./target.ts";

/** A handle in browsers that move files: Chromium since 121, Safari, Firefox. */
interface MovableHandle extends FileSystemFileHandle {
  move?(folder: FileSystemDirectoryHandle, name: string): Promise<void>;
}

/** The swap over the origin private file system. A worker that holds neither file does it. */
export const opfsSwap: FileSwap = {
  resolve: (target) => partsOf(String(target)).join("/"),
  async remove(path) {
    const { folder, name } = await placeOf(path);
    await folder.removeEntry(name).catch((cause) => {
      if (nameOf(cause) !== "NotFoundError") throw cause;
    });
  },
  async replace(path, replacement, release) {
    const from = await placeOf(replacement);
    const to = await placeOf(path);
    try {
      const file = (await from.folder.getFileHandle(from.name)) as MovableHandle;
      // A file that is open can be neither moved nor replaced.
      release();
      if (file.move === undefined) throw new Error("this browser moves no files");
      await file.move(to.folder, to.name);
    } catch (cause) {
      const message = `restore: ${replacement} is complete, but could not take the place of ${path} (${reasonOf(cause)}). Close whatever holds that, and open the new one under its name.`;
      throw new CairnError("DEVICE_WRITE", "restore", message, { cause });
    }
  },
};

async function placeOf(path: string): Promise<{ folder: FileSystemDirectoryHandle; name: string }> {
  const parts = partsOf(path);
  const name = parts.pop() as string;
  let folder = await navigator.storage.getDirectory();
  for (const part of parts) folder = await folder.getDirectoryHandle(part);
  return { folder, name };
}
