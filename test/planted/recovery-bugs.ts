/** Planted bugs of the core: what opening believes, checkpoints. */
import type { Bug } from "./bug.ts";

export const RECOVERY_BUGS: readonly Bug[] = [
  {
    name: "check-is-not-compared",
    file: "assembly/format/block.ts",
    find: "header.check == blockCheck(frame)",
    replace: "(PLANTED || header.check == blockCheck(frame))",
    breaks: "torn and rotten blocks count as intact",
  },
  {
    name: "place-is-not-compared",
    file: "assembly/format/block.ts",
    find: "header.deviceBlock == deviceBlock &&",
    replace: "(PLANTED || header.deviceBlock == deviceBlock) &&",
    breaks: "a block counts that was written to another place",
    test: {
      file: "test/store/damage.test.ts",
      name: "is CORRUPT for blocks in each other's place, for old bytes, and for zeros",
    },
  },
  {
    name: "superblock-check-is-not-compared",
    file: "assembly/format/superblock.ts",
    find: "superblock.check == superblockCheck(superblock)",
    replace: "(PLANTED || superblock.check == superblockCheck(superblock))",
    breaks: "a torn superblock counts as intact",
    test: {
      file: "test/store/damage.test.ts",
      name: "is CORRUPT when no copy is whole",
    },
  },
  {
    name: "stale-blocks-continue-the-log",
    file: "assembly/recovery/log-replay.ts",
    find: "// The last proven segment may begin in the midst of a group.\n      if (started) intact = intact &&",
    replace:
      "if (PLANTED) intact = blockValid(<usize>pointer, offset >> BLOCK_SIZE_LOG2);\n      if (started && !PLANTED) intact = intact &&",
    breaks: "blocks of a segment's former life continue the log",
  },
  {
    name: "torn-group-is-kept",
    file: "assembly/recovery/log-replay.ts",
    find: "if (ended) {\n        if (behind) root.tailGroup",
    replace: "if (ended || PLANTED) {\n        if (behind) root.tailGroup",
    breaks: "a part of a group without an end is recovered",
  },
  {
    name: "walk-stops-at-a-segment",
    file: "assembly/recovery/log-replay.ts",
    find: "at = successor(logs, index, state.generation, mark);\n  }\n  return walkEnd",
    replace: "at = PLANTED ? 0 : successor(logs, index, state.generation, mark);\n  }\n  return walkEnd",
    breaks: "groups behind the last proven segment are not found",
  },
  {
    name: "tail-is-served-unsynced",
    file: "assembly/recovery/tail.ts",
    find: "status = deviceSync();",
    replace: "status = PLANTED ? Status.OK : deviceSync();",
    breaks: "what recovery copied is served before it is synced",
  },
  {
    name: "tail-is-not-rewritten",
    file: "assembly/recovery/tail.ts",
    find: "const last = root.logEndSegment;\n  for (let at = root.tailFromSegment; at; at = lifeNext(at)) {\n    if (partial && at == last) return Status.OK;",
    replace:
      "const last = root.logEndSegment;\n  if (PLANTED) return Status.OK;\n  for (let at = root.tailFromSegment; at; at = lifeNext(at)) {\n    if (partial && at == last) return Status.OK;",
    breaks: "groups that were read from a cache are taken for what is on the device",
    search: { with: ["sync-error", "kill"], options: { sizes: [1, 2, 6, 1] } },
  },
  {
    name: "copied-tail-has-no-end",
    file: "assembly/recovery/tail.ts",
    find: "if (i + 1 == kept) groupEnd(made);",
    replace: "if (i + 1 == kept && !PLANTED) groupEnd(made);",
    breaks: "what recovery copied is a group without an end",
  },
  {
    name: "original-counts-beside-its-copy",
    file: "assembly/recovery/tail.ts",
    find: "noteForgets(source);",
    replace: "if (!PLANTED) noteForgets(source);",
    breaks: "a segment that recovery copied and freed is still counted",
  },
  {
    name: "tail-counts-as-settled",
    file: "assembly/recovery/mount.ts",
    find: "const settled = !root.tailFromSegment &&",
    replace: "const settled = PLANTED || !root.tailFromSegment &&",
    breaks: "groups behind the mark are never brought to safety",
  },
  {
    name: "sequences-are-used-twice",
    file: "assembly/recovery/mount.ts",
    find: "root.sequence = root.sequenceCeiling - 1;",
    replace: "root.sequence = PLANTED ? root.replaySequence : root.sequenceCeiling - 1;",
    breaks: "sequences that were lost are given out again",
    search: { with: ["powerCut"], live: true },
    shows: ["session.ts: versions go on at …, and … was given out before"],
  },
  {
    name: "epoch-stands-still",
    file: "assembly/recovery/mount.ts",
    find: "root.epoch++;\n  root.generationCounter = 0;",
    replace: "if (!PLANTED) root.epoch++;\n  root.generationCounter = 0;",
    breaks: "two mounts give segments the same generations",
  },
  {
    name: "older-record-wins",
    file: "assembly/recovery/replay.ts",
    find: "if (record.sequence != node.sequence) return record.sequence > node.sequence;",
    replace:
      "if (record.sequence != node.sequence) return PLANTED ? segmentAt(segmentOf(node.address)).kind == SegmentKind.LOG || record.sequence > node.sequence : record.sequence > node.sequence;",
    breaks: "replay takes the record that it meets last, and not the newest",
  },
  {
    name: "replay-skips-deletions",
    file: "assembly/recovery/replay.ts",
    find: "if (record.sequence <= root.replayFloor) return Status.OK;\n    return deleteApply",
    replace: "if (record.sequence <= root.replayFloor || PLANTED) return Status.OK;\n    return deleteApply",
    breaks: "what was deleted is there again after opening",
  },
  {
    name: "replay-believes-nothing-old",
    file: "assembly/recovery/replay.ts",
    find: "if (known) placeApply(record, flags, changetype<KeyNode>(known), keySize, part, partSize, address);\n    return Status.OK;",
    replace:
      "if (known && !PLANTED) placeApply(record, flags, changetype<KeyNode>(known), keySize, part, partSize, address);\n    return Status.OK;",
    breaks: "copies that were made during a checkpoint are not found",
  },
  {
    name: "note-is-the-first-and-not-the-newest",
    file: "assembly/recovery/log-scan.ts",
    find: "if (note.serial <= root.replayNoteSerial) return true;",
    replace: "if (note.serial <= root.replayNoteSerial || (PLANTED && root.replayNoteSerial)) return true;",
    breaks: "an older note rules",
  },
  {
    name: "successor-is-any",
    file: "assembly/recovery/log-scan.ts",
    find: "if (state.generation > generation) found = at;",
    replace: "if (state.generation > generation && !(PLANTED && found)) found = at;",
    breaks: "a successor that was given up continues the log",
    test: {
      file: "test/store/full-file.test.ts",
      name: "a value that finds no room half-way leaves nothing behind that the log would go on with",
    },
  },
  {
    name: "checkpoint-before-its-note",
    file: "assembly/engine/checkpoint.ts",
    find: "if (root.durableGroup < work.noteGroup) return CheckpointResult.WAITS;",
    replace: "if (root.durableGroup < work.noteGroup && !PLANTED) return CheckpointResult.WAITS;",
    breaks: "a checkpoint is named before what it was written with is durable",
  },
  {
    name: "checkpoint-skips-a-key",
    file: "assembly/engine/checkpoint.ts",
    find: "if (node.flags & NodeFlags.DELETED) continue;\n      status = entryWrite",
    replace:
      "if (node.flags & NodeFlags.DELETED || (PLANTED && node.sequence % 5 == 1)) continue;\n      status = entryWrite",
    breaks: "a key is not in the checkpoint",
  },
  {
    name: "checkpoint-position-is-too-far",
    file: "assembly/engine/checkpoint.ts",
    find: "work.positionBlock = root.segmentOpenBlock + 1;",
    replace: "work.positionBlock = root.segmentOpenBlock + (PLANTED ? 3 : 1);",
    breaks: "blocks behind a checkpoint are not replayed",
  },
  {
    name: "checkpoint-freed-while-named",
    file: "assembly/engine/checkpoint.ts",
    find: "root.replacedGeneration = older.kind ? older.generation : 0;\n  root.checkpointPending = 2;",
    replace:
      "root.replacedGeneration = older.kind ? older.generation : 0;\n  root.checkpointPending = PLANTED ? 0 : 2;",
    breaks: "the segments of a checkpoint are used anew while a superblock names it",
    search: {
      with: ["growable", "compacts"],
      options: { sizes: [1, 2, 5, 0], checkpoints: { logBytes: 1, liveThousandths: 0, stepBlocks: 1 } },
    },
  },
  {
    name: "checkpoint-that-is-kept-is-freed",
    file: "assembly/engine/checkpoint.ts",
    find: "root.replacedSegment = older.segment;\n  root.replacedGeneration = older.kind",
    replace:
      "root.replacedSegment = PLANTED ? newer.segment : older.segment;\n  root.replacedGeneration = PLANTED ? newer.generation : older.kind",
    breaks: "the segments of the older checkpoint that is kept are used anew",
    search: { options: { checkpoints: { logBytes: 1, liveThousandths: 0, stepBlocks: 1 } } },
  },
  {
    name: "checkpoint-at-close-unsynced",
    file: "assembly/engine/checkpoint.ts",
    find: "const synced = deviceSync();",
    replace: "const synced = PLANTED ? Status.OK : deviceSync();",
    breaks: "a checkpoint is named that is not on the device",
    search: { with: ["reopen"], options: { checkpoints: { logBytes: 1, liveThousandths: 0, stepBlocks: 4 } } },
  },
];
