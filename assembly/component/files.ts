/** Files of the preopened directories: finding the directory of a path, opening, reading and removing files. */
import { descriptorRead, descriptorStat } from "../device/imports";
import { root } from "../root";
import { Status } from "../status";
import { explain, Refusal } from "./failure";
import { descriptorDrop, descriptorOpenAt, descriptorSync, descriptorUnlinkFileAt, getDirectories } from "./imports";
import { FILE_PATH, PATH_SIZE_MAX, state, WASI_RESULT } from "./state";

const SLASH: u32 = 0x2f;
const DOT: u32 = 0x2e;
const DIRECTORY_ELEMENT_SIZE: usize = 12;
/** `path-flags`. */
const FOLLOW: u32 = 1;

/** `open-flags` of `wasi:filesystem/types`. */
export namespace OpenFlags {
  export const CREATE: u32 = 1;
  export const DIRECTORY: u32 = 2;
  export const EXCLUSIVE: u32 = 4;
}

/** `descriptor-flags` of `wasi:filesystem/types`. */
export namespace Access {
  export const READ: u32 = 1;
  export const READ_WRITE: u32 = 3;
}

/** Of `error-code` of `wasi:filesystem/types`. */
export namespace FileError {
  export const ACCESS: u32 = 0;
  export const EXIST: u32 = 7;
  export const IO: u32 = 13;
  export const LOOP: u32 = 15;
  export const NO_ENTRY: u32 = 20;
  export const INSUFFICIENT_SPACE: u32 = 23;
  export const NOT_PERMITTED: u32 = 31;
  export const READ_ONLY: u32 = 33;
}

/**
 * Finds the preopened directory that a path begins with, takes its handle into `state.folder`, and puts the rest of the
 * path into FILE_PATH. Of several the one with the longest name is taken; a relative path that begins with none lies in
 * the one named `.`, or in the first. NO_SUCH_STORE when there is none at all.
 */
export function folderFind(path: usize, size: u32): i32 {
  if (!size || size > PATH_SIZE_MAX) return explain("the path must have 1 to 3,072 bytes.", Status.INVALID_ARGUMENT);
  getDirectories(WASI_RESULT);
  const list = <usize>load<u32>(WASI_RESULT);
  const count = load<u32>(WASI_RESULT, 4);
  const absolute = load<u8>(path) == SLASH;
  let best: u32 = 0;
  let bestSize: u32 = 0;
  let rest: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const element = list + <usize>i * DIRECTORY_ELEMENT_SIZE;
    const name = <usize>load<u32>(element, 4);
    let nameSize = load<u32>(element, 8);
    if (nameSize && load<u8>(name + nameSize - 1) == SLASH) nameSize--;
    const here = nameSize == 1 && load<u8>(name) == DOT;
    const begins =
      size > nameSize + 1 && load<u8>(path + nameSize) == SLASH && memory.compare(path, name, nameSize) == 0;
    // Whole names go before `.`, and that before the first.
    let score: u32 = 0;
    if (begins) score = nameSize + 3;
    else if (!absolute && here) score = 2;
    else if (!absolute && !i) score = 1;
    if (score <= bestSize) continue;
    bestSize = score;
    best = i + 1;
    rest = begins ? nameSize + 1 : 0;
  }
  for (let i: u32 = 0; i < count; i++) {
    const handle = load<u32>(list + <usize>i * DIRECTORY_ELEMENT_SIZE);
    if (i + 1 == best) state.folder = handle;
    else descriptorDrop(handle);
  }
  if (!best) return explain("the path lies in no directory that the component may use.", Refusal.NO_SUCH_STORE);
  while (rest < size && load<u8>(path + rest) == SLASH) rest++;
  state.filePathSize = size - rest;
  memory.copy(FILE_PATH, path + rest, size - rest);
  return Status.OK;
}

/**
 * Opens a file of the folder: its handle, or 0, with the error code in `root.wasiErrorCode`. A path may lead through
 * symbolic links to a directory, but not end in one to a file: a file's lock would lie beside each of its names.
 */
