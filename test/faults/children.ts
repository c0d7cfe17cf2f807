/** Children of these tests: bundled for each runtime, started, told and listened to. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { RuntimeName } from "../runtime.ts";
import type { Order, Saying } from "./protocol.ts";

/** What a runtime is started with. */
export interface Command {
  command: string;
  args: string[];
}

/** How programs run on a runtime; `undefined` when it is not installed. `root` is the repository. */
export function commandIn(root: string, runtime: RuntimeName): Command | undefined {
  if (runtime === "node") return { command: process.execPath, args: [] };
  const command = join(root, "test/peers/node_modules/.bin", runtime);
  return existsSync(command) ? { command, args: runtime === "deno" ? ["run", "-A", "--no-check"] : [] } : undefined;
}

/** Bundles a program of this folder for a runtime, beside the binary of the build. Returns its file. */
export async function bundleChild(root: string, program: string, runtime: RuntimeName): Promise<string> {
  const { build } = await import("esbuild");
  const outfile = join(root, `build/faults/${program}-${runtime}.mjs`);
  await build({
    entryPoints: [join(root, `test/faults/${program}.ts`)],
    outfile,
    bundle: true,
    minify: true,
    platform: "node",
    format: "esm",
    alias: { "cairn-kv": join(root, `hosts/${runtime}.ts`) },
    logLevel: "warning",
  });
  return outfile;
}

/** How a child ended. */
export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  complaint: string;
}

/** A child, and what it has said so far. */
export class Child<Said extends { type: string } = Saying> {
  readonly process: ChildProcess;
  readonly sayings: Said[] = [];
  /** Resolves when it has ended and all that it said was heard. */
  readonly ended: Promise<Ended>;
  private text = "";
  private listeners: ((saying: Said | undefined) => void)[] = [];
  private over = false;

  constructor({ command, args }: Command, env: Record<string, string> = {}) {
    this.process = spawn(command, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
    });
    let complaint = "";
    this.process.stderr?.on("data", (data) => {
      complaint += data;
    });
    this.process.stdout?.setEncoding("utf8").on("data", (data) => this.heard(data));
    // A child that was killed takes no order any more.
    this.process.stdin?.on("error", () => undefined);
    this.ended = new Promise((resolve, reject) => {
      this.process.on("error", reject);
      this.process.on("close", (status, signal) => {
        this.over = true;
        this.tell(undefined);
        resolve({ status, signal, complaint });
      });
    });
  }

  get pid(): number {
    return this.process.pid as number;
  }

  send(order: Order | object): void {
    this.process.stdin?.write(`${JSON.stringify(order)}\n`);
  }

  kill(): void {
    this.process.kill("SIGKILL");
  }

  /** Calls with each saying, those before included, until the child has ended. */
  onSaying(listener: (saying: Said) => void): void {
    for (const saying of this.sayings) listener(saying);
    this.listeners.push((saying) => {
      if (saying !== undefined) listener(saying);
    });
  }

  /** The first saying, of all, that `is` holds for. Rejects when the child ends without one. */
  async heardOf<T extends Said>(is: (saying: Said) => saying is T): Promise<T> {
    const before = this.sayings.find(is);
    if (before !== undefined) return before;
    if (!this.over) {
      const saying = await new Promise<T | undefined>((resolve) => {
        this.listeners.push((said) => {
          if (said === undefined) resolve(undefined);
          else if (is(said)) resolve(said);
        });
      });
      if (saying !== undefined) return saying;
    }
    const { status, signal, complaint } = await this.ended;
    throw new Error(`the child ended with ${status ?? signal} before it said so: ${complaint}`);
  }

  private heard(data: string): void {
    this.text += data;
    const lines = this.text.split("\n");
    this.text = lines.pop() ?? "";
    for (const line of lines) {
      const saying: Said = JSON.parse(line);
      this.sayings.push(saying);
      this.tell(saying);
    }
  }

  private tell(saying: Said | undefined): void {
    for (const listener of this.listeners) listener(saying);
  }
}

/** Whether a child says the like. */
export function says<K extends Saying["type"]>(type: K) {
  return (saying: Saying): saying is Extract<Saying, { type: K }> => saying.type === type;
}
