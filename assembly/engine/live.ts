/**
 * Live bytes: how much of each segment a node or a version still reaches. Works on nodes and on versions alike, whose
 * first words are the same; `body` is where the inline value or the pointer to the extent table lies.
 */
import { pad8 } from "../bytes/compare";
import { RECORD_HEADER_SIZE } from "../format/record";
import { extentAddress, extentCount, extentSize } from "../index/extent-table";
import { fieldsSizeOf, KeyNode, NodeFlags, storedSizeOf } from "../index/key-node";
import { liveAdd, liveSubtract } from "../log/segments";
import { extentRecordSize } from "../log/stream";
import { root } from "../root";

/** Bytes that the record of a node, or the first of its parts, takes in the log. */
export function recordSizeOf(node: KeyNode, keySize: u32, partSize: u32): u32 {
  const fields = fieldsSizeOf(node);
  if (node.flags & NodeFlags.EXTENTS) return extentRecordSize(keySize + fields, partSize);
  return pad8(RECORD_HEADER_SIZE + fields + keySize + partSize);
}

/** Counts a key's value among those that are compressed, where it is. */
export function compressedEnter(node: KeyNode): void {
  if (!node.isCompressed) return;
  root.compressedCount++;
  root.compressedSaved += node.valueSize - storedSizeOf(node, node.body);
}

/** Takes it out again, before the node says anything else. */
export function compressedLeave(node: KeyNode): void {
  if (!node.isCompressed) return;
  root.compressedCount--;
  root.compressedSaved -= node.valueSize - storedSizeOf(node, node.body);
}

/** Counts the records of a node as live. */
export function recordsLive(node: KeyNode, keySize: u32, body: usize): void {
  if (!(node.flags & NodeFlags.EXTENTS)) {
    liveAdd(node.address, recordSizeOf(node, keySize, storedSizeOf(node, body)));
    return;
  }
  const table = <usize>load<u32>(body);
  for (let part: u32 = 0; part < extentCount(table); part++) {
    if (!extentAddress(table, part)) continue;
    liveAdd(extentAddress(table, part), partRecordSize(node, keySize, table, part));
  }
}

/** Records of a node whose place is not known, while opening: they count for nothing. */
export function recordsUnplaced(node: KeyNode, body: usize): u32 {
  if (!(node.flags & NodeFlags.EXTENTS)) return node.address ? 0 : 1;
  const table = <usize>load<u32>(body);
  let count: u32 = 0;
  for (let part: u32 = 0; part < extentCount(table); part++) if (!extentAddress(table, part)) count++;
  return count;
}

/** Counts the records of a node as garbage. */
export function recordsDead(node: KeyNode, keySize: u32, body: usize): void {
  if (!(node.flags & NodeFlags.EXTENTS)) {
    if (!node.address) return;
    liveSubtract(node.address, recordSizeOf(node, keySize, storedSizeOf(node, body)));
    return;
  }
  const table = <usize>load<u32>(body);
  for (let part: u32 = 0; part < extentCount(table); part++) {
    if (!extentAddress(table, part)) continue;
    liveSubtract(extentAddress(table, part), partRecordSize(node, keySize, table, part));
  }
}

/** Bytes that a part's record takes: only the first one has expiry, timestamp and raw size. */
export function partRecordSize(node: KeyNode, keySize: u32, table: usize, part: u32): u32 {
  const size = extentSize(table, part);
  return part ? extentRecordSize(keySize, size) : recordSizeOf(node, keySize, size);
}
