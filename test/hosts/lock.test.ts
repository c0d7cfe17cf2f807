/** Locks between real processes and threads. The children run the sources, compiled to a scratch folder. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { acquireLock, type FileLock, type LockTimings } from "../../hosts/lock.ts";
import { type Command, commandOf, RUNTIME } from "../runtime.ts";
import { codeOf, errorOf, run, scratchFolder } from "./scratch.ts";

const THIS = commandOf(RUNTIME) as Command;

const folder = scratchFolder();
const SHORT: LockTimings = { heartbeatMs: 40, staleMs: 300 };
const hasProc = fs.existsSync("/proc/self/stat");
const children: ChildProcess[] = [];
const deadPid = spawnSync("true").pid;
let fileCount = 0;

/** Holds the lock of its argument until it is told to release it. With a second one it is still opening the store. */
const HOLDER = `
import { acquireLock } from "./hosts/lock.js";
try {
  const lock = await acquireLock(process.argv[2]);
  if (process.argv[3] === undefined) lock.settled();
  console.log("held");
  process.stdin.once("data", () => { lock.release(); process.exit(0); });
} catch (error) {
  console.log(error.code);
  process.exit(3);
}
`;

/** Takes a lock and has nothing else to do. */
const LEAVER = `
import { acquireLock } from "./hosts/lock.js";
await acquireLock(process.argv[2]);
`;

/** Tries for one lock after another, each at the same instant as its rivals, and prints which it got. */
const RACER = `
import { acquireLock } from "./hosts/lock.js";
const [, , path, count, startMs, stepMs, timings] = process.argv;
const won = [];
for (let round = 0; round < Number(count); round += 1) {
  const at = Number(startMs) + round * Number(stepMs);
  while (Date.now() < at - 2) await new Promise((resolve) => setTimeout(resolve, 1));
  while (Date.now() < at);
  try {
    await acquireLock(path + round, JSON.parse(timings));
    won.push(round);
  } catch (error) {
    if (error.code !== "LOCKED") throw error;
  }
}
console.log(JSON.stringify(won));
process.stdin.once("data", () => process.exit(0));
`;

const THREAD = `
import { parentPort, workerData } from "node:worker_threads";
import { acquireLock } from "./hosts/lock.js";
await acquireLock(workerData);
parentPort.postMessage("held");
setInterval(() => {}, 1000);
`;

beforeAll(() => {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const flags = "--ignoreConfig --noCheck --skipLibCheck --target es2022 --module nodenext --moduleDetection force";
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const compiled = run(process.execPath, [
    tsc,
    ...flags.split(" "),
    "--rewriteRelativeImportExtensions",
    ...["--rootDir", root, "--outDir", folder],
    join(root, "hosts/lock.ts"),
  ]);
  if ("failure" in compiled) throw new Error(compiled.failure);
  fs.writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  for (const [name, code] of Object.entries({ holder: HOLDER, leaver: LEAVER, racer: RACER, thread: THREAD })) {
    fs.writeFileSync(join(folder, `${name}.js`), code);
  }
});

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

function newFile(): string {
  return join(fs.realpathSync(folder), `store-${fileCount++}`);
}

/** Starts a script of above and waits for its first line. */
async function start(script: string, ...args: string[]): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(THIS.command, [...THIS.args, join(folder, script), ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.push(child);
  return { child, line: await firstLine(child) };
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout as NodeJS.ReadableStream) {
    text += chunk;
    if (text.includes("\n")) break;
  }
  return text.trim();
}

const DEAD_TOKEN = "0123456789abcdef0123456789abcdef";

/** The lock of a process that has ended. */
function record(): Record<string, unknown> {
  const idOf = (path: string): string => (hasProc ? fs.readFileSync(path, "latin1").trim() : "");
  return {
    cairnLock: 1,
    pid: deadPid,
    pidNamespace: hasProc ? fs.readlinkSync("/proc/self/ns/pid") : "",
    host: hostname(),
    bootId: idOf("/proc/sys/kernel/random/boot_id"),
    startTime: hasProc ? "1" : null,
    thread: 0,
    threadStartTime: null,
    token: DEAD_TOKEN,
    heartbeatMs: 2000,
  };
}

