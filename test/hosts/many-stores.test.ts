/** Many stores in one process. */
import { join } from "node:path";
import process from "node:process";
import { expect, test } from "vitest";
import { openOfRuntime } from "../runtime.ts";
import { scratchFolder } from "./scratch.ts";

test("share one listener for the end of the process, since a runtime warns of many", async () => {
  const open = await openOfRuntime();
  const folder = scratchFolder();
  const before = process.listenerCount("exit");
  const stores = await Promise.all(
    Array.from({ length: 12 }, (_, index) => open(join(folder, `store-${index}`), { memoryBytes: 64 * 1024 * 1024 })),
  );
  expect(process.listenerCount("exit")).toBe(before + 1);
  for (const store of stores) await store.close();
  expect(process.listenerCount("exit")).toBe(before);
});