export function fileOpen(path: usize, pathSize: u32, openFlags: u32, access: u32): u32 {
  const pathFlags = openFlags & OpenFlags.DIRECTORY ? FOLLOW : 0;
  descriptorOpenAt(state.folder, pathFlags, path, pathSize, openFlags, access, WASI_RESULT);
  if (!load<u8>(WASI_RESULT)) return load<u32>(WASI_RESULT, 4);
  root.wasiErrorCode = load<u8>(WASI_RESULT, 4);
  return 0;
}

/** Reads up to `size` bytes at `offset` into `target`: how many, or DEVICE_READ. */
export function fileRead(handle: u32, offset: u64, target: usize, size: u32): i32 {
  let count: u32 = 0;
  while (count < size) {
    root.wasiReadTarget = <u32>target + count;
    descriptorRead(handle, size - count, offset + count, WASI_RESULT);
    root.wasiReadTarget = 0;
    if (load<u8>(WASI_RESULT)) {
      root.wasiErrorCode = load<u8>(WASI_RESULT, 4);
      return Status.DEVICE_READ;
    }
    const read = load<u32>(WASI_RESULT, 8);
    if (!read) break;
    count += min(read, size - count);
  }
  return <i32>count;
}

/** Asks for what is known of a file; `statType`, `statSize` and `statModifiedMs` tell it. DEVICE_READ. */
export function fileStat(handle: u32): i32 {
  descriptorStat(handle, WASI_RESULT);
  if (!load<u8>(WASI_RESULT)) return Status.OK;
  root.wasiErrorCode = load<u8>(WASI_RESULT, 8);
  return Status.DEVICE_READ;
}

/** Whether the file that was asked for is a regular one. */
export function statIsFile(): bool {
  return load<u8>(WASI_RESULT, 8) == 6;
}

/** Bytes of the file that was asked for. */
export function statSize(): u64 {
  return load<u64>(WASI_RESULT, 24);
}

/** When the file that was asked for was written last, in milliseconds since 1970, or 0 where the system does not tell. */
export function statModifiedMs(): u64 {
  if (!load<u8>(WASI_RESULT, 56)) return 0;
  return load<u64>(WASI_RESULT, 64) * 1000 + <u64>(load<u32>(WASI_RESULT, 72) / 1000000);
}

/** Removes a file of the folder; whether that worked. */
export function fileUnlink(path: usize, pathSize: u32): bool {
  descriptorUnlinkFileAt(state.folder, path, pathSize, WASI_RESULT);
  return !load<u8>(WASI_RESULT);
}

/**
 * Makes the entry of the store's file in its directory durable, where the host can sync a directory: some refuse, and
 * then the file system decides. DEVICE_WRITE when the device fails.
 */
export function folderSync(): i32 {
  let size = state.filePathSize;
  while (size && load<u8>(FILE_PATH + size - 1) != SLASH) size--;
  const here = WASI_RESULT + 64;
  store<u8>(here, DOT);
  const handle = size
    ? fileOpen(FILE_PATH, size - 1, OpenFlags.DIRECTORY, Access.READ)
    : fileOpen(here, 1, OpenFlags.DIRECTORY, Access.READ);
  if (!handle) return Status.OK;
  descriptorSync(handle, WASI_RESULT);
  const failed = load<u8>(WASI_RESULT) != 0;
  const code = load<u8>(WASI_RESULT, 1);
  descriptorDrop(handle);
  return failed && code == FileError.IO ? Status.DEVICE_WRITE : Status.OK;
}

/** What the host's refusal to open or make a file means: `root.wasiErrorCode` as a status. */
export function openRefusal(reads: bool): i32 {
  const code = root.wasiErrorCode;
  if (code == FileError.INSUFFICIENT_SPACE) return Status.NO_SPACE;
  if (code == FileError.ACCESS || code == FileError.NOT_PERMITTED || code == FileError.READ_ONLY) {
    state.denied = 1;
    return explain(
      "the host gives no access to the file. Grant it the directory, for writing too, or open with read-only: true.",
      reads ? Status.DEVICE_READ : Status.DEVICE_WRITE,
    );
  }
  if (code == FileError.LOOP) {
    return explain("the path ends in a symbolic link. Name the file that it leads to.", Status.INVALID_ARGUMENT);
  }
  return explain(
    "the host cannot open the file. Check that its directory exists and that the path names a file.",
    Status.INVALID_ARGUMENT,
  );
}
