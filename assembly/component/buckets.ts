/**
 * `wasi:keyvalue/store` in the draft 0.2.0-draft2. All buckets lie in one store: the one that the instance has open, else
 * `keyvalue.cairn` in the first preopened directory, which the first `open` opens and which stays open. A key of a
 * bucket is the bucket's name, a zero byte, and the key: names hold no zero byte, so no bucket sees another's keys.
 * Every write is on stable storage when its call returns.
 *
 * A result lies in the area that a call returns: discriminant u8 at 0, the payload at 4.
 *
 * ```
 * slot of a bucket, 272 bytes:  0 u32 taken   4 u32 number of the opening   8 u32 size of the prefix   16 the prefix
 * ```
 */
import { CursorFlags, CursorMode, cursorClose, cursorNext, cursorOpen } from "../engine/cursor";
import { KeyNode } from "../index/key-node";
import { KEY_SIZE_MAX, VALUE_SIZE_MAX } from "../limits";
import { EXCHANGE_OUT, KEY_A, KEY_B, root } from "../root";
import { Status } from "../status";
import { erase, find, ready, settle, tooMuch, valueFind, write } from "./calls";
import { explain, failKeyvalue, Refusal, textAppend } from "./failure";
import { bucketHandle } from "./imports";
import { open } from "./opening";
import {
  arenaTake,
  BUCKET_COUNT_MAX,
  BUCKET_SLOT_SIZE,
  BUCKETS,
  Durability,
  enter,
  leave,
  RESULT,
  slotGive,
  slotTake,
  state,
} from "./state";
import { utf8Valid } from "./utf8";

const NAME_SIZE_MAX: u32 = 255;
const PAGE_COUNT: u32 = 512;
const SIZE_MASK: u32 = 0x3fffffff;

@unmanaged
export class Bucket {
  taken: u32;
  serial: u32;
  prefixSize: u32;
  reserved: u32;

  /** Where the prefix of its keys lies: its name and a zero byte. */
  get prefix(): usize {
    return changetype<usize>(this) + 16;
  }
}

if (offsetof<Bucket>() + NAME_SIZE_MAX + 1 != BUCKET_SLOT_SIZE) ERROR("Bucket layout");

export function bucketOpen(name: usize, nameSize: u32): usize {
  enter();
  if (nameSize > NAME_SIZE_MAX) return failKeyvalue(Refusal.NO_SUCH_STORE, 4);
  for (let i: u32 = 0; i < nameSize; i++) {
    if (!load<u8>(name + i)) return failKeyvalue(Refusal.NO_SUCH_STORE, 4);
  }
  const opened = storeEnsure();
  if (opened < 0) return failKeyvalue(opened, 4);
  const slot = slotTake(BUCKETS, BUCKET_SLOT_SIZE, BUCKET_COUNT_MAX);
  if (!slot) return failKeyvalue(explain("1,024 buckets are open. Drop some.", Status.OUT_OF_MEMORY), 4);
  const bucket = changetype<Bucket>(slot);
  bucket.serial = state.serial;
  bucket.prefixSize = nameSize + 1;
  memory.copy(bucket.prefix, name, nameSize);
  store<u8>(bucket.prefix + nameSize, 0);
  store<u32>(RESULT, bucketHandle(slot), 4);
  return bucketDone();
}

/** The host has dropped a bucket. */
export function bucketDrop(slot: usize): void {
  slotGive(slot);
}

export function bucketGet(slot: usize, key: usize, keySize: u32): usize {
  const whole = bucketBegin(slot, key, keySize);
  if (whole < 0) return failKeyvalue(<i32>whole, 4);
  const node = find(<usize>whole, bucketKeySize(slot, keySize));
  if (node < 0) return failKeyvalue(<i32>node, 4);
  if (node) {
    const status = valueFind(changetype<KeyNode>(<usize>node), false);
    if (status < 0) return failKeyvalue(status, 4);
  }
  store<u8>(RESULT, node ? 1 : 0, 4);
  store<u32>(RESULT, root.resultPointer, 8);
  store<u32>(RESULT, root.resultSize, 12);
  return bucketDone();
}

export function bucketSet(slot: usize, key: usize, keySize: u32, value: usize, valueSize: u32): usize {
  const whole = bucketBegin(slot, key, keySize);
  if (whole < 0) return failKeyvalue(<i32>whole, 4);
  if (valueSize > VALUE_SIZE_MAX) return failKeyvalue(Status.VALUE_SIZE, 4);
  const status = write(<usize>whole, bucketKeySize(slot, keySize), value, valueSize, true);
  return status < 0 ? failKeyvalue(status, 4) : bucketDone();
}

export function bucketDelete(slot: usize, key: usize, keySize: u32): usize {
  const whole = bucketBegin(slot, key, keySize);
  if (whole < 0) return failKeyvalue(<i32>whole, 4);
  const status = erase(<usize>whole, bucketKeySize(slot, keySize), true);
  return status < 0 ? failKeyvalue(status, 4) : bucketDone();
}

