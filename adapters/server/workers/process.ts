/**
 * A worker: a process that serves the network for a store that another one holds. It is started by its owner, which tells it everything
 * over a socket, and ends when that does.
 */
import type { Buffer } from "node:buffer";
import cluster from "node:cluster";
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import process from "node:process";
import type { LogLine, Settings } from "../config.ts";
import { toStandardError } from "../log.ts";
import { type Serving, serverOver } from "../serving.ts";
import { START_VARIABLE, type ToWorker, type WorkerStart } from "./messages.ts";
import { KIND, Pipe } from "./pipe.ts";
import { WorkerHolder } from "./worker-holder.ts";

/** How long a worker that was told to end by a signal lets requests in flight go on. */
const GRACE_MS = 10_000;
/** How long after the pipe it is looked whether the owner is gone. */
const LEAVE_MS = 200;

// The pipe says when to end.
if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;

const { path, worker, token } = JSON.parse(process.env[START_VARIABLE] ?? "{}") as WorkerStart;
const owner = process.ppid;
let holder: WorkerHolder | undefined;
let serving: Serving | undefined;
let isClosing = false;

const pipe = new Pipe(connect(path), {
  frame(kind, bytes) {
    if (kind === KIND.control) hear(JSON.parse(bytes.toString()) as ToWorker);
    else holder?.frame(kind, bytes as Buffer);
  },
  drained: () => holder?.drained(),
  // Without its owner there is no store to serve.
  closed: () => (isClosing ? process.exit(0) : leave()),
});
pipe.control({ type: "hello", worker, token });

function hear(message: ToWorker): void {
  switch (message.type) {
    case "settings":
      void begin(message);
      return;
    case "listen":
      void listen(message.port, message.riocPort);
      return;
    case "close":
      void close(message.graceMs);
      return;
    default:
      holder?.hear(message);
  }
}

async function begin(told: Extract<ToWorker, { type: "settings" }>): Promise<void> {
  const settings = told.settings as Settings;
  holder = new WorkerHolder(pipe, told.session, worker);
  holder.place.reusePort = told.reusePort;
  serving = serverOver(
    {
      ...settings,
      log: (line: LogLine) => {
        if (told.takesLog) holder?.say({ type: "log", line: { ...line, worker } });
        else toStandardError({ ...line, worker });
      },
      audit: told.takesAudit ? (entry) => holder?.say({ type: "audit", entry }) : settings.audit,
    },
    holder,
  );
  try {
    await serving.open();
    holder.say({ type: "ready" });
  } catch (error) {
    failed(error);
  }
}

async function listen(port: number, riocPort: number | undefined): Promise<void> {
  if (holder === undefined || serving === undefined) return;
  Object.assign(holder.place, { port, riocPort });
  try {
    const address = await serving.server.listen();
    holder.listening(() => serving?.connections ?? 0);
    holder.say({ type: "listening", host: address.host, port: address.port, riocPort: address.riocPort });
  } catch (error) {
    failed(error);
  }
}

/** An owner that was killed has left its socket behind, to which nobody listens. */
function leave(): void {
  setTimeout(() => process.exit(1), 5 * LEAVE_MS);
  // What the system closes of a process that was killed it closes one after the other.
  setTimeout(() => {
    const end = (isGone: boolean): void => {
      if (isGone) rmSync(dirname(path), { recursive: true, force: true });
      process.exit(1);
    };
    // On Deno the workers have inherited what it listened with.
    connect(path)
      .once("connect", () => end(process.ppid !== owner))
      .once("error", () => end(true));
  }, LEAVE_MS);
}

function failed(error: unknown): void {
  const { message, code, operation, syscall } = error as Error & {
    code?: string;
    operation?: string;
    syscall?: string;
  };
  holder?.say({ type: "failed", message, code, operation, syscall });
  pipe.end();
}

async function close(graceMs: number): Promise<void> {
  if (isClosing) return;
  isClosing = true;
  await serving?.server.close({ graceMs });
  pipe.end();
  // An owner that is gone, or does not end its side, holds nobody here.
  setTimeout(() => process.exit(0), 1000).unref();
}

// From a terminal it comes to all processes at once: the owner tells when to end.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => void close(GRACE_MS));
