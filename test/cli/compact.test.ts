/** `compact`: what it frees, what it says, and its exit status. */
import { expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { cairn, scratchFolder } from "./tool.ts";

const scratch = scratchFolder();

/** A store of which most is garbage, that has not compacted itself. */
async function wasteful(name: string): Promise<string> {
  const path = scratch(name);
  const store = await open(path, { compaction: { auto: false } });
  for (let round = 0; round < 8; round++) {
    for (let i = 0; i < 6000; i++) store.set(`key:${i}`, `${round} ${i} `.repeat(60));
    await store.flush();
  }
  await store.close();
  return path;
}

test("gives the space of garbage back, and every record is what it was", async () => {
  const path = await wasteful("wasteful.cairn");
  const run = cairn(["compact", path]);
  expect(run).toMatchObject({ status: 0, err: "" });
  const report = JSON.parse(run.out);
  expect(report).toMatchObject({ done: true });
  expect(report.segmentsFreed).toBeGreaterThan(1);
  expect(report.bytesFreed).toBe(report.segmentsFreed * 1024 * 1024);
  expect(report.garbageRatio).toBeLessThan(0.6);
  expect(cairn(["verify", path]).status).toBe(0);
  const store = await open(path, { readOnly: true });
  expect(store.count()).toBe(6000);
  for (let i = 0; i < 6000; i++) expect(store.get(`key:${i}`)).toBe(`7 ${i} `.repeat(60));
  await store.close();
  // Next to nothing is left to do.
  const again = JSON.parse(cairn(["compact", path, "--json"]).out);
  expect(again.done).toBe(true);
  expect(again.bytesWritten).toBeLessThan(report.bytesWritten + 1024 * 1024);
  expect(again.segmentsFreed).toBeLessThan(report.segmentsFreed);
});

test("stops when its time is over, with status 1, and goes on the next time", async () => {
  const path = await wasteful("slow.cairn");
  const first = cairn(["compact", path, "--max-ms", "0.001"]);
  expect(first.status).toBe(1);
  expect(JSON.parse(first.out)).toMatchObject({ done: false });
  expect(cairn(["compact", path]).status).toBe(0);
});

test("refuses what is no time, and a store that is not there", () => {
  expect(cairn(["compact", scratch("slow.cairn"), "--max-ms", "soon"])).toMatchObject({ status: 2, out: "" });
  expect(cairn(["compact", scratch("missing.cairn")])).toMatchObject({ status: 1, out: "" });
});
