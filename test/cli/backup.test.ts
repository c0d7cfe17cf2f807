/** `backup` and `restore`: files, pipes, what adds to what, and what is refused. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { cairn, cairnBytes, scratchFolder } from "./tool.ts";

const scratch = scratchFolder();

async function filled(name: string, from = 0, to = 500): Promise<string> {
  const path = scratch(name);
  const store = await open(path);
  for (let i = from; i < to; i++) store.set(`key ${i}`, `${i}`.repeat(200));
  await store.close();
  return path;
}

async function countOf(path: string): Promise<number> {
  const store = await open(path, { readOnly: true });
  try {
    return store.count();
  } finally {
    await store.close();
  }
}

test("to a file and back, then what was added since", async () => {
  const path = await filled("app.cairn");
  const full = scratch("full.backup");
  const run = cairn(["backup", path, "-o", full]);
  expect(run).toMatchObject({ status: 0, err: "" });
  const { version, bytes } = JSON.parse(run.out);
  expect(bytes).toBe(readFileSync(full).length);
  await filled("app.cairn", 500, 600);
  const added = scratch("added.backup");
  const next = JSON.parse(cairn(["backup", path, "--output", added, "--since", `${version}`]).out);
  expect(next.version).toBeGreaterThan(version);

  const first = scratch("first.cairn");
  expect(JSON.parse(cairn(["restore", first, full]).out)).toMatchObject({ version });
  expect(await countOf(first)).toBe(500);
  const both = scratch("both.cairn");
  expect(cairn(["restore", both, full, added, "--json"])).toMatchObject({ status: 0, err: "" });
  expect(await countOf(both)).toBe(600);
  expect(cairn(["restore", first, added])).toMatchObject({ status: 0 });
  expect(await countOf(first)).toBe(600);
  expect(cairn(["verify", first]).status).toBe(0);
});

test("through standard output and input", async () => {
  const path = await filled("piped.cairn");
  const { status, stdout, stderr } = cairnBytes(["backup", path]);
  expect(status).toBe(0);
  expect(stderr.toString()).toContain("--since");
  const back = scratch("piped-back.cairn");
  expect(cairn(["restore", back, "-"], stdout)).toMatchObject({ status: 0, err: "" });
  expect(await countOf(back)).toBe(500);
});

test("refuses with words and a status, and leaves nothing behind", async () => {
  const path = await filled("refused.cairn");
  const out = scratch("refused.backup");
  expect(cairn(["backup", path, "-o", out, "--since", "3"])).toMatchObject({ status: 1, out: "" });
  expect(existsSync(out)).toBe(false);
  expect(cairn(["backup", path, "-o", out, "--since", "soon"]).status).toBe(2);
  expect(cairn(["backup", scratch("missing.cairn"), "-o", out])).toMatchObject({ status: 1 });
  writeFileSync(out, "mine, and no backup");
  expect(cairn(["backup", path, "-o", out]).status).toBe(1);
  expect(readFileSync(out, "utf8")).toBe("mine, and no backup");
  expect(cairn(["restore", scratch("new.cairn"), out]).err).toContain("no backup");
  expect(existsSync(scratch("new.cairn"))).toBe(false);
  expect(cairn(["restore", scratch("new.cairn"), scratch("missing.backup")]).err).toContain("does not exist");
  const whole = scratch("whole.backup");
  cairn(["backup", path, "-o", whole]);
  const again = cairn(["restore", path, whole]);
  expect(again).toMatchObject({ status: 1 });
  expect(again.err).toContain("overwrite");
  expect(cairn(["restore", path, whole, "--overwrite"]).status).toBe(0);
  expect(await countOf(path)).toBe(500);
});
