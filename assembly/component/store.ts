/**
 * `cairn:kv/store`: the exports as the canonical ABI calls them. A list is a pointer and a size; a result lies in the
 * area that a call returns: discriminant u8 at 0, the payload at 8. A `store` stands for its number among the
 * instance's openings, a `cursor` for its slot.
 *
 * ```
 * slot of a cursor, 16 bytes:  0 u32 taken   4 u32 cursor of the engine   8 u32 number of the opening
 * entry of a list, 16 bytes:   0 u32 key pointer   4 u32 size   8 u32 value pointer   12 u32 size
 * ```
 */
import { CursorFlags, CursorMode, cursorClose, cursorCount, cursorNext, cursorOpen } from "../engine/cursor";
import { valueRead } from "../engine/value";
import { stat } from "../index";
import { KeyNode } from "../index/key-node";
import { VALUE_SIZE_MAX } from "../limits";
import { EXCHANGE_OUT, root } from "../root";
import { Status } from "../status";
import { erase, find, flush, ready, settle, tooMuch, valueFind, write } from "./calls";
import { explain, fail } from "./failure";
import { cursorHandle, storeHandle } from "./imports";
import { closeStore, open } from "./opening";
import { Ends, lowerPlace, prefixPlace, upperPlace } from "./range";
import {
  arenaTake,
  CURSOR_COUNT_MAX,
  CURSOR_SLOT_SIZE,
  CURSORS,
  enter,
  leave,
  RESULT,
  slotGive,
  slotTake,
  state,
} from "./state";

const ENTRY_SIZE: u32 = 16;
const SIZE_MASK: u32 = 0x3fffffff;
const PIECES_BIT: u32 = 0x40000000;
const ENTRIES_MAX: u32 = 1024;

/** The engine's counters in the order of the record `stats`, as numbers of `stat`. */
const STATS: usize = memory.data<u8>([
  0, 1, 2, 3, 4, 5, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 27, 29, 30,
]);
const STAT_COUNT: u32 = 23;

export function storeOpen(path: usize, pathSize: u32, create: u32, readOnly: u32, durability: u32): usize {
  enter();
  const status = open(path, pathSize, create != 0, readOnly != 0, durability);
  if (status < 0) return fail(status);
  store<u32>(RESULT, storeHandle(state.serial), 8);
  return done();
}

export function storeGet(serial: u32, key: usize, keySize: u32): usize {
  const refused = begin(serial);
  if (refused < 0) return fail(refused);
  const node = find(key, keySize);
  if (node < 0) return fail(<i32>node);
  if (node) {
    const status = valueFind(changetype<KeyNode>(<usize>node), false);
    if (status < 0) return fail(status);
  }
  store<u8>(RESULT, node ? 1 : 0, 8);
  store<u32>(RESULT, root.resultPointer, 12);
  store<u32>(RESULT, root.resultSize, 16);
  return done();
}

export function storeHas(serial: u32, key: usize, keySize: u32): usize {
  const refused = begin(serial);
  if (refused < 0) return fail(refused);
  const node = find(key, keySize);
  if (node < 0) return fail(<i32>node);
  store<u8>(RESULT, node ? 1 : 0, 8);
  return done();
}

export function storeSet(serial: u32, key: usize, keySize: u32, value: usize, valueSize: u32): usize {
  return storeWrite(serial, key, keySize, value, valueSize, false);
}

export function storePutDurable(serial: u32, key: usize, keySize: u32, value: usize, valueSize: u32): usize {
  return storeWrite(serial, key, keySize, value, valueSize, true);
}

export function storeDelete(serial: u32, key: usize, keySize: u32): usize {
  return storeErase(serial, key, keySize, false);
}

export function storeDeleteDurable(serial: u32, key: usize, keySize: u32): usize {
  return storeErase(serial, key, keySize, true);
}

export function storeFlush(serial: u32): usize {
  const refused = begin(serial);
  if (refused < 0) return fail(refused);
  const status = flush();
  return status < 0 ? fail(status) : done();
}

export function storeScan(
  serial: u32,
  lower: u32,
  lowerKey: usize,
  lowerSize: u32,
  upper: u32,
  upperKey: usize,
  upperSize: u32,
  prefixed: u32,
  prefix: usize,
  prefixSize: u32,
  reverse: u32,
): usize {
  const refused = begin(serial);
  if (refused < 0) return fail(refused);
  const cursor = walk(lower, lowerKey, lowerSize, upper, upperKey, upperSize, prefixed, prefix, prefixSize, reverse);
  if (cursor < 0) return fail(<i32>cursor);
  const slot = slotTake(CURSORS, CURSOR_SLOT_SIZE, CURSOR_COUNT_MAX);
  if (!slot) {
    cursorClose(<usize>cursor);
    return fail(explain("1,024 cursors are open. Drop some.", Status.OUT_OF_MEMORY));
  }
  store<u32>(slot, <u32>cursor, 4);
  store<u32>(slot, serial, 8);
  store<u32>(RESULT, cursorHandle(slot), 8);
  return done();
}

