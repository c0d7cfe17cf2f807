/**
 * The least permissions that Deno needs, as `hosts/deno.ts` and the README name them, and what opening says when one is
 * missing. Real processes of Deno, which is asked for nothing (`--no-prompt`), over the built package.
 */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { commandOf, programFile, runCommand, runProgram } from "../runtime.ts";
import { hashOf } from "../store/node-machine.ts";

const deno = commandOf("deno");
const folder = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "cairn-permissions-")));
const wasm = fileURLToPath(new URL("../../build/cairn.wasm", import.meta.url));
const children: ChildProcess[] = [];

/** All that a store in a file of `folder` needs. */
const LEAST = [`--allow-read=${folder},${wasm}`, `--allow-write=${folder}`];
/** All that reading a store needs, for one file. */
const readOnlyOf = (path: string): string[] => [`--allow-read=${path},${wasm}`];

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  fs.rmSync(folder, { recursive: true, force: true });
});

beforeEach(({ skip }) => {
  if (deno === undefined) skip("deno is not installed");
});

let fileCount = 0;

/** A store of its own that Node has written. */
function newStore(): string {
  const path = join(folder, `store-${fileCount++}`);
  const made = runProgram(
    `const s = await open(target, { memoryBytes }); s.set("a", "1"); await s.close();`,
    path,
    "node",
  );
  expect(made.failed).toBe("");
  return path;
}

const OPEN = `
  const start = performance.now();
  try {
    const store = await open(target, { memoryBytes, ...OPTIONS });
    say({ found: store.get("a"), ms: performance.now() - start });
    if (!OPTIONS.readOnly) await store.put("b", "2");
    await store.close();
  } catch ({ code, message, stack }) {
    say({ code, message: message ?? stack, ms: performance.now() - start });
  }
`;

interface Said {
  code?: string;
  message: string;
  found?: string;
  ms: number;
}

function openWith(permissions: string[], path: string, options: object = {}): Said {
  const file = programFile(OPEN.replaceAll("OPTIONS", `(${JSON.stringify(options)})`), "deno");
  const { command = "" } = deno ?? {};
  const { said, failed } = runCommand({ command, args: ["run", "--no-prompt", ...permissions] }, file, path);
  expect(failed).toBe("");
  return said[0] as Said;
}

async function hold(permissions: string[] | undefined, path: string): Promise<ChildProcess> {
  const runtime = permissions === undefined ? "node" : "deno";
  const file = programFile(
    `const s = await open(target, { memoryBytes }); say("held"); for await (const _ of process.stdin);`,
    runtime,
  );
  const command = commandOf(runtime)?.command ?? "";
  const args = permissions === undefined ? [] : ["run", "--no-prompt", ...permissions];
  const child = spawn(command, [...args, file, path], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  return child;
}

describe("the least permissions", () => {
  test("let a store in a file be created, written, closed and opened again", () => {
    const path = join(folder, "created");
    expect(openWith(LEAST, path).found).toBeUndefined();
    expect(openWith(LEAST, path).code).toBeUndefined();
    expect(openWith(LEAST, newStore()).found).toBe("1");
    expect(fs.existsSync(`${path}.lock`)).toBe(false);
  });

  test("to read are those of the file alone", () => {
    const path = newStore();
    expect(openWith(readOnlyOf(path), path, { readOnly: true }).found).toBe("1");
  });

  test("for memory are those of the binary alone", () => {
    expect(openWith([`--allow-read=${wasm}`], ":memory:").code).toBeUndefined();
  });
});

describe("a missing permission", () => {
  test.each([
    [
      "to read the folder",
      [`--allow-read=${wasm}`, `--allow-write=${folder}`],
      "DEVICE_READ",
      `--allow-read=${folder}`,
    ],
    ["to write the folder", [`--allow-read=${folder},${wasm}`], "DEVICE_WRITE", `--allow-write=${folder}`],
    [
      "to read the binary",
      [`--allow-read=${folder}`, `--allow-write=${folder}`],
      "DEVICE_READ",
      `--allow-read=${wasm}`,
    ],
    ["of any kind", [], "DEVICE_READ", `--allow-read=${wasm}`],
  ])("%s is an error that names the flag, and nothing has changed", (_name, permissions, code, flag) => {
    const path = newStore();
    const before = [hashOf(path), fs.readdirSync(folder)];
    for (const target of [path, join(folder, "missing")]) {
      const said = openWith(permissions, target);
      expect(said.code).toBe(code);
      expect(said.message).toContain(flag);
    }
    expect([hashOf(path), fs.readdirSync(folder)]).toEqual(before);
  });

  test("beside the file, for its lock, names the folder's flags", () => {
    const path = newStore();
    const before = [hashOf(path), fs.readdirSync(folder)];
    const said = openWith([`--allow-read=${path},${wasm}`, `--allow-write=${path}`], path);
    expect(said.code).toBe("DEVICE_READ");
    expect(said.message).toContain(`--allow-read=${folder} and --allow-write=${folder}`);
    expect([hashOf(path), fs.readdirSync(folder)]).toEqual(before);
  });

  test("for a block device names --allow-all", () => {
    const said = openWith(["--allow-read", "--allow-write"], "/dev/loop0");
    expect(said.code).toBe("DEVICE_READ");
    expect(said.message).toContain("--allow-all");
  });
});

describe("a lock, under the least permissions", () => {
  test("of Deno is LOCKED for Node at once, with the pid", async () => {
    const path = newStore();
    const child = await hold(LEAST, path);
    // It is not its heartbeat that it is known by.
    child.kill("SIGSTOP");
    const { said } = runProgram(OPEN.replaceAll("OPTIONS", "({})"), path, "node");
    expect(said[0]).toMatchObject({ code: "LOCKED" });
    expect((said[0] as Said).message).toContain(`process ${child.pid}`);
  });

  test("of Node is LOCKED for Deno with its next heartbeat", async () => {
    const path = newStore();
    const child = await hold(undefined, path);
    const said = openWith(LEAST, path);
    expect(said.code).toBe("LOCKED");
    expect(said.message).toContain(`process ${child.pid}`);
    expect(said.ms).toBeLessThan(5_000);
  });

  test("of a killed Deno is taken over, by Deno and by Node, when a period brought no heartbeat", async () => {
    for (const taker of ["deno", "node"] as const) {
      const path = newStore();
      const child = await hold(LEAST, path);
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
      const old = new Date(Date.now() - 60_000);
      fs.utimesSync(`${path}.lock`, old, old);
      const said =
        taker === "deno"
          ? openWith(LEAST, path)
          : (runProgram(OPEN.replaceAll("OPTIONS", "({})"), path, "node").said[0] as Said);
      expect(said).toMatchObject({ found: "1" });
      expect(said.ms).toBeLessThan(8_000);
    }
  });
});
