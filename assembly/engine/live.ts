/**
 * Live bytes: how much of each segment a node or a version still reaches. Works on nodes and on versions alike, whose
 * first words are the same; `body` is where the inline value or the pointer to the extent table lies.
 */
import { pad8 } from "../bytes/compare";
import { RECORD_HEADER_SIZE } from "../format/record";
import { extentAddress, extentCount, extentSize } from "../index/extent-table";
import { KeyNode, NodeFlags } from "../index/key-node";
import { liveAdd, liveSubtract } from "../log/segments";
import { extentRecordSize } from "../log/stream";

/** Counts the records of a node as live. */
export function recordsLive(node: KeyNode, keySize: u32, body: usize): void {
  if (!(node.flags & NodeFlags.EXTENTS)) {
    liveAdd(node.address, pad8(RECORD_HEADER_SIZE + keySize + node.valueSize));
    return;
  }
  const table = <usize>load<u32>(body);
  for (let part: u32 = 0; part < extentCount(table); part++) {
    if (!extentAddress(table, part)) continue;
    liveAdd(extentAddress(table, part), extentRecordSize(keySize, extentSize(table, part)));
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
    liveSubtract(node.address, pad8(RECORD_HEADER_SIZE + keySize + node.valueSize));
    return;
  }
  const table = <usize>load<u32>(body);
  for (let part: u32 = 0; part < extentCount(table); part++) {
    if (!extentAddress(table, part)) continue;
    liveSubtract(extentAddress(table, part), extentRecordSize(keySize, extentSize(table, part)));
  }
}
