/**
 * `wasi:keyvalue/atomics` in the draft 0.2.0-draft2. A compare-and-swap handle remembers the sequence of the commit that
 * last wrote its key, 0 when the key was not there; a swap goes through when that is still so. An instance runs one
 * call at a time, so nothing comes between looking and writing.
 *
 * ```
 * slot of a handle, 2,080 bytes:  0 u32 taken   4 u32 number of the opening   8 u64 sequence
 *                                 16 u32 size of the key   24 the key, with its bucket's prefix
 * ```
 */
import { KeyNode } from "../index/key-node";
import { VALUE_SIZE_MAX } from "../limits";
import { root } from "../root";
import { Status } from "../status";
import { bucketBegin, bucketDone, bucketKeySize } from "./buckets";
import { find, ready, valueFind, write } from "./calls";
import { explain, failKeyvalue, Refusal } from "./failure";
import { casDrop, casHandle, casSlotOf } from "./imports";
import {
  arenaTake,
  CAS_COUNT_MAX,
  CAS_SLOT_SIZE,
  CAS_SLOTS,
  enter,
  leave,
  RESULT,
  slotGive,
  slotTake,
  state,
} from "./state";

/** Digits of the longest 64-bit integer, and its sign. */
const DIGITS_MAX: u32 = 20;
const MINUS: u32 = 0x2d;
const ZERO: u32 = 0x30;

@unmanaged
class Cas {
  taken: u32;
  serial: u32;
  sequence: u64;
  keySize: u32;
  reserved: u32;

  get key(): usize {
    return changetype<usize>(this) + 24;
  }
}

/**
 * Adds to the integer that a key holds as decimal ASCII; an absent one counts as 0. `other` with NOT_A_NUMBER or
 * OUT_OF_RANGE. The payload of the result lies at 8.
 */
export function increment(bucket: usize, key: usize, keySize: u32, delta: i64): usize {
  const whole = bucketBegin(bucket, key, keySize);
  if (whole < 0) return failKeyvalue(<i32>whole, 8);
  const size = bucketKeySize(bucket, keySize);
  const node = find(<usize>whole, size);
  if (node < 0) return failKeyvalue(<i32>node, 8);
  let value: i64 = 0;
  if (node) {
    const found = valueFind(changetype<KeyNode>(<usize>node), true);
    if (found < 0) return failKeyvalue(found, 8);
    if (!integerValid(<usize>root.resultPointer, root.resultSize)) return failKeyvalue(Refusal.NOT_A_NUMBER, 8);
    value = integerRead(<usize>root.resultPointer, root.resultSize);
  }
  const sum = value + delta;
  if (sum < value != delta < 0) return failKeyvalue(Refusal.OUT_OF_RANGE, 8);
  // Beside a key and a value of 64 MiB it finds room.
  const text = arenaTake(DIGITS_MAX, 1);
  const status = write(<usize>whole, size, text, integerWrite(text, sum), true);
  if (status < 0) return failKeyvalue(status, 8);
  store<i64>(RESULT, sum, 8);
  return bucketDone();
}

export function casNew(bucket: usize, key: usize, keySize: u32): usize {
  const whole = bucketBegin(bucket, key, keySize);
  if (whole < 0) return failKeyvalue(<i32>whole, 4);
  const size = bucketKeySize(bucket, keySize);
  const node = find(<usize>whole, size);
  if (node < 0) return failKeyvalue(<i32>node, 4);
  const slot = slotTake(CAS_SLOTS, CAS_SLOT_SIZE, CAS_COUNT_MAX);
  if (!slot) {
    return failKeyvalue(explain("512 compare-and-swap handles are open. Drop some.", Status.OUT_OF_MEMORY), 4);
  }
  const cas = changetype<Cas>(slot);
  cas.serial = state.serial;
  cas.sequence = sequenceOf(<usize>node);
  cas.keySize = size;
  memory.copy(cas.key, <usize>whole, size);
  store<u32>(RESULT, casHandle(slot), 4);
  return bucketDone();
}

