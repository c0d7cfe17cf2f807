/** `verify`: what it says of sound and of damaged stores, to people and to programs, and its exit status. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { cairn, scratchFolder } from "./tool.ts";

const BLOCK = 4096;
const SEGMENTS_OFFSET = 1024 * 1024;
const scratch = scratchFolder();
const path = scratch("sound.cairn");

{
  const store = await open(path);
  for (let i = 0; i < 2000; i++) store.set(`key:${i}`, `${i} `.repeat(40));
  for (let i = 0; i < 2000; i += 4) store.delete(`key:${i}`);
  store.set("large", "l".repeat(300_000));
  await store.close();
}

/** A copy of the store with a bit flipped at each place. */
function damaged(name: string, ...places: number[]): string {
  const bytes = readFileSync(path);
  for (const at of places) bytes[at] = (bytes[at] as number) ^ 2;
  const target = scratch(name);
  writeFileSync(target, bytes);
  return target;
}

test("a sound store: status 0, counts, and not a byte of it changed", () => {
  const before = readFileSync(path);
  const { mtimeMs } = statSync(path);
  const run = cairn(["verify", path]);
  expect(run).toMatchObject({ status: 0, err: "" });
  expect(run.out).toContain(`${path} is sound.`);
  expect(run.out).toMatch(/ {2}records {3}2,501\n {2}keys {6}1,501\n {2}segments {2}1 used, \d+ free\n/);
  expect(Buffer.compare(readFileSync(path), before)).toBe(0);
  expect(statSync(path).mtimeMs).toBe(mtimeMs);
  expect(existsSync(`${path}.lock`)).toBe(false);
});

test("--json is one object", () => {
  const run = cairn(["verify", path, "--json"]);
  expect(run).toMatchObject({ status: 0, err: "" });
  expect(JSON.parse(run.out)).toMatchObject({
    store: path,
    ok: true,
    opened: true,
    recordsRead: 2501,
    keys: 1501,
    segmentsUsed: 1,
    faults: [],
    faultCount: 0,
    truncated: false,
  });
});

test("a store that another process has open", async () => {
  const busy = scratch("busy.cairn");
  const store = await open(busy);
  store.set("key", "value");
  await store.flush();
  const run = cairn(["verify", busy]);
  expect(run).toMatchObject({ status: 0, err: "" });
  await store.close();
});

test("a damaged copy of the superblock does not keep a store from being opened", () => {
  const target = damaged("copy.cairn", 512 * 1024 + 99);
  const run = cairn(["verify", target, "--json"]);
  expect(run.status).toBe(1);
  expect(JSON.parse(run.out)).toMatchObject({
    ok: false,
    opened: true,
    keys: 1501,
    faultCount: 1,
    faults: [{ kind: "superblock", place: { offset: 512 * 1024 } }],
  });
  const text = cairn(["verify", target]);
  expect(text.status).toBe(1);
  expect(text.out).toContain("has 1 fault:");
  expect(text.out).toContain("superblock  offset 524,288");
});

test("a store that cannot be opened is reported with the reason, and looked at block by block", () => {
  const offset = SEGMENTS_OFFSET + 5 * BLOCK;
  const target = damaged("corrupt.cairn", offset + 700, SEGMENTS_OFFSET + 9 * BLOCK + 20);
  const before = readFileSync(target);
  const run = cairn(["verify", target, "--json"]);
  expect(run).toMatchObject({ status: 1, err: "" });
  const report = JSON.parse(run.out);
  expect(report).toMatchObject({ ok: false, opened: false, reason: { code: "CORRUPT" }, faultCount: 2 });
  expect(report.reason.message).toContain("Device offset");
  expect(report.faults).toMatchObject([
    { kind: "block", place: { offset, segment: 0, block: 5 } },
    { kind: "block", place: { offset: SEGMENTS_OFFSET + 9 * BLOCK, segment: 0, block: 9 } },
  ]);
  const text = cairn(["verify", target]);
  expect(text.status).toBe(1);
  expect(text.out).toContain(`${target} cannot be opened (CORRUPT)`);
  expect(text.out).toContain("segment 0, block 5, offset 1,069,056");
  expect(Buffer.compare(readFileSync(target), before)).toBe(0);
});

test("a store none of whose superblocks is whole is looked at all the same", () => {
  const target = damaged("headless.cairn", 100, 262_244, 524_388, 786_532, SEGMENTS_OFFSET + 5 * BLOCK + 700);
  const report = JSON.parse(cairn(["verify", target, "--json"]).out);
  expect(report).toMatchObject({ ok: false, opened: false, reason: { code: "CORRUPT" } });
  const kinds = (report.faults as { kind: string }[]).map(({ kind }) => kind);
  expect(kinds).toEqual(["superblock", "superblock", "superblock", "superblock", "block"]);
});

test("a shrunk file, what is no store, and what is not there", () => {
  const shrunk = scratch("shrunk.cairn");
  writeFileSync(shrunk, readFileSync(path).subarray(0, SEGMENTS_OFFSET + 30 * BLOCK));
  const run = cairn(["verify", shrunk, "--json"]);
  expect(run.status).toBe(1);
  expect(JSON.parse(run.out)).toMatchObject({ ok: false, opened: false, reason: { code: "DEVICE_SHRUNK" } });
  const text = scratch("text.txt");
  writeFileSync(text, "hello");
  expect(cairn(["verify", text])).toMatchObject({ status: 1, out: "" });
  const missing = cairn(["verify", scratch("missing.cairn")]);
  expect(missing).toMatchObject({ status: 1, out: "" });
  expect(missing.err).toContain("does not exist");
  expect(existsSync(scratch("missing.cairn"))).toBe(false);
  expect(cairn(["verify"]).status).toBe(2);
});
