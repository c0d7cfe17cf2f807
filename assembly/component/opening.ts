/**
 * Opening and closing the instance's store: directory, lock, file, engine. What fails half-way is undone.
 */
import { deviceSize } from "../device/device";
import { compactConfigure } from "../engine/pace";
import { close as engineClose, format, initialize, mount, poison, probe } from "../index";
import { BLOCK_SIZE, SEGMENT_BLOCKS_DEFAULT } from "../limits";
import { MountFlags, Probe } from "../recovery/mount";
import { EXCHANGE_IN, KEY_A, root, SUPERBLOCK_A, SUPERBLOCK_B } from "../root";
import { Status } from "../status";
import { explain, Refusal } from "./failure";
import {
  Access,
  FileError,
  fileOpen,
  fileRead,
  fileStat,
  fileUnlink,
  folderFind,
  folderSync,
  OpenFlags,
  openRefusal,
  statIsFile,
} from "./files";
import { descriptorDrop } from "./imports";
import { lockGive, lockTake } from "./lock";
import { COMPONENT, Durability, FILE_PATH, state } from "./state";

const ENGINE_DUAL: u32 = 1;
const WRITE_BUFFER_SIZE: u32 = 16 << 20;
const CACHE_SIZE: u32 = 64 << 20;
const FLUSH_INTERVAL_MS: u32 = 100;
/** Share of garbage, in thousandths, above which segments are compacted: the default of the store in TypeScript. */
const GARBAGE_THOUSANDTHS: u32 = 300;
/** The engine's memory up to the module's constants, and from behind them on, holds nothing but its state. */
const CONSTANTS: usize = 0x10000;

/** Opens the store in a file. OK, LOCKED, NO_SUCH_STORE, INVALID_ARGUMENT, and what `probe`, `format` and `mount` say. */
export function open(path: usize, pathSize: u32, create: bool, readOnly: bool, durability: u32): i32 {
  if (state.serial) {
    return explain(
      "this instance of the component has a store open, and holds one at a time. Close it first, or use another instance.",
      Refusal.LOCKED,
    );
  }
  // What an opening that the host abandoned half-way has left.
  release();
  state.readOnly = readOnly ? 1 : 0;
  state.durability = durability;
  state.poisoned = 0;
  const found = folderFind(path, pathSize);
  if (found < 0) return found;
  const locked = readOnly ? Status.OK : lockTake();
  const opened = locked < 0 ? locked : openFile(create && !readOnly);
  if (opened < 0) {
    release();
    return opened;
  }
  const status = mountFile();
  compactConfigure(status == Status.OK && !readOnly, GARBAGE_THOUSANDTHS);
  if (status < 0) {
    // A file that was created here and could not be formatted is nobody's.
    if (opened == CREATED) fileUnlink(FILE_PATH, state.filePathSize);
    release();
    return status;
  }
  state.openCount++;
  state.serial = state.openCount;
  return Status.OK;
}

/** Closes the store in order: what the engine says of it. The file and the lock are given up in any case. */
export function closeStore(): i32 {
  let status = Status.OK;
  if (!state.poisoned) {
    status = engineClose();
    if (status == Status.NO_SPACE) {
      explain("no room is left on the device. What was durable is kept; what was not is lost.", status);
    }
  }
  state.serial = 0;
  release();
  return status;
}

/** From now on the store refuses every call but `close`. */
export function poisonStore(): void {
  state.poisoned = 1;
  poison();
}

const FOUND: i32 = 0;
const CREATED: i32 = 1;

/** Opens the file in FILE_PATH, or creates it: FOUND or CREATED, or a status. */
function openFile(create: bool): i32 {
  const access = state.readOnly ? Access.READ : Access.READ_WRITE;
  state.file = fileOpen(FILE_PATH, state.filePathSize, 0, access);
  let outcome = FOUND;
  if (!state.file && root.wasiErrorCode == FileError.NO_ENTRY) {
    if (!create) {
      return explain("the file does not exist, and create is false or read-only is true.", Status.NOT_A_STORE);
    }
    state.file = fileOpen(FILE_PATH, state.filePathSize, OpenFlags.CREATE | OpenFlags.EXCLUSIVE, access);
    outcome = CREATED;
  }
  if (!state.file) return openRefusal(state.readOnly != 0);
  const stat = fileStat(state.file);
  if (stat < 0) return stat;
  if (!statIsFile()) return explain("the path names something that is not a regular file.", Status.INVALID_ARGUMENT);
  if (outcome == CREATED) {
    const synced = folderSync();
    if (synced < 0) return synced;
  }
  return outcome;
}

/** Brings up the engine over the open file, which is formatted when it is blank. */
function mountFile(): i32 {
  engineErase();
  const sized = initialize(<f64>COMPONENT, WRITE_BUFFER_SIZE, CACHE_SIZE, interval());
  if (sized < 0) return sized;
  const tail = tailCheck();
  if (tail < 0) return tail;
  let probed = probe(state.file);
  if (probed == Probe.BLANK) {
    if (tail) return Status.NOT_A_STORE;
    if (state.readOnly) return explain("the file is blank, and read-only formats nothing.", Status.NOT_A_STORE);
    const formatted = format(state.file, ENGINE_DUAL, SEGMENT_BLOCKS_DEFAULT, MountFlags.GROWABLE);
    if (formatted < 0) return formatted;
    probed = probe(state.file);
  }
  if (probed < 0) return probed;
  // A lock may have been taken over from a holder that lives on elsewhere.
  const flags = MountFlags.GROWABLE | MountFlags.FENCE | (state.readOnly ? MountFlags.READ_ONLY : 0);
  return mount(state.file, state.file, ENGINE_DUAL, flags);
}

function interval(): u32 {
  return state.durability == Durability.INTERVAL ? FLUSH_INTERVAL_MS : 0;
}

/** Whether bytes other than zero follow the last whole block of the file: 1 or 0, or a status. */
function tailCheck(): i32 {
  root.device = state.file;
  const size = deviceSize();
  if (size < 0) return <i32>size;
  const tailSize = <u32>size & (<u32>BLOCK_SIZE - 1);
  const read = fileRead(state.file, <u64>size - tailSize, SUPERBLOCK_B, tailSize);
  if (read < 0) return read;
  for (let i: i32 = 0; i < read; i++) {
    if (load<u8>(SUPERBLOCK_B + i)) return 1;
  }
  return 0;
}

/** Takes from the engine's memory what an earlier store of this instance left there: it counts on zeros. */
function engineErase(): void {
  if (!root.poolStart) return;
  const end = <usize>root.chunkFresh;
  memory.fill(KEY_A, 0, CONSTANTS - KEY_A);
  memory.fill(EXCHANGE_IN, 0, end - EXCHANGE_IN);
}

/** Gives up whatever an opening holds. */
function release(): void {
  if (state.file) descriptorDrop(state.file);
  state.file = 0;
  lockGive();
  if (state.folder) descriptorDrop(state.folder);
  state.folder = 0;
}

if (SUPERBLOCK_A < KEY_A || SUPERBLOCK_B + BLOCK_SIZE > CONSTANTS) ERROR("what is erased is not what is used");
