/**
 * The engine's operations over keys and values that lie anywhere in memory, as both interfaces of the component use
 * them. A status that leaves the device in doubt poisons the store.
 */
import { compactStep, StepWaits } from "../engine/compact";
import { batchBegin, batchEnd, nodeFind, remove, set, writeBegin, writePart } from "../engine/dual";
import { CompactMode } from "../engine/pace";
import { versionsFree } from "../engine/snapshots";
import { ValueAt, valueOpen } from "../engine/value";
import { RECORD_HEADER_SIZE } from "../format/record";
import { KeyNode } from "../index/key-node";
import { BATCH_SIZE_MAX, INLINE_VALUE_SIZE_MAX, KEY_SIZE_MAX, VALUE_SIZE_MAX } from "../limits";
import { flushSync } from "../log/group";
import { Attention, EXCHANGE_IN, EXCHANGE_SIZE, KEY_A, root } from "../root";
import { Status } from "../status";
import { explain, Refusal } from "./failure";
import { lockBeat } from "./lock";
import { poisonStore } from "./opening";
import { arenaAt, arenaRoom, arenaTake, Durability, state } from "./state";

/** Steps of freeing older versions that a write which found no memory takes before it is refused. */
const FREE_STEPS_MAX: u32 = 1024;
/** How long a step of compaction within a call takes at most, beside what the device takes of it. */
const STEP_MICROSECONDS: u32 = 500;

/** Whether the store that `serial` names takes calls: OK, CLOSED, POISONED. Shows the lock's heartbeat. */
export function ready(serial: u32): i32 {
  // No handle has the number 0.
  if (serial != state.serial) return Refusal.CLOSED;
  if (state.poisoned) return Status.POISONED;
  lockBeat();
  return Status.OK;
}

/** What a status of the engine means for the store: passes it on. */
export function settle(status: i32): i32 {
  if (status == Status.DEVICE_WRITE || status == Status.FENCED || status == Status.DEVICE_SHRUNK) poisonStore();
  return status;
}

/** The node of a key, or 0. KEY_SIZE. */
export function find(key: usize, keySize: u32): i64 {
  if (keySize - 1 >= KEY_SIZE_MAX) return Status.KEY_SIZE;
  memory.copy(KEY_A, key, keySize);
  return <i64>nodeFind(keySize);
}

/**
 * Finds the value of a node: `resultPointer` and `resultSize` say where it is, until the next call of the engine; with
 * `keeps`, until the end of the call. OK, or CORRUPT, DEVICE_READ, DEVICE_SHRUNK, OUT_OF_MEMORY when it does not fit.
 */
export function valueFind(node: KeyNode, keeps: bool): i32 {
  const gather = arenaAt(8);
  const opened = settle(valueOpen(node, node.keySize, node.body, gather, arenaRoom(), !keeps));
  if (opened < 0) return opened;
  if (opened == ValueAt.PIECES) return tooMuch();
  if (<usize>root.resultPointer == gather) arenaTake(root.resultSize, 8);
  return Status.OK;
}

/** The call's results do not fit. */
export function tooMuch(): i32 {
  return explain("the results of one call must fit about 190 MiB. Ask for less at once.", Status.OUT_OF_MEMORY);
}

/** Stores a value: 1, 0, or a status. With `durable`, it is on stable storage when this returns. */
export function write(key: usize, keySize: u32, value: usize, valueSize: u32, durable: bool): i32 {
  let status = writeOnce(key, keySize, value, valueSize);
  if (status < 0 && retries(status)) status = writeOnce(key, keySize, value, valueSize);
  if (status < 0) return settle(status);
  const after = afterWrite(durable);
  return after < 0 ? after : status;
}

/** Deletes a key: 1, 0 when it was not there, or a status. */
export function erase(key: usize, keySize: u32, durable: bool): i32 {
  if (keySize - 1 >= KEY_SIZE_MAX) return Status.KEY_SIZE;
  memory.copy(KEY_A, key, keySize);
  let status = remove(keySize);
  if (status < 0 && retries(status)) {
    memory.copy(KEY_A, key, keySize);
    status = remove(keySize);
  }
  if (status < 0) return settle(status);
  const after = afterWrite(durable);
  return after < 0 ? after : status;
}

/** Makes everything durable. NO_SPACE holds what was written: it stays visible, and is written again by the next flush. */
export function flush(): i32 {
  if (state.readOnly) return Status.OK;
  const status = settle(flushSync());
  if (status == Status.NO_SPACE) {
    explain(
      "no room is left on the device. What was written stays visible, but it is not durable; it is written again with the next flush.",
      status,
    );
  }
  return status;
}

