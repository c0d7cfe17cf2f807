/**
 * Failures as the component's interfaces tell them: statuses of the engine and a few of its own, as codes and texts.
 *
 * Texts are literals, which lie in a data segment as UTF-16; all of them are ASCII, so every second byte is the text.
 */
import { root } from "../root";
import { Status } from "../status";
import { arenaTake, leave, RESULT, state } from "./state";

/** What the component refuses beyond the engine's statuses. */
export namespace Refusal {
  export const LOCKED: i32 = -64;
  export const CLOSED: i32 = -65;
  export const NOT_A_NUMBER: i32 = -66;
  export const OUT_OF_RANGE: i32 = -67;
  /** For `wasi:keyvalue` only. */
  export const NO_SUCH_STORE: i32 = -68;
}

const ENGINE_CODE_COUNT: i32 = 18;
const TEXT_SIZE_MAX: u32 = 512;

/** The cases of `error` of `wasi:keyvalue/store`. */
namespace KeyvalueError {
  export const NO_SUCH_STORE: u32 = 0;
  export const ACCESS_DENIED: u32 = 1;
  export const OTHER: u32 = 2;
}

/** Ends a call of `cairn:kv` with an error: its result area. The payload of the result lies at 8. */
export function fail(status: i32): usize {
  store<u8>(RESULT, 1);
  store<u8>(RESULT, codeOf(status), 8);
  const text = arenaTake(TEXT_SIZE_MAX, 1);
  const end = text ? textAppend(text, messageOf(status)) : text;
  store<u32>(RESULT, <u32>text, 12);
  store<u32>(RESULT, <u32>(end - text), 16);
  const placed = status == Status.CORRUPT || status == Status.DEVICE_READ;
  store<u8>(RESULT, placed ? 1 : 0, 24);
  store<u64>(RESULT, root.faultOffset, 32);
  return leave();
}

/** Ends a call of `wasi:keyvalue` with an error whose place in the result area is `at`. */
export function failKeyvalue(status: i32, at: usize): usize {
  store<u8>(RESULT, 1);
  let kind = KeyvalueError.OTHER;
  if (status == Refusal.NO_SUCH_STORE) kind = KeyvalueError.NO_SUCH_STORE;
  else if (state.denied) kind = KeyvalueError.ACCESS_DENIED;
  store<u8>(RESULT + at, <u8>kind);
  const text = arenaTake(TEXT_SIZE_MAX, 1);
  let end = text;
  if (text) {
    end = textAppend(end, nameOf(status));
    end = textAppend(end, ": ");
    end = textAppend(end, messageOf(status));
  }
  store<u32>(RESULT + at, <u32>text, 4);
  store<u32>(RESULT + at, <u32>(end - text), 8);
  return leave();
}

/** The case of `error-code` for a status. */
function codeOf(status: i32): u8 {
  if (status == Refusal.NO_SUCH_STORE) return <u8>(-Status.INVALID_ARGUMENT - 1);
  return <u8>(status > Refusal.LOCKED ? -status - 1 : ENGINE_CODE_COUNT + Refusal.LOCKED - status);
}

/** Copies a literal of ASCII characters: where it ends. */
export function textAppend(target: usize, text: string): usize {
  const source = changetype<usize>(text);
  const size = load<u32>(source - 4) >>> 1;
  for (let i: usize = 0; i < <usize>size; i++) store<u8>(target + i, load<u8>(source + (i << 1)));
  return target + size;
}

/** Lets the call's failure say `text` instead of what its code alone says. */
export function explain(text: string, status: i32): i32 {
  state.detail = <u32>changetype<usize>(text);
  return status;
}

function messageOf(status: i32): string {
  if (state.detail) return changetype<string>(<usize>state.detail);
  switch (status) {
    case Status.NOT_A_STORE:
      return "the file holds something that is not a Cairn store. Check the path.";
    case Status.UNSUPPORTED_FORMAT:
      return "the store was written by another version of Cairn. Open it with that one; nothing was changed.";
    case Status.ENGINE_MISMATCH:
      return "the store was formatted with another engine. Open it with that one.";
    case Status.CORRUPT:
      return "the device gave bytes that are not what was written.";
    case Status.DEVICE_READ:
      return "the device failed to read.";
    case Status.DEVICE_WRITE:
      return "the device failed to write or to sync. Open the store again: what was acknowledged is there.";
    case Status.DEVICE_SHRUNK:
      return "the file is smaller than the store in it. Restore a backup.";
    case Status.NO_SPACE:
      return "no room is left on the device. Free some, or delete records.";
    case Status.OUT_OF_MEMORY:
      return "the component's memory is used up; nothing was changed.";
    case Status.KEY_SIZE:
      return "a key has 1 to 2,048 bytes.";
    case Status.VALUE_SIZE:
      return "a value has at most 64 MiB.";
    case Status.BATCH_SIZE:
      return "a batch has at most 1 GiB. Split it.";
    case Status.FENCED:
      return "another opener has taken the store over. Close this one.";
    case Status.POISONED:
      return "an earlier write or sync failed, so nothing more is accepted. Close the store and open it again.";
    case Status.READ_ONLY:
      return "the store was opened with read-only: true.";
    case Refusal.LOCKED:
      return "the store is open elsewhere, says its lock file. Close it there, or open it with read-only: true.";
    case Refusal.CLOSED:
      return "the store is closed. Open it again.";
    case Refusal.NOT_A_NUMBER:
      return "the value is not a 64-bit integer in decimal ASCII.";
    case Refusal.OUT_OF_RANGE:
      return "the sum does not fit 64 bits.";
    default:
      return "an argument is out of its range.";
  }
}

function nameOf(status: i32): string {
  switch (status) {
    case Status.NOT_A_STORE:
      return "NOT_A_STORE";
    case Status.UNSUPPORTED_FORMAT:
      return "UNSUPPORTED_FORMAT";
    case Status.ENGINE_MISMATCH:
      return "ENGINE_MISMATCH";
    case Status.CORRUPT:
      return "CORRUPT";
    case Status.DEVICE_READ:
      return "DEVICE_READ";
    case Status.DEVICE_WRITE:
      return "DEVICE_WRITE";
    case Status.DEVICE_SHRUNK:
      return "DEVICE_SHRUNK";
    case Status.NO_SPACE:
      return "NO_SPACE";
    case Status.OUT_OF_MEMORY:
      return "OUT_OF_MEMORY";
    case Status.KEY_SIZE:
      return "KEY_SIZE";
    case Status.VALUE_SIZE:
      return "VALUE_SIZE";
    case Status.BATCH_SIZE:
      return "BATCH_SIZE";
    case Status.FENCED:
      return "FENCED";
    case Status.POISONED:
      return "POISONED";
    case Status.READ_ONLY:
      return "READ_ONLY";
    case Refusal.LOCKED:
      return "LOCKED";
    case Refusal.CLOSED:
      return "CLOSED";
    case Refusal.NOT_A_NUMBER:
      return "NOT_A_NUMBER";
    case Refusal.OUT_OF_RANGE:
      return "OUT_OF_RANGE";
    default:
      return "INVALID_ARGUMENT";
  }
}
