/**
 * The packed package, installed by npm into an empty project, runs the README's first lines on every runtime, unchanged
 * and on one file. Each runtime gets the entry point that `exports` has for it.
 */
import { existsSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { beforeAll, expect, test } from "vitest";
import { denoFlags, installPacked, peer, peerMissing, ROOT, run, temporaryFolder, tenLines } from "./project.ts";

const folder = realpathSync(temporaryFolder());
const PRINTED = "user:2 Grace\nuser:3 Barbara\n";
const COMPILE = `import { readFileSync } from "node:fs";
const wasm = new WebAssembly.Module(readFileSync(new URL(import.meta.resolve("cairn-kv/cairn.wasm"))));
`;
const RESOLVE = 'console.log(import.meta.resolve("cairn-kv").split("/").at(-1));';

beforeAll(() => {
  installPacked(folder);
  writeFileSync(join(folder, "resolve.mjs"), RESOLVE);
  writeFileSync(join(folder, "lines.mjs"), tenLines());
  const inMemory = (options: string): string => tenLines().replace('"app.cairn"', `":memory:"${options}`);
  writeFileSync(join(folder, "memory-lines.mjs"), COMPILE + inMemory(", { wasm }"));
  writeFileSync(join(folder, "lacking-lines.mjs"), inMemory(""));
});

interface Runtime {
  name: string;
  /** The file of hosts/ that it gets. */
  entry: string;
  file: string;
  flags: readonly string[];
  /** The package of test/peers that brings it. */
  needs?: string;
}

const NODE: Runtime = { name: "Node", entry: "node.js", file: process.execPath, flags: [] };
const NODE_LTS: Runtime = {
  name: "the newest LTS of Node",
  entry: "node.js",
  file: peer("node"),
  flags: [],
  needs: "node",
};
const BUN: Runtime = { name: "Bun", entry: "bun.js", file: peer("bun"), flags: ["run"], needs: "bun" };
const DENO: Runtime = {
  name: "Deno",
  entry: "deno.js",
  file: peer("deno"),
  flags: denoFlags(folder, join(folder, "app.cairn")),
  needs: "deno",
};

test.for([NODE, NODE_LTS, BUN, DENO])(
  "the installed package runs the ten lines on $name",
  async ({ entry, file, flags, needs }, context) => {
    const missing = needs === undefined ? undefined : peerMissing(needs);
    if (missing !== undefined) context.skip(missing);
    expect(await run(folder, file, [...flags, "resolve.mjs"])).toMatchObject({ out: `${entry}\n`, status: 0 });
    expect(await run(folder, file, [...flags, "lines.mjs"])).toEqual({ out: PRINTED, err: "", status: 0 });
  },
);

test("the installed package runs in memory, with a module passed in, where the condition is workerd", async () => {
  const flags = ["--conditions", "workerd"];
  const resolved = await run(folder, process.execPath, [...flags, "resolve.mjs"]);
  expect(resolved).toMatchObject({ out: "memory.js\n", status: 0 });
  const ended = await run(folder, process.execPath, [...flags, "memory-lines.mjs"]);
  expect(ended).toEqual({ out: PRINTED, err: "", status: 0 });
  const lacking = await run(folder, process.execPath, [...flags, "lacking-lines.mjs"]);
  expect(lacking.status).toBe(1);
  expect(lacking.err).toContain("code: 'UNSUPPORTED'");
});

test.for([NODE, NODE_LTS, BUN])(
  "the installed package is there for require() on $name",
  async ({ file, needs }, context) => {
    const missing = needs === undefined ? undefined : peerMissing(needs);
    if (missing !== undefined) context.skip(missing);
    writeFileSync(
      join(folder, "required.cjs"),
      `const { open, CairnError } = require("cairn-kv");
    open(":memory:").then(async (store) => {
      await store.put("user:1", "Ada");
      try { store.set("", "no key"); } catch (error) { console.log(error instanceof CairnError, error.code); }
      console.log(store.get("user:1"));
      await store.close();
    });`,
    );
    const ended = await run(folder, file, ["required.cjs"]);
    expect(ended).toMatchObject({ out: "true KEY_SIZE\nAda\n", status: 0 });
  },
);

test("the installed tool reads what the ten lines stored", async () => {
  const ended = await run(folder, join(folder, "node_modules/.bin/cairn"), ["scan", "app.cairn"]);
  expect(ended).toMatchObject({ status: 0 });
  const records = ended.out.trim().split("\n");
  expect(records.map((line) => JSON.parse(line))).toEqual([
    { key: "user:2", value: "Grace" },
    { key: "user:3", value: "Barbara" },
  ]);
});

const TYPED = `
import { type BlockDevice, CairnError, connect, type Connection, open, type OpenOptions, type Store } from "cairn-kv";

export async function use(device: BlockDevice, wasm: WebAssembly.Module): Promise<string> {
  const options: OpenOptions<"utf8", "binary"> = { valueEncoding: "binary", wasm };
  const store: Store<string, Uint8Array> = await open(device, options);
  const connection: Connection<string, string> = await connect("name");
  const value: string | undefined = await connection.get("key");
  // @ts-expect-error A value of the encoding "binary" is no string.
  store.set("key", "text");
  return value ?? new CairnError("CLOSED", "get", "closed").code;
}
`;

test.for([
  { name: "for bundlers", flags: ["--module", "esnext", "--moduleResolution", "bundler"] },
  { name: "for Node", flags: ["--module", "nodenext"] },
  ...["bun", "deno", "workerd", "browser"].map((condition) => ({
    name: `with the condition ${condition}`,
    flags: ["--module", "esnext", "--moduleResolution", "bundler", "--customConditions", condition],
  })),
])("the installed package has the same types $name", async ({ flags }) => {
  writeFileSync(join(folder, "typed.ts"), TYPED);
  const lib = ["--target", "es2022", "--lib", "es2023,esnext.disposable,dom"];
  const checks = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--ignoreConfig"];
  const tsc = join(ROOT, "node_modules/.bin/tsc");
  expect(await run(folder, tsc, ["typed.ts", "--types", "", ...flags, ...lib, ...checks])).toEqual({
    out: "",
    err: "",
    status: 0,
  });
});

test("every file that exports, bin and files name is in the installed package", () => {
  const installed = join(folder, "node_modules/cairn-kv");
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    exports: Record<string, unknown>;
    bin: Record<string, string>;
  };
  const pathsOf = (entry: unknown): string[] =>
    typeof entry === "string" ? [entry] : Object.values(entry as object).flatMap(pathsOf);
  // The component is built by a step of its own, which CI takes before the tests.
  const isBuilt = (path: string): boolean => process.env["CI"] !== undefined || existsSync(join(ROOT, path));
  const paths = [...pathsOf(manifest.exports), ...Object.values(manifest.bin)].filter(
    (path) => !path.endsWith(".component.wasm") || isBuilt(path),
  );
  expect(paths.length).toBeGreaterThan(10);
  for (const path of paths) expect(readFileSync(join(installed, path)).length, path).toBeGreaterThan(0);
  expect(Object.keys(manifest.exports["."] as object)).toEqual([
    "bun",
    "deno",
    "workerd",
    "browser",
    "node",
    "default",
  ]);
});
