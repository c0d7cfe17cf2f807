/**
 * The lock of the store's file: `<path>.lock`, beside it, as the other hosts take it.
 *
 * 1. It is created exclusively, then written. What it says names no process, since WASI knows none: everybody else
 *    judges this holder by its heartbeat, and this opener judges everybody by theirs.
 * 2. The heartbeat is the file's modification time. A component has no timer: it is shown by rewriting the file at the
 *    first call after two seconds. A holder that makes no call for ten seconds may be taken for dead; the epoch in the
 *    superblock then fences it off, and its next commit is FENCED.
 * 3. A holder is dead when ten seconds bring no heartbeat. Clocks differ, so at least one period is watched before an
 *    old one counts.
 * 4. The right to replace a dead holder's lock belongs to whoever creates its claim, `<lock>.<token>.claim`. The winner
 *    checks that the dead lock is still in place and renames its own over it.
 * 5. A lock is removed only while it carries our token.
 */
import { tickMs, timeNowMs } from "../device/device";
import { descriptorWrite, randomU64 } from "../device/imports";
import { root } from "../root";
import { Status } from "../status";
import { explain, Refusal, textAppend } from "./failure";
import {
  Access,
  FileError,
  fileOpen,
  fileRead,
  fileStat,
  fileUnlink,
  OpenFlags,
  openRefusal,
  statIsFile,
  statModifiedMs,
  statSize,
} from "./files";
import { descriptorDrop, descriptorRenameAt, pollableBlock, pollableDrop, subscribeDuration } from "./imports";
import { BESIDE_PATH, FILE_PATH, LOCK_PATH, LOCK_SEEN, LOCK_SEEN_SIZE, LOCK_TEXT, state, WASI_RESULT } from "./state";

const HEARTBEAT_MS: u64 = 2000;
const STALE_MS: u64 = 10000;
/** At least so long is a holder watched. */
const WATCH_MS: u64 = 2500;
const POLL_MS: u64 = 200;
const ATTEMPT_COUNT_MAX: u32 = 8;
const TOKEN_SIZE: u32 = 32;
/** What is read of a lock file, and places behind it for what is looked for in it. */
const LOOK_SIZE: u32 = 1000;
const MARK: usize = LOCK_SEEN + 0x800;
const NAME: usize = LOCK_SEEN + 0x900;
const TOKEN_KEPT: usize = LOCK_SEEN + 0xa00;

/** What came of looking at a lock. */
namespace Seen {
  export const GONE: i32 = 0;
  export const LOCK: i32 = 1;
  /** Torn, or not a lock of ours: it has no token to claim it by. */
  export const STRANGE: i32 = 2;
}

/**
 * Takes the lock of the file in FILE_PATH. Returns at once when nobody holds it, and within ten seconds otherwise:
 * LOCKED, or OK when the holder was dead. NO_SPACE, DEVICE_WRITE when the lock file cannot be made.
 */
export function lockTake(): i32 {
  memory.copy(LOCK_PATH, FILE_PATH, state.filePathSize);
  state.lockPathSize = <u32>(textAppend(LOCK_PATH + state.filePathSize, ".lock") - LOCK_PATH);
  lockDescribe();
  for (let attempt: u32 = 0; attempt < ATTEMPT_COUNT_MAX; attempt++) {
    const made = lockMake(LOCK_PATH, state.lockPathSize);
    if (made < 0) return made;
    if (made) return Status.OK;
    const dead = holderWatch();
    if (dead < 0) return dead;
    if (!dead) continue;
    const taken = lockReplace();
    if (taken < 0) return taken;
    if (taken) return Status.OK;
  }
  return Refusal.LOCKED;
}

/** Shows the heartbeat when that is due. */
export function lockBeat(): void {
  if (!state.lock) return;
  const now = tickMs();
  if (now - state.beatMs < HEARTBEAT_MS) return;
  state.beatMs = now;
  // A heartbeat that cannot be shown costs the lock at worst, and the epoch fences then.
  descriptorWrite(state.lock, LOCK_TEXT, state.lockTextSize, 0, WASI_RESULT);
}

/** Gives the lock up, if it is still ours. */
export function lockGive(): void {
  if (!state.lock) return;
  descriptorDrop(state.lock);
  state.lock = 0;
  if (lockLook(LOCK_PATH, state.lockPathSize) == Seen.LOCK && tokenIsOurs()) fileUnlink(LOCK_PATH, state.lockPathSize);
}

/** Writes what our lock says to LOCK_TEXT. `bootId` is no kernel's, so that everybody takes the holder for distant. */
function lockDescribe(): void {
  state.tokenLow = randomU64();
  state.tokenHigh = randomU64();
  let at = textAppend(
    LOCK_TEXT,
    '{"cairnLock":1,"pid":1,"pidNamespace":"wasi","host":"a WASI component","bootId":"wasi","startTime":null,"thread":0,',
  );
  at = textAppend(at, '"threadStartTime":null,"token":"');
  at = tokenAppend(at);
  at = textAppend(at, '","heartbeatMs":2000}\n');
  state.lockTextSize = <u32>(at - LOCK_TEXT);
}

function tokenAppend(at: usize): usize {
  for (let i: u32 = 0; i < TOKEN_SIZE; i++) {
    const word = i < 16 ? state.tokenHigh : state.tokenLow;
    const digit = <u32>(word >>> <u64>(60 - ((i & 15) << 2))) & 15;
    store<u8>(at + i, <u8>(digit < 10 ? 0x30 + digit : 0x57 + digit));
  }
  return at + TOKEN_SIZE;
}

