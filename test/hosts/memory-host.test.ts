/** The entry point without files, and the option `wasm`: the binary compiled by whoever embeds the store. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { connect, open } from "../../hosts/memory.ts";
import { MemoryDevice } from "../../hosts/memory-device.ts";
import { openOfRuntime, RUNTIME } from "../runtime.ts";
import { codeOf, errorOf, scratchFolder } from "./scratch.ts";

const folder = scratchFolder();
const memoryBytes = 64 * 1024 * 1024;
const binary = new Uint8Array(readFileSync(new URL("../../build/cairn.wasm", import.meta.url)));
const wasm = await WebAssembly.compile(binary);

describe("the entry point without files", () => {
  test("opens memory, and devices that a program brings, over a module passed in", async () => {
    const store = await open(":memory:", { wasm, memoryBytes });
    store.set("grüße", "€😀".repeat(100));
    store.set("plain", "x".repeat(5000));
    expect(store.get("grüße")).toBe("€😀".repeat(100));
    expect(store.get("plain")).toBe("x".repeat(5000));
    await store.close();

    const device = new MemoryDevice();
    const close = device.close.bind(device);
    device.close = () => undefined;
    const first = await open(device, { wasm, memoryBytes, valueEncoding: "json" });
    await first.put("a", { b: [1] });
    await first.close();
    const second = await open(device, { wasm, memoryBytes, valueEncoding: "json" });
    expect([...second.entries()]).toEqual([["a", { b: [1] }]]);
    await second.close();
    close();
  });

  test("loads the binary by its URL where fetch can, and is UNSUPPORTED where it cannot, saying what to pass", async () => {
    // Node's fetch takes no file: URL; those of Bun and Deno do.
    if (RUNTIME === "node") {
      const error = await errorOf(() => open(":memory:", { memoryBytes }));
      expect(error.code).toBe("UNSUPPORTED");
      expect(error.message).toContain("{ wasm }");
      expect(error.message).toContain("cairn-kv/cairn.wasm");
      expect(error.cause).toBeDefined();
    } else {
      const store = await open(":memory:", { memoryBytes });
      store.set("a", "1");
      expect(store.get("a")).toBe("1");
      await store.close();
    }
  });

  test("has no files", async () => {
    for (const target of [join(folder, "store"), new URL(`file://${folder}/store`)]) {
      const error = await errorOf(() => open(target, { wasm, memoryBytes }));
      expect(error.code).toBe("UNSUPPORTED");
      expect(error.message).toContain(":memory:");
    }
    expect(await codeOf(() => open(7 as unknown as string, { wasm, memoryBytes }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(() => open({} as unknown as string, { wasm, memoryBytes }))).toBe("INVALID_ARGUMENT");
  });

  test("imports nothing of a runtime, nor do the modules that it imports", () => {
    const seen = new Set<string>();
    const visit = (path: string): void => {
      if (seen.has(path)) return;
      seen.add(path);
      for (const [, specifier = ""] of readFileSync(path, "utf8").matchAll(/\bfrom "([^"]+)"/g)) {
        expect(specifier, path).toMatch(/^\./);
        visit(join(path, "..", specifier));
      }
    };
    visit(fileURLToPath(new URL("../../hosts/memory.ts", import.meta.url)));
    expect(seen.size).toBeGreaterThan(10);
  });
});

describe("the option wasm", () => {
  test("is taken by the entry point with files too", async () => {
    const openHere = await openOfRuntime();
    const path = join(folder, "with-module");
    const store = await openHere(path, { wasm, memoryBytes });
    store.set("a", "1");
    await store.close();
    const again = await openHere(path, { memoryBytes });
    expect(again.get("a")).toBe("1");
    await again.close();
  });

  test("is INVALID_ARGUMENT when it is no module, or another one", async () => {
    const other = await WebAssembly.compile(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    for (const wrong of [binary, "cairn.wasm", {}, null, other]) {
      const error = await errorOf(() => open(":memory:", { wasm: wrong as WebAssembly.Module, memoryBytes }));
      expect(error.code).toBe("INVALID_ARGUMENT");
      expect(error.message).toContain("wasm");
    }
  });
});

test("every entry point exports the same", async () => {
  const classes = ["CAIRN_ERROR_CODES", "CairnError", "Remote"];
  const calls = ["connect", "folderRemote", "inspect", "open", "repair", "restore", "restoreSnapshot"];
  const names = [...classes, ...calls];
  for (const entry of ["node", "bun", "memory", "browser"]) {
    const loaded: object = await import(`../../hosts/${entry}.ts`);
    expect(Object.keys(loaded).sort(), entry).toEqual(names);
  }
  expect(Object.keys(await import("../../hosts/deno.ts")).sort()).toEqual(names);
});

test("folderRemote, where there are no files, is UNSUPPORTED and says what else there is", async () => {
  for (const entry of ["memory", "browser"]) {
    const { folderRemote } = (await import(`../../hosts/${entry}.ts`)) as typeof import("../../hosts/memory.ts");
    const error = await errorOf(() => folderRemote("backups"));
    expect(error.code).toBe("UNSUPPORTED");
    expect(error.message).toContain("s3Remote");
  }
});

test("connect, where there are no pages, is UNSUPPORTED and says to use open", async () => {
  const error = await errorOf(() => connect("store"));
  expect(error.code).toBe("UNSUPPORTED");
  expect(error.message).toContain("open");
});
