/** `load`: NDJSON and CSV, from files and standard input, good and bad. */
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { cairn, endOf, linesOf, scratchFolder, startCairn } from "./tool.ts";

const scratch = scratchFolder();
let storeCount = 0;

function newStore(): string {
  storeCount += 1;
  return scratch(`load-${storeCount}.cairn`);
}

function newFile(name: string, content: string | Uint8Array): string {
  const path = scratch(name);
  writeFileSync(path, content);
  return path;
}

function entriesOf(store: string): unknown {
  const lines = linesOf(cairn(["scan", store]).out) as { key: string; value: string }[];
  return Object.fromEntries(lines.map(({ key, value }) => [key, value]));
}

describe("NDJSON", () => {
  test("from a file stores each line as it is", () => {
    const store = newStore();
    const lines = ['{"id":"b", "n": 1.0}', '{"id":"a","text":"ü"}', '  {"id":"c"}'];
    const file = newFile("plain.ndjson", `\ufeff${lines[0]}\r\n\n${lines[1]}\n${lines[2]}`);
    const run = cairn(["load", store, file, "--key", "id"]);
    expect(run).toMatchObject({ status: 0, out: "" });
    expect(run.err).toMatch(/^loaded 3 lines in [\d.]+ s \([\d,]+ lines\/s, [\d.]+ .?i?B\/s\)\n$/);
    expect(entriesOf(store)).toEqual({ b: lines[0], a: lines[1], c: lines[2] });
  });

  test("with --compression lz4 stores values compressed, and as they are without", () => {
    const line = (id: string): string => JSON.stringify({ id, text: "again and again ".repeat(60) });
    const store = newStore();
    const file = newFile("long.ndjson", [line("a"), line("b")].join("\n"));
    expect(cairn(["load", store, file, "--key", "id", "--compression", "lz4"])).toMatchObject({ status: 0 });
    const second = newFile("longer.ndjson", line("c"));
    expect(cairn(["load", store, second, "--key", "id"])).toMatchObject({ status: 0 });
    expect(entriesOf(store)).toEqual({ a: line("a"), b: line("b"), c: line("c") });
    const stats = JSON.parse(cairn(["stats", store, "--json"]).out);
    expect(stats).toMatchObject({ keyCount: 3, compressedValueCount: 2 });
    const listed = cairn(["load", store, file, "--key", "id", "--compression", "zip"]);
    expect(listed).toMatchObject({ status: 2 });
  });

  test("from standard input stores chosen fields", () => {
    const store = newStore();
    const input = [
      { user: { id: 7 }, v: "text" },
      { user: { id: "x.y" }, v: { a: [1] } },
      { "user.id": "literal", user: { id: "inner" }, v: 1.5 },
    ];
    const words = ["load", store, "--key", "user.id", "--value", "v"];
    expect(cairn(words, input.map((line) => JSON.stringify(line)).join("\n")).status).toBe(0);
    expect(entriesOf(store)).toEqual({ 7: "text", "x.y": '{"a":[1]}', literal: "1.5" });
    expect(cairn(["load", store, "-", "--key", "k"], '{"k":"dash"}\n').status).toBe(0);
    expect(cairn(["get", store, "dash"]).out).toBe('{"k":"dash"}\n');
  });

  test("of many lines, some longer than a chunk, is complete", () => {
    const store = newStore();
    const count = 12_345;
    const lines = Array.from({ length: count }, (_, n) =>
      JSON.stringify({ n, text: "é".repeat(n % 1000 ? 5 : 300_000) }),
    );
    const run = cairn(["load", store, newFile("many.jsonl", lines.join("\n")), "--key", "n"]);
    expect(run.err).toMatch(/^loaded 12,345 lines/);
    expect(cairn(["scan", store, "--count"]).out).toBe(`${count}\n`);
    expect(cairn(["get", store, "12000"]).out).toBe(`${lines[12_000]}\n`);
  });

  test.each([
    ["it is not JSON", "{broken"],
    ["it is an array, not an object", "[1]"],
    ['the key field "id" is missing', '{"key":1}'],
    ['the key field "id" is null, not a string or a number', '{"id":null}'],
    ['the key field "id" is an object', '{"id":{}}'],
    ['the key field "id" is empty', '{"id":""}'],
    ["too large to be exact", '{"id":12345678901234567890}'],
    ["the key is not well-formed Unicode", '{"id":"\\ud800"}'],
    ["the key is 2,049 bytes long; at most 2,048", JSON.stringify({ id: "k".repeat(2049) })],
  ])("ends at a bad line: %s", (message, bad) => {
    const store = newStore();
    const run = cairn(["load", store, "--key", "id"], `{"id":"a"}\n{"id":"b"}\n${bad}\n{"id":"c"}\n`);
    expect(run).toMatchObject({ status: 1, out: "" });
    expect(run.err).toContain("cairn: standard input: line 3: ");
    expect(run.err).toContain(message);
    expect(run.err).toContain("the 2 lines loaded before stay");
    expect(entriesOf(store)).toEqual({ a: '{"id":"a"}', b: '{"id":"b"}' });
  });

  test("that is not UTF-8 is not stored", () => {
    const run = cairn(["load", newStore(), "--key", "id"], Buffer.from('{"id":"\xff"}\n', "latin1"));
    expect(run.err).toContain("line 1: it is not UTF-8");
    expect(run.err).toContain("nothing was loaded");
  });

  test("skips and counts bad lines when told to", () => {
    const store = newStore();
    const bad = Array.from({ length: 8 }, () => "bad").join("\n");
    const run = cairn(["load", store, "--key", "id", "--skip-bad"], `{"id":"a"}\n${bad}\n{"id":"z"}\n`);
    expect(run.status).toBe(0);
    expect(run.err).toContain("skipped line 2: it is not JSON");
    expect(run.err).toContain("skipped 3 more");
    expect(run.err).toMatch(/loaded 2 lines .*; skipped 8\n$/);
    expect(Object.keys(entriesOf(store) as object)).toEqual(["a", "z"]);
  });
});

