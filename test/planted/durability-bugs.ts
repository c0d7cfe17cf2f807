/** Planted bugs of the core: what is acknowledged, in which order it reaches the device, and when space is used anew. */
import type { Bug } from "./bug.ts";

export const DURABILITY_BUGS: readonly Bug[] = [
  {
    name: "flush-without-sync",
    file: "assembly/log/group.ts",
    find: "const synced = deviceSync();\n  if (synced < 0) return synced;\n  const fencedAfter",
    replace:
      "const synced = PLANTED ? Status.OK : deviceSync();\n  if (synced < 0) return synced;\n  const fencedAfter",
    breaks: "a synchronous flush acknowledges what was not synced",
  },
  {
    name: "flush-leaves-flight-out",
    file: "assembly/log/group.ts",
    find: "if (inFlight && !root.flightDurable) {",
    replace: "if (inFlight && !root.flightDurable && !PLANTED) {",
    breaks: "a synchronous flush acknowledges a group that is still in flight",
  },
  {
    name: "failed-flight-counts",
    file: "assembly/log/group.ts",
    find: "} else if (result != FlightResult.DONE) {",
    replace: "} else if (result != FlightResult.DONE && !PLANTED) {",
    breaks: "a group whose write or sync failed is acknowledged",
    search: { with: ["sync-error"] },
  },
  {
    name: "held-group-counts",
    file: "assembly/log/group.ts",
    find: "if (!root.flightDurable) {\n      root.flightHeld = 1;",
    replace: "if (!root.flightDurable && !PLANTED) {\n      root.flightHeld = 1;",
    breaks: "a group that met a full disk is acknowledged",
    search: { with: ["growable", "no-space"] },
  },
  {
    name: "sync-error-is-swallowed",
    file: "assembly/device/device.ts",
    find: "root.wasiErrorCode = load<u8>(WASI_RETURN, 1);\n    return Status.DEVICE_WRITE;\n  }\n  return Status.OK;",
    replace:
      "root.wasiErrorCode = load<u8>(WASI_RETURN, 1);\n    return PLANTED ? Status.OK : Status.DEVICE_WRITE;\n  }\n  return Status.OK;",
    breaks: "a failed sync passes for one that was done",
    search: { with: ["sync-error"] },
  },
  {
    name: "write-error-is-swallowed",
    file: "assembly/device/device.ts",
    find: "return isNoSpace(code) ? Status.NO_SPACE : Status.DEVICE_WRITE;\n    }\n    const count",
    replace:
      "if (PLANTED) return Status.OK;\n      return isNoSpace(code) ? Status.NO_SPACE : Status.DEVICE_WRITE;\n    }\n    const count",
    breaks: "a failed write passes for one that was done",
    search: { with: ["write-error"] },
  },
  {
    name: "short-write-counts-as-whole",
    file: "assembly/device/device.ts",
    find: "if (count == <u64>size) return Status.OK;",
    replace: "if (count == <u64>size || PLANTED) return Status.OK;",
    breaks: "the rest of a short write is never written",
  },
  {
    name: "short-write-goes-on-at-its-beginning",
    file: "assembly/device/device.ts",
    find: "source += <usize>count;",
    replace: "if (!PLANTED) source += <usize>count;",
    breaks: "a short write goes on with bytes that were written already",
  },
  {
    name: "short-read-goes-on-at-its-beginning",
    file: "assembly/device/device.ts",
    find: "target += count;",
    replace: "if (!PLANTED) target += count;",
    breaks: "a short read overwrites what it has read",
  },
  {
    name: "fence-is-not-looked-at",
    file: "assembly/log/superblock-store.ts",
    find: "if (superblock.epoch > root.epoch) return Status.FENCED;",
    replace: "if (superblock.epoch > root.epoch && !PLANTED) return Status.FENCED;",
    breaks: "an opener that was taken over from goes on to acknowledge",
  },
  {
    name: "allotment-of-another-opener",
    file: "assembly/recovery/mount.ts",
    find: "const startAfter = !root.closed && flags & MountFlags.PREDECESSOR_ALIVE ? root.allotmentEnd : 0;",
    replace:
      "const startAfter = !PLANTED && !root.closed && flags & MountFlags.PREDECESSOR_ALIVE ? root.allotmentEnd : 0;",
    breaks: "an opener writes to where another one may still be writing",
    test: {
      file: "test/store/fencing.test.ts",
      name: "acknowledges nothing of the group that was in flight, and its late writes harm nothing",
    },
  },
  {
    name: "superblock-without-sync",
    file: "assembly/log/superblock-store.ts",
    find: "const synced = deviceSync();",
    replace: "const synced = PLANTED ? Status.OK : deviceSync();",
    breaks: "both copies of a superblock are in flight at once",
  },
  {
    name: "superblock-never-written",
    file: "assembly/log/superblock-store.ts",
    find: "    const written = deviceWrite(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_A, <u32>BLOCK_SIZE);",
    replace:
      "    const written =\n      PLANTED && before > 2 ? Status.OK : deviceWrite(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_A, <u32>BLOCK_SIZE);",
    breaks: "a mount writes under an epoch that no superblock says",
  },
  {
    name: "update-after-hand-over",
    file: "assembly/log/append.ts",
    find: "if (address < root.mutableFrom || address >= root.mutableTo) return false;\n  const head",
    replace:
      "if ((address < root.mutableFrom && !(PLANTED && address >= segmentOffset(root.segmentOpen) + <u64>headerBlocks() * BLOCK_SIZE && segmentAt(root.segmentOpen).firstBlock + segmentBlockOf(address) >= root.residentFrom)) || address >= root.mutableTo) return false;\n  const head",
    breaks: "a record is updated in place after its block was handed to the device",
  },
  {
    name: "update-leaves-check",
    file: "assembly/log/append.ts",
    find: "checkAnew(block);\n  root.inPlaceUpdates++;",
    replace:
      "if (PLANTED) changetype<BlockHeader>(frameOf(block)).check = 1;\n  if (PLANTED) root.checkedBlock = max(root.checkedBlock, block + 1);\n  else checkAnew(block);\n  root.inPlaceUpdates++;",
    breaks: "a block that was updated in place keeps the check of its former bytes",
  },
  {
    name: "mark-runs-ahead",
    file: "assembly/log/append.ts",
    find: "trailer.durableGroup = root.durableGroup;\n  trailer.reserved",
    replace: "trailer.durableGroup = PLANTED ? root.group : root.durableGroup;\n  trailer.reserved",
    breaks: "a group says of itself that it is durable, before it is",
  },
  {
    name: "mark-stands-still",
    file: "assembly/log/append.ts",
    find: "root.sealedMark = root.durableGroup;",
    replace: "root.sealedMark = PLANTED ? root.group : root.durableGroup;",
    breaks: "a note counts as proven with the group that it stands in",
    test: {
      file: "test/store/compaction.test.ts",
      name: "uses no segment anew before it is proven that nothing counts it",
    },
  },
  {
    name: "new-segment-is-not-noted",
    file: "assembly/log/append.ts",
    find: "noteCounts(index);\n  const noteSize = noteMake();",
    replace: "if (!PLANTED) noteCounts(index);\n  const noteSize = noteMake();",
    breaks: "a segment of the log does not count",
  },
  {
    name: "group-ends-without-flag",
    file: "assembly/log/append.ts",
    find: "header.flags |= <u16>BlockFlags.GROUP_END;",
    replace: "if (!PLANTED) header.flags |= <u16>BlockFlags.GROUP_END;",
    breaks: "a group has no end",
  },
  {
    name: "padding-is-not-cleared",
    file: "assembly/log/append.ts",
    find: "changetype<BlockHeader>(frame).used = <u16>used;",
    replace: "changetype<BlockHeader>(frame).used = <u16>(PLANTED && used > 64 ? used - 8 : used);",
    breaks: "a block says that it holds less than it does",
  },
  {
    name: "freed-when-noted",
    file: "assembly/log/space.ts",
    find: "if (state.space != Space.NOTED || state.noteGroup > root.provenMark) continue;",
    replace: "if (state.space != Space.NOTED || (state.noteGroup > root.provenMark && !PLANTED)) continue;",
    breaks: "a segment is used anew before the note that gives it up is proven",
    test: {
      file: "test/store/compaction.test.ts",
      name: "uses no segment anew before it is proven that nothing counts it",
    },
  },
  {
    name: "emptied-is-still-counted",
    file: "assembly/log/space.ts",
    find: "noteForgets(i);\n      state.space = Space.NOTED;",
    replace: "if (!PLANTED) noteForgets(i);\n      state.space = Space.NOTED;",
    breaks: "a segment that is used anew is counted as what it was",
  },
  {
    name: "deletions-are-dropped",
    file: "assembly/log/space.ts",
    find: "if (!newest) return false;\n  // Opening",
    replace: "if (!newest || PLANTED) return false;\n  // Opening",
    breaks: "a deletion is dropped while an older record of its key can be read",
  },
  {
    name: "checkpoint-needs-no-deletions",
    file: "assembly/log/space.ts",
    find: "if (root.checkpointFloor && newest > root.checkpointFloor) return true;",
    replace: "if (root.checkpointFloor && newest > root.checkpointFloor && !PLANTED) return true;",
    breaks: "a deletion is dropped while a kept checkpoint has its key",
    test: {
      file: "test/store/checkpoints.test.ts",
      name: "never bring back what was deleted since, however often segments are used anew",
    },
  },
  {
    name: "emptied-before-copies-count",
    file: "assembly/log/space.ts",
    find: "if (!state.liveBytes && !needed && state.movedTo <= root.sideClosed && i + 1 != root.moveSegment) {",
    replace:
      "if (!state.liveBytes && !needed && (PLANTED || state.movedTo <= root.sideClosed) && i + 1 != root.moveSegment) {",
    breaks: "a source is given up while its copies are not closed",
  },
  {
    name: "copies-count-unwritten",
    file: "assembly/log/side.ts",
    find: "  root.sideClosingEnd = root.sideTail;\n  root.sideSegment = 0;",
    replace:
      "  root.sideClosingEnd = root.sideTail;\n  root.sideSegment = 0;\n  if (PLANTED) {\n    noteCounts(root.sideClosing - 1);\n    state.space = Space.LIVE;\n    root.sideClosing = 0;\n    root.sideClosed++;\n    root.surveyDue = 1;\n  }",
    breaks: "a segment of copies counts before it is written",
    search: { with: ["compacts"] },
  },
  {
    name: "copies-are-lost",
    file: "assembly/log/side-flight.ts",
    find: "memory.copy(flightFrameOf(block), sideFrameOf(block), <usize>BLOCK_SIZE);",
    replace: "memory.copy(flightFrameOf(block), sideFrameOf(PLANTED ? root.sideHanded : block), <usize>BLOCK_SIZE);",
    breaks: "copies in flight are all the same block",
  },
  {
    name: "half-a-copy-is-applied",
    file: "assembly/engine/compact.ts",
    find: "if (root.moveCarry) return Status.OK;\n    if (root.moveTarget) moveApply();\n    at += pad8",
    replace:
      "if (PLANTED && root.moveCarry && root.moveTarget) moveApply();\n    if (root.moveCarry) return Status.OK;\n    if (root.moveTarget) moveApply();\n    at += pad8",
    breaks: "a node points to a copy that is not complete",
  },
  {
    name: "live-bytes-drift",
    file: "assembly/log/segments.ts",
    find: "state.liveBytes -= size;",
    replace: "state.liveBytes -= PLANTED && size > 2000 ? size + 8 : size;",
    breaks: "a segment counts less than it holds, and is given up while something in it is live",
  },
  {
    name: "copy-of-a-replaced-value",
    file: "assembly/engine/compact.ts",
    find: "if (node.flags & NodeFlags.DELETED || node.sequence != root.moveSequence) return false;",
    replace:
      "if (node.flags & NodeFlags.DELETED) return false;\n  if (PLANTED && !(node.flags & NodeFlags.EXTENTS) && root.moveKind == RecordKind.SET) return true;\n  if (node.sequence != root.moveSequence) return false;",
    breaks: "compaction lets a key point to its former value",
  },
  {
    name: "file-is-cut-first",
    file: "assembly/log/shrink.ts",
    find: "root.segmentCount = end;\n  root.allotmentEnd = min(allotmentEnd, end);\n  const first",
    replace:
      "if (PLANTED) deviceSetSize(segmentOffset(end));\n  root.segmentCount = end;\n  root.allotmentEnd = min(allotmentEnd, end);\n  const first",
    breaks: "a file is cut off before the superblock says so",
    search: { with: ["growable", "compacts", "compactFull"] },
  },
  {
    name: "grown-size-is-not-synced",
    file: "assembly/log/segments.ts",
    find: "const grown = fileRaise(count2);\n    if (grown < 0) return grown;\n    const synced = deviceSync();",
    replace:
      "const grown = fileRaise(count2);\n    if (grown < 0) return grown;\n    const synced = PLANTED ? Status.OK : deviceSync();",
    breaks: "a superblock names more than the file may hold after a crash",
  },
  {
    name: "free-segment-is-counted-twice",
    file: "assembly/log/segments.ts",
    find: "root.segmentSearch = index + 1;\n  root.segmentFreeCount--;",
    replace: "root.segmentSearch = index + 1;\n  if (!PLANTED) root.segmentFreeCount--;",
    breaks: "room that is taken counts as free",
  },
];
