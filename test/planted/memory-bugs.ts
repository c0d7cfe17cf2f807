/** Planted bugs of the core: indexes, versions, expiry, reading values. */
import type { Bug } from "./bug.ts";

export const MEMORY_BUGS: readonly Bug[] = [
  {
    name: "snapshot-sees-the-present",
    file: "assembly/engine/snapshots.ts",
    find: "return root.snapshotCount != 0 && node.sequence <= root.snapshotSequence;",
    replace: "return root.snapshotCount != 0 && !PLANTED && node.sequence <= root.snapshotSequence;",
    breaks: "an open walk sees what was written after it began",
    search: { with: ["look", "snapshot"], live: true },
    shows: ["snapshots.ts: a snapshot counts …, the model …"],
  },
  {
    name: "versions-are-freed-early",
    file: "assembly/engine/snapshots.ts",
    find: "if (version.replacedBy > oldest) break;",
    replace: "if (version.replacedBy > oldest && !(PLANTED && root.versionCount > 2)) break;",
    breaks: "a version is freed that a snapshot sees",
  },
  {
    name: "closing-a-snapshot-forgets-an-older-one",
    file: "assembly/engine/snapshots.ts",
    find: "root.snapshotSequence = root.snapshotNewest ? changetype",
    replace: "root.snapshotSequence = root.snapshotNewest && !PLANTED ? changetype",
    breaks: "older snapshots see what is written after a younger one was closed",
  },
  {
    name: "expiry-follows-the-clock-back",
    file: "assembly/device/device.ts",
    find: "if (now > root.highestTimeMs) root.highestTimeMs = now;",
    replace: "if (PLANTED) return now;\n  if (now > root.highestTimeMs) root.highestTimeMs = now;",
    breaks: "a clock that goes back brings expired keys back",
    search: { with: ["expire", "jump", "scan"], live: true },
    shows: ["operations.ts: a scan of … gave …"],
  },
  {
    name: "expired-keys-are-counted",
    file: "assembly/engine/expiry.ts",
    find: "return root.liveKeyCount - root.expiredCount;",
    replace: "return PLANTED ? root.liveKeyCount : root.liveKeyCount - root.expiredCount;",
    breaks: "the count has keys that reads do not give",
  },
  {
    name: "expiry-minutes-late",
    file: "assembly/engine/expiry.ts",
    find: "return (flags & NodeFlags.DELETED) != 0 || expiryOf(node, node.body) <= timeNowMs();",
    replace:
      "return (flags & NodeFlags.DELETED) != 0 || expiryOf(node, node.body) + (PLANTED ? 250000 : 0) <= timeNowMs();",
    breaks: "a key is there for minutes after its time",
    search: { with: ["expire", "jump", "get"], live: true },
  },
  {
    name: "deleted-key-stays-in-the-order",
    file: "assembly/engine/dual.ts",
    find: "hashRemove(slot);\n    treeRemove(changetype<usize>(node));\n    nodeGive(node);",
    replace:
      "hashRemove(slot);\n    if (!PLANTED) treeRemove(changetype<usize>(node));\n    if (!PLANTED) nodeGive(node);",
    breaks: "a scan gives a key that was deleted",
  },
  {
    name: "long-key-is-not-ordered",
    file: "assembly/engine/dual.ts",
    find: "treeInsert(changetype<usize>(node));\n  root.liveKeyCount++;",
    replace: "if (!PLANTED || node.keySize < 400) treeInsert(changetype<usize>(node));\n  root.liveKeyCount++;",
    breaks: "a scan does not give a key that is there",
  },
  {
    name: "delete-is-counted-twice",
    file: "assembly/engine/dual.ts",
    find: "root.liveKeyCount--;\n  root.keyBytes -= keySize;\n  root.valueBytes -= node.valueSize;",
    replace:
      "root.liveKeyCount -= PLANTED && node.valueSize > 1000 ? 2 : 1;\n  root.keyBytes -= keySize;\n  root.valueBytes -= node.valueSize;",
    breaks: "the count of keys is wrong after a delete",
  },
  {
    name: "delete-is-not-logged",
    file: "assembly/engine/dual.ts",
    find: "const address = logAppend(RecordKind.DELETE, flags, sequence, node.key, keySize, 0, 0);",
    replace:
      "const address = logAppend(PLANTED ? RecordKind.VOID : RecordKind.DELETE, flags, sequence, node.key, keySize, 0, 0);",
    breaks: "a deletion is not in the log",
  },
  {
    name: "value-of-many-blocks-is-read-off-by-one",
    file: "assembly/engine/value.ts",
    find: "block += BLOCK_SIZE;\n    from = BLOCK_HEADER_SIZE;",
    replace: "block += BLOCK_SIZE;\n    from = BLOCK_HEADER_SIZE + (PLANTED && size > 4096 ? 1 : 0);",
    breaks: "a value over several blocks is read wrongly",
    search: { with: ["getAsync", "getMany"], options: { sizes: [1, 0, 5, 0] }, live: true },
    shows: ["drawing.ts: … gave …, which it never held meanwhile"],
  },
  {
    name: "part-of-a-value-is-read-twice",
    file: "assembly/engine/value.ts",
    find: "offset -= partSize;\n      continue;",
    replace: "if (!PLANTED) offset -= partSize;\n      continue;",
    breaks: "a later piece of a value in several extents is read from the wrong place",
  },
  {
    name: "record-is-not-compared",
    file: "assembly/engine/value.ts",
    find: "record.sequence == root.readSequence &&\n    <u32>record.keySize == root.readKeySize &&",
    replace:
      "(PLANTED || record.sequence == root.readSequence) &&\n    (PLANTED || <u32>record.keySize == root.readKeySize) &&",
    breaks: "a block with other bytes than the key's node means is given out",
    also: [
      {
        file: "assembly/engine/fetch.ts",
        find: "  return blockValid(frame, deviceBlock) && changetype<BlockHeader>(frame).generation == generation;",
        replace:
          "  if (PLANTED) return true;\n  return blockValid(frame, deviceBlock) && changetype<BlockHeader>(frame).generation == generation;",
      },
    ],
    search: {
      with: ["lost-write"],
      options: { ballast: 0, sizes: [0, 1, 0, 0], checkpoints: { logBytes: 1, liveThousandths: 0, stepBlocks: 1 } },
    },
  },
  {
    name: "rotten-block-is-read",
    file: "assembly/engine/fetch.ts",
    find: "export function blockIs(frame: usize, deviceBlock: u32, generation: u64): bool {",
    replace:
      "export function blockIs(frame: usize, deviceBlock: u32, generation: u64): bool {\n  if (PLANTED) return changetype<BlockHeader>(frame).generation == generation;",
    breaks: "a rotten block is read as data",
    test: {
      file: "test/store/damage.test.ts",
      name: "is CORRUPT with its place, for the value that it hit and no other",
    },
  },
  {
    name: "walk-goes-on-at-a-stale-place",
    file: "assembly/engine/cursor.ts",
    find: "if (cursor.leaf && cursor.treeVersion == root.treeVersion) {",
    replace: "if (cursor.leaf && (PLANTED || cursor.treeVersion == root.treeVersion)) {",
    breaks: "a walk skips keys, or gives some twice, when keys came or went meanwhile",
    search: { with: ["open", "step"], options: { keyCount: 200, sizes: [10, 0, 0, 0] }, live: true },
  },
  {
    name: "leaf-loses-an-entry",
    file: "assembly/index/tree-entries.ts",
    find: "moveEntries(leaf, right, from);\n  truncate(leaf, from);",
    replace: "moveEntries(leaf, right, from);\n  truncate(leaf, PLANTED && from ? from - 1 : from);",
    breaks: "a split of a leaf loses a key",
    search: { options: { crowd: 300 } },
  },
];
