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
 *    differ, so at least one period is watched before an old heartbeat counts. What is watched is time between two looks
 *    in which this process ran: of a pause, in which the holder may have been held up too, little counts.
 * 4. The right to remove a dead holder's lock belongs to whoever creates its *claim*, a file named by the lock's token;
 *    if the claimer dies too, to whoever creates the claim on the claim. The winner checks that the dead lock is still
 *    in place, without a heartbeat since, and renames its own over it. So of several takers exactly one wins, and no fresh lock is ever removed.
 * 5. A lock is removed by its holder only, and only while it carries the holder's token.
 * 6. On a file system without room a lock file stays empty. It holds as well: by its name, which nobody else can take, and
 *    by its heartbeat. With each of these the holder tries again to write what it should say. Until then others take it
 *    for a lock from elsewhere.
 */
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { dirname } from "node:path";
import process from "node:process";
import { clearInterval, setInterval } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { CairnError } from "../store/error.ts";
import { describeProcess, doubtOffset, holderState, type LockRecord, parseRecord, textOf } from "./lock-holder.ts";
import { type LockTimings, type SeenLock, Watch } from "./lock-watch.ts";
import { closeQuietly, errnoOf, isOutOfSpace, reasonOf } from "./positioned-io.ts";
import { missingFlag } from "./refusal.ts";

export type { LockTimings } from "./lock-watch.ts";

const TIMINGS: LockTimings = { heartbeatMs: 2_000, staleMs: 10_000 };

/** How many dead claimers are followed. Each was killed within the microseconds of a takeover. */
const CLAIM_DEPTH_MAX = 16;

const LOCK_FILE_SIZE_MAX = 16_384;
const JSON_MARK = '{"cairnLock":';

/** A lock that is held. */
export interface FileLock {
  /** The lock file. */
  readonly path: string;
  /**
   * Whether nothing proves that the holder before is dead: only its missing heartbeat says so, or there was no lock file, which
   * somebody may have removed; or the holder before did not know, and died before it had the store. If the store was not closed
   * either, it may still write.
   */
  readonly predecessorAlive: boolean;
  /** The store is open: who had it before this holder can do no harm any more, whoever takes over from here on. */
  settled(): void;
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
  const self = describeSelf(timings);
  for (;;) {
    const seen = readLock(path, file);
    let placed: Placed | undefined;
    let isDoubtful = false;
    let record = { ...self, doubt: 1 };
    if (seen === undefined) {
      isDoubtful = true;
      placed = withDraft(path, record, file, (draft) => draft.place(path));
    } else {
      // One without content says nothing of this process.
      if (seen.record === undefined) checkPath(file);
      const verdict = watch.judge(seen, path);
      if (verdict === "alive" || watch.isOver()) throw lockedError(file, path, seen);
      const isKnown = seen.record !== undefined && holderState(seen.record, path) !== "elsewhere";
      isDoubtful = !isKnown || seen.record?.doubt === 1;
      record = { ...self, doubt: isDoubtful ? 1 : 0 };
      if (verdict === "dead") placed = withDraft(path, record, file, (draft) => takeOver(path, seen, draft, watch));
    }
    if (placed !== undefined) return hold(file, path, record, placed, isDoubtful);
    await sleep(watch.pollMs);
  }
}

/** A lock file that is written but not in place yet. Its file is removed with it, its descriptor stays open. */
class Draft {
  readonly token: string;
  /** What the lock file has yet to say, on a full file system; else empty. */
  unwritten = "";
  private readonly path: string;
  private readonly content: string;
  private descriptor: number;

  constructor(lockPath: string, record: LockRecord) {
    this.token = record.token;
    this.path = `${lockPath}.${record.token}`;
    this.content = textOf(record);
    this.descriptor = fs.openSync(this.path, "wx");
    try {
      this.write();
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
    closeQuietly(this.descriptor);
    this.descriptor = descriptor;
    try {
      this.write();
    } catch (cause) {
      removeQuietly(path);
      throw cause;
    }
    return descriptor;
  }

  private write(): void {
    this.unwritten = writeLock(this.descriptor, this.content) ? "" : this.content;
  }

  /** Replaces the dead lock at `path` in one step. */
  replace(path: string): number {
    fs.renameSync(this.path, path);
    return this.descriptor;
  }

  discard(keepsDescriptor: boolean): void {
    if (!keepsDescriptor) closeQuietly(this.descriptor);
    removeQuietly(this.path);
  }
}

/** A lock file that is in place, and what it has yet to say. */
interface Placed {
  descriptor: number;
  unwritten: string;
}

/** Writes what a lock file says, whole or, where there is no room, not at all: whether it did. */
function writeLock(descriptor: number, content: string): boolean {
  try {
    if (fs.writeSync(descriptor, content, 0) === Buffer.byteLength(content)) {
      syncQuietly(descriptor);
      return true;
    }
  } catch (cause) {
    if (!isOutOfSpace(cause)) throw cause;
  }
  fs.ftruncateSync(descriptor, 0);
  return false;
}

/** After a power cut a lock that says nothing would be waited for; one that names an earlier boot is dead. */
function syncQuietly(descriptor: number): void {
  try {
    fs.fdatasyncSync(descriptor);
  } catch {
    // It holds as well.
  }
}

/** Runs `body` with a draft of the lock. `body` returns the descriptor when the lock is in place. */
function withDraft(
  path: string,
  record: LockRecord,
  file: string,
  body: (draft: Draft) => number | undefined,
): Placed | undefined {
  let draft: Draft | undefined;
  let descriptor: number | undefined;
  try {
    draft = new Draft(path, record);
    descriptor = body(draft);
  } catch (cause) {
    if (cause instanceof CairnError) throw cause;
    const isFull = isOutOfSpace(cause);
    const flag = missingFlag(cause);
    const advice = isFull ? "free some space" : flag === undefined ? "make the folder writable" : folderFlags(path);
    throw new CairnError(
      isFull ? "NO_SPACE" : "DEVICE_WRITE",
      "open",
      `${file}: its lock file ${path} cannot be made: ${reasonOf(cause)}. Writing needs a lock: ${advice}, or open with readOnly: true.`,
      { cause },
    );
  } finally {
    draft?.discard(descriptor !== undefined);
  }
  return descriptor === undefined ? undefined : { descriptor, unwritten: draft?.unwritten ?? "" };
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
    if (claimer === undefined || watch.judge(claimer, claim) !== "dead") return undefined;
    claimed = claimer.identity;
  }
  if (!isWon) return undefined;
  let descriptor: number | undefined;
  try {
    const again = readLock(path, path);
    // A holder that was judged by its heartbeat may have come back since.
    if (again?.identity === dead.identity && again.modifiedMs === dead.modifiedMs) descriptor = draft.replace(path);
  } finally {
    // All claims but the last are those of dead takers, and ours to remove only with the lock in our hands.
    for (const claim of descriptor === undefined ? claims.slice(-1) : claims) removeQuietly(claim);
  }
  if (descriptor !== undefined) removeQuietly(`${path}.${dead.identity}`);
  return descriptor;
}