/** The lock of a holder in another container or on another machine. */
function foreignRecord(): Record<string, unknown> {
  return { ...record(), host: "elsewhere", bootId: "another boot", pid: process.pid };
}

function plant(file: string, content: unknown, ageMs: number): void {
  fs.writeFileSync(`${file}.lock`, typeof content === "string" ? content : JSON.stringify(content));
  age(file, ageMs);
}

function age(file: string, ageMs: number): void {
  const date = new Date(Date.now() - ageMs);
  fs.utimesSync(`${file}.lock`, date, date);
}

function lockFiles(file: string): string[] {
  const name = file.slice(file.lastIndexOf("/") + 1);
  return fs.readdirSync(folder).filter((entry) => entry.startsWith(`${name}.`));
}

describe("a lock", () => {
  test("names its holder, beats, and goes with its release", async () => {
    const file = newFile();
    const lock = await acquireLock(file, SHORT);
    expect(lock.path).toBe(`${file}.lock`);
    expect(lock.predecessorAlive, "who held it before, nobody knows").toBe(true);
    const content = JSON.parse(fs.readFileSync(lock.path, "utf8"));
    expect(content).toMatchObject({ pid: process.pid, host: hostname(), heartbeatMs: 40 });
    expect(content.token).toMatch(/^[0-9a-f]{32}$/);
    expect(lockFiles(file)).toHaveLength(1);
    const before = fs.statSync(lock.path).mtimeMs;
    await sleep(150);
    expect(fs.statSync(lock.path).mtimeMs).toBeGreaterThan(before);
    lock.release();
    lock.release();
    expect(lockFiles(file)).toEqual([]);
    (await acquireLock(file)).release();
  });

  test("excludes a second opening in the same process, and names it", async () => {
    const file = newFile();
    const lock = await acquireLock(file);
    const error = await errorOf(() => acquireLock(file));
    expect(error.code).toBe("LOCKED");
    expect(error.message).toContain(`this process (pid ${process.pid})`);
    expect(error.message).toContain(file);
    lock.release();
  });

  test("excludes a hard link of a file that this process holds", async () => {
    const file = newFile();
    const first = await acquireLock(file);
    first.identify("1:2");
    const second = await acquireLock(`${file}-link`);
    expect(await codeOf(() => second.identify("1:2"))).toBe("LOCKED");
    second.release();
    first.release();
    const third = await acquireLock(`${file}-link`);
    third.identify("1:2");
    third.release();
  });

  test("is removed only by the holder of its token", async () => {
    const file = newFile();
    const lock = await acquireLock(file);
    plant(file, record(), 0);
    lock.release();
    expect(fs.existsSync(`${file}.lock`)).toBe(true);
  });

  test("cannot be taken in a folder that is missing", async () => {
    expect(await codeOf(() => acquireLock(join(folder, "missing", "store")))).toBe("DEVICE_WRITE");
  });
});

