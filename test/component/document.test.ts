/** The example of docs/component.md, as a reader follows it: transpiled by the command there, run as it stands. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { scratchFolder } from "../hosts/scratch.ts";
import { bench, missing } from "./component.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PEERS = join(ROOT, "test/peers/node_modules");
const { binary } = bench();
const folder = scratchFolder();

test.skipIf(missing)("the example of the document", async () => {
  const text = readFileSync(join(ROOT, "docs/component.md"), "utf8");
  const block = (language: string): string =>
    (new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``).exec(text) as RegExpExecArray)[1] as string;
  mkdirSync(join(folder, "node_modules/cairn-kv/build"), { recursive: true });
  writeFileSync(join(folder, "node_modules/cairn-kv/build/cairn.component.wasm"), binary());
  symlinkSync(join(PEERS, "@bytecodealliance"), join(folder, "node_modules/@bytecodealliance"));
  writeFileSync(join(folder, "example.mjs"), block("js"));

  const command = block("sh").trim().split("\n").at(-1) as string;
  const [npx, tool = "", ...args] = command.split(" ");
  expect(npx).toBe("npx");
  execFileSync(join(PEERS, ".bin", tool), args, { cwd: folder, stdio: "pipe" });
  const printed = execFileSync(process.execPath, ["example.mjs"], { cwd: folder, encoding: "utf8", timeout: 30_000 });
  expect(printed.split("\n")).toEqual([
    "user:1 Ada",
    "user:2 Grace",
    "key-size a key has 1 to 2,048 bytes.",
    "1n 42n",
    "0",
    "",
  ]);
  const store = await open(join(folder, "data/app.cairn"), { create: false });
  expect([...store.entries()]).toEqual([
    ["user:1", "Ada"],
    ["user:2", "Grace"],
    ["visits\0page", "0"],
  ]);
  await store.close();
});