function hold(file: string, path: string, record: LockRecord, placed: Placed, predecessorAlive: boolean): FileLock {
  const { descriptor } = placed;
  const heartbeat = setInterval(() => {
    try {
      if (placed.unwritten !== "" && writeLock(descriptor, placed.unwritten)) placed.unwritten = "";
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
    predecessorAlive,
    identify(next) {
      checkHeld(next, file);
      held.set(next, file);
      identity = next;
    },
    settled() {
      try {
        if (placed.unwritten !== "") placed.unwritten = textOf({ ...record, doubt: 0 });
        else if (record.doubt === 1 && !isReleased)
          fs.writeSync(descriptor, Buffer.from("0"), 0, 1, doubtOffset(record));
      } catch {
        // A taker fences once more than it need then. (Deno would append text: so it is bytes.)
      }
    },
    release() {
      if (isReleased) return;
      isReleased = true;
      clearInterval(heartbeat);
      if (identity !== undefined) held.delete(identity);
      try {
        const { dev, ino } = fs.fstatSync(descriptor);
        const there = fs.statSync(path);
        const isOurs =
          placed.unwritten === ""
            ? readLock(path, file)?.identity === record.token
            : there.ino === ino && there.dev === dev;
        if (isOurs) fs.unlinkSync(path);
      } catch {
        // A lock file that stays behind is taken over when this process has ended.
      } finally {
        closeQuietly(descriptor);
      }
    },
  };
}

/** `LOCKED` when this thread holds the lock of the file. */
function checkPath(file: string): void {
  for (const [identity, path] of held) if (path === file) checkHeld(identity, file);
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
  const lookedMs = performance.now();
  try {
    descriptor = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
    const stat = fs.fstatSync(descriptor);
    const { ino, mtimeMs } = stat;
    const seen = {
      identity: `torn-${ino}-${mtimeMs}`,
      beats: `torn-${ino}`,
      record: undefined,
      modifiedMs: mtimeMs,
      lookedMs,
    };
    if (!stat.isFile() || stat.size > LOCK_FILE_SIZE_MAX) return { ...seen, foreign: true };
    const content = fs.readFileSync(descriptor, "utf8");
    const record = parseRecord(content);
    if (record !== undefined) return { ...seen, identity: record.token, beats: record.token, record, foreign: false };
    const isTorn = /^\0*$/.test(content) || JSON_MARK.startsWith(content) || content.startsWith(JSON_MARK);
    return { ...seen, foreign: !isTorn };
  } catch (cause) {
    if (errnoOf(cause) === "ENOENT") return undefined;
    if (missingFlag(cause) !== undefined) {
      const message = `${file}: its lock file ${path} cannot be read: ${reasonOf(cause)}. Writing needs a lock: ${folderFlags(path)}, or open with readOnly: true.`;
      throw new CairnError("DEVICE_READ", "open", message, { cause });
    }
    throw new CairnError(
      "LOCKED",
      "open",
      `${file}: its lock file ${path} cannot be read: ${reasonOf(cause)}. Make it readable, or remove it if no process has the store open.`,
      { cause },
    );
  } finally {
    if (descriptor !== undefined) closeQuietly(descriptor);
  }
}

function describeSelf(timings: LockTimings): LockRecord {
  return { ...describeProcess(), token: randomBytes(16).toString("hex"), heartbeatMs: timings.heartbeatMs };
}

/** What Deno has to be started with for locks: drafts of them come and go under names of their own. */
function folderFlags(path: string): string {
  const folder = dirname(path);
  return `start Deno with --allow-read=${folder} and --allow-write=${folder}`;
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
        : `${file}: ${path} is held by another process, which had no room to say which. Close the store there, or open with readOnly: true.`,
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
