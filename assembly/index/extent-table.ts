/**
 * The extent table: where the parts of a value lie that no single segment could take.
 *
 * ```
 *   0  u32 parts   4  u32 parts that a verification under way has found   then, for each part: u64 address, u64 value bytes
 * ```
 */
import { SLAB_ITEM_SIZE_MAX, slabClassOf, slabGive, slabTake } from "../memory/slab";

const HEADER_SIZE: u32 = 8;
const ENTRY_SIZE: u32 = 16;
/** No value has more parts: 64 MiB in the smallest segments are about 1,150. */
export const EXTENT_COUNT_MAX: u32 = (SLAB_ITEM_SIZE_MAX - HEADER_SIZE) / ENTRY_SIZE;

/** Bytes of a table of `parts` parts; of more than a value can have, too many. */
export function extentTableSize(parts: u32): u32 {
  return HEADER_SIZE + min(parts, EXTENT_COUNT_MAX + 1) * ENTRY_SIZE;
}

/** Number of parts. */
export function extentCount(table: usize): u32 {
  return load<u32>(table);
}

/** Address of a part's record. */
export function extentAddress(table: usize, part: u32): u64 {
  return load<u64>(table + HEADER_SIZE + <usize>(part * ENTRY_SIZE));
}

/** Value bytes of a part. */
export function extentSize(table: usize, part: u32): u32 {
  return <u32>load<u64>(table + HEADER_SIZE + 8 + <usize>(part * ENTRY_SIZE));
}

/** Sets address and size of a part. */
export function extentSet(table: usize, part: u32, address: u64, size: u32): void {
  const entry = table + HEADER_SIZE + <usize>(part * ENTRY_SIZE);
  store<u64>(entry, address);
  store<u64>(entry, size, 8);
}

/** Notes that a verification has found one more part. */
export function extentProve(table: usize): void {
  store<u32>(table, load<u32>(table, 4) + 1, 4);
}

/** Whether a verification has found every part since this was asked last. */
export function extentsProven(table: usize): bool {
  const proven = load<u32>(table, 4);
  store<u32>(table, 0, 4);
  return proven == extentCount(table);
}

/** A table of `parts` parts, all zero, or 0 when memory is short or there are more than a value can have. */
export function extentTableTake(parts: u32): usize {
  if (parts > EXTENT_COUNT_MAX) return 0;
  const size = extentTableSize(parts);
  const table = slabTake(slabClassOf(size));
  if (!table) return 0;
  memory.fill(table, 0, size);
  store<u32>(table, parts);
  return table;
}

/** Gives a table back. */
export function extentTableGive(table: usize): void {
  slabGive(table);
}