describe("a lock of another process", () => {
  test("is LOCKED with the holder's pid while it lives, free when it releases", async () => {
    const file = newFile();
    const { child, line } = await start("holder.js", file);
    expect(line).toBe("held");
    const error = await errorOf(() => acquireLock(file));
    expect(error.code).toBe("LOCKED");
    expect(error.message).toContain(`process ${child.pid}`);
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.stdin?.write("release\n");
    expect(await ended).toBe(0);
    (await acquireLock(file)).release();
  });

  test("is taken over at once when it was killed", async () => {
    const file = newFile();
    const { child } = await start("holder.js", file);
    child.kill("SIGKILL");
    const startMs = performance.now();
    const lock = await acquireLock(file);
    expect(performance.now() - startMs).toBeLessThan(2000);
    expect(lock.predecessorAlive).toBe(false);
    lock.release();
    expect(lockFiles(file)).toEqual([]);
  });

  test("that died while it opened, and did not know who had the store before: who takes over does not know either", async () => {
    const file = newFile();
    // Whoever has the store may be alive: its lock was taken away.
    const { child } = await start("holder.js", file, "opening");
    child.kill("SIGKILL");
    const second = await acquireLock(file);
    expect(second.predecessorAlive).toBe(true);
    // Nor does the next one, until one has opened the store.
    expect(JSON.parse(fs.readFileSync(second.path, "utf8")).doubt).toBe(1);
    second.settled();
    expect(JSON.parse(fs.readFileSync(second.path, "utf8")).doubt).toBe(0);
    second.release();
  });

  test.skipIf(!hasProc)("is taken over at once when it is a zombie that nobody reaps", async () => {
    const file = newFile();
    const args = ["-c", `"$0" "$@" & exec sleep 60`, THIS.command, ...THIS.args, join(folder, "holder.js"), file];
    const shell = spawn("sh", args, { stdio: ["ignore", "pipe", "inherit"] });
    children.push(shell);
    await firstLine(shell);
    const { pid } = JSON.parse(fs.readFileSync(`${file}.lock`, "utf8"));
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself, which makes it a zombie as well.
    }
    const lock = await acquireLock(file);
    expect(fs.readFileSync(`/proc/${pid}/stat`, "latin1")).toContain(") Z ");
    lock.release();
    shell.kill("SIGKILL");
  });

  test("is taken over when its process ended without releasing it: the heartbeat keeps nothing alive", async () => {
    const file = newFile();
    expect(spawnSync(THIS.command, [...THIS.args, join(folder, "leaver.js"), file], { timeout: 20_000 }).status).toBe(
      0,
    );
    expect(fs.existsSync(`${file}.lock`)).toBe(true);
    (await acquireLock(file)).release();
  });

  test.skipIf(!hasProc)("is taken over when its pid went to another process", async () => {
    const file = newFile();
    plant(file, { ...record(), pid: process.pid, thread: process.pid }, 0);
    (await acquireLock(file)).release();
  });

  test.skipIf(!hasProc)("belongs to a thread: LOCKED while it runs, free once it is terminated", async () => {
    const file = newFile();
    const worker = new Worker(pathToFileURL(join(folder, "thread.js")), { workerData: file });
    await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    const error = await errorOf(() => acquireLock(file));
    expect(error.code).toBe("LOCKED");
    expect(error.message).toContain(`this process (pid ${process.pid}), in its thread`);
    await worker.terminate();
    // On Deno the thread has not ended yet when terminate says so.
    let lock: FileLock | undefined;
    for (let attempt = RUNTIME === "deno" ? 100 : 1; attempt > 0 && lock === undefined; attempt -= 1) {
      lock = await acquireLock(file).catch(() => sleep(20, undefined));
    }
    expect(lock).toBeDefined();
    lock?.release();
  });
});

describe("a lock from elsewhere", () => {
  test("is taken over when its heartbeat is old and none is seen", async () => {
    const file = newFile();
    plant(file, foreignRecord(), 3_600_000);
    const startMs = performance.now();
    const lock = await acquireLock(file, SHORT);
    expect(performance.now() - startMs).toBeGreaterThan(SHORT.heartbeatMs);
    lock.release();
  });

  test("is LOCKED, with host and pid, when a heartbeat is seen, however old the clock says it is", async () => {
    for (const ageMs of [0, 3_600_000, -3_600_000]) {
      const file = newFile();
      plant(file, foreignRecord(), ageMs);
      const timer = setInterval(() => age(file, ageMs), 20);
      const error = await errorOf(() => acquireLock(file, SHORT));
      clearInterval(timer);
      expect(error.code).toBe("LOCKED");
      expect(error.message).toContain(`process ${process.pid} on host elsewhere`);
    }
  });

  test.each([
    ["fresh", 0],
    ["in the future", -3_600_000],
  ])("is waited for as long as a heartbeat may take when the last one is %s", async (_name, ageMs) => {
    const file = newFile();
    plant(file, foreignRecord(), ageMs);
    const startMs = performance.now();
    const lock = await acquireLock(file, SHORT);
    expect(performance.now() - startMs).toBeGreaterThan(SHORT.staleMs - 100);
    lock.release();
  });
});

