/**
 * `cairn-kv/server`: a store served over HTTP, WebSocket and RIOC.
 *
 * ```ts
 * const server = createServer(store, { keys: "keys.json", port: 8080 });
 * const { url } = await server.listen();
 * ```
 *
 * `fetch` alone is enough for a program that has a server of its own: `Deno.serve(server.fetch)`, `Bun.serve({ fetch: server.fetch })`,
 * `app.mount("/kv", server.fetch)` with Hono. WebSocket and RIOC, and the limits of connections and the times of
 * slow ones, are those of `listen`.
 *
 * @module cairn-kv/server
 */
import { resolveConfig, type ServerConfig } from "./config.ts";
import type { ServedStore } from "./context.ts";
import { localHolder } from "./holder.ts";
import { type CairnServer, serverOver } from "./serving.ts";
import { owningHolder } from "./workers/owner.ts";

export type {
  AuditEntry,
  Limits,
  LogLevel,
  LogLine,
  PartialLimits,
  ServerConfig,
  ServerLimits,
  Timeouts,
  TlsConfig,
} from "./config.ts";
export { readConfigFile } from "./config.ts";
export type { ServedStore, SlowOperation } from "./context.ts";
export { ServerFailure } from "./failure.ts";
export type { CairnServer, ServerAddress } from "./serving.ts";
export type { FetchHandler, RequestInfo } from "./wire.ts";

/**
 * Serves `store`. `INVALID_ARGUMENT` for what is wrong with the configuration; what is wrong with the keys file is what `listen`
 * rejects with, and `fetch` answers 503 for.
 */
export function createServer(store: ServedStore, config: ServerConfig = {}): CairnServer {
  const settings = resolveConfig(config);
  return serverOver(settings, settings.workers === 0 ? localHolder(store) : owningHolder(store)).server;
}
