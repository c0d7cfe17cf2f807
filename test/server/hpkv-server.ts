/** `createServer` over a store in memory, with two tenants, for tests that speak to it over the network. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import { createServer, type LogLine, type ServerConfig } from "../../adapters/server/index.ts";
import type { Store } from "../../store/store.ts";
import { MemoryDevice, open } from "../store/harness.ts";

/** A server that listens on loopback. */
export interface TestServer {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Keys of the tenant "acme": one may do everything, one only read. */
  readonly apiKey: string;
  readonly readerKey: string;
  /** A key of the tenant "other", which may do everything there. */
  readonly otherKey: string;
  /** The tenants' namespaces have their names. */
  readonly store: Store<unknown, unknown>;
  readonly log: LogLine[];
  /** A token for WebSocket, made with a key, by default `apiKey`. */
  token(wants: object, apiKey?: string): Promise<string>;
  /** Takes the reader's key out of the keys file. */
  revokeReader(): void;
  close(): Promise<void>;
}

/** Starts one; what `config` says is added. */
export async function startServer(config: ServerConfig = {}): Promise<TestServer> {
  const store = (await open(new MemoryDevice())) as unknown as Store<unknown, unknown>;
  const [key, reader, other] = [newApiKey(), newApiKey(), newApiKey()];
  const folder = mkdtempSync(join(tmpdir(), "cairn-hpkv-"));
  const path = join(folder, "keys.json");
  const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url");
  const writeKeys = (withReader: boolean): void => {
    const entry = (made: typeof key, tenant: string, role: string) => ({
      [made.id]: { tenant, role, sha256: made.sha256 },
    });
    const file = {
      version: 1,
      tenants: { acme: {}, other: {} },
      keys: {
        ...entry(key, "acme", "admin"),
        ...entry(other, "other", "admin"),
        ...(withReader ? entry(reader, "acme", "reader") : {}),
      },
      tokens: { secret },
    };
    writeFileSync(`${path}.new`, JSON.stringify(file), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  };
  writeKeys(true);
  const log: LogLine[] = [];
  const server = createServer(store, { log: (line) => log.push(line), ...config, keys: path });
  const { url } = await server.listen();
  return {
    url,
    apiKey: key.text,
    readerKey: reader.text,
    otherKey: other.text,
    store,
    log,
    async token(wants, apiKey = key.text) {
      const response = await fetch(`${url}/token/websocket`, {
        method: "POST",
        headers: { "x-api-key": apiKey, "content-type": "application/json" },
        body: JSON.stringify(wants),
      });
      const answer = (await response.json()) as { token?: string };
      if (answer.token === undefined) throw new Error(`no token: ${response.status} ${JSON.stringify(answer)}`);
      return answer.token;
    },
    revokeReader: () => writeKeys(false),
    async close() {
      await server.close({ graceMs: 0 });
      await store.close();
      rmSync(folder, { recursive: true });
    },
  };
}