export function storeCount(
  serial: u32,
  lower: u32,
  lowerKey: usize,
  lowerSize: u32,
  upper: u32,
  upperKey: usize,
  upperSize: u32,
  prefixed: u32,
  prefix: usize,
  prefixSize: u32,
  _reverse: u32,
): usize {
  const refused = begin(serial);
  if (refused < 0) return fail(refused);
  const cursor = walk(lower, lowerKey, lowerSize, upper, upperKey, upperSize, prefixed, prefix, prefixSize, 0);
  if (cursor < 0) return fail(<i32>cursor);
  store<u64>(RESULT, <u64>cursorCount(<usize>cursor), 8);
  cursorClose(<usize>cursor);
  return done();
}

export function storeStats(serial: u32): usize {
  const refused = begin(serial);
  if (refused < 0) return fail(refused);
  for (let i: u32 = 0; i < STAT_COUNT; i++) {
    store<u64>(RESULT + <usize>(i << 3), <u64>stat(load<u8>(STATS + i)), 8);
  }
  return done();
}

export function storeClose(serial: u32): usize {
  enter();
  const refused = ready(serial);
  if (refused < 0 && refused != Status.POISONED) return fail(refused);
  const status = closeStore();
  return status < 0 ? fail(status) : done();
}

/** The host has dropped a store. */
export function storeDrop(serial: u32): void {
  enter();
  if (serial == state.serial) closeStore();
  leave();
}

export function cursorEntries(slot: usize, count: u32): usize {
  const refused = begin(load<u32>(slot, 8));
  if (refused < 0) return fail(refused);
  if (count - 1 >= ENTRIES_MAX) return fail(explain("count must be 1 to 1,024.", Status.INVALID_ARGUMENT));
  const written = settle(cursorNext(load<u32>(slot, 4), count, CursorMode.KEYS | CursorMode.VALUES));
  if (written < 0) return fail(written);
  // The call's arguments take nothing of the arena: what it returns finds room.
  const list = arenaTake(<u32>written * ENTRY_SIZE, 4);
  memory.copy(list, EXCHANGE_OUT, <usize>written * ENTRY_SIZE);
  for (let i: i32 = 0; i < written; i++) {
    const entry = list + <usize>i * ENTRY_SIZE;
    const size = load<u32>(entry, 12);
    store<u32>(entry, load<u32>(entry, 4) & SIZE_MASK, 4);
    store<u32>(entry, size & SIZE_MASK, 12);
    if (size & PIECES_BIT) {
      // Such a value comes alone: fetching it overwrites where the others would lie.
      const fetched = piecesFetch(entry, size & SIZE_MASK);
      if (fetched < 0) return fail(fetched);
    }
  }
  store<u32>(RESULT, <u32>list, 8);
  store<u32>(RESULT, <u32>written, 12);
  return done();
}

/** The host has dropped a cursor. */
export function cursorDrop(slot: usize): void {
  // With the store its cursors went.
  if (state.serial && load<u32>(slot, 8) == state.serial && !state.poisoned) cursorClose(load<u32>(slot, 4));
  slotGive(slot);
}

function storeWrite(serial: u32, key: usize, keySize: u32, value: usize, valueSize: u32, durable: bool): usize {
  const refused = begin(serial);
  if (refused < 0) return fail(refused);
  if (valueSize > VALUE_SIZE_MAX) return fail(Status.VALUE_SIZE);
  const status = write(key, keySize, value, valueSize, durable);
  return status < 0 ? fail(status) : done();
}

function storeErase(serial: u32, key: usize, keySize: u32, durable: bool): usize {
  const refused = begin(serial);
  if (refused < 0) return fail(refused);
  const status = erase(key, keySize, durable);
  if (status < 0) return fail(status);
  store<u8>(RESULT, <u8>status, 8);
  return done();
}

/** A cursor of the engine over a range, or a status. */
function walk(
  lower: u32,
  lowerKey: usize,
  lowerSize: u32,
  upper: u32,
  upperKey: usize,
  upperSize: u32,
  prefixed: u32,
  prefix: usize,
  prefixSize: u32,
  reverse: u32,
): i64 {
  const place = arenaTake(offsetof<Ends>(), 8);
  if (!place) return tooMuch();
  memory.fill(place, 0, offsetof<Ends>());
  const ends = changetype<Ends>(place);
  let status = lowerPlace(ends, lower, lowerKey, lowerSize);
  if (status == Status.OK) status = upperPlace(ends, upper, upperKey, upperSize);
  if (status == Status.OK && prefixed) status = prefixPlace(ends, prefix, prefixSize);
  if (status < 0) return status;
  return cursorOpen(ends.flags | (reverse ? CursorFlags.REVERSE : 0), ends.lowerSize, ends.upperSize, 0);
}

/** Brings a value that is too large for the exchange area into the arena, piece by piece. */
function piecesFetch(entry: usize, size: u32): i32 {
  const target = arenaTake(size, 8);
  for (let offset: u32 = 0; offset < size; ) {
    const count = settle(valueRead(offset));
    if (count < 0) return count;
    memory.copy(target + offset, EXCHANGE_OUT, count);
    offset += count;
  }
  store<u32>(entry, <u32>target, 8);
  return Status.OK;
}

function begin(serial: u32): i32 {
  enter();
  return ready(serial);
}

function done(): usize {
  store<u8>(RESULT, 0);
  return leave();
}
