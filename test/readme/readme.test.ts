/**
 * The README, as a new user follows it: the package is packed, installed into an empty folder, and what the README shows
 * is run there. The two commands for a clone are what CI runs; here it is enough that they exist.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { installPacked, ROOT, temporaryFolder } from "../packaging/project.ts";

const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const folder = temporaryFolder();
const installed = join(folder, "node_modules/cairn-kv");

function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, "g"))].map(
    (match) => match[1] as string,
  );
}

function run(file: string, args: readonly string[], input = ""): string {
  return execFileSync(file, args, { cwd: folder, input, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });
}

beforeAll(() => installPacked(folder));

test("the ten lines run from the packed package and print what is stored", () => {
  const [lines] = blocks("js") as [string];
  writeFileSync(join(folder, "lines.mjs"), lines);
  expect(run(process.execPath, ["lines.mjs"])).toBe("user:2 Grace\nuser:3 Barbara\n");
});

test("the lines about more data than memory run as well", () => {
  const lines = blocks("js").find((block) => block.includes("large.cairn")) as string;
  writeFileSync(join(folder, "large.mjs"), lines);
  expect(run(process.execPath, ["large.mjs"])).toBe("a 100000\nb 2000\n");
});

test("the tool's commands run on the store that the ten lines made", () => {
  writeFileSync(join(folder, "people.ndjson"), '{"id":"p:1","name":"Ada"}\n{"id":"p:2","name":"Grace"}\n');
  const commands = (blocks("sh")[1] as string).trim().split("\n");
  const printed = commands.map((command) => {
    const [npx, cairn, ...args] = command.split(" ");
    expect([npx, cairn]).toEqual(["npx", "cairn"]);
    return run(process.execPath, [join(installed, "build/adapters/cli/main.js"), ...args], "count\nexit\n");
  });
  expect(printed[0]).toBe("");
  expect(
    printed[1]
      ?.trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toEqual([
    { key: "user:2", value: "Grace" },
    { key: "user:3", value: "Barbara" },
  ]);
  expect(printed[2]?.trim()).toBe("Grace");
  expect(printed[3]).toContain("4");
});

test("the commands for a clone exist", () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  expect(blocks("sh")[0]).toBe("npm ci && npm start\nnpm ci && npm test\n");
  expect(scripts["start"]).toBeDefined();
  expect(scripts["test"]).toBeDefined();
  expect(scripts["bench"]).toBeDefined();
});
