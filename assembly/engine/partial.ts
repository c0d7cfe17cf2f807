/**
 * Partial updates: what becomes of a value follows from the one that is there. Each is one step: the value is read, the
 * new one is made in the value exchange, and written as `set` writes it, whole. Expiry and timestamp stay as they are.
 *
 * Only values that fit the value exchange are made here. For a larger one the answer is LARGE, nothing has changed, and the
 * store reads and writes it in pieces.
 */
import { copyBytes } from "../bytes/compare";
import { KeyNode, NodeFlags } from "../index/key-node";
import { VALUE_SIZE_MAX } from "../limits";
import { EXCHANGE_IN, EXCHANGE_OUT, EXCHANGE_SIZE, root } from "../root";
import { Status } from "../status";
import { wordsKeepOf } from "./condition";
import { CallFlags, nodeFind, set } from "./dual";
import { valueOpen } from "./value";

/** What a partial update answers when the new value is larger than the value exchange. */
const LARGE: i32 = 3;
/** An integer of 64 bits has so many characters at most, its sign included. */
const NUMBER_SIZE_MAX: u32 = 20;

/**
 * Appends the `size` bytes in EXCHANGE_IN to the value of the key in KEY_A, which an absent key has none of: 1, LARGE, or
 * VALUE_SIZE when the new value exceeds the limit; else as `set`, and what reading the value answers.
 */
export function append(keySize: u32, size: u32, callFlags: u32): i32 {
  return splice(keySize, u32.MAX_VALUE, size, callFlags);
}

/**
 * Writes the `size` bytes in EXCHANGE_IN over the value of the key in KEY_A from byte `offset` on, beyond its end where it
 * is shorter. OUT_OF_RANGE when it ends before `offset`; else as `append`.
 */
export function patch(keySize: u32, offset: u32, size: u32, callFlags: u32): i32 {
  return splice(keySize, offset, size, callFlags);
}

function splice(keySize: u32, at: u32, size: u32, callFlags: u32): i32 {
  if (root.blocked) return root.blocked;
  const found = nodeFind(keySize);
  const node = changetype<KeyNode>(found);
  const oldSize = found ? node.valueSize : 0;
  const offset = at == u32.MAX_VALUE ? oldSize : at;
  if (offset > oldSize) return Status.OUT_OF_RANGE;
  const newSize = <u64>max<u64>(oldSize, <u64>offset + size);
  if (newSize > VALUE_SIZE_MAX) return Status.VALUE_SIZE;
  if (newSize > EXCHANGE_SIZE) return LARGE;
  if (found) {
    const opened = valueOpen(node, keySize, node.body, EXCHANGE_OUT, EXCHANGE_SIZE, true);
    if (opened < 0) return opened;
    const old = <usize>root.resultPointer;
    if (offset) memory.copy(EXCHANGE_IN + offset, EXCHANGE_IN, size);
    copyBytes(EXCHANGE_IN, old, offset);
    const end = offset + size;
    if (end < oldSize) copyBytes(EXCHANGE_IN + end, old + end, oldSize - end);
    if (oldSize && !(node.flags & NodeFlags.ASCII_VALUE)) callFlags &= ~CallFlags.ASCII_VALUE;
    callFlags |= wordsKeepOf(node);
  }
  const written = set(keySize, <u32>newSize, callFlags | CallFlags.AT_ONCE);
  return written < 0 ? written : 1;
}

/**
 * Adds `by`, the number in EXCHANGE_IN, to the value of the key in KEY_A, which counts as 0 when the key is absent: 1, and
 * `incremented` is the new value. NOT_A_NUMBER when what is there is not an integer of 64 bits, in decimal digits without
 * leading zeros; OUT_OF_RANGE when the sum is none; else as `set`.
 */
export function increment(keySize: u32, callFlags: u32): i32 {
  if (root.blocked) return root.blocked;
  const by = load<i64>(EXCHANGE_IN);
  const found = nodeFind(keySize);
  const node = changetype<KeyNode>(found);
  let value: i64 = 0;
  if (found) {
    const size = node.valueSize;
    if (size - 1 >= NUMBER_SIZE_MAX) return Status.NOT_A_NUMBER;
    const opened = valueOpen(node, keySize, node.body, EXCHANGE_OUT, EXCHANGE_SIZE, true);
    if (opened < 0) return opened;
    if (!numberRead(<usize>root.resultPointer, size)) return Status.NOT_A_NUMBER;
    value = root.incremented;
    callFlags |= wordsKeepOf(node);
  }
  const sum = value + by;
  // Both have the sign that the sum has not.
  if ((value ^ sum) & (by ^ sum) & i64.MIN_VALUE) return Status.OUT_OF_RANGE;
  root.incremented = sum;
  const written = set(keySize, numberWrite(sum), callFlags | CallFlags.ASCII_VALUE | CallFlags.AT_ONCE);
  return written < 0 ? written : 1;
}

/** Reads an integer to `incremented`. False when the bytes are none. */
function numberRead(at: usize, size: u32): bool {
  const negative = load<u8>(at) == 0x2d;
  let i: u32 = negative ? 1 : 0;
  if (i == size) return false;
  const first = <u32>load<u8>(at + i) - 0x30;
  if (!first && (size > 1 || negative)) return false;
  // Ends below 10 times what 19 digits can be, so it cannot wrap before the last digit.
  let magnitude: u64 = 0;
  if (size - i > 19) return false;
  for (; i < size; i++) {
    const digit = <u32>load<u8>(at + i) - 0x30;
    if (digit > 9) return false;
    magnitude = magnitude * 10 + digit;
  }
  const limit = <u64>i64.MAX_VALUE + (negative ? 1 : 0);
  if (magnitude > limit) return false;
  root.incremented = negative ? <i64>(0 - magnitude) : <i64>magnitude;
  return true;
}

/** Writes an integer in decimal to EXCHANGE_IN: how many characters. */
function numberWrite(value: i64): u32 {
  const negative = value < 0;
  let magnitude: u64 = negative ? 0 - <u64>value : <u64>value;
  let digits: u32 = 1;
  for (let power: u64 = 10; digits < 19 && magnitude >= power; power *= 10) digits++;
  const size = digits + (negative ? 1 : 0);
  if (negative) store<u8>(EXCHANGE_IN, 0x2d);
  for (let at = size; digits; digits--) {
    at--;
    store<u8>(EXCHANGE_IN + at, 0x30 + <u32>(magnitude % 10));
    magnitude /= 10;
  }
  return size;
}
