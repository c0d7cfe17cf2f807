/** The component, built and transpiled once for a test file, and the runtimes that run it. */
import { execFile, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { beforeAll } from "vitest";
import { scratchFolder } from "../hosts/scratch.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PEERS = join(ROOT, "test/peers");
const GUEST = join(ROOT, "test/component/guest.mjs");

/** Why the component cannot be built here; `undefined` when it can. */
export const missing = existsSync(join(PEERS, "node_modules/@bytecodealliance/jco"))
  ? undefined
  : "jco is not installed: node scripts/install-peers.mjs";

export type Runtime = "node" | "bun" | "deno";
/** What the component takes is counted on Node alone (`npm run coverage`). */
export const RUNTIMES: Runtime[] = process.env["CAIRN_COVERAGE"] === undefined ? ["node", "bun", "deno"] : ["node"];

const execute = promisify(execFile);

const COMMANDS: Record<Runtime, string[]> = {
  node: [join(PEERS, "node_modules/.bin/node")],
  bun: [join(PEERS, "node_modules/.bin/bun")],
  deno: [join(PEERS, "node_modules/.bin/deno"), "run", "--allow-all"],
};

/** What a test file works with: the transpiled component, and a folder that guests see as `/data`. */
export interface Bench {
  transpiled: string;
  folder: string;
  /** The component itself. */
  binary(): Uint8Array;
  /** Runs a scenario of guest.mjs to its end: what it printed last. */
  // biome-ignore lint/suspicious/noExplicitAny: each scenario prints what it likes
  run(runtime: Runtime, scenario: string, input?: unknown): Promise<any>;
  /** The command that runs a scenario. */
  command(runtime: Runtime, scenario: string, input?: unknown): [string, string[]];
  start(runtime: Runtime, scenario: string, input?: unknown): ReturnType<typeof spawn>;
}

/** Builds and transpiles the component before the file's first test. */
export function bench(): Bench {
  const folder = scratchFolder();
  const transpiled = transpiledFolder();
  beforeAll(() => (missing === undefined ? transpile(transpiled) : undefined));
  const command = (runtime: Runtime, scenario: string, input: unknown = null): [string, string[]] => {
    const [program = "", ...flags] = COMMANDS[runtime];
    return [program, [...flags, GUEST, transpiled, folder, scenario, JSON.stringify(input)]];
  };
  return {
    transpiled,
    folder,
    binary: () => readFileSync(join(ROOT, "build/cairn.component.wasm")),
    command,
    async run(runtime, scenario, input) {
      const { stdout } = await execute(...command(runtime, scenario, input), { maxBuffer: 64 << 20, timeout: 60_000 });
      return JSON.parse(stdout.trimEnd().split("\n").at(-1) as string);
    },
    start: (runtime, scenario, input) => spawn(...command(runtime, scenario, input)),
  };
}

/** The tools of jco. */
// biome-ignore lint/suspicious/noExplicitAny: jco stands outside the project's packages
export async function jco(): Promise<any> {
  const require = createRequire(join(PEERS, "package.json"));
  const load = (name: string): Promise<unknown> => import(pathToFileURL(require.resolve(name)).href);
  const { _addPreopen } = (await load("@bytecodealliance/preview2-shim/filesystem")) as {
    _addPreopen(name: string, path: string): void;
  };
  _addPreopen("/", "/");
  return load("@bytecodealliance/jco");
}

/** Where the component is found transpiled: all test files of a build share it. */
function transpiledFolder(): string {
  const hash = createHash("sha256");
  const scripts = ["scripts/component.mjs", "scripts/component-names.mjs"];
  const sources = ["build/component-core.wasm", ...scripts, "wit/world.wit", "wit/store.wit"];
  const wit = readdirSync(join(ROOT, "wit/deps"), { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.wit$/.test(name),
  );
  for (const name of [...sources, ...wit.sort().map((name) => `wit/deps/${name}`)])
    hash.update(readFileSync(join(ROOT, name)));
  return join(ROOT, "build/component-js", hash.digest("hex").slice(0, 16));
}

async function transpile(to: string): Promise<void> {
  if (existsSync(to)) return;
  const built = spawnSync(process.execPath, [join(ROOT, "scripts/component.mjs")], { encoding: "utf8" });
  if (built.status !== 0) throw new Error(built.stderr);
  const { transpile } = await jco();
  const binary = readFileSync(join(ROOT, "build/cairn.component.wasm"));
  const { files } = await transpile(binary, { name: "cairn", instantiation: "async", noTypescript: true });
  const draft = `${to}.${process.pid}`;
  for (const [name, content] of Object.entries(files as Record<string, Uint8Array>)) {
    mkdirSync(dirname(join(draft, name)), { recursive: true });
    writeFileSync(join(draft, name), content);
  }
  try {
    renameSync(draft, to);
  } catch (error) {
    // Another test file was quicker.
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(to)) throw error;
  }
}
