/**
 * A store in a Worker, where no code may be compiled at run time: the module comes in compiled, by an import. There are no
 * files either, so the store is in memory, for as long as the isolate lives: a cache, or state that can be made anew.
 *
 *   GET /NAME, PUT /NAME, DELETE /NAME
 */
import { CairnError, open } from "cairn-kv";
import wasm from "cairn-kv/cairn.wasm";

/** The whole memory of the store. An isolate on the public network has 128 MiB for everything. */
const MEMORY_BYTES = 32 * 1024 * 1024;

/** Outside of a request a Worker has neither timers nor random numbers, so the first request opens the store. */
let opening;

export default {
  /** @param {Request} request */
  async fetch(request) {
    opening ??= open(":memory:", { wasm, memoryBytes: MEMORY_BYTES });
    const store = await opening;
    const key = new URL(request.url).pathname.slice(1);
    try {
      if (request.method === "PUT") {
        store.set(key, await request.text());
        return new Response(null, { status: 204 });
      }
      if (request.method === "DELETE") return new Response(null, { status: store.delete(key) ? 204 : 404 });
      const value = store.get(key);
      return value === undefined ? new Response("not found\n", { status: 404 }) : new Response(value);
    } catch (error) {
      if (!(error instanceof CairnError)) throw error;
      return new Response(`${error.code}: ${error.message}\n`, { status: 400 });
    }
  },
};
