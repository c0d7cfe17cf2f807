/**
 * Asking for what the records of a block will need, all at once: buckets, then nodes. One after the other they are two
 * cache misses for each record, each waiting for the one before.
 */
import { copyBytes } from "../bytes/compare";
import { BLOCK_HEADER_SIZE, BlockHeader, NO_RECORD } from "../format/block";
import { Record, RecordKind, recordKeyOffset, recordSpan, recordValid } from "../format/record";
import { hashBucketOf, hashPeek } from "../index/hash-index";
import { keyHash } from "../index/key-hash";
import { KEY_C, root, WORKSPACE } from "../root";

/** Records of a block that are looked at: about as many as it has when values are small. */
const RECORDS_MAX: u32 = 64;

/** Touches what the records that begin in an intact block will need. Nothing depends on it. */
export function recordsTouch(frame: usize, blocksLeft: u32): void {
  const header = changetype<BlockHeader>(frame);
  if (header.first == <u16>NO_RECORD) return;
  const used = <u32>header.used;
  let touched: u32 = 0;
  let count: u32 = 0;
  for (let at = <u32>header.first; at < used && count < RECORDS_MAX; ) {
    const record = frame + BLOCK_HEADER_SIZE + at;
    if (!recordValid(record, used - at, blocksLeft)) break;
    const view = changetype<Record>(record);
    const kind = <u32>view.kind;
    if (kind == RecordKind.SET || kind == RecordKind.DELETE) {
      const keySize = <u32>view.keySize;
      copyBytes(KEY_C, record + recordKeyOffset(view.flags), keySize);
      store<u64>(KEY_C + keySize, 0);
      const hash = keyHash(KEY_C, keySize, root.hashSeed);
      store<u64>(WORKSPACE + ((<usize>count) << 3), hash);
      touched ^= load<u32>(hashBucketOf(hash));
      count++;
    }
    at += recordSpan(record, used - at);
  }
  for (let i: u32 = 0; i < count; i++) {
    const hash = load<u64>(WORKSPACE + ((<usize>i) << 3));
    const node = hashPeek(hashBucketOf(hash), hash);
    if (node) touched ^= load<u32>(node, 8);
  }
  root.touched = touched;
}
