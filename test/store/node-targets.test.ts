/** Real targets: what is no store is refused and keeps every byte, and what a program leaves behind is there. */
import * as fs from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { RUNTIME, runProgram } from "../runtime.ts";
import { codeOf, errorOf, open, scratchFolder } from "./harness.ts";
import { hashOf, privilegeMissing, run } from "./node-machine.ts";

const folder = scratchFolder();
let count = 0;
const newPath = (): string => join(folder, `target-${count++}`);

describe("a file that is no store", () => {
  const contents: [string, Uint8Array | string][] = [
    ["a line of text", "precious\n"],
    ["a single byte", "x"],
    ["text of a block less one", "p".repeat(4095)],
    ["text of a block", "p".repeat(4096)],
    ["text of some blocks and more", "p".repeat(50_001)],
    ["zeros, then text", Buffer.concat([new Uint8Array(70_000), Buffer.from("precious")])],
    ["a block of zeros, then less than a block of text", Buffer.concat([new Uint8Array(4096), Buffer.from("tail")])],
    ["a SQLite file", Buffer.concat([Buffer.from("SQLite format 3\0"), new Uint8Array(8176)])],
    ["two megabytes of something", Buffer.alloc(2_097_152, "something")],
  ];

  for (const [name, content] of contents) {
    test(`is refused: ${name}`, async () => {
      const path = newPath();
      fs.writeFileSync(path, content);
      const hash = hashOf(path);
      for (const options of [{}, { readOnly: true }, { create: false }]) {
        const error = await errorOf(() => open(path, options));
        expect(error.code).toBe("NOT_A_STORE");
      }
      expect(hashOf(path)).toBe(hash);
      expect(fs.readdirSync(folder)).not.toContain(`${path}.lock`);
      const store = await open(path, { format: true });
      store.set("a", "1");
      await store.close();
      const again = await open(path);
      expect(again.get("a")).toBe("1");
      await again.close();
    });
  }

  test("but empty, or all zeros, is blank", async () => {
    for (const size of [0, 1, 4095, 4096, 1_048_576, 3_000_000]) {
      const path = newPath();
      fs.writeFileSync(path, new Uint8Array(size));
      const store = await open(path);
      store.set("a", "1");
      await store.close();
      const again = await open(path);
      expect(again.get("a")).toBe("1");
      await again.close();
    }
  });
});

describe("a target that cannot be opened", () => {
  test("is named: a directory, a missing folder, a file as a folder, a device that is none", async () => {
    const file = newPath();
    fs.writeFileSync(file, "x");
    for (const target of [folder, join(folder, "missing", "store"), join(file, "store"), "/dev/null"]) {
      const error = await errorOf(() => open(target));
      expect(error.code).toBe("INVALID_ARGUMENT");
      expect(error.operation).toBe("open");
      expect(error.message).toContain(target);
    }
    expect(fs.existsSync(join(folder, "missing"))).toBe(false);
    expect(fs.readFileSync(file, "utf8")).toBe("x");
  });

  test("is not created with create: false or readOnly", async () => {
    const path = newPath();
    for (const options of [{ create: false }, { readOnly: true }]) {
      const error = await errorOf(() => open(path, options));
      expect(error.code).toBe("NOT_A_STORE");
      expect(error.message).toContain(path);
      expect(fs.existsSync(path)).toBe(false);
      expect(fs.existsSync(`${path}.lock`)).toBe(false);
    }
  });

  test("is refused for want of permission, and says so", ({ skip }) => {
    const missing = privilegeMissing();
    if (missing !== undefined) skip(missing);
    fs.chmodSync(folder, 0o755);
    const secret = newPath();
    fs.writeFileSync(secret, "", { mode: 0o600 });
    const readable = newPath();
    const body = `
      await (await open(":memory:", { memoryBytes })).close();
      process.setgid(65534);
      process.setuid(65534);
      for (const path of [target, ${JSON.stringify(readable)}, ${JSON.stringify(newPath())}]) {
        try {
          await open(path, { memoryBytes });
          say("opened");
        } catch ({ code, operation, message }) {
          say({ code, operation, message });
        }
      }
      const store = await open(${JSON.stringify(readable)}, { memoryBytes, readOnly: true });
      say(store.get("a"));
      try {
        store.set("a", "2");
      } catch ({ code }) {
        say(code);
      }
      await store.close();
    `;
    const prepared = runProgram(
      `const s = await open(target, { memoryBytes }); s.set("a", "1"); await s.close();`,
      readable,
    );
    expect(prepared.failed).toBe("");
    const { status, said, failed } = runProgram(body, secret);
    expect(failed).toBe("");
    expect(status).toBe(0);
    for (const error of said.slice(0, 3)) {
      expect(error).toMatchObject({ code: "DEVICE_WRITE", operation: "open" });
      expect((error as { message: string }).message).toContain("permission");
    }
    expect(said.slice(3)).toEqual(["1", "READ_ONLY"]);
  });
});

