/**
 * `cairn serve`: a store over HTTP, WebSocket and RIOC, until SIGINT or SIGTERM.
 *
 * Standard output gets one line, with the addresses, once connections are taken; everything else is NDJSON on standard error. The first
 * signal ends it in order: what is in flight is answered, the store is flushed and closed. A second one ends it at once.
 */
import { existsSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Open } from "../../../hosts/node.ts";
import type { StoreEvent } from "../../../store/options.ts";
import { LOG_LEVELS, WORKERS_MAX } from "../../server/config.ts";
import { type CairnServer, createServer, readConfigFile, type ServerConfig } from "../../server/index.ts";
import { logOf, toStandardError } from "../../server/log.ts";
import { addExamples } from "../command.ts";
import { CommandFailure, EXIT_BAD_USE, EXIT_FAILED, EXIT_OK } from "../failure.ts";
import { Output } from "../output.ts";

interface Options {
  keys?: string;
  port?: number;
  riocPort?: number;
  workers?: number;
  host?: string;
  config?: string;
  tlsCert?: string;
  tlsKey?: string;
  tlsCa?: string;
  allowPlain?: true;
  origin?: string[];
  riocTenant?: string;
  riocTimestamps?: "ignore" | "strict";
  readOnly?: true;
  console: boolean;
  audit?: string;
  logLevel?: ServerConfig["logLevel"];
  memory?: number;
  cache?: number;
  history?: number;
  grace: number;
}

/** What an address without a port listens on. */
const PORT = 3000;

export function define(command: Command): void {
  command
    .argument("<store>", "file or block device of the store; a missing file is created")
    .option("-k, --keys <file>", 'who may do what; made by "cairn keys add"')
    .option("-p, --port <port>", `of HTTP and WebSocket; 0: any that is free; default ${PORT}`, portOf)
    .option("--rioc-port <port>", "of RIOC; default: none", portOf)
    .option(
      "--workers <count>",
      "processes that serve the network for the one that has the store, for more than one core; default 0: none",
      workersOf,
    )
    .option("--host <address>", "the address to listen on; default 127.0.0.1")
    .option("--config <file>", "JSON with the server's configuration; what is given here counts more")
    .option("--tls-cert <file>", "PEM of the certificate")
    .option("--tls-key <file>", "PEM of its key")
    .option("--tls-ca <file>", "PEM of those who vouch for clients of RIOC, which must show a certificate then")
    .option("--allow-plain", "serve without TLS on other addresses than this machine's own")
    .option("--origin <origins...>", "origins of pages that may use the server, as https://app.example; *: all")
    .option("--rioc-tenant <tenant>", "the tenant of RIOC connections that show no certificate")
    .addOption(
      new Option("--rioc-timestamps <how>", "whether older timestamps are refused").choices(["ignore", "strict"]),
    )
    .option("--read-only", "take no lock and refuse writes: the last durable state of a store that another process has")
    .option("--no-console", "do not serve /console")
    .option("--audit <file>", "keep an audit log there")
    .addOption(new Option("--log-level <level>", "what is told on standard error").choices(LOG_LEVELS))
    .option("--memory <size>", "the store's memory in all, as 512M or 2G; default 2G", sizeOf)
    .option("--cache <size>", "of it for what was read from the device; default 256M", sizeOf)
    .option("--history <size>", "of the log that watchers can go back in; default 0", sizeOf)
    .option("--grace <seconds>", "how long requests in flight have at the end", secondsOf, 10);
  addExamples(command, [
    "cairn keys add --keys keys.json --tenant main --role admin > main.key",
    "cairn serve app.cairn --keys keys.json --port 3000",
    "cairn serve app.cairn --keys keys.json --host 0.0.0.0 --port 443 --tls-cert server.crt --tls-key server.key",
    "cairn serve app.cairn --keys keys.json --port 3000 --rioc-port 9000 --rioc-tenant main",
    "cairn serve app.cairn --keys keys.json --port 3000 --workers 3",
  ]);
  command.action(async (target: string) => serve(target, command.opts<Options>()));
}

