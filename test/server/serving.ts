/** `cairn serve` as a process of this runtime, for tests. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { commandOf, RUNTIME } from "../runtime.ts";

const MAIN = fileURLToPath(new URL("../../build/adapters/cli/main.js", import.meta.url));
const { command, args } = commandOf(RUNTIME) ?? { command: "node", args: [] };

export const folder = mkdtempSync(join(tmpdir(), "cairn-serve-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let fileCount = 0;

/** A path that nothing has yet. */
export const fresh = (name: string): string => join(folder, `${fileCount++}-${name}`);

/** Runs the command, and waits for its end. */
export function cairn(words: string[]) {
  const { status, stdout, stderr } = spawnSync(command, [...args, MAIN, ...words], { encoding: "utf8" });
  return { status, out: stdout, err: stderr };
}

/** A keys file of the tenant main, with a key for everything. */
export function keysFile(): { keys: string; key: string } {
  const keys = fresh("keys.json");
  return { keys, key: addKey(keys) };
}

/** Adds a key to a keys file. */
export function addKey(keys: string, tenant = "main", role = "admin"): string {
  const made = cairn(["keys", "add", "--keys", keys, "--tenant", tenant, "--role", role]);
  if (made.status !== 0) throw new Error(made.err);
  return made.out.trim();
}

/** A server under way. Whoever starts it ends it. */
export class Serving {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<{ status: number | null; signal: string | null }>;
  isOver = false;
  out = "";
  err = "";

  constructor(words: string[]) {
    this.child = spawn(command, [...args, MAIN, "serve", ...words]);
    this.child.stdout.on("data", (chunk) => (this.out += chunk));
    this.child.stderr.on("data", (chunk) => (this.err += chunk));
    this.ended = new Promise((resolve) =>
      this.child.on("close", (status, signal) => {
        this.isOver = true;
        resolve({ status, signal });
      }),
    );
  }

  /** `child.kill` of Deno takes the signal for how the child ended. */
  signal(name: NodeJS.Signals): void {
    if (!this.isOver) process.kill(this.child.pid as number, name);
  }

  /** The addresses that it has printed, once it has. */
  async line(): Promise<string> {
    for (const startMs = performance.now(); !this.out.includes("\n") && !this.isOver; ) {
      if (performance.now() - startMs > 60_000) throw new Error(`it printed nothing in a minute: ${this.err}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return this.out.split("\n", 1)[0] as string;
  }

  async url(): Promise<string> {
    await this.line();
    const url = /https?:\/\/[^\s]+/.exec(this.out)?.[0];
    if (url === undefined) throw new Error(`no address: ${this.out}${this.err}`);
    return url;
  }

  /** Lines of its log. The last one may not be whole yet. */
  // biome-ignore lint/suspicious/noExplicitAny: they are looked at field by field.
  get lines(): any[] {
    return this.err
      .slice(0, this.err.lastIndexOf("\n") + 1)
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }
}
