/** Locks on a file system without hard links, such as FAT. */
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { acquireLock } from "../../hosts/lock.ts";
import { codeOf, scratchFolder } from "./scratch.ts";

vi.mock("node:fs", async (importOriginal) => {
  const linkSync = (): never => {
    throw Object.assign(new Error("EPERM: operation not permitted, link"), { code: "EPERM" });
  };
  return { ...(await importOriginal<typeof fs>()), linkSync };
});

const folder = scratchFolder();
const SHORT = { heartbeatMs: 40, staleMs: 300 };

test("are created exclusively, excluded, released and taken over all the same", async () => {
  const file = join(folder, "store");
  const lock = await acquireLock(file, SHORT);
  expect(fs.readdirSync(folder)).toEqual(["store.lock"]);
  expect(await codeOf(() => acquireLock(file, SHORT))).toBe("LOCKED");
  lock.release();
  expect(fs.readdirSync(folder)).toEqual([]);

  fs.writeFileSync(`${file}.lock`, "");
  const openings = await Promise.allSettled([1, 2, 3].map(() => acquireLock(file, SHORT)));
  const winners = openings.filter((opening) => opening.status === "fulfilled");
  expect(winners).toHaveLength(1);
  expect(fs.readdirSync(folder)).toEqual(["store.lock"]);
  winners[0]?.value.release();
  expect(fs.readdirSync(folder)).toEqual([]);
});
