/** A page's worker that holds a store by itself, with `open`, and writes to it. */
import type { OpenOptions, Store } from "../../../hosts/browser.ts";
import { look, type Order, Writer } from "./writer.ts";

const PACKAGE = "/build/hosts/browser.js";
/** How long the lock of a worker that was ended may take to be free. */
const PATIENCE_MS = 10_000;

let writer: Writer | undefined;

globalThis.onmessage = async ({
  data,
}: MessageEvent<{ name: string; options: object; order: Order } | { from: number }>) => {
  if ("from" in data) {
    writer?.start(data.from);
    return;
  }
  const { name, options, order } = data;
  const tell = (what: object): void => (globalThis as unknown as Worker).postMessage(what);
  try {
    const cairn = (await import(PACKAGE)) as typeof import("../../../hosts/browser.ts");
    const end = performance.now() + PATIENCE_MS;
    let store: Store | undefined;
    while (store === undefined) {
      store = await cairn.open(name, options as OpenOptions).catch((error) => {
        if (error.code !== "LOCKED" || performance.now() > end) throw error;
        return undefined;
      });
    }
    writer = new Writer(store, order, (progress) => tell({ progress }));
    tell({ found: await look(store, order.seed) });
  } catch (error) {
    tell({ error: `${(error as { code?: string }).code}: ${(error as Error).message}` });
  }
};