/** Sizes of the operations of a batch, for what the engine sets aside. */
@unmanaged
export class Weight {
  count: u32 = 0;
  keySizeMax: u32 = 0;
  valueSizeMax: u32 = 0;
  bytes: f64 = 0;
  resident: f64 = 0;
}

/** Adds an operation to a batch; its key has a size that keys may have. VALUE_SIZE, BATCH_SIZE. */
export function weigh(weight: Weight, keySize: u32, valueSize: u32): i32 {
  if (valueSize > VALUE_SIZE_MAX) return Status.VALUE_SIZE;
  weight.count++;
  weight.keySizeMax = max(weight.keySizeMax, keySize);
  weight.valueSizeMax = max(weight.valueSizeMax, valueSize);
  weight.bytes += <f64>(RECORD_HEADER_SIZE + keySize + valueSize + 8);
  weight.resident += <f64>(keySize + min(valueSize, INLINE_VALUE_SIZE_MAX));
  return weight.bytes > BATCH_SIZE_MAX ? Status.BATCH_SIZE : Status.OK;
}

/** Sets aside what a batch needs. Its operations follow, `batchWrite` and `batchErase`, then `batchDone`. */
export function batchOpen(weight: Weight, givesBack: bool): i32 {
  let status = batchSetAside(weight, givesBack);
  if (status < 0 && retries(status)) status = batchSetAside(weight, givesBack);
  return settle(status);
}

function batchSetAside(weight: Weight, givesBack: bool): i32 {
  return batchBegin(weight.count, weight.bytes, weight.resident, weight.keySizeMax, weight.valueSizeMax, givesBack);
}

/** A write of a batch. What fails now is the device, and half a batch is never made durable. */
export function batchWrite(key: usize, keySize: u32, value: usize, valueSize: u32): i32 {
  const status = writeOnce(key, keySize, value, valueSize);
  if (status < 0) poisonStore();
  return status;
}

/** A deletion of a batch. */
export function batchErase(key: usize, keySize: u32): i32 {
  memory.copy(KEY_A, key, keySize);
  const status = remove(keySize);
  if (status < 0) poisonStore();
  return status;
}

/** Ends a batch; when all of it was done, it is made durable. */
export function batchDone(status: i32): i32 {
  batchEnd();
  return status < 0 ? status : afterWrite(true);
}

function writeOnce(key: usize, keySize: u32, value: usize, valueSize: u32): i32 {
  if (keySize - 1 >= KEY_SIZE_MAX) return Status.KEY_SIZE;
  memory.copy(KEY_A, key, keySize);
  if (valueSize <= EXCHANGE_SIZE) {
    memory.copy(EXCHANGE_IN, value, valueSize);
    return set(keySize, valueSize, 0);
  }
  let status = writeBegin(keySize, valueSize, 0);
  if (status < 0) return status;
  for (let offset: u32 = 0; offset < valueSize; ) {
    const size = min(valueSize - offset, EXCHANGE_SIZE);
    memory.copy(EXCHANGE_IN, value + offset, size);
    status = writePart(size);
    if (status < 0) return status;
    offset += size;
  }
  return status;
}

/** What the engine asks for after a write, and what the store's durability asks for. */
function afterWrite(durable: bool): i32 {
  const attention = root.attention;
  root.attention = 0;
  if (attention & Attention.VERSIONS_DUE) versionsFree();
  if (attention & Attention.COMPACTION_DUE) {
    const compacted = compactDue();
    if (compacted < 0) return compacted;
  }
  if (durable || state.durability == Durability.SYNC) return flush();
  if (state.durability == Durability.MANUAL) return Status.OK;
  if (!(attention & (Attention.FLUSH_DUE | Attention.BUFFER_FULL))) return Status.OK;
  // The write that set this off is done. Where there is no room it is held, and the next write is refused.
  const status = flush();
  return status == Status.NO_SPACE ? Status.OK : status;
}

/**
 * A step of compaction, which reads and writes within the call: a host of the component is synchronous. What it may meet
 * without harm is left for a later step; the write that set it off is done.
 */
function compactDue(): i32 {
  const status = settle(compactStep(CompactMode.AUTO, StepWaits.NEVER, STEP_MICROSECONDS));
  return state.poisoned ? status : Status.OK;
}

/** Whether a write that was refused for want of room, or of memory, may be tried again. */
function retries(status: i32): bool {
  if (status == Status.OUT_OF_MEMORY) {
    let steps: u32 = 0;
    while (steps < FREE_STEPS_MAX && root.attention & Attention.VERSIONS_DUE) {
      versionsFree();
      steps++;
    }
    return steps > 0;
  }
  return status == Status.NO_SPACE && root.blocked == Status.NO_SPACE && flushSync() == Status.OK;
}
