/** A backup that one runtime makes, each other one restores. The programs use the built package. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { builtEntry, commandOf, type RuntimeName, runProgram } from "../runtime.ts";

const folder = mkdtempSync(join(tmpdir(), "cairn-backups-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const installed = (["node", "bun", "deno"] as RuntimeName[]).filter((name) => commandOf(name) !== undefined);

const BACKUP = `
  import { writeFileSync } from "node:fs";
  const store = await open(target, { memoryBytes });
  for (let i = 0; i < 3000; i++) store.set("key " + i, String(i).repeat(100));
  const chunks = [];
  const stream = store.backup();
  for await (const chunk of stream) chunks.push(chunk);
  writeFileSync(target + ".backup", Buffer.concat(chunks));
  say(await stream.version);
  await store.close();
`;

function restoring(runtime: RuntimeName): string {
  return `
    import { createReadStream } from "node:fs";
    import { restore } from ${JSON.stringify(builtEntry(runtime))};
    const path = target + ".${runtime}";
    const { version } = await restore(path, createReadStream(target + ".backup"));
    const store = await open(path, { memoryBytes });
    say([version, store.count(), store.get("key 2999").length, (await store.verify()).faults.length]);
    await store.close();
  `;
}

test.each(installed)("what %s backs up, every runtime restores", (maker) => {
  const target = join(folder, `${maker}.cairn`);
  const made = runProgram(`import { Buffer } from "node:buffer";${BACKUP}`, target, maker);
  expect(made).toMatchObject({ status: 0 });
  for (const runtime of installed) {
    const { status, said, failed } = runProgram(restoring(runtime), target, runtime);
    expect([runtime, status, failed]).toEqual([runtime, 0, ""]);
    expect(said).toEqual([[made.said[0], 3000, 400, 0]]);
  }
});