export function bucketExists(slot: usize, key: usize, keySize: u32): usize {
  const whole = bucketBegin(slot, key, keySize);
  if (whole < 0) return failKeyvalue(<i32>whole, 4);
  const node = find(<usize>whole, bucketKeySize(slot, keySize));
  if (node < 0) return failKeyvalue(<i32>node, 4);
  store<u8>(RESULT, node ? 1 : 0, 4);
  return bucketDone();
}

/**
 * A page of the bucket's keys in their order, behind the one that `cursor` names; the next cursor is the page's last
 * key. Keys that are not UTF-8, which only other interfaces can have written, cannot be told here and are left out.
 */
export function bucketListKeys(slot: usize, hasCursor: u32, cursor: usize, cursorSize: u32): usize {
  enter();
  const bucket = changetype<Bucket>(slot);
  const refused = ready(bucket.serial);
  if (refused < 0) return failKeyvalue(refused, 4);
  const prefixSize = bucket.prefixSize;
  if (hasCursor && prefixSize + cursorSize > KEY_SIZE_MAX) return failKeyvalue(Status.KEY_SIZE, 4);
  memory.copy(KEY_A, bucket.prefix, prefixSize);
  let lowerSize = prefixSize;
  if (hasCursor) {
    memory.copy(KEY_A + prefixSize, cursor, cursorSize);
    lowerSize += cursorSize + 1;
    store<u8>(KEY_A + lowerSize - 1, 0);
  }
  memory.copy(KEY_B, bucket.prefix, prefixSize);
  store<u8>(KEY_B + prefixSize - 1, 1);
  const walk = cursorOpen(CursorFlags.LOWER | CursorFlags.UPPER, lowerSize, prefixSize, 0);
  if (walk < 0) return failKeyvalue(<i32>walk, 4);
  // Beside a cursor, which is no longer than a key, a page finds room.
  const list = arenaTake(PAGE_COUNT << 3, 4);
  let told: u32 = 0;
  let atEnd = false;
  while (!told && !atEnd) {
    const count = settle(cursorNext(<usize>walk, PAGE_COUNT, CursorMode.KEYS));
    if (count < 0) {
      cursorClose(<usize>walk);
      return failKeyvalue(count, 4);
    }
    atEnd = root.resultFlags == 1;
    told = pageTell(list, <u32>count, prefixSize);
  }
  cursorClose(<usize>walk);
  store<u32>(RESULT, <u32>list, 4);
  store<u32>(RESULT, told, 8);
  store<u8>(RESULT, atEnd ? 0 : 1, 12);
  const last = list + <usize>((told - 1) << 3);
  store<u64>(RESULT, told ? load<u64>(last) : 0, 16);
  return bucketDone();
}

/** Lists the keys of a page, without their bucket's prefix: how many of them are UTF-8. */
function pageTell(list: usize, count: u32, prefixSize: u32): u32 {
  let told: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const entry = EXCHANGE_OUT + <usize>(i << 4);
    const key = <usize>load<u32>(entry) + prefixSize;
    const size = (load<u32>(entry, 4) & SIZE_MASK) - prefixSize;
    if (!utf8Valid(key, size)) continue;
    store<u32>(list + <usize>(told << 3), <u32>key);
    store<u32>(list + <usize>(told << 3), size, 4);
    told++;
  }
  return told;
}

/** Begins a call for a key of a bucket: where the store's key lies, or a status. */
export function bucketBegin(slot: usize, key: usize, keySize: u32): i64 {
  enter();
  const refused = ready(changetype<Bucket>(slot).serial);
  if (refused < 0) return refused;
  return bucketKey(slot, key, keySize);
}

/** Puts the store's key together for a key of a bucket: where it lies, or KEY_SIZE, OUT_OF_MEMORY. */
export function bucketKey(slot: usize, key: usize, keySize: u32): i64 {
  const bucket = changetype<Bucket>(slot);
  const size = bucket.prefixSize + keySize;
  if (keySize > KEY_SIZE_MAX || size > KEY_SIZE_MAX) {
    return explain("a key and the name of its bucket have at most 2,047 bytes together.", Status.KEY_SIZE);
  }
  const whole = arenaTake(size, 8);
  if (!whole) return tooMuch();
  memory.copy(whole, bucket.prefix, bucket.prefixSize);
  memory.copy(whole + bucket.prefixSize, key, keySize);
  return <i64>whole;
}

/** Bytes of the store's key for a key of a bucket. */
export function bucketKeySize(slot: usize, keySize: u32): u32 {
  return changetype<Bucket>(slot).prefixSize + keySize;
}

/** Ends a call of `wasi:keyvalue` that went well. */
export function bucketDone(): usize {
  store<u8>(RESULT, 0);
  return leave();
}

/** Opens the store that buckets lie in, unless the instance has one open. */
function storeEnsure(): i32 {
  if (state.serial) return ready(state.serial);
  const path = arenaTake(32, 1);
  const end = textAppend(path, "keyvalue.cairn");
  return open(path, <u32>(end - path), true, false, Durability.SYNC);
}