/** What the key holds now. When that is not what it held when the handle was made, `swap` will say so. */
export function casCurrent(slot: usize): usize {
  enter();
  const cas = changetype<Cas>(slot);
  const refused = ready(cas.serial);
  if (refused < 0) return failKeyvalue(refused, 4);
  const node = find(cas.key, cas.keySize);
  if (node > 0) {
    const status = valueFind(changetype<KeyNode>(<usize>node), false);
    if (status < 0) return failKeyvalue(status, 4);
  }
  store<u8>(RESULT, node > 0 ? 1 : 0, 4);
  store<u32>(RESULT, root.resultPointer, 8);
  store<u32>(RESULT, root.resultSize, 12);
  return bucketDone();
}

/** The host has dropped a handle, or `swap` has. */
export function casDropped(slot: usize): void {
  slotGive(slot);
}

/** Takes the handle. `cas-error` lies at 4 of the result, what it carries at 8. */
export function swap(handle: u32, value: usize, valueSize: u32): usize {
  enter();
  const slot = casSlotOf(handle);
  const cas = changetype<Cas>(slot);
  let status = ready(cas.serial);
  if (status == Status.OK && valueSize > VALUE_SIZE_MAX) status = Status.VALUE_SIZE;
  let changed = false;
  if (status == Status.OK) {
    const now = sequenceOf(<usize>find(cas.key, cas.keySize));
    changed = now != cas.sequence;
    if (!changed) status = write(cas.key, cas.keySize, value, valueSize, true);
    cas.sequence = now;
  }
  if (!changed) {
    casDrop(handle);
    if (status >= 0) return bucketDone();
    store<u8>(RESULT, STORE_ERROR, 4);
    return failKeyvalue(status, 8);
  }
  // The handle that is given back stands for the same key, and for what that holds now.
  const fresh = slotTake(CAS_SLOTS, CAS_SLOT_SIZE, CAS_COUNT_MAX);
  if (fresh) memory.copy(fresh, slot, CAS_SLOT_SIZE);
  casDrop(handle);
  if (!fresh) {
    store<u8>(RESULT, STORE_ERROR, 4);
    return failKeyvalue(explain("512 compare-and-swap handles are open. Drop some.", Status.OUT_OF_MEMORY), 8);
  }
  store<u8>(RESULT, 1);
  store<u8>(RESULT, CAS_FAILED, 4);
  store<u32>(RESULT, casHandle(fresh), 8);
  return leave();
}

/** The cases of `cas-error`. */
const STORE_ERROR: u8 = 0;
const CAS_FAILED: u8 = 1;

/** The sequence of the commit that last wrote a node's key; 0 for no node. */
function sequenceOf(node: usize): u64 {
  return node ? changetype<KeyNode>(node).sequence : 0;
}

/** Whether a text is an integer that 64 bits hold: an optional minus and 1 to 19 digits. */
function integerValid(text: usize, size: u32): bool {
  const sign: u32 = size && load<u8>(text) == MINUS ? 1 : 0;
  const digits = size - sign;
  if (!digits || digits >= DIGITS_MAX) return false;
  let value: u64 = 0;
  for (let i = sign; i < size; i++) {
    const digit = <u32>load<u8>(text + i) - ZERO;
    if (digit > 9) return false;
    value = value * 10 + digit;
  }
  return value <= <u64>i64.MAX_VALUE + sign;
}

function integerRead(text: usize, size: u32): i64 {
  const sign: u32 = load<u8>(text) == MINUS ? 1 : 0;
  let value: u64 = 0;
  for (let i = sign; i < size; i++) value = value * 10 + (load<u8>(text + i) - ZERO);
  return sign ? -(<i64>value) : <i64>value;
}

/** Writes an integer as decimal ASCII: its size, at most DIGITS_MAX. */
function integerWrite(text: usize, value: i64): u32 {
  let size: u32 = 0;
  let rest = <u64>value;
  if (value < 0) {
    store<u8>(text, <u8>MINUS);
    size = 1;
    rest = -rest;
  }
  let count: u32 = 1;
  for (let power = rest; power >= 10; power /= 10) count++;
  for (let i = size + count; i > size; i--) {
    store<u8>(text + i - 1, <u8>(ZERO + <u32>(rest % 10)));
    rest /= 10;
  }
  return size + count;
}
