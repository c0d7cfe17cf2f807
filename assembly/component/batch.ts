/**
 * `wasi:keyvalue/batch` in the draft 0.2.0-draft2. The draft lets a batch be done in part; here it is done whole or not
 * at all, also after a crash, with one sync.
 *
 * ```
 * key of a list, 8 bytes:         0 u32 pointer   4 u32 size
 * key and value, 16 bytes:        0 u32 pointer   4 u32 size   8 u32 pointer   12 u32 size
 * optional key and value, 20:     0 u8 whether    4 as above
 * ```
 */
import { KeyNode } from "../index/key-node";
import { KEY_SIZE_MAX } from "../limits";
import { root } from "../root";
import { Status } from "../status";
import { Bucket, bucketDone } from "./buckets";
import { batchDone, batchErase, batchOpen, batchWrite, find, ready, tooMuch, valueFind, Weight, weigh } from "./calls";
import { failKeyvalue } from "./failure";
import { arenaTake, enter, RESULT } from "./state";

const FOUND_SIZE: u32 = 20;

/** The values of many keys, in their order, with none for those that are not there. */
export function getMany(bucket: usize, keys: usize, count: u32): usize {
  const refused = begin(bucket);
  if (refused < 0) return failKeyvalue(refused, 4);
  const list = arenaTake(count * FOUND_SIZE, 4);
  if (!list) return failKeyvalue(tooMuch(), 4);
  const whole = wholeTake();
  if (!whole) return failKeyvalue(tooMuch(), 4);
  for (let i: u32 = 0; i < count; i++) {
    const found = list + <usize>(i * FOUND_SIZE);
    const key = <usize>load<u32>(keys + <usize>(i << 3));
    const keySize = load<u32>(keys + <usize>(i << 3), 4);
    const size = wholePlace(whole, bucket, key, keySize);
    if (size < 0) return failKeyvalue(size, 4);
    const node = find(whole, <u32>size);
    if (node > 0) {
      const status = valueFind(changetype<KeyNode>(<usize>node), true);
      if (status < 0) return failKeyvalue(status, 4);
    }
    store<u8>(found, node > 0 ? 1 : 0);
    store<u32>(found, <u32>key, 4);
    store<u32>(found, keySize, 8);
    store<u32>(found, root.resultPointer, 12);
    store<u32>(found, root.resultSize, 16);
  }
  store<u32>(RESULT, <u32>list, 4);
  store<u32>(RESULT, count, 8);
  return bucketDone();
}

export function setMany(bucket: usize, pairs: usize, count: u32): usize {
  return change(bucket, pairs, count, 16);
}

export function deleteMany(bucket: usize, keys: usize, count: u32): usize {
  return change(bucket, keys, count, 8);
}

/** Sets, with elements of 16 bytes, or deletes, with elements of 8, all at once. */
function change(bucket: usize, list: usize, count: u32, elementSize: u32): usize {
  const refused = begin(bucket);
  if (refused < 0) return failKeyvalue(refused, 4);
  if (!count) return bucketDone();
  const sets = elementSize == 16;
  const place = arenaTake(offsetof<Weight>(), 8);
  const whole = wholeTake();
  if (!place || !whole) return failKeyvalue(tooMuch(), 4);
  memory.fill(place, 0, offsetof<Weight>());
  const weight = changetype<Weight>(place);
  for (let i: u32 = 0; i < count; i++) {
    const element = list + <usize>(i * elementSize);
    const size = wholePlace(whole, bucket, <usize>load<u32>(element), load<u32>(element, 4));
    if (size < 0) return failKeyvalue(size, 4);
    const weighed = weigh(weight, <u32>size, sets ? load<u32>(element, 12) : 0);
    if (weighed < 0) return failKeyvalue(weighed, 4);
  }
  let status = batchOpen(weight, !sets);
  if (status < 0) return failKeyvalue(status, 4);
  for (let i: u32 = 0; i < count && status >= 0; i++) {
    const element = list + <usize>(i * elementSize);
    const size = <u32>wholePlace(whole, bucket, <usize>load<u32>(element), load<u32>(element, 4));
    status = sets
      ? batchWrite(whole, size, <usize>load<u32>(element, 8), load<u32>(element, 12))
      : batchErase(whole, size);
  }
  const done = batchDone(status);
  return done < 0 ? failKeyvalue(done, 4) : bucketDone();
}

function begin(bucket: usize): i32 {
  enter();
  return ready(changetype<Bucket>(bucket).serial);
}

/** Room for a whole key, one after the other. */
function wholeTake(): usize {
  return arenaTake(KEY_SIZE_MAX, 8);
}

/** Puts the store's key for a key of a bucket there: its size, or KEY_SIZE. */
function wholePlace(whole: usize, bucket: usize, key: usize, keySize: u32): i32 {
  const prefixSize = changetype<Bucket>(bucket).prefixSize;
  if (keySize > KEY_SIZE_MAX || prefixSize + keySize > KEY_SIZE_MAX) return Status.KEY_SIZE;
  memory.copy(whole, changetype<Bucket>(bucket).prefix, prefixSize);
  memory.copy(whole + prefixSize, key, keySize);
  return <i32>(prefixSize + keySize);
}