async function serve(target: string, options: Options): Promise<void> {
  const config = await configOf(options);
  if (config.keys === undefined) {
    throw new CommandFailure(
      'who may use the server? Name a keys file with --keys; "cairn keys add --keys keys.json --tenant main --role admin" makes one, and prints a key',
      EXIT_BAD_USE,
    );
  }
  if (typeof config.keys === "string" && !existsSync(config.keys)) {
    throw new CommandFailure(
      `${config.keys} does not exist; "cairn keys add --keys ${config.keys} --tenant main --role admin" makes it, and prints a key`,
    );
  }
  const log = logOf(config.logLevel ?? "info", toStandardError);
  const open = await openOfRuntime();
  const store = await open(target, {
    create: options.readOnly !== true,
    readOnly: options.readOnly === true,
    keyEncoding: "binary",
    valueEncoding: "binary",
    ...(options.memory === undefined ? {} : { memoryBytes: options.memory }),
    ...(options.cache === undefined ? {} : { cacheBytes: options.cache }),
    ...(options.history === undefined ? {} : { history: { bytes: options.history } }),
    onEvent(event: StoreEvent) {
      const { type, ...fields } = event;
      if (type === "poisoned" || type === "checkpointDamaged") log.error(`store: ${type}`, fields);
      else if (type === "full" || type === "slow") log.warn(`store: ${type}`, fields);
      else if (type === "opened" || type === "recovered") log.info(`store: ${type}`, fields);
      else log.debug(`store: ${type}`, fields);
    },
  });
  const ending = endingOf();
  let isListening = false;
  let server: CairnServer | undefined;
  try {
    server = createServer(store, config);
    const { url, riocUrl } = await server.listen();
    isListening = true;
    const output = new Output(process.stdout);
    output.write(`${riocUrl === undefined ? url : `${url} ${riocUrl}`}\n`);
    await output.flush();
    log.info("listening", { url, riocUrl, store: target });
    const signal = await ending;
    log.info("closing", { signal, graceMs: options.grace * 1000 });
    await server.close({ graceMs: options.grace * 1000 });
  } finally {
    // One that could not listen may have begun to.
    if (!isListening) await server?.close({ graceMs: 0 });
    await store.close();
  }
  log.info("closed");
  // Signals are still listened to, which keeps some runtimes alive.
  if (isListening) process.exit(EXIT_OK);
}

/** Resolves with the first signal; the second one ends the process, without another word. */
function endingOf(): Promise<string> {
  return new Promise((resolve) => {
    let isEnding = false;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (isEnding) process.exit(EXIT_FAILED);
        isEnding = true;
        resolve(signal);
      });
    }
  });
}

/** `open` in the form that is fastest on this runtime. */
async function openOfRuntime(): Promise<Open> {
  if ("Bun" in globalThis) return (await import("../../../hosts/bun.ts")).open;
  if ("Deno" in globalThis) return (await import("../../../hosts/deno.ts")).open;
  return (await import("../../../hosts/node.ts")).open;
}

/** The configuration of the file, with what the options say over it. */
async function configOf(options: Options): Promise<ServerConfig> {
  const { tlsCert, tlsKey, tlsCa } = options;
  const file = options.config === undefined ? {} : await readConfigFile(options.config);
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new CommandFailure("--tls-cert and --tls-key belong together", EXIT_BAD_USE);
  }
  const given: ServerConfig = {
    keys: options.keys,
    host: options.host,
    port: options.port,
    riocPort: options.riocPort,
    workers: options.workers,
    riocTenant: options.riocTenant,
    riocTimestamps: options.riocTimestamps,
    allowPlain: options.allowPlain,
    origins: options.origin,
    readOnly: options.readOnly,
    console: options.console ? undefined : false,
    audit: options.audit,
    logLevel: options.logLevel,
    tls: tlsCert === undefined || tlsKey === undefined ? undefined : { cert: tlsCert, key: tlsKey, ca: tlsCa },
  };
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { port: PORT, ...file, ...set };
}

function portOf(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535) throw new InvalidArgumentError("It must be a port, 0 to 65535.");
  return port;
}

function workersOf(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count > WORKERS_MAX) {
    throw new InvalidArgumentError(`It must be a number of processes, 0 to ${WORKERS_MAX}.`);
  }
  return count;
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (text === "" || !(seconds >= 0 && seconds <= 86_400)) throw new InvalidArgumentError("It must be seconds.");
  return seconds;
}

function sizeOf(text: string): number {
  const parts = /^(\d+)\s*([KMG]?)(?:i?B)?$/i.exec(text);
  if (parts === null) throw new InvalidArgumentError("It must be a size, as 512M or 2G.");
  const factor = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 }[(parts[2] as string).toUpperCase()] ?? 1;
  return Number(parts[1]) * factor;
}