describe("a store's file", () => {
  test("is DEVICE_SHRUNK when it was truncated, and stays as it is", async () => {
    const path = newPath();
    const store = await open(path);
    for (let i = 0; i < 100; i++) store.set(`key ${i}`, "v".repeat(10_000));
    await store.close();
    const { size } = fs.statSync(path);
    for (const truncated of [size - 1, size - 4096, 1_048_576 + 4096, 1_048_576, 8192, 4096]) {
      fs.truncateSync(path, truncated);
      const hash = hashOf(path);
      for (const options of [{}, { readOnly: true }])
        expect(await codeOf(() => open(path, options))).toBe("DEVICE_SHRUNK");
      expect(hashOf(path)).toBe(hash);
      expect(fs.existsSync(`${path}.lock`)).toBe(false);
    }
    // Not even a superblock is left: it is no store any more, but it is not blank either.
    fs.truncateSync(path, 4095);
    expect(await codeOf(() => open(path))).toBe("NOT_A_STORE");
  });

  test("is LOCKED for a second opener, here and in another process, until it is closed", async () => {
    const path = newPath();
    const store = await open(path);
    store.set("a", "1");
    await store.flush();
    const error = await errorOf(() => open(path));
    expect(error.code).toBe("LOCKED");
    expect(error.message).toContain(path);
    expect(await codeOf(() => open(pathToFileURL(path)))).toBe("LOCKED");
    expect(await codeOf(() => open(path, { format: true }))).toBe("LOCKED");
    const body = `try { await open(target, { memoryBytes }); } catch ({ code }) { say(code); }`;
    expect(runProgram(body, path).said).toEqual(["LOCKED"]);
    // Whoever only reads takes no lock.
    await (await open(path, { readOnly: true })).close();
    store.set("b", "2");
    await store.close();
    const next = runProgram(
      `const s = await open(target, { memoryBytes }); say([...s.keys()]); await s.close();`,
      path,
    );
    expect(next.said).toEqual([["a", "b"]]);
    const again = await open(pathToFileURL(path));
    expect(again.count()).toBe(2);
    await again.close();
    expect(fs.existsSync(`${path}.lock`)).toBe(false);
  });

  test("holds what a program set that ended without closing", () => {
    for (const durability of ["interval", "manual"]) {
      for (const ending of ["", "process.exit(7);", "throw new Error('over');", "process.exitCode = 7;"]) {
        const path = newPath();
        const first = `
          const store = await open(target, { memoryBytes, durability: "${durability}", flushIntervalMs: 3_600_000 });
          store.set("a", "1");
          store.batch().set("b", "2").delete("c").commit();
          for (const _ of store.keys()) break;
          ${ending}
        `;
        const { status } = runProgram(first, path);
        expect(status).toBe(ending === "" ? 0 : ending.startsWith("throw") ? 1 : 7);
        // Deno calls no exit hook then: what was set is flushed, the lock stays, and is taken over at once.
        const staysLocked = RUNTIME === "deno" && ending.startsWith("throw");
        expect(fs.existsSync(`${path}.lock`)).toBe(staysLocked);
        const { said } = runProgram(
          `const s = await open(target, { memoryBytes }); say([...s.entries()]); await s.close();`,
          path,
        );
        expect(said).toEqual([
          [
            ["a", "1"],
            ["b", "2"],
          ],
        ]);
      }
    }
  });

  test("keeps no process alive, and lets no failure at the end show", () => {
    const path = newPath();
    const body = `
      const store = await open(target, { memoryBytes });
      store.set("a", "1");
      await store.put("b", "2");
      store.set("c", "3");
      const started = performance.now();
      process.on("exit", () => say(performance.now() - started < 5000));
    `;
    const { status, said, failed } = runProgram(body, path);
    expect({ status, said, failed }).toEqual({ status: 0, said: [true], failed: "" });
    // What is gone by then cannot be flushed.
    const failing = `
      const device = { size: () => size, read: () => { throw new Error("gone"); }, write: () => { throw new Error("gone"); },
        writeAsync: async () => {}, sync: () => { throw new Error("gone"); }, syncAsync: async () => {}, close() {}, growable: true,
        resize(to) { size = to; } };
      let size = 0;
      let bytes = new Uint8Array(8_388_608);
      const failingWrite = device.write, failingRead = device.read, failingSync = device.sync;
      device.read = (at, into) => { into.set(bytes.subarray(at, at + into.length)); return into.length; };
      device.write = (at, from) => { bytes.set(from, at); return from.length; };
      device.sync = () => {};
      const store = await open(device, { memoryBytes });
      store.set("a", "1");
      device.read = failingRead; device.write = failingWrite; device.sync = failingSync;
      device.writeAsync = async () => { throw new Error("gone"); };
      process.exitCode = 3;
    `;
    expect(runProgram(failing, path)).toEqual({ status: 3, said: [], failed: "" });
  });
});

test("a value of 64 MiB goes into a file and comes back from it", async () => {
  const path = newPath();
  const SIZE = 64 * 1024 * 1024;
  const store = await open(path, { valueEncoding: "binary", writeBufferBytes: 1_048_576 });
  const value = new Uint8Array(SIZE);
  const words = new Uint32Array(value.buffer);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 0x9e3779b1);
  store.set("small", Uint8Array.of(1));
  await store.put("large", value);
  expect(Buffer.compare(store.get("large") as Uint8Array, value)).toBe(0);
  await store.close();
  const again = await open(path, { valueEncoding: "binary" });
  expect(Buffer.compare(again.get("large") as Uint8Array, value)).toBe(0);
  expect(Buffer.compare((await again.getMany(["small", "large"]))[1] as Uint8Array, value)).toBe(0);
  expect([...again.values()].map((bytes) => bytes.length)).toEqual([SIZE, 1]);
  expect(again.stats().valueBytes).toBe(SIZE + 1);
  again.delete("large");
  expect(again.stats().liveBytes).toBeLessThan(100);
  await again.close();
  fs.rmSync(path);
});

test("a filesystem image is refused", async ({ skip }) => {
  const path = newPath();
  fs.writeFileSync(path, "");
  fs.truncateSync(path, 4 * 1024 * 1024);
  const made = run("mkfs.ext4", "-q", "-F", path);
  if ("failure" in made) skip(`needs mkfs.ext4 (${made.failure})`);
  const hash = hashOf(path);
  expect(await codeOf(() => open(path))).toBe("NOT_A_STORE");
  expect(hashOf(path)).toBe(hash);
});