describe("a lock file that says nothing", () => {
  test.each([
    ["empty", ""],
    ["zeros, as a power cut leaves it", "\0".repeat(200)],
    ["torn", '{"cairnLock":1,"pid":12'],
  ])("is taken over after a while: %s", async (_name, content) => {
    const file = newFile();
    plant(file, content, 0);
    const startMs = performance.now();
    const lock = await acquireLock(file, SHORT);
    expect(performance.now() - startMs).toBeGreaterThan(SHORT.staleMs - 100);
    lock.release();
    expect(lockFiles(file)).toEqual([]);
  });

  test("is waited for while its creator writes it", async () => {
    const file = newFile();
    const { child } = await start("holder.js", `${file}-other`);
    plant(file, "", 0);
    setTimeout(() => fs.copyFileSync(`${file}-other.lock`, `${file}.lock`), 60);
    const error = await errorOf(() => acquireLock(file, SHORT));
    expect(error.code).toBe("LOCKED");
    expect(error.message).toContain(`process ${child.pid}`);
  });

  test.each([
    ["another program's", "# yarn lockfile v1\n"],
    ["JSON of another program", '{"version":3}'],
    ["a token that is no token", JSON.stringify({ cairnLock: 2, pid: 1, token: "../../etc" })],
  ])("is left alone when it is not ours: %s", async (_name, content) => {
    const file = newFile();
    plant(file, content, 3_600_000);
    const foreign = !content.startsWith('{"cairnLock":');
    if (foreign) {
      expect(await codeOf(() => acquireLock(file, SHORT))).toBe("LOCKED");
      expect(fs.readFileSync(`${file}.lock`, "utf8")).toBe(content);
    } else {
      (await acquireLock(file, SHORT)).release();
    }
  });

  test("is no file at all", async () => {
    const file = newFile();
    fs.mkdirSync(`${file}.lock`);
    expect(await codeOf(() => acquireLock(file, SHORT))).toBe("LOCKED");
  });
});

describe("takers at the same instant", () => {
  const RACER_COUNT = 4;

  async function race(path: string, roundCount: number, stepMs: number): Promise<number[]> {
    const startMs = Date.now() + 800;
    const args = [path, String(roundCount), String(startMs), String(stepMs), JSON.stringify(SHORT)];
    const racers = await Promise.all(Array.from({ length: RACER_COUNT }, () => start("racer.js", ...args)));
    const winnerCounts = new Array<number>(roundCount).fill(0);
    for (const { line } of racers) for (const round of JSON.parse(line) as number[]) winnerCounts[round]! += 1;
    for (const { child } of racers) child.stdin?.write("end\n");
    return winnerCounts;
  }

  test("of a free lock, of a dead holder's, and of a dead taker's: exactly one wins each", async () => {
    const roundCount = 60;
    const path = newFile();
    for (let round = 0; round < roundCount; round += 1) {
      const file = `${path}${round}`;
      if (round % 3 > 0) plant(file, record(), 0);
      const claim = { ...record(), token: "f".repeat(32) };
      if (round % 3 === 2) fs.writeFileSync(`${file}.lock.${DEAD_TOKEN}.claim`, JSON.stringify(claim));
    }
    expect(await race(path, roundCount, 25)).toEqual(new Array(roundCount).fill(1));
    const left = lockFiles(path).filter((name) => !/store-\d+\.lock$/.test(name));
    expect(left).toEqual([]);
  });

  test("of a lock from elsewhere: exactly one wins", async () => {
    const path = newFile();
    for (let round = 0; round < 3; round += 1) plant(`${path}${round}`, foreignRecord(), 3_600_000);
    expect(await race(path, 3, 600)).toEqual([1, 1, 1]);
  });
});
