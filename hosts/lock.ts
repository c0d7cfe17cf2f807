/**
 * The lock of a store's file: `<path>.lock`, beside it. It keeps honest openers apart; the epoch in the superblock
 * fences those that it cannot.
 *
 * 1. A lock file is never seen half written: it is written under a name of its own and linked into place, which fails
 *    when the place is taken. (Where a file system has no hard links it is created exclusively and then written; an
 *    empty or torn lock file is therefore waited for.)
 * 2. Its modification time is the heartbeat, set anew every two seconds through the descriptor that created it.
 * 3. A holder in our own boot and pid namespace is judged by its process and thread: both there, with the start times
 *    that the lock names. A zombie is dead; a process whose threads have not all ended is waited for, as a write may
 *    still be under way. A holder from elsewhere is dead when ten seconds bring no heartbeat. Clocks of two machines
 *    differ, so at least one period is watched before an old heartbeat counts.
 * 4. The right to remove a dead holder's lock belongs to whoever creates its *claim*, a file named by the lock's token;
 *    if the claimer dies too, to whoever creates the claim on the claim. The winner checks that the dead lock is still
 *    in place and renames its own over it. So of several takers exactly one wins, and no fresh lock is ever removed.
 * 5. A lock is removed by its holder only, and only while it carries the holder's token.
 */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { hostname } from "node:os";
import { clearInterval, setInterval } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { CairnError } from "../store/error.ts";
import { errnoOf, isOutOfSpace, reasonOf } from "./positioned-io.ts";

/** What a lock file says about its holder, as JSON. */
interface LockRecord {
  /** The mark of a lock file of ours, and its version. */
  cairnLock: 1;
  pid: number;
  /** Names the pid namespace, such as `pid:[4026531836]`; empty where the system has none. */
  pidNamespace: string;
  host: string;
  /** Changes with every start of the kernel; empty where the system has none. */
  bootId: string;
  /** When the process started, in ticks of the kernel since its boot; `null` where the system does not tell. */
  startTime: string | null;
  /** The thread that opened the store: the kernel's number of it, or 0. */
  thread: number;
  threadStartTime: string | null;
  /** 32 hexadecimal digits, drawn for this lock alone. */
  token: string;
  /** Milliseconds between two heartbeats, which are the file's modification time. */
  heartbeatMs: number;
}

/** How often a holder shows that it lives, and when one from elsewhere is given up. Tests shorten both. */
export interface LockTimings {
  heartbeatMs: number;
  staleMs: number;
}

const TIMINGS: LockTimings = { heartbeatMs: 2_000, staleMs: 10_000 };

/** How long a killed process is waited for until its last thread has ended. */
const DYING_MS_MAX = 5_000;

/** How many dead claimers are followed. Each was killed within the microseconds of a takeover. */
const CLAIM_DEPTH_MAX = 16;

/** `PF_EXITING` of Linux: the process is on its way out. */
const FLAG_EXITING = 0x4;

const LOCK_FILE_SIZE_MAX = 16_384;
const JSON_MARK = '{"cairnLock":';

/** A lock that is held. */
export interface FileLock {
  /** The lock file. */
  readonly path: string;
  /**
   * Registers the file that the lock stands for, by device and inode: `LOCKED` when this process holds it under another
   * name already.
   */
  identify(identity: string): void;
  /** Ends the heartbeat and removes the lock file if it is still ours. May be called twice. Never throws. */
  release(): void;
}

/** What this thread holds: device and inode to path. Hard links give one file several locks. */
const held = new Map<string, string>();

/**
 * Takes the lock of `file`, an absolute path without symbolic links; the file need not exist. Throws `LOCKED`, naming
 * the holder, at once when the holder lives here, and after some seconds when one from elsewhere shows a heartbeat;
 * `DEVICE_WRITE` or `NO_SPACE` when the lock file cannot be made.
 */
export async function acquireLock(file: string, timings: LockTimings = TIMINGS): Promise<FileLock> {
  const path = `${file}.lock`;
  const watch = new Watch(timings);
  const record = describeSelf(timings);
  for (;;) {
    const seen = readLock(path, file);
    let descriptor: number | undefined;
    if (seen === undefined) {
      descriptor = withDraft(path, record, file, (draft) => draft.place(path));
    } else {
      const verdict = watch.judge(seen);
      if (verdict === "alive" || watch.isOver()) throw lockedError(file, path, seen);
      if (verdict === "dead") descriptor = withDraft(path, record, file, (draft) => takeOver(path, seen, draft, watch));
    }
    if (descriptor !== undefined) return hold(file, path, record, descriptor);
    await sleep(watch.pollMs);
  }
}

