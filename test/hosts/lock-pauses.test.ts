/**
 * A taker that is held up between two looks at a lock from elsewhere: it must not take what the pause made old. The pauses
 * are real; where they fall is chosen by what `node:fs` is just doing.
 */
import * as fs from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { acquireLock } from "../../hosts/lock.ts";
import { codeOf, scratchFolder } from "./scratch.ts";

/** Called after a lock file was looked at, and before a claim on a dead holder's lock is made. */
const pauses: { looked?: (() => void) | undefined; claims?: (() => void) | undefined } = vi.hoisted(() => ({}));

vi.mock("node:fs", async (importOriginal) => {
  const original = await importOriginal<typeof fs>();
  return {
    ...original,
    fstatSync: (descriptor: number) => {
      const stat = original.fstatSync(descriptor);
      pauses.looked?.();
      return stat;
    },
    linkSync: (from: string, to: string) => {
      if (to.endsWith(".claim")) pauses.claims?.();
      original.linkSync(from, to);
    },
  };
});

const folder = scratchFolder();
const SHORT = { heartbeatMs: 80, staleMs: 300 };
let count = 0;
let file = "";

beforeEach(() => {
  file = join(folder, `store-${count++}`);
  const record = { cairnLock: 1, pid: 1, pidNamespace: "pid:[1]", host: "elsewhere", bootId: "another boot" };
  const holder = { ...record, startTime: "1", thread: 1, threadStartTime: "1", token: "a".repeat(32), heartbeatMs: 80 };
  fs.writeFileSync(`${file}.lock`, JSON.stringify(holder));
  pauses.looked = undefined;
  pauses.claims = undefined;
});

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function beat(): void {
  const now = new Date();
  fs.utimesSync(`${file}.lock`, now, now);
}

test("a taker that is paused after a look does not take what has beaten since", async () => {
  let looks = 0;
  pauses.looked = () => {
    looks += 1;
    if (looks !== 2) return;
    pause(2 * SHORT.staleMs);
    beat();
  };
  expect(await codeOf(() => acquireLock(file, SHORT))).toBe("LOCKED");
});

test("a taker that is paused together with the holder waits until the holder could have beaten again", async () => {
  let looks = 0;
  let timer: NodeJS.Timeout | undefined;
  pauses.looked = () => {
    looks += 1;
    // The holder's timer runs on this thread: while it is blocked, neither of them runs.
    if (looks === 1) timer = setInterval(beat, SHORT.heartbeatMs / 2);
    else if (looks === 2) pause(2 * SHORT.staleMs);
  };
  expect(await codeOf(() => acquireLock(file, SHORT))).toBe("LOCKED");
  clearInterval(timer);
});

test("a taker that is paused before its claim looks once more", async () => {
  let isPaused = false;
  pauses.claims = () => {
    if (isPaused) return;
    isPaused = true;
    pause(SHORT.staleMs);
    beat();
  };
  expect(await codeOf(() => acquireLock(file, SHORT))).toBe("LOCKED");
  expect(isPaused).toBe(true);
  expect(JSON.parse(fs.readFileSync(`${file}.lock`, "utf8")).host).toBe("elsewhere");
});

test("a taker takes what stays without a heartbeat, however often it is paused", async () => {
  pauses.looked = () => pause(30);
  const lock = await acquireLock(file, SHORT);
  expect(lock.predecessorAlive).toBe(true);
  lock.release();
  expect(fs.existsSync(`${file}.lock`)).toBe(false);
});
