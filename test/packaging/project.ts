/**
 * What a user has: an empty folder into which npm installed the packed package. No network is used: the libraries of the
 * tool come from this repository's own node_modules, as links.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PEERS = join(ROOT, "test/peers/node_modules");

/** A folder for one test file, removed after its last test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cairn-packaging-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Packs this repository and installs the tarball into `folder`, which must be empty. Takes about 2 s. `build/` must be
 * there.
 */
export function installPacked(folder: string): void {
  const packed = execFileSync("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder], {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const { filename } = JSON.parse(packed)[0] as { filename: string };
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  const overrides = Object.fromEntries(
    Object.keys(dependencies).map((name) => [name, `file:${join(ROOT, "node_modules", name)}`]),
  );
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module", overrides }));
  execFileSync("npm", ["install", `./${filename}`, "--offline", "--no-audit", "--no-fund"], {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
}

/** Why the tool `name` of test/peers is not here; `undefined` when it is. In CI nothing may be missing: it throws. */
export function peerMissing(name: string): string | undefined {
  if (existsSync(join(PEERS, name))) return undefined;
  const reason = `${name} is not installed; node scripts/install-peers.mjs installs it`;
  if (process.env["CI"] !== undefined) throw new Error(reason);
  return reason;
}

/** The path of a command of test/peers. */
export function peer(name: string): string {
  return join(PEERS, ".bin", name);
}

/** Lets programs in `folder` import packages of test/peers. */
export function linkPeers(folder: string, names: readonly string[]): void {
  for (const name of names) symlinkSync(join(PEERS, name), join(folder, "node_modules", name));
}

/** What a program printed, and how it ended. */
export interface Ended {
  out: string;
  err: string;
  status: number | null;
}

/** Runs a program to its end in `folder`, without blocking this process, over `input`; kills it after `timeoutMs`. */
export function run(
  folder: string,
  file: string,
  args: readonly string[],
  options: { env?: Record<string, string>; timeoutMs?: number; input?: string } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: folder,
      env: { ...process.env, NO_COLOR: "1", ...options.env },
      stdio: ["pipe", "pipe", "pipe"],
      timeout: options.timeoutMs ?? 60_000,
      killSignal: "SIGKILL",
    });
    const ended: Ended = { out: "", err: "", status: null };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      ended.out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      ended.err += text;
    });
    child.on("error", reject);
    // A program that does not read its input may have ended before it came.
    child.stdin.on("error", () => undefined).end(options.input ?? "");
    child.on("close", (status) => resolve({ ...ended, status }));
  });
}

/** The programs that the README shows: for every runtime, and for a page. */
function programs(): string[] {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  return [...readme.matchAll(/```js\n([\s\S]*?)```/g)].map((match) => match[1] as string);
}

/** The README's first program. */
export function tenLines(): string {
  const [lines] = programs();
  if (lines === undefined) throw new Error("README.md shows no program");
  return lines;
}

/** The README's program for a page. */
export function pageLines(): string {
  const lines = programs().find((program) => program.includes("connect"));
  if (lines === undefined) throw new Error("README.md shows no program for a page");
  return lines;
}

/**
 * What Deno needs to run a program of `folder` on the store at `path`, and no more: the package's binary, and the folder
 * of the store, for its lock.
 */
export function denoFlags(folder: string, path: string): string[] {
  return [
    "run",
    `--allow-read=${dirname(path)},${join(folder, "node_modules/cairn-kv/build/cairn.wasm")}`,
    `--allow-write=${dirname(path)}`,
  ];
}

/** A port of loopback on which nothing listened a moment ago. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, "close");
  return port;
}
