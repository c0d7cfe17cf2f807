/** A RIOC listener over a store of its own, for tests. */
import { Access } from "../../adapters/server/access/index.ts";
import { type KeysFile, resolveConfig, type ServerConfig } from "../../adapters/server/config.ts";
import type { LimitKeeper } from "../../adapters/server/context.ts";
import { ServerMeter } from "../../adapters/server/metrics/meter.ts";
import type { Operations } from "../../adapters/server/operations.ts";
import { listenRioc, type RiocListener, type RiocTls } from "../../adapters/server/rioc/listener.ts";
import { Tenants } from "../../adapters/server/tenants.ts";
import type { Store } from "../../store/store.ts";
import { MemoryDevice, open } from "../store/harness.ts";

export interface RiocServer {
  listener: RiocListener;
  store: Store<unknown, unknown>;
  /** The operations of the tenant "one". */
  operations: Operations;
  /** What the log's warnings and errors say. */
  warnings: string[];
  /** Bytes that are in flight by what the limits were told, and connections. */
  inFlight: { bytes: number; connections: number };
  /** What the limits answer. */
  answers: { request: number; take: boolean; connected: boolean };
  close(): Promise<void>;
}

export const KEYS: KeysFile = { version: 1, tenants: { one: {}, two: {} }, keys: {} } as unknown as KeysFile;

/** Listens on a free port of 127.0.0.1, for the tenant "one" unless the configuration says otherwise. */
export async function riocServer(config: ServerConfig = {}, tls?: RiocTls): Promise<RiocServer> {
  const settings = resolveConfig({ keys: KEYS, riocTenant: "one", ...config });
  const store = (await open(new MemoryDevice())) as Store<unknown, unknown>;
  const access = await Access.open(settings);
  const tenants = new Tenants(store, (tenant) => tenant);
  const warnings: string[] = [];
  const inFlight = { bytes: 0, connections: 0 };
  const answers = { request: 0, take: true, connected: true };
  const limits: LimitKeeper = {
    request: () => answers.request,
    take: (_, size) => {
      if (answers.take) inFlight.bytes += size;
      return answers.take;
    },
    release: (_, size) => {
      inFlight.bytes -= size;
    },
    connected: () => {
      if (answers.connected) inFlight.connections += 1;
      return answers.connected;
    },
    disconnected: () => {
      inFlight.connections -= 1;
    },
    authenticationDelay: () => 0,
    authenticationFailed: () => undefined,
  };
  const note = (message: string, fields?: Record<string, unknown>): void => {
    warnings.push(`${message} ${JSON.stringify(fields ?? {})}`);
  };
  const listener = await listenRioc(
    {
      config: settings,
      access,
      operationsOf: (tenant) => tenants.operationsOf(tenant),
      log: { debug: () => undefined, info: () => undefined, warn: note, error: note },
      limits,
      meter: new ServerMeter({ thresholdMs: 1000, note: () => undefined, list: () => [] }),
    },
    tls,
  );
  return {
    listener,
    store,
    operations: tenants.operationsOf("one"),
    warnings,
    inFlight,
    answers,
    close: async () => {
      await listener.close(1000);
      await access.close();
      await store.close();
    },
  };
}
