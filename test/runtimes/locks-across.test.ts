/**
 * Locks between real processes of Node, Bun and Deno over one file, in every ordered pair: excluded at once, taken over
 * after a kill, fenced when the lock failed. The programs use the built package.
 */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Command, commandOf, programFile, type RuntimeName, runProgram } from "../runtime.ts";
import { privilegeMissing, run } from "../store/node-machine.ts";

const folder = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "cairn-across-")));
const NAMES: RuntimeName[] = ["node", "bun", "deno"];
const installed = NAMES.filter((name) => commandOf(name) !== undefined);
const pairs = installed.flatMap((first) => installed.map((second): [RuntimeName, RuntimeName] => [first, second]));
const children: ChildProcess[] = [];
let fileCount = 0;

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  fs.rmSync(folder, { recursive: true, force: true });
});

const newPath = (): string => join(folder, `store-${fileCount++}`);

/** Opens the store, writes durably, says so, and holds it; a line of input makes it write once more. */
const HOLDER = `
  const store = await open(target, { memoryBytes });
  await store.put("holder", "acknowledged");
  say("held");
  for await (const _ of process.stdin) {
    try {
      await store.put("late", "lost");
      say("written");
    } catch (error) {
      say(error.code);
    }
    process.exit(0);
  }
`;

/** Opens the store and says what is in it, or why it could not, and how long that took. */
const OPENER = `
  const start = performance.now();
  try {
    const store = await open(target, { memoryBytes });
    const ms = performance.now() - start;
    const found = store.get("holder");
    await store.put("opener", "was here");
    await store.close();
    say({ found, ms });
  } catch ({ code, message }) {
    say({ code, message, ms: performance.now() - start });
  }
`;

interface Opened {
  code?: string;
  message: string;
  found?: string;
  ms: number;
}

function openOn(runtime: RuntimeName, path: string): Opened {
  const { said, failed } = runProgram(OPENER, path, runtime);
  expect(failed).toBe("");
  return said[0] as Opened;
}

async function hold(runtime: RuntimeName, path: string): Promise<{ child: ChildProcess; next(): Promise<string> }> {
  const { command, args } = commandOf(runtime) as Command;
  const child = spawn(command, [...args, programFile(HOLDER, runtime), path], { stdio: ["pipe", "pipe", "inherit"] });
  children.push(child);
  const lines = (child.stdout as NodeJS.ReadableStream)[Symbol.asyncIterator]();
  const next = async (): Promise<string> => JSON.parse(String((await lines.next()).value ?? "null"));
  expect(await next()).toBe("held");
  return { child, next };
}

test.skipIf(process.env["CI"] === undefined)("Node, Bun and Deno are installed, so that no pair is left out", () => {
  expect(installed).toEqual(NAMES);
});

describe.each(pairs)("held by %s, opened by %s", (first, second) => {
  test("is LOCKED at once, with the holder's pid; taken over at once when that was killed", async () => {
    const path = newPath();
    const { child } = await hold(first, path);
    // It is not its heartbeat that it is known by.
    child.kill("SIGSTOP");
    const refused = openOn(second, path);
    expect(refused.code).toBe("LOCKED");
    expect(refused.message).toContain(`process ${child.pid}`);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    expect(fs.existsSync(`${path}.lock`)).toBe(true);
    const opened = openOn(second, path);
    expect(opened).toMatchObject({ found: "acknowledged" });
    expect(opened.ms).toBeLessThan(5_000);
    expect(fs.existsSync(`${path}.lock`)).toBe(false);
  });

  // Deno's flock holds where the lock file does not: there is nobody to fence.
  test.skipIf(first === "deno" && second === "deno")("is FENCED when the lock was lost", async () => {
    const path = newPath();
    const { child, next } = await hold(first, path);
    fs.unlinkSync(`${path}.lock`);
    expect(openOn(second, path)).toMatchObject({ found: "acknowledged" });
    child.stdin?.write("go on\n");
    expect(await next()).toBe("FENCED");
    const { said } = runProgram(
      `const s = await open(target, { memoryBytes, readOnly: true }); say([...s.keys()]); await s.close();`,
      path,
      first,
    );
    expect(said).toEqual([["holder", "opener"]]);
  });
});

describe("a block device", () => {
  let loop = "";
  let missing = privilegeMissing();
  const image = join(folder, "image");

  beforeAll(() => {
    if (missing !== undefined) return;
    fs.writeFileSync(image, "");
    fs.truncateSync(image, 64 * 1024 * 1024);
    const attached = run("losetup", "-f", "--show", image);
    if ("failure" in attached) missing = `needs loop devices (${attached.failure})`;
    else loop = attached.output;
  });

  beforeEach(({ skip }) => {
    if (missing !== undefined) skip(missing);
  });

  afterAll(() => {
    if (loop !== "") run("losetup", "-d", loop);
  });

  test.each(pairs)("held by %s is LOCKED for %s, and taken over after a kill", async (first, second) => {
    const { child } = await hold(first, loop);
    const refused = openOn(second, loop);
    expect(refused.code).toBe("LOCKED");
    expect(refused.message).toContain(`process ${child.pid}`);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    expect(openOn(second, loop)).toMatchObject({ found: "acknowledged" });
  });
});

test.skipIf(!installed.includes("deno"))("Deno's flock excludes a second Deno whose lock file was lost", async () => {
  const path = newPath();
  await hold("deno", path);
  fs.unlinkSync(`${path}.lock`);
  const refused = openOn("deno", path);
  expect(refused.code).toBe("LOCKED");
  expect(refused.message).toContain("flock");
});

test.each(installed)("a holder elsewhere is taken over on %s when its heartbeat stayed away", (name) => {
  const path = newPath();
  const first = openOn(name, path);
  expect(first.code).toBeUndefined();
  const record = { cairnLock: 1, pid: process.pid, pidNamespace: "pid:[1]", host: "elsewhere", bootId: "another boot" };
  const lock = { ...record, startTime: "1", thread: 1, threadStartTime: "1", token: "a".repeat(32), heartbeatMs: 2000 };
  fs.writeFileSync(`${path}.lock`, JSON.stringify(lock));
  const old = new Date(Date.now() - 60_000);
  fs.utimesSync(`${path}.lock`, old, old);
  const opened = openOn(name, path);
  expect(opened.code).toBeUndefined();
  // A period is watched, however old the heartbeat looks by our clock.
  expect(opened.ms).toBeGreaterThan(2_000);
  expect(opened.ms).toBeLessThan(10_000);
});
