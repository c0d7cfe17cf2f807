/** Processes of workers, and how several of them listen on one port, on each runtime. */
import { type ChildProcess, spawn } from "node:child_process";
import cluster from "node:cluster";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { CairnError } from "../../../store/error.ts";
import { START_VARIABLE, type WorkerStart } from "./messages.ts";

/** Beside the built file of this module, or its source. */
const FILE = fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "./process.ts" : "./process.js", import.meta.url));
/** What a worker of Deno's may do: the store is its owner's. Listening together is behind a flag there. */
const DENO_FLAGS = ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys", "--unstable-net"];

/**
 * How several processes take connections of one port: each listens, and the system shares connections out (`SO_REUSEPORT` as Linux has
 * it); or, in versions of Node that have no option for that, the owner takes them and hands them over (`node:cluster`).
 */
export type PortSharing = "reusePort" | "cluster";

/** See above. `UNSUPPORTED` where neither is there. */
export function portSharing(): PortSharing {
  const { platform } = process;
  const isNode = !("Deno" in globalThis || "Bun" in globalThis);
  if (platform === "linux" && (!isNode || hasReusePort(process.versions.node))) return "reusePort";
  if (isNode && platform !== "win32" && cluster.isPrimary) return "cluster";
  const message = isNode
    ? "workers need a system with sockets of files, and a process that is itself no worker of node:cluster"
    : "on this system several processes of this runtime cannot listen on one port; on Linux they can, and with Node elsewhere, too";
  throw new CairnError("UNSUPPORTED", "listen", `listen: ${message}. Serve without workers.`);
}

/** Whether `node:net` has the option `reusePort`. */
function hasReusePort(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
}

/** How a process ended. */
export interface Ending {
  status: number | null;
  signal: string | null;
  /** Why it could not be started, where that was told behind the call. */
  error?: Error;
}

/** See above. */
export interface WorkerProcess {
  readonly pid: number | undefined;
  /** Resolves when it has ended. */
  readonly ended: Promise<Ending>;
  kill(): void;
}

/** Starts a worker. Its standard error is that of this process. */
export function startWorker(start: WorkerStart, sharing: PortSharing): WorkerProcess {
  const added = { [START_VARIABLE]: JSON.stringify(start) };
  const child = sharing === "cluster" ? forked(added) : spawned(added);
  return {
    pid: child.pid,
    ended: new Promise((resolve) => {
      child.once("error", (error) => resolve({ status: null, signal: null, error }));
      child.once("exit", (status, signal) => resolve({ status, signal }));
    }),
    kill() {
      try {
        // `kill` of a child of Deno's takes the signal for how it ended.
        if (child.pid !== undefined) process.kill(child.pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    },
  };
}

function spawned(added: Record<string, string>): ChildProcess {
  const flags = "Deno" in globalThis ? ["run", ...DENO_FLAGS] : [];
  return spawn(process.execPath, [...flags, FILE], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, ...added },
  });
}

/** A program may use `node:cluster` for itself: its settings stay. */
function forked(added: Record<string, string>): ChildProcess {
  const { exec = process.argv[1], args = process.argv.slice(2), stdio, ...rest } = cluster.settings;
  cluster.setupPrimary({ exec: FILE, args: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
  try {
    return cluster.fork(added).process;
  } finally {
    cluster.setupPrimary({ ...rest, args, ...(exec === undefined ? {} : { exec }), stdio: stdio as never });
  }
}
