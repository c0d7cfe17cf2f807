/**
 * Positioned input and output on file descriptors over `node:fs`.
 *
 * A transfer loops to its end. The kernel may move fewer bytes than asked for; the count is always checked, because a
 * detached view makes `fs` move 0 bytes without an error. On an `O_DIRECT` descriptor what is left has to stay aligned:
 * a `unit` is given, and of a count only whole units are taken as done.
 */
import * as fs from "node:fs";
import type { DevicePiece, DeviceTarget } from "../store/device.ts";

/** Offsets and sizes are multiples of it. */
export { BLOCK_SIZE } from "../store/layout.ts";

/** The most bytes of one system call: Linux moves at most 2 GiB less a page, `fs` takes lengths below 2^31. */
const TRANSFER_SIZE_MAX = 2 ** 30;

/** How often a read that fails with EIO is issued again. */
const READ_RETRY_COUNT = 2;

/** How often a system call that a signal interrupted is issued again before it counts as failed. */
const INTERRUPT_RETRY_COUNT = 100;

/** Writes in flight at once. Linux writes one file's pages under one lock, and the thread pool has four threads. */
const WRITE_CONCURRENCY = 2;

/** Numbers on Linux of errors for which a runtime's `node:fs` has no name: Node for EDQUOT, Deno for several. */
const ERRNO_NAMES: Readonly<Record<string, string>> = {
  "4": "EINTR",
  "5": "EIO",
  "11": "EAGAIN",
  "16": "EBUSY",
  "22": "EINVAL",
  "27": "EFBIG",
  "28": "ENOSPC",
  "95": "EOPNOTSUPP",
  "122": "EDQUOT",
};

/** The `errno` name of an error of `node:fs`, such as `"ENOSPC"`, or the empty string. */
export function errnoOf(cause: unknown): string {
  const { code, errno, message } = (cause ?? {}) as { code?: unknown; errno?: unknown; message?: unknown };
  if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) return code;
  // Node: a code that says no more than "unknown", with the number. Deno: a message that ends with "(os error 122)".
  const number = typeof errno === "number" ? Math.abs(errno) : /\(os error (\d+)\)/.exec(String(message))?.[1];
  return ERRNO_NAMES[String(number)] ?? (typeof code === "string" ? code : "");
}

/** The message of anything that was thrown. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Whether `cause` says that the file system or the quota has no room left. */
export function isOutOfSpace(cause: unknown): boolean {
  const code = errnoOf(cause);
  return code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
}

/**
 * Closes a descriptor. It is closed also where the system says that this failed, and what was synced is on the device: whoever
 * gives a file up goes on giving up the rest.
 */
export function closeQuietly(descriptor: number): void {
  try {
    fs.closeSync(descriptor);
  } catch {
    // See above.
  }
}

/**
 * Fills `target`, or `size` bytes of it from `at` on, from `offset` on. Returns the count of bytes read; it is short only
 * when the file ended. EIO is tried again at most twice. Throws the error of `node:fs`.
 */
export function readFully(
  descriptor: number,
  offset: number,
  target: Uint8Array,
  at = 0,
  size = target.length - at,
): number {
  let done = 0;
  let errorCount = 0;
  let interruptCount = 0;
  while (done < size) {
    const length = Math.min(size - done, TRANSFER_SIZE_MAX);
    let count: number;
    try {
      count = fs.readSync(descriptor, target, at + done, length, offset + done);
    } catch (cause) {
      const code = errnoOf(cause);
      if (code === "EIO" && errorCount < READ_RETRY_COUNT) errorCount += 1;
      else if (isInterrupt(code) && interruptCount < INTERRUPT_RETRY_COUNT) interruptCount += 1;
      else throw cause;
      continue;
    }
    if (count === 0) break;
    done += count;
  }
  return done;
}

/**
 * `readFully` in the thread pool, of neighbours: the first piece's offset is that of all. `settled` gets the error, or
 * `undefined` and the count of bytes read; nothing is in flight when it is called.
 */
