/**
 * The adapters of the packed package, as a user has them: what docs/adapters.md shows is run on Node, Bun and Deno, with the
 * libraries that it needs and without those that it does not.
 */
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { beforeAll, expect, test } from "vitest";
import { installPacked, peer, peerMissing, ROOT, run, temporaryFolder } from "./project.ts";

const folder = realpathSync(temporaryFolder());

/** What each program of the document prints, in its order. */
const PRINTED = [
  "user:1 Ada\nuser:2 Grace\nAda\n",
  "Ada\n",
  "Ada Hello\n",
  /^\[ "?'?users:1"?'? \] Ada\n$/,
  "true users/ada Ada Lovelace\n",
  "apples 3\npears 2\n2\n",
  "true <h1>/</h1> 1\n",
];
const programs = [...readFileSync(join(ROOT, "docs/adapters.md"), "utf8").matchAll(/```js\n([\s\S]*?)```/g)].map(
  (match) => match[1] as string,
);

/** Lets programs import a library of this repository, with what it needs. */
function link(name: string, linked = new Set<string>()): void {
  if (linked.has(name)) return;
  linked.add(name);
  const target = join(ROOT, "node_modules", name);
  const { dependencies = {} } = JSON.parse(readFileSync(join(target, "package.json"), "utf8")) as {
    dependencies?: Record<string, string>;
  };
  const path = join(folder, "node_modules", name);
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true, recursive: true });
  symlinkSync(realpathSync(target), path);
  for (const needed of Object.keys(dependencies)) link(needed, linked);
}

beforeAll(() => {
  installPacked(folder);
  for (const [index, program] of programs.entries()) writeFileSync(join(folder, `program-${index}.mjs`), program);
});

const RUNTIMES = [
  { name: "Node", file: process.execPath, flags: [] },
  { name: "Bun", file: peer("bun"), flags: ["run"], needs: "bun" },
  { name: "Deno", file: peer("deno"), flags: ["run", "--allow-all"], needs: "deno" },
];

test("what needs no library runs without any", async () => {
  expect(programs.length).toBe(PRINTED.length);
  for (const index of [4, 5, 6]) {
    const ended = await run(folder, process.execPath, [`program-${index}.mjs`]);
    expect(ended).toEqual({ out: PRINTED[index], err: "", status: 0 });
  }
  const lacking = await run(folder, process.execPath, ["program-0.mjs"]);
  expect(lacking.err).toContain("Cannot find package 'abstract-level'");
});

test.for(RUNTIMES)("the programs of the document run on $name", async ({ file, flags, needs }, context) => {
  const missing = needs === undefined ? undefined : peerMissing(needs);
  if (missing !== undefined) context.skip(missing);
  for (const name of ["abstract-level", "keyv", "unstorage"]) link(name);
  for (const name of readdirSync(folder)) if (name.endsWith(".cairn")) rmSync(join(folder, name));
  for (const [index, printed] of PRINTED.entries()) {
    const ended = await run(folder, file, [...flags, `program-${index}.mjs`]);
    expect(ended, `program ${index}`).toEqual({
      out: typeof printed === "string" ? printed : expect.stringMatching(printed),
      err: "",
      status: 0,
    });
  }
});

test.for([
  { name: "the newest LTS of Node", file: peer("node"), flags: [], needs: "node" },
  { name: "Bun", file: peer("bun"), flags: ["run"], needs: "bun" },
])("the notes of automerge-repo are kept, on $name", async ({ file, flags, needs }, context) => {
  const missing = peerMissing(needs);
  if (missing !== undefined) context.skip(missing);
  link("@automerge/automerge-repo");
  for (const name of ["notes.ts", "storage.ts"]) {
    writeFileSync(join(folder, name), readFileSync(join(ROOT, "examples/automerge", name)));
  }
  const path = `notes-${needs}.cairn`;
  const ends = [];
  for (const note of ["buy milk", "call Ada"]) ends.push(await run(folder, file, [...flags, "notes.ts", path, note]));
  expect(ends.map(({ out, status }) => [out, status])).toEqual([
    ["buy milk\n", 0],
    ["buy milk\ncall Ada\n", 0],
  ]);
});

const TYPED = `
import Keyv from "keyv";
import { createStorage } from "unstorage";
import type { AbstractLevel } from "abstract-level";
import { Cache } from "cairn-kv/cache";
import { type Kv, type KvEntryMaybe, openKv } from "cairn-kv/deno-kv";
import { KeyvCairn } from "cairn-kv/keyv";
import { CairnLevel } from "cairn-kv/level";
import { PersistentMap } from "cairn-kv/map";
import cairnDriver from "cairn-kv/unstorage";

export async function use(): Promise<void> {
  const level: AbstractLevel<string | Uint8Array, string, number> = new CairnLevel<string, number>("a", { valueEncoding: "json" });
  await level.put("key", 1);
  // @ts-expect-error A value of this database is a number.
  await level.put("key", "text");
  new Keyv({ store: new KeyvCairn("b") });
  createStorage({ driver: cairnDriver({ base: "c", durability: "sync" }) });
  // @ts-expect-error A driver needs a base.
  cairnDriver({});
  const kv: Kv = await openKv("d");
  const entry: KvEntryMaybe<number> = await kv.get<number>(["key", 1n]);
  const [first] = await kv.getMany<[string]>([["a"]]);
  const text: string | null = first.value;
  const map: Map<string, number> = await PersistentMap.open<number>("e");
  const cache: Cache<{ n: number }> = await Cache.open<{ n: number }>("f", { maxBytes: 1 });
  cache.set("key", { n: entry.value ?? map.size + (text?.length ?? 0) });
}
`;

test("the adapters have types that fit those of the libraries", async () => {
  for (const name of ["abstract-level", "keyv", "unstorage", "@types/node"]) link(name);
  writeFileSync(join(folder, "typed.ts"), TYPED);
  const flags = [
    "--module",
    "nodenext",
    "--target",
    "es2022",
    "--lib",
    "es2023,esnext.disposable,dom",
    "--types",
    "node",
  ];
  const checks = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "--ignoreConfig"];
  const ended = await run(folder, join(ROOT, "node_modules/.bin/tsc"), ["typed.ts", ...flags, ...checks]);
  expect(ended).toEqual({ out: "", err: "", status: 0 });
});