/** Whether holders live, as it turns out while an opener waits for them. */
class Watch {
  readonly pollMs: number;
  private readonly timings: LockTimings;
  private readonly startMs = performance.now();
  /** For locks and claims from elsewhere: the heartbeat that was seen first, when, and how old it was by our clock. */
  private readonly beats = new Map<string, { beat: number; sinceMs: number; ageMs: number }>();
  private dyingSinceMs: number | undefined;

  constructor(timings: LockTimings) {
    this.timings = timings;
    this.pollMs = Math.min(20, timings.heartbeatMs / 4);
  }

  /** `"unknown"` asks to be called again later. */
  judge(seen: SeenLock): "alive" | "dead" | "unknown" {
    const state = seen.record === undefined ? "elsewhere" : holderState(seen.record);
    if (state === "alive" || state === "dead") return state;
    const nowMs = performance.now();
    if (state === "dying") {
      this.dyingSinceMs ??= nowMs;
      return nowMs - this.dyingSinceMs > DYING_MS_MAX ? "alive" : "unknown";
    }
    if (seen.foreign) return "alive";
    const { heartbeatMs, staleMs } = this.timings;
    let first = this.beats.get(seen.identity);
    if (first === undefined) {
      first = { beat: seen.modifiedMs, sinceMs: nowMs, ageMs: Math.max(0, Date.now() - seen.modifiedMs) };
      this.beats.set(seen.identity, first);
    }
    if (seen.modifiedMs !== first.beat) return "alive";
    return nowMs - first.sinceMs > Math.max(heartbeatMs * 1.25, staleMs - first.ageMs) ? "dead" : "unknown";
  }

  /** Whether waiting has lasted longer than any verdict takes: another taker hangs, or locks come and go. */
  isOver(): boolean {
    return performance.now() - this.startMs > 2 * this.timings.staleMs + DYING_MS_MAX;
  }
}

/** A lock file as it was found. */
interface SeenLock {
  /** Its token, or what tells a torn lock file from others. Safe within a file name. */
  identity: string;
  record: LockRecord | undefined;
  /** Not a lock file of ours, nor the torn beginning of one: it is nobody's to remove. */
  foreign: boolean;
  modifiedMs: number;
}

/** A lock file that is written but not in place yet. Its file is removed with it, its descriptor stays open. */
class Draft {
  readonly token: string;
  private readonly path: string;
  private readonly content: string;
  private descriptor: number;

  constructor(lockPath: string, record: LockRecord) {
    this.token = record.token;
    this.path = `${lockPath}.${record.token}`;
    this.content = `${JSON.stringify(record)}\n`;
    this.descriptor = fs.openSync(this.path, "wx");
    try {
      fs.writeSync(this.descriptor, this.content);
    } catch (cause) {
      this.discard(false);
      throw cause;
    }
  }

