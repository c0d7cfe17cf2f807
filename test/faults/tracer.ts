/** `strace` on a running process: which calls on one file it makes, and failures that they are given. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Every way in which a runtime writes to, reads from, or syncs an open file. */
export const WRITES = "write,pwrite64,writev,pwritev,pwritev2";
export const READS = "read,pread64,readv,preadv,preadv2";
export const SYNCS = "fsync,fdatasync,sync_file_range";

/** A call that was begun, in order. */
export interface SystemCall {
  name: string;
  /** Its arguments, as strace writes them. */
  args: string;
  /** What it gave; `undefined` when it failed or did not end. */
  result: number | undefined;
  /** Whether it was given its result, and so did nothing. */
  injected: boolean;
}

/** Why there is no strace; `undefined` when there is. */
export function tracerMissing(): string | undefined {
  const { status } = spawnSync("strace", ["-V"], { stdio: "ignore" });
  return status === 0 ? undefined : "needs strace";
}

/** One strace. */
export class Tracer {
  private readonly log: string;
  private readonly process: ChildProcess;
  private readonly ended: Promise<void>;

  private constructor(log: string, process: ChildProcess) {
    this.log = log;
    this.process = process;
    this.ended = new Promise((resolve) => process.on("close", () => resolve()));
  }

  /**
   * Attaches to all threads of a process. `injection` is what `-e inject=` takes, such as `fdatasync:error=EIO:when=1`, and holds
   * for calls on `path` alone; its counts are by thread. `log` is a file to be made.
   */
  static async attach(pid: number, path: string, injection: string | undefined, log: string): Promise<Tracer> {
    const words = ["-f", "-qq", "-s", "0", "-o", log, "-P", path, "-e", `trace=${WRITES},${READS},${SYNCS}`];
    if (injection !== undefined) words.push("-e", `inject=${injection}`);
    const child = spawn("strace", [...words, "-p", String(pid)], { stdio: ["ignore", "ignore", "pipe"] });
    let complaint = "";
    child.stderr.on("data", (data) => {
      complaint += data;
    });
    const tracer = new Tracer(log, child);
    let over = false;
    void tracer.ended.then(() => {
      over = true;
    });
    // It has no sign that it is there but that each thread is traced.
    for (let attempt = 0; !isTraced(pid); attempt++) {
      if (over || attempt > 2000) throw new Error(`strace: ${complaint}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return tracer;
  }

  /** Lets go of the process. Returns the calls that it made. */
  async stop(): Promise<SystemCall[]> {
    this.process.kill("SIGTERM");
    await this.ended;
    return callsOf(readFileSync(this.log, "utf8"));
  }
}

function isTraced(pid: number): boolean {
  // Each thread of it, so that none makes a call unseen.
  const { stdout } = spawnSync("sh", ["-c", `cat /proc/${pid}/task/*/status`], { encoding: "utf8" });
  const tracers = [...stdout.matchAll(/^TracerPid:\s+(\d+)$/gm)].map(([, tracer]) => tracer);
  return tracers.length > 0 && !tracers.includes("0");
}

function callsOf(log: string): SystemCall[] {
  const calls: SystemCall[] = [];
  const open = new Map<string, SystemCall>();
  for (const line of log.split("\n")) {
    const injected = line.includes("(INJECTED)");
    const given = / = (\d+)\b[^=]*$/.exec(line)?.[1];
    const result = given === undefined ? undefined : Number(given);
    const [, thread = "", resumed, name = "", args = ""] = /^(\d+) +(?:(<\.\.\.) )?(\w+)(.*)$/.exec(line) ?? [];
    const begun = open.get(thread);
    if (resumed !== undefined && begun !== undefined) Object.assign(begun, { injected, result });
    if (resumed !== undefined || !args.startsWith("(")) continue;
    const call = { name, args: args.slice(1), result, injected };
    calls.push(call);
    open.set(thread, call);
  }
  return calls;
}
