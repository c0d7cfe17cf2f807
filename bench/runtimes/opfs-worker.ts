/** The probe in a browser's worker, over OPFS. Answers one message, the extent, with the figures. */
import { open } from "../../hosts/browser.ts";
import type { SyncHandle } from "../../hosts/opfs-device.ts";
import { type Extent, type ProbedStore, probe, type World } from "./probe.ts";

const world: World = {
  openText: (name) => open(name) as Promise<ProbedStore<string>>,
  openBytes: (name, cacheBytes) =>
    open(name, { cacheBytes, valueEncoding: "binary" }) as Promise<ProbedStore<Uint8Array>>,
  async openBare(name) {
    const root = await navigator.storage.getDirectory();
    const file = (await root.getFileHandle(name)) as FileSystemFileHandle & {
      createSyncAccessHandle(): Promise<SyncHandle>;
    };
    const handle = await file.createSyncAccessHandle();
    return {
      size: handle.getSize(),
      read: (target, offset) => handle.read(target, { at: offset }),
      close: () => handle.close(),
    };
  },
};

addEventListener("message", ({ data }: MessageEvent<Extent>) => {
  probe(world, data).then(
    (figures) => postMessage({ figures }),
    (error: unknown) => postMessage({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