describe("CSV", () => {
  const text = 'id,name,city\r\n1,"Ada ""the first""",London\r\n\r\n2,"two\r\nlines",Zürich\r\n';

  test("from a file stores rows as JSON objects", () => {
    const store = newStore();
    const run = cairn(["load", store, newFile("people.csv", `\ufeff${text}`), "--key", "id"]);
    expect(run).toMatchObject({ status: 0, out: "" });
    expect(entriesOf(store)).toEqual({
      1: JSON.stringify({ id: "1", name: 'Ada "the first"', city: "London" }),
      2: JSON.stringify({ id: "2", name: "two\r\nlines", city: "Zürich" }),
    });
  });

  test("from standard input stores one column, with another separator too", () => {
    const store = newStore();
    expect(cairn(["load", store, "--csv", "--key", "name", "--value", "city"], text).status).toBe(0);
    expect(entriesOf(store)).toEqual({ 'Ada "the first"': "London", "two\r\nlines": "Zürich" });
    expect(cairn(["load", store, newFile("t.tsv", "k\tv\nx\t1,2\n"), "--key", "k", "--value", "v"]).status).toBe(0);
    expect(cairn(["get", store, "x"]).out).toBe("1,2\n");
    const words = ["load", store, "--csv", "--delimiter", ";", "--key", "k", "--value", "v"];
    expect(cairn(words, "k;v\ny;2,3\n").status).toBe(0);
    expect(cairn(["get", store, "y"]).out).toBe("2,3\n");
  });

  test("with a row of another length ends there, or skips it", () => {
    const input = 'id,name\n1,"a\nb"\n2\n3,c\n';
    const store = newStore();
    const run = cairn(["load", store, "--csv", "--key", "id"], input);
    expect(run.status).toBe(1);
    expect(run.err).toContain("line 4: it has 1 cells where the header has 2");
    expect(run.err).toContain("the one line loaded before stays");
    expect(cairn(["load", store, "--csv", "--key", "id", "--skip-bad"], input).err).toMatch(/loaded 2 .*skipped 1\n$/);
  });

  test("with broken quoting ends there, with all rows before it stored", () => {
    const store = newStore();
    const run = cairn(["load", store, "--csv", "--key", "id", "--skip-bad"], 'id,name\n1,a\n2,b\n3,"c"x\n4,d\n');
    expect(run.status).toBe(1);
    expect(run.err).toContain("line 4");
    expect(run.err).toContain("the 2 lines loaded before stay");
    expect(Object.keys(entriesOf(store) as object)).toEqual(["1", "2"]);
  });

  test.each([
    ["a,b\n1,2\n", 'no column "id"; its columns are "a", "b"'],
    ["id,id\n1,2\n", 'the column "id" twice'],
    ["", "no header row"],
  ])("with the header of %j is refused", (input, message) => {
    const run = cairn(["load", newStore(), "--csv", "--key", "id"], input);
    expect(run.status).toBe(1);
    expect(run.err).toContain(message);
  });

  test("that is not UTF-8 is not stored", () => {
    const run = cairn(["load", newStore(), "--csv", "--key", "id"], Buffer.from("id,n\n1,\xfc\n", "latin1"));
    expect(run.err).toContain("line 2: it is not UTF-8");
  });
});

describe("the input", () => {
  test("that is missing or a directory leaves no new store", () => {
    const store = newStore();
    expect(cairn(["load", store, scratch("none.csv"), "--key", "id"])).toMatchObject({ status: 1, out: "" });
    const run = cairn(["load", store, scratch("."), "--key", "id"]);
    expect(run.err).toContain("is a directory");
    expect(existsSync(store)).toBe(false);
  });

  test("may be empty", () => {
    expect(cairn(["load", newStore(), "--key", "id"]).err).toMatch(/^loaded 0 lines/);
  });

  test("that stays open does not hold a load that failed", async () => {
    const child = startCairn(["load", newStore(), "--key", "id"]);
    const ended = endOf(child);
    child.stdin.write("bad\n");
    expect(await ended).toMatchObject({ status: 1 });
  });

  test("may be broken off; what was read stays", async () => {
    const store = newStore();
    const child = startCairn(["load", store, "--key", "id"]);
    const ended = endOf(child);
    // What a pipe does not hold must have been read once it drains.
    for (let id = 0; id < 20_000; id += 1) child.stdin.write(`{"id":${id},"text":"${"x".repeat(40)}"}\n`);
    await once(child.stdin, "drain");
    child.kill("SIGINT");
    const { status, err } = await ended;
    expect(status).toBe(1);
    const count = Number(/interrupted; the ([\d,]+) lines loaded before stay\n$/.exec(err)?.[1]?.replaceAll(",", ""));
    expect(count).toBeGreaterThan(10_000);
    expect(cairn(["scan", store, "--count"]).out).toBe(`${count}\n`);
  });
});