export function readFullyLater(
  descriptor: number,
  pieces: readonly DeviceTarget[],
  unit: number,
  settled: (cause: unknown, count: number) => void,
): void {
  const first = pieces[0] as DeviceTarget;
  let size = 0;
  for (const { target } of pieces) size += target.length;
  let done = 0;
  let errorCount = 0;
  let interruptCount = 0;
  const ended = (cause: unknown, count: number): void => {
    if (cause) {
      const code = errnoOf(cause);
      if (code === "EIO" && errorCount < READ_RETRY_COUNT) errorCount += 1;
      else if (isInterrupt(code) && interruptCount < INTERRUPT_RETRY_COUNT) interruptCount += 1;
      else {
        settled(cause, done);
        return;
      }
    } else if (count < unit) {
      settled(undefined, done);
      return;
    } else {
      done += count - (count % unit);
      if (done >= size) {
        settled(undefined, done);
        return;
      }
    }
    step();
  };
  const step = (): void => {
    try {
      if (pieces.length === 1) {
        fs.read(descriptor, first.target, done, first.target.length - done, first.offset + done, ended);
      } else {
        fs.readv(descriptor, restOf(pieces, done), first.offset + done, ended);
      }
    } catch (cause) {
      settled(cause, done);
    }
  };
  step();
}

/** The index behind the pieces from `from` on that are neighbours on the device. */
export function endOfRun(pieces: readonly DeviceTarget[], from: number): number {
  let to = Math.min(from + 1, pieces.length);
  for (; to > from && to < pieces.length; to += 1) {
    const { offset, target } = pieces[to - 1] as DeviceTarget;
    if ((pieces[to] as DeviceTarget).offset !== offset + target.length) break;
  }
  return to;
}

/** The targets of pieces behind their first `done` bytes. */
function restOf(pieces: readonly DeviceTarget[], done: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skipped = done;
  for (const { target } of pieces) {
    if (skipped < target.length) rest.push(skipped === 0 ? target : target.subarray(skipped));
    skipped = Math.max(0, skipped - target.length);
  }
  return rest;
}

/** Writes all of `source` at `offset`. Throws the error of `node:fs`; a part may have been written then. */
export function writeFully(descriptor: number, offset: number, source: Uint8Array, unit = 1): void {
  let done = 0;
  let interruptCount = 0;
  while (done < source.length) {
    const length = Math.min(source.length - done, TRANSFER_SIZE_MAX);
    let count: number;
    try {
      count = fs.writeSync(descriptor, source, done, length, offset + done);
    } catch (cause) {
      if (!isInterrupt(errnoOf(cause)) || interruptCount >= INTERRUPT_RETRY_COUNT) throw cause;
      interruptCount += 1;
      continue;
    }
    if (count < unit) throw stalled(count, length);
    done += count - (count % unit);
  }
}

/** `writeFully` in the thread pool. `settled` gets the error, or `undefined`; nothing is in flight when it is called. */
export function writeFullyLater(
  descriptor: number,
  offset: number,
  source: Uint8Array,
  unit: number,
  settled: (cause: unknown) => void,
): void {
  let done = 0;
  let interruptCount = 0;
  const step = (): void => {
    const length = Math.min(source.length - done, TRANSFER_SIZE_MAX);
    if (length === 0) {
      settled(undefined);
      return;
    }
    try {
      fs.write(descriptor, source, done, length, offset + done, (cause, count) => {
        if (cause && (!isInterrupt(errnoOf(cause)) || interruptCount >= INTERRUPT_RETRY_COUNT)) {
          settled(cause);
        } else if (!cause && count < unit) {
          settled(stalled(count, length));
        } else {
          if (cause) interruptCount += 1;
          else done += count - (count % unit);
          step();
        }
      });
    } catch (cause) {
      settled(cause);
    }
  };
  step();
}

/**
 * Writes the pieces with `writeLater`, a few at once. No new piece is started after a failure; those in flight are
 * waited for.
 */
export function writePieces(
  pieces: readonly DevicePiece[],
  writeLater: (piece: DevicePiece, settled: (cause: unknown) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0;
    let inFlightCount = 0;
    let failed = false;
    let failure: unknown;
    const advance = (): void => {
      while (!failed && next < pieces.length && inFlightCount < WRITE_CONCURRENCY) {
        const piece = pieces[next] as DevicePiece;
        next += 1;
        if (piece.source.length === 0) continue;
        inFlightCount += 1;
        writeLater(piece, (cause) => {
          inFlightCount -= 1;
          if (cause !== undefined && !failed) {
            failed = true;
            failure = cause;
          }
          advance();
        });
      }
      if (inFlightCount > 0) return;
      if (failed) reject(failure);
      else if (next === pieces.length) resolve();
    };
    advance();
  });
}

/** A write that came to less than a unit: 0 bytes are a failure, a part of a unit refuses this way of writing. */
function stalled(count: number, length: number): Error {
  const error = new Error(`the system wrote ${count} of ${length} bytes and gave no reason`);
  return count === 0 ? error : Object.assign(error, { code: "EINVAL" });
}

function isInterrupt(code: string): boolean {
  return code === "EINTR" || code === "EAGAIN";
}