  /** Puts the lock into a free place and returns the descriptor; `undefined` when the place is taken. */
  place(path: string): number | undefined {
    try {
      fs.linkSync(this.path, path);
      return this.descriptor;
    } catch (cause) {
      const code = errnoOf(cause);
      if (code === "EEXIST") return undefined;
      if (!["EPERM", "EACCES", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EMLINK"].includes(code)) throw cause;
    }
    let descriptor: number;
    try {
      descriptor = fs.openSync(path, "wx");
    } catch (cause) {
      if (errnoOf(cause) === "EEXIST") return undefined;
      throw cause;
    }
    fs.closeSync(this.descriptor);
    this.descriptor = descriptor;
    try {
      fs.writeSync(descriptor, this.content);
    } catch (cause) {
      removeQuietly(path);
      throw cause;
    }
    return descriptor;
  }

  /** Replaces the dead lock at `path` in one step. */
  replace(path: string): number {
    fs.renameSync(this.path, path);
    return this.descriptor;
  }

  discard(keepsDescriptor: boolean): void {
    if (!keepsDescriptor) fs.closeSync(this.descriptor);
    removeQuietly(this.path);
  }
}

/** Runs `body` with a draft of the lock. `body` returns the descriptor when the lock is in place. */
function withDraft(
  path: string,
  record: LockRecord,
  file: string,
  body: (draft: Draft) => number | undefined,
): number | undefined {
  let draft: Draft | undefined;
  let descriptor: number | undefined;
  try {
    draft = new Draft(path, record);
    descriptor = body(draft);
  } catch (cause) {
    if (cause instanceof CairnError) throw cause;
    const isFull = isOutOfSpace(cause);
    throw new CairnError(
      isFull ? "NO_SPACE" : "DEVICE_WRITE",
      "open",
      `${file}: its lock file ${path} cannot be made: ${reasonOf(cause)}. Writing needs a lock: ` +
        `${isFull ? "free some space" : "make the folder writable"}, or open with readOnly: true.`,
      { cause },
    );
  } finally {
    draft?.discard(descriptor !== undefined);
  }
  return descriptor;
}

/** Replaces the lock of a dead holder. Returns the descriptor, or `undefined` when another taker is ahead. */
function takeOver(path: string, dead: SeenLock, draft: Draft, watch: Watch): number | undefined {
  const claims: string[] = [];
  let claimed = dead.identity;
  let isWon = false;
  for (let depth = 0; depth < CLAIM_DEPTH_MAX && !isWon; depth += 1) {
    const claim = `${path}.${claimed}.claim`;
    isWon = draft.place(claim) !== undefined;
    claims.push(claim);
    if (isWon) break;
    const claimer = readLock(claim, path);
    if (claimer === undefined || watch.judge(claimer) !== "dead") return undefined;
    claimed = claimer.identity;
  }
  if (!isWon) return undefined;
  let descriptor: number | undefined;
  try {
    if (readLock(path, path)?.identity === dead.identity) descriptor = draft.replace(path);
  } finally {
    // All claims but the last are those of dead takers, and ours to remove only with the lock in our hands.
    for (const claim of descriptor === undefined ? claims.slice(-1) : claims) removeQuietly(claim);
  }
  if (descriptor !== undefined) removeQuietly(`${path}.${dead.identity}`);
  return descriptor;
}

function hold(file: string, path: string, record: LockRecord, descriptor: number): FileLock {
  const heartbeat = setInterval(() => {
    try {
      const now = new Date();
      fs.futimesSync(descriptor, now, now);
    } catch {
      // A heartbeat that cannot be shown costs the lock at worst, and the epoch fences then.
    }
  }, record.heartbeatMs);
  heartbeat.unref();
  let identity: string | undefined;
  let isReleased = false;
  return {
    path,
    identify(next) {
      checkHeld(next, file);
      held.set(next, file);
      identity = next;
    },
    release() {
      if (isReleased) return;
      isReleased = true;
      clearInterval(heartbeat);
      if (identity !== undefined) held.delete(identity);
      try {
        fs.closeSync(descriptor);
        if (readLock(path, file)?.identity === record.token) fs.unlinkSync(path);
      } catch {
        // A lock file that stays behind is taken over when this process has ended.
      }
    },
  };
}

function checkHeld(identity: string, file: string): void {
  const other = held.get(identity);
  if (other === undefined) return;
  throw new CairnError(
    "LOCKED",
    "open",
    `${file} is open in this process (pid ${process.pid}) as ${other} already. Use that store, close it first, or open with readOnly: true.`,
  );
}

/** Reads the lock file at `path`; `undefined` when there is none. */
function readLock(path: string, file: string): SeenLock | undefined {
  let descriptor: number | undefined;
  try {
    descriptor = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
    const stat = fs.fstatSync(descriptor);
    const seen = { identity: `torn-${stat.ino}-${stat.mtimeMs}`, record: undefined, modifiedMs: stat.mtimeMs };
    if (!stat.isFile() || stat.size > LOCK_FILE_SIZE_MAX) return { ...seen, foreign: true };
    const content = fs.readFileSync(descriptor, "utf8");
    const record = parseRecord(content);
    if (record !== undefined) return { ...seen, identity: record.token, record, foreign: false };
    const isTorn = /^\0*$/.test(content) || JSON_MARK.startsWith(content) || content.startsWith(JSON_MARK);
    return { ...seen, foreign: !isTorn };
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    throw new CairnError(
      "LOCKED",
      "open",
      `${file}: its lock file ${path} cannot be read: ${reasonOf(cause)}. Make it readable, or remove it if no process has the store open.`,
      { cause },
    );
  } finally {
    if (descriptor !== undefined) fs.closeSync(descriptor);
  }
}

function parseRecord(content: string): LockRecord | undefined {
  let record: Partial<LockRecord> | null;
  try {
    record = JSON.parse(content);
  } catch {
    return undefined;
  }
  if (typeof record !== "object" || record === null || record.cairnLock !== 1) return undefined;
  const { pid, token } = record;
  if (!Number.isSafeInteger(pid) || (pid as number) <= 0) return undefined;
  if (typeof token !== "string" || !/^[0-9a-f]{32}$/.test(token)) return undefined;
  return record as LockRecord;
}

/** Whether the process and the thread that a lock names are there. */
function holderState(record: LockRecord): "alive" | "dead" | "dying" | "elsewhere" {
  const self = describeProcess();
  if (record.bootId !== self.bootId || record.pidNamespace !== self.pidNamespace) return "elsewhere";
  if (self.bootId === "" && record.host !== self.host) return "elsewhere";
  if (!processExists(record.pid)) return "dead";
  if (typeof record.startTime !== "string" || self.startTime === null) return "elsewhere";
  const folder = `/proc/${record.pid}`;
  const leader = readTask(folder);
  if (leader === undefined) return processExists(record.pid) ? "alive" : "dead";
  if (leader.startTime !== record.startTime) return "dead";
  if (leader.hasEnded) return hasLiveThread(folder) ? "dying" : "dead";
  if (leader.isEnding || isKilled(folder)) return "dying";
  if (record.thread === record.pid || !record.thread) return "alive";
  const thread = readTask(`${folder}/task/${record.thread}`);
  if (thread !== undefined && thread.startTime === record.threadStartTime && !thread.hasEnded) return "alive";
  return fs.existsSync(`${folder}/task`) ? "dead" : "alive";
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return errnoOf(cause) !== "ESRCH";
  }
}

function hasLiveThread(folder: string): boolean {
  try {
    return fs.readdirSync(`${folder}/task`).some((thread) => readTask(`${folder}/task/${thread}`)?.hasEnded === false);
  } catch {
    return false;
  }
}

/**
 * State, flags and start time of a process or thread: fields 3, 9 and 22 of its `stat`; field 2 is a name in parentheses.
 */
function readTask(folder: string): { hasEnded: boolean; isEnding: boolean; startTime: string } | undefined {
  try {
    const stat = fs.readFileSync(`${folder}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return {
      hasEnded: /^[ZXx]$/.test(fields[0] as string),
      isEnding: (Number(fields[6]) & FLAG_EXITING) !== 0,
      startTime: fields[19] as string,
    };
  } catch {
    return undefined;
  }
}

/** Whether SIGKILL was sent to a process that has not come round to ending yet. */
function isKilled(folder: string): boolean {
  const pending = /^(?:SigPnd|ShdPnd):\s*[0-9a-f]*[13579bdf][0-9a-f]{2}$/m;
  return pending.test(contentOf(`${folder}/status`));
}

type ProcessRecord = Omit<LockRecord, "token" | "heartbeatMs">;

let processRecord: ProcessRecord | undefined;

/** This process and thread, as their lock files name them. */
function describeProcess(): ProcessRecord {
  if (processRecord?.pid === process.pid) return processRecord;
  const thread = Number(/task\/(\d+)$/.exec(linkOf("/proc/thread-self"))?.[1] ?? 0);
  processRecord = {
    cairnLock: 1,
    pid: process.pid,
    pidNamespace: linkOf("/proc/self/ns/pid"),
    host: hostname(),
    bootId: contentOf("/proc/sys/kernel/random/boot_id"),
    startTime: readTask("/proc/self")?.startTime ?? null,
    thread,
    threadStartTime: readTask(`/proc/self/task/${thread}`)?.startTime ?? null,
  };
  return processRecord;
}

function describeSelf(timings: LockTimings): LockRecord {
  return { ...describeProcess(), token: randomBytes(16).toString("hex"), heartbeatMs: timings.heartbeatMs };
}

function linkOf(path: string): string {
  try {
    return fs.readlinkSync(path);
  } catch {
    return "";
  }
}

function contentOf(path: string): string {
  try {
    return fs.readFileSync(path, "latin1").trim();
  } catch {
    return "";
  }
}

function removeQuietly(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch {
    // It was not there, or it stays: nothing depends on it.
  }
}

function lockedError(file: string, path: string, seen: SeenLock): CairnError {
  const { record } = seen;
  if (record === undefined) {
    return new CairnError(
      "LOCKED",
      "open",
      seen.foreign
        ? `${file}: ${path} exists and is not a lock of cairn-kv. Move it away, or keep the store under another name.`
        : `${file}: another process is writing the lock file ${path}. Try again.`,
    );
  }
  const self = describeProcess();
  let holder = `process ${record.pid}`;
  if (record.bootId !== self.bootId || record.host !== self.host) holder += ` on host ${record.host}`;
  else if (record.pidNamespace !== self.pidNamespace) holder += " of another container";
  else if (record.pid === self.pid) {
    holder = `this process (pid ${record.pid})${record.thread === self.thread ? "" : `, in its thread ${record.thread}`}`;
  }
  return new CairnError(
    "LOCKED",
    "open",
    `${file} is open in ${holder}, says ${path}. Close it there, or open with readOnly: true.`,
  );
}
