/** `get`, `set`, `delete`, `stats`, and what all commands have in common: help, exit statuses, messages. */
import { existsSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { cairn, cairnBytes, scratchFolder } from "./tool.ts";

const scratch = scratchFolder();
const manifest = await import("../../package.json", { with: { type: "json" } });

describe("one record", () => {
  const store = scratch("record.cairn");

  test("is set, got and deleted", () => {
    expect(cairn(["set", store, "user:1", "Ada"])).toEqual({ status: 0, out: "", err: "" });
    expect(cairn(["get", store, "user:1"])).toEqual({ status: 0, out: "Ada\n", err: "" });
    expect(cairn(["get", store, "user:1", "--raw"]).out).toBe("Ada");
    expect(cairn(["delete", store, "user:1"])).toEqual({ status: 0, out: "", err: "" });
    expect(cairn(["get", store, "user:1"])).toEqual({ status: 3, out: "", err: 'not found: "user:1"\n' });
    expect(cairn(["delete", store, "user:1"])).toEqual({ status: 3, out: "", err: 'not found: "user:1"\n' });
  });

  test("may have any bytes as value, and as key", () => {
    const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => index % 256);
    expect(cairn(["set", store, "--hex", "00ff", "-"], bytes).status).toBe(0);
    expect(new Uint8Array(cairnBytes(["get", store, "--base64", "AP8=", "--raw"]).stdout)).toEqual(bytes);
    expect(cairn(["delete", store, "--hex", "00FF"]).status).toBe(0);
  });

  test("may have a value that is empty or looks like an option", () => {
    expect(cairn(["set", store, "empty", ""]).status).toBe(0);
    expect(cairn(["get", store, "empty"])).toEqual({ status: 0, out: "\n", err: "" });
    expect(cairn(["set", store, "flag", "--", "--raw"]).status).toBe(0);
    expect(cairn(["get", store, "flag"]).out).toBe("--raw\n");
  });

  test("may expire, and has a version that a write can ask for", () => {
    expect(cairn(["set", store, "s", "v", "--expires-in", "3600"]).status).toBe(0);
    const before = Date.now();
    const entry = JSON.parse(cairn(["get", store, "s", "--entry"]).out) as { version: number; expiresAt: number };
    expect(entry).toEqual({ value: "v", version: expect.any(Number), expiresAt: expect.any(Number) });
    expect(Math.abs(entry.expiresAt - before - 3_600_000)).toBeLessThan(60_000);
    expect(cairn(["set", store, "s", "w", "--if-version", "0"])).toMatchObject({ status: 1, err: /another version/ });
    expect(cairn(["set", store, "s", "w", "--if-version", `${entry.version}`]).status).toBe(0);
    expect(JSON.parse(cairn(["get", store, "s", "--entry"]).out)).toEqual({ value: "w", version: expect.any(Number) });
    expect(cairn(["set", store, "new", "w", "--if-version", "0"]).status).toBe(0);
    expect(cairn(["set", store, "short", "v", "--expires-in", "0.001"]).status).toBe(0);
    expect(cairn(["get", store, "short", "--entry"]).status).toBe(3);
    for (const wrong of ["0", "-1", "soon", ""]) {
      expect(cairn(["set", store, "s", "x", `--expires-in=${wrong}`]).status).toBe(2);
    }
    expect(cairn(["set", store, "s", "x", "--if-version=one"]).status).toBe(2);
    expect(cairn(["get", store, "s"]).out).toBe("w\n");
  });

  test("with a key that is too long or empty is refused", () => {
    expect(cairn(["set", store, "k".repeat(2049), "v"])).toMatchObject({ status: 1, err: /KEY_SIZE/ });
    expect(cairn(["set", store, "", "v"])).toMatchObject({ status: 1, out: "" });
  });
});

describe("the store", () => {
  test("is not created by what only reads", () => {
    const missing = scratch("missing.cairn");
    for (const words of [
      ["get", missing, "a"],
      ["delete", missing, "a"],
      ["scan", missing],
      ["stats", missing],
    ]) {
      const run = cairn(words);
      expect(run).toMatchObject({ status: 1, out: "" });
      expect(run.err).toContain(`${missing} does not exist`);
    }
    expect(existsSync(missing)).toBe(false);
  });

  test("may be none at all", () => {
    const text = scratch("notes.txt");
    writeFileSync(text, "not a store\n".repeat(1000));
    const run = cairn(["set", text, "a", "b"]);
    expect(run).toMatchObject({ status: 1, out: "" });
    expect(run.err).toMatch(/^cairn: .*\(NOT_A_STORE\)\n$/);
    expect(cairn(["get", scratch("."), "a"])).toMatchObject({ status: 1, out: "" });
  });

  test("that another process has open is reported as locked, and read without its lock when told to", async () => {
    const path = scratch("locked.cairn");
    cairn(["set", path, "a", "b"]);
    const store = await open(path);
    const locked = cairn(["get", path, "a"]);
    const readOnly = cairn(["get", path, "a", "--read-only"]);
    await store.close();
    expect(locked).toMatchObject({ status: 1, out: "" });
    expect(locked.err).toMatch(/\(LOCKED\)\n$/);
    expect(readOnly).toEqual({ status: 0, out: "b\n", err: "" });
  });

  test("has its counters shown as JSON where no person reads", () => {
    const path = scratch("stats.cairn");
    cairn(["set", path, "a", "b"]);
    const run = cairn(["stats", path]);
    expect(run).toMatchObject({ status: 0, err: "" });
    expect(JSON.parse(run.out)).toMatchObject({ keyCount: 1 });
  });
});

describe("help and bad use", () => {
  test("help goes to standard output", () => {
    const run = cairn(["--help"]);
    expect(run).toMatchObject({ status: 0, err: "" });
    for (const name of ["load", "get", "set", "delete", "scan", "stats", "shell"]) expect(run.out).toContain(name);
    expect(cairn(["help", "scan"]).out).toContain("--prefix");
    expect(cairn(["load", "--help"]).out).toContain("--skip-bad");
  });

  test("the version is the package's", () => {
    expect(cairn(["--version"]).out).toBe(`${manifest.default.version}\n`);
  });

  test.each([
    [[], "Usage"],
    [["lod"], "Did you mean load?"],
    [["get"], "missing required argument 'store'"],
    [["get", "a.cairn"], "missing required argument 'key'"],
    [["get", "a.cairn", "k", "more"], "too many arguments"],
    [["get", "a.cairn", "k", "--nope"], "unknown option '--nope'"],
    [["scan", "a.cairn", "--limit", "-1"], "whole number"],
    [["scan", "a.cairn", "--keys", "--values"], "cannot be used with"],
    [["load", "a.cairn", "b.csv"], "--key"],
  ])("%j is bad use", (words, message) => {
    const run = cairn(words);
    expect(run).toMatchObject({ status: 2, out: "" });
    expect(run.err).toContain(message);
  });

  test("a key that is not hexadecimal is bad use", () => {
    const path = scratch("form.cairn");
    cairn(["set", path, "a", "b"]);
    expect(cairn(["get", path, "--hex", "abc"])).toMatchObject({ status: 2, out: "" });
    expect(cairn(["get", path, "--base64", "a"])).toMatchObject({ status: 2, out: "" });
  });
});
