/**
 * The device as the engine sees it: blocks at byte offsets, synchronous, with statuses. Our own hosts transfer all that
 * was asked for; any other WASI may transfer less, and is asked again for what is left.
 */
import { root, WASI_RETURN } from "../root";
import { Status } from "../status";
import {
  descriptorRead,
  descriptorSetSize,
  descriptorStat,
  descriptorSyncData,
  descriptorWrite,
  monotonicClockNow,
  wallClockNow,
} from "./imports";

/** Indexes into the `error-code` enumeration of `wasi:filesystem/types`. */
const ERROR_QUOTA: u32 = 6;
const ERROR_FILE_TOO_LARGE: u32 = 8;
const ERROR_INSUFFICIENT_SPACE: u32 = 23;

/** Whether a WASI error code means that there is no room, rather than that the device failed. */
export function isNoSpace(errorCode: u32): bool {
  return errorCode == ERROR_INSUFFICIENT_SPACE || errorCode == ERROR_QUOTA || errorCode == ERROR_FILE_TOO_LARGE;
}

/** Reads `size` bytes at `offset` into `target`. DEVICE_READ, or DEVICE_SHRUNK when the device ends before. */
export function deviceRead(offset: u64, target: usize, size: u32): i32 {
  return readThrough(root.device, offset, target, size);
}

/** `deviceRead` of blocks that the cache keeps: past the host's own cache where the opener asked for that. */
export function deviceReadCold(offset: u64, target: usize, size: u32): i32 {
  return readThrough(root.deviceCold, offset, target, size);
}

function readThrough(handle: u32, offset: u64, target: usize, size: u32): i32 {
  root.deviceReads++;
  while (true) {
    root.wasiReadTarget = <u32>target;
    descriptorRead(handle, size, offset, WASI_RETURN);
    root.wasiReadTarget = 0;
    if (load<u8>(WASI_RETURN)) {
      root.wasiErrorCode = load<u8>(WASI_RETURN, 4);
      root.faultOffset = offset;
      return Status.DEVICE_READ;
    }
    const count = load<u32>(WASI_RETURN, 8);
    const landed = <usize>load<u32>(WASI_RETURN, 4);
    if (landed != target) memory.copy(target, landed, min(count, size));
    if (count >= size) return Status.OK;
    if (!count || load<u8>(WASI_RETURN, 12)) {
      root.faultOffset = offset;
      return Status.DEVICE_SHRUNK;
    }
    offset += count;
    target += count;
    size -= count;
  }
}

/** Writes `size` bytes from `source` at `offset`. DEVICE_WRITE, or NO_SPACE when the host says there is no room. */
export function deviceWrite(offset: u64, source: usize, size: u32): i32 {
  return writeThrough(root.device, offset, source, size);
}

/** `deviceWrite` of bytes that will hardly be read back: the host may keep them out of its cache. */
export function deviceWriteUncached(offset: u64, source: usize, size: u32): i32 {
  return writeThrough(root.deviceUncached, offset, source, size);
}

function writeThrough(handle: u32, offset: u64, source: usize, size: u32): i32 {
  root.deviceWrites++;
  while (true) {
    descriptorWrite(handle, source, size, offset, WASI_RETURN);
    if (load<u8>(WASI_RETURN)) {
      const code = <u32>load<u8>(WASI_RETURN, 8);
      root.wasiErrorCode = code;
      root.faultOffset = offset;
      return isNoSpace(code) ? Status.NO_SPACE : Status.DEVICE_WRITE;
    }
    const count = load<u64>(WASI_RETURN, 8);
    if (count == <u64>size) return Status.OK;
    if (!count || count > <u64>size) {
      root.faultOffset = offset;
      return Status.DEVICE_WRITE;
    }
    offset += count;
    source += <usize>count;
    size -= <u32>count;
  }
}

/** Makes all completed writes durable. DEVICE_WRITE, which must poison: a second sync proves nothing. */
export function deviceSync(): i32 {
  root.deviceSyncs++;
  descriptorSyncData(root.device, WASI_RETURN);
  if (load<u8>(WASI_RETURN)) {
    root.wasiErrorCode = load<u8>(WASI_RETURN, 1);
    return Status.DEVICE_WRITE;
  }
  return Status.OK;
}

/** Size of the device in bytes, or a status below zero. */
export function deviceSize(): i64 {
  descriptorStat(root.device, WASI_RETURN);
  if (load<u8>(WASI_RETURN)) {
    root.wasiErrorCode = load<u8>(WASI_RETURN, 8);
    return Status.DEVICE_READ;
  }
  return load<i64>(WASI_RETURN, 24);
}

/** Sets the size of a growable device. NO_SPACE or DEVICE_WRITE. */
export function deviceSetSize(size: u64): i32 {
  descriptorSetSize(root.device, size, WASI_RETURN);
  if (load<u8>(WASI_RETURN)) {
    const code = <u32>load<u8>(WASI_RETURN, 1);
    root.wasiErrorCode = code;
    return isNoSpace(code) ? Status.NO_SPACE : Status.DEVICE_WRITE;
  }
  return Status.OK;
}

/** Milliseconds since 1970, never less than the highest that was seen: a clock that goes back does not turn time. */
export function timeNowMs(): u64 {
  const now = clockMs();
  if (now > root.highestTimeMs) root.highestTimeMs = now;
  return root.highestTimeMs;
}

/** What the wall clock says, in milliseconds since 1970. */
export function clockMs(): u64 {
  wallClockNow(WASI_RETURN);
  return load<u64>(WASI_RETURN) * 1000 + <u64>(load<u32>(WASI_RETURN, 8) / 1000000);
}

/** Milliseconds of a clock that only goes forward. */
export function tickMs(): u64 {
  return monotonicClockNow() / 1000000;
}
