/** `scan`: ranges, forms of output, and readers that go away. */
import { once } from "node:events";
import { expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { cairn, endOf, linesOf, scratchFolder, startCairn } from "./tool.ts";

const scratch = scratchFolder();
const path = scratch("scan.cairn");
const manyPath = scratch("many.cairn");

{
  const store = await open(path, { keyEncoding: "binary", valueEncoding: "binary" });
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  for (const name of ["a:1", "a:2", "a:3", "b:1", "ü"]) store.set(bytes(name), bytes(`value of ${name}`));
  store.set(bytes("json"), bytes('{\r\n  "id": 12345678901234567890,\n  "text": "x\\ny"\n}\n'));
  store.set(new Uint8Array([0xff, 0x00]), new Uint8Array([0x80]));
  await store.close();

  const many = await open(manyPath);
  for (let number = 0; number < 50_000; number += 1) many.set(`key:${String(number).padStart(6, "0")}`, "x".repeat(50));
  await many.close();
}

function keysOf(...options: string[]): unknown[] {
  const run = cairn(["scan", path, "--keys", ...options]);
  expect(run).toMatchObject({ status: 0, err: "" });
  return linesOf(run.out).map((line) => (line as { key: unknown }).key);
}

test("prints all, in the order of bytes", () => {
  const run = cairn(["scan", path]);
  expect(run).toMatchObject({ status: 0, err: "" });
  expect(linesOf(run.out)).toEqual([
    { key: "a:1", value: "value of a:1" },
    { key: "a:2", value: "value of a:2" },
    { key: "a:3", value: "value of a:3" },
    { key: "b:1", value: "value of b:1" },
    { key: "json", value: '{\r\n  "id": 12345678901234567890,\n  "text": "x\\ny"\n}\n' },
    { key: "ü", value: "value of ü" },
    { keyBase64: "/wA=", valueBase64: "gA==" },
  ]);
});

test("takes ranges", () => {
  expect(keysOf("--prefix", "a:")).toEqual(["a:1", "a:2", "a:3"]);
  expect(keysOf("--prefix", "a:", "--reverse", "--limit", "2")).toEqual(["a:3", "a:2"]);
  expect(keysOf("--gt", "a:1", "--lte", "b:1")).toEqual(["a:2", "a:3", "b:1"]);
  expect(keysOf("--gte", "a:2", "--lt", "b:1")).toEqual(["a:2", "a:3"]);
  expect(keysOf("--hex", "--prefix", "613a", "--limit", "1")).toEqual(["a:1"]);
  expect(keysOf("--limit", "0")).toEqual([]);
});

test("prints values only, JSON as JSON without a digit lost, and counts", () => {
  expect(cairn(["scan", path, "--values", "--limit", "1"]).out).toBe('{"value":"value of a:1"}\n');
  expect(cairn(["scan", path, "--json", "--prefix", "json"]).out).toBe(
    '{"key":"json","value":{"id": 12345678901234567890,"text": "x\\ny"}}\n',
  );
  expect(cairn(["scan", path, "--json", "--prefix", "b"]).out).toBe('{"key":"b:1","value":"value of b:1"}\n');
  expect(cairn(["scan", path, "--count", "--prefix", "a:"]).out).toBe("3\n");
});

test("loads again what it printed", () => {
  const copy = scratch("copy.cairn");
  const printed = cairn(["scan", path, "--lt", "z"]).out;
  expect(cairn(["load", copy, "--key", "key", "--value", "value"], printed).status).toBe(0);
  expect(cairn(["scan", copy]).out).toBe(printed);
});

test("ends well when its reader goes away", async () => {
  const child = startCairn(["scan", manyPath]);
  const ended = endOf(child);
  await once(child.stdout, "data");
  child.stdout.destroy();
  expect(await ended).toMatchObject({ status: 0, err: "" });
});

test("waits for a slow reader, and gives it all", async () => {
  const child = startCairn(["scan", manyPath, "--keys"]);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const { status, out } = await endOf(child);
  expect(status).toBe(0);
  expect(linesOf(out)).toHaveLength(50_000);
});

test("prints a namespace, and one within it", async () => {
  const place = scratch("subs.cairn");
  const store = await open(place);
  store.set("own", "1");
  store.sub("users").set("ada", "2");
  store.sub("users").sub("old").set("bob", "3");
  await store.close();
  const run = (...names: string[]): unknown[] => linesOf(cairn(["scan", place, "--sub", ...names]).out);
  expect(run("users", "--prefix", "a")).toEqual([{ key: "ada", value: "2" }]);
  expect(run("users", "old")).toEqual([{ key: "bob", value: "3" }]);
  expect(run("none")).toEqual([]);
});