/** Creates a file with what our lock says, and keeps its handle: 1, 0 when the place is taken, or a status. */
function lockMake(path: usize, pathSize: u32): i32 {
  const handle = fileOpen(path, pathSize, OpenFlags.CREATE | OpenFlags.EXCLUSIVE, Access.READ_WRITE);
  if (!handle) return root.wasiErrorCode == FileError.EXIST ? 0 : openRefusal(false);
  descriptorWrite(handle, LOCK_TEXT, state.lockTextSize, 0, WASI_RESULT);
  if (load<u8>(WASI_RESULT) || load<u64>(WASI_RESULT, 8) != <u64>state.lockTextSize) {
    const code = <u32>load<u8>(WASI_RESULT, 8);
    descriptorDrop(handle);
    fileUnlink(path, pathSize);
    return code == FileError.INSUFFICIENT_SPACE ? Status.NO_SPACE : Status.DEVICE_WRITE;
  }
  state.lock = handle;
  state.beatMs = tickMs();
  return 1;
}

/** Watches whoever holds the lock: 1 when it is dead, its token kept; 0 when it has gone; LOCKED. */
function holderWatch(): i32 {
  const start = tickMs();
  const kind = lockLook(LOCK_PATH, state.lockPathSize);
  if (kind == Seen.GONE) return 0;
  const beat = statModifiedMs();
  if (kind == Seen.STRANGE || !beat) {
    return explain(
      "the lock file beside the store cannot be read as one. If no process has the store open, remove it.",
      Refusal.LOCKED,
    );
  }
  tokenKeep();
  const now = timeNowMs();
  const age = now > beat ? now - beat : 0;
  const needed = age < STALE_MS ? max(WATCH_MS, STALE_MS - age) : WATCH_MS;
  while (tickMs() - start <= needed) {
    const pause = subscribeDuration(POLL_MS * 1000000);
    pollableBlock(pause);
    pollableDrop(pause);
    const again = lockLook(LOCK_PATH, state.lockPathSize);
    if (again == Seen.GONE) return 0;
    if (again == Seen.STRANGE || !tokenIsKept() || statModifiedMs() != beat) return Refusal.LOCKED;
  }
  return 1;
}

/** Replaces the dead lock whose token is kept: 1, 0 when the place has changed, or LOCKED when another taker is ahead. */
function lockReplace(): i32 {
  let end = BESIDE_PATH + state.lockPathSize;
  memory.copy(BESIDE_PATH, LOCK_PATH, state.lockPathSize);
  end = textAppend(end, ".");
  memory.copy(end, TOKEN_KEPT, TOKEN_SIZE);
  end = textAppend(end + TOKEN_SIZE, ".claim");
  const claimSize = <u32>(end - BESIDE_PATH);
  const claimed = lockMake(BESIDE_PATH, claimSize);
  if (claimed < 0) return claimed;
  if (!claimed) {
    return explain("another opener is taking over the lock of a dead one. Try again.", Refusal.LOCKED);
  }
  // The claim says what our lock says, so it becomes the lock.
  if (lockLook(LOCK_PATH, state.lockPathSize) == Seen.LOCK && tokenIsKept()) {
    descriptorRenameAt(state.folder, BESIDE_PATH, claimSize, state.folder, LOCK_PATH, state.lockPathSize, WASI_RESULT);
    if (!load<u8>(WASI_RESULT)) return 1;
  }
  descriptorDrop(state.lock);
  state.lock = 0;
  fileUnlink(BESIDE_PATH, claimSize);
  return 0;
}

/** Reads a lock file to LOCK_SEEN; `statModifiedMs` tells its heartbeat. */
function lockLook(path: usize, pathSize: u32): i32 {
  const handle = fileOpen(path, pathSize, 0, Access.READ);
  if (!handle) return root.wasiErrorCode == FileError.NO_ENTRY ? Seen.GONE : Seen.STRANGE;
  memory.fill(LOCK_SEEN, 0, 1024);
  const size = fileRead(handle, 0, LOCK_SEEN, LOOK_SIZE);
  const known = fileStat(handle) == Status.OK && statIsFile() && statSize() <= LOCK_SEEN_SIZE;
  descriptorDrop(handle);
  return known && size > 0 && seenToken() ? Seen.LOCK : Seen.STRANGE;
}

/** Where the token of the lock in LOCK_SEEN lies, or 0 when it has none. */
function seenToken(): usize {
  const markSize = textAppend(MARK, '{"cairnLock":1,') - MARK;
  if (memory.compare(LOCK_SEEN, MARK, markSize) != 0) return 0;
  const nameSize = textAppend(NAME, '"token":"') - NAME;
  for (let at = LOCK_SEEN; at < LOCK_SEEN + LOOK_SIZE; at++) {
    if (memory.compare(at, NAME, nameSize) != 0) continue;
    const token = at + nameSize;
    for (let i: usize = 0; i < <usize>TOKEN_SIZE; i++) {
      const digit = <u32>load<u8>(token + i);
      const isHex = digit - 0x30 < 10 || digit - 0x61 < 6;
      if (!isHex) return 0;
    }
    return token;
  }
  return 0;
}

function tokenKeep(): void {
  memory.copy(TOKEN_KEPT, seenToken(), TOKEN_SIZE);
}

/** Whether the lock in LOCK_SEEN is the one whose token was kept. */
function tokenIsKept(): bool {
  return memory.compare(TOKEN_KEPT, seenToken(), TOKEN_SIZE) == 0;
}

function tokenIsOurs(): bool {
  tokenAppend(TOKEN_KEPT);
  return tokenIsKept();
}
