/** In a browser's worker, over OPFS: the probe, or writes; answers one message with figures, or with milliseconds. */
import { open } from "../../hosts/browser.ts";
import type { SyncHandle } from "../../hosts/opfs-device.ts";
import { type Extent, type ProbedStore, probe, type World } from "./probe.ts";
import type { WriteOrder } from "./sqlite-worker.ts";

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

/** Milliseconds until all records are durable, in a store of their own. */
async function write({ keys, value }: WriteOrder): Promise<number> {
  const store = await open("worker");
  const start = performance.now();
  for (const key of keys) store.set(key, value);
  await store.flush();
  const ms = performance.now() - start;
  await store.close();
  return ms;
}

addEventListener("message", ({ data }: MessageEvent<Extent | WriteOrder>) => {
  const answer =
    "keys" in data ? write(data).then((ms) => ({ ms })) : probe(world, data).then((figures) => ({ figures }));
  answer.then(postMessage, (error: unknown) =>
    postMessage({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
