/** Why branches of verification and of the component are not taken by the tests. */

/** @type {import("./reasons.mjs").Group[]} */
export default [
  {
    why: "The device must fail, or be full, in just this call: the status is passed on. Most calls are failed one by one (test/every-call, test/store/opening-faults, test/component/faults), but for these the device would have to work until then and the operation to have come so far.",
    branches: [
      ["assembly/component/buckets.ts", "bucketListKeys", "count < 0", true],
      ["assembly/component/calls.ts", "afterWrite", "compacted < 0", true],
      ["assembly/component/calls.ts", "compactDue", "state.poisoned", true],
      ["assembly/component/lock.ts", "lockLook", "fileStat(handle) == Status.OK", false],
      ["assembly/component/opening.ts", "tailCheck", "size < 0", true],
      ["assembly/verify/checkpoints.ts", "blocksProve", "read < 0", true],
      [
        "assembly/verify/inspect.ts",
        "inspectBegin",
        "deviceRead(<u64>copy * SUPERBLOCK_STRIDE, SUPERBLOCK_A, <u32>BLOCK_SIZE) < 0",
        true,
      ],
    ],
  },
  {
    why: "The memory must be used up to its last chunk in just this call; refused growth and small memories (test/every-call, test/store/core-memory) met another call first.",
    branches: [["assembly/verify/state.ts", "stateTake", "verifyState().gather", false]],
  },
  {
    why: "An invariant of our own code, asked again where a bug would cost data: every caller has made sure of it before.",
    branches: [
      ["assembly/verify/checkpoints.ts", "blocksProve", "count", false],
      ["assembly/verify/checkpoints.ts", "keptEnd", "!summary.magic", true],
      ["assembly/verify/checkpoints.ts", "keptStart", "!first", true],
      ["assembly/verify/source.ts", "frameInMemory", "number > root.tailBlock", true],
    ],
  },
  {
    why: "The memory must be spoilt at a place that the tests which spoil memory (test/unit/verify) do not reach.",
    branches: [
      ["assembly/verify/checkpoints.ts", "isReplayed", "address < SEGMENTS_OFFSET", true],
      [
        "assembly/verify/checkpoints.ts",
        "isReplayed",
        "address < SEGMENTS_OFFSET || (address - SEGMENTS_OFFSET) >> root.segmentSizeLog2 >= <u64>root.segmentCount",
        true,
      ],
      ["assembly/verify/indexes.ts", "bucketProve", "count < 0", true],
      ["assembly/verify/indexes.ts", "bucketProve", "count < 0 || <u32>count > capacity", true],
      [
        "assembly/verify/indexes.ts",
        "leafProve",
        "compareKeys(key.key, key.keySize, first.key, first.keySize) >= 0",
        true,
      ],
      ["assembly/verify/log.ts", "segmentScan", "segment.liveBytes", true],
      ["assembly/verify/proof.ts", "addressIsSound", "block < segmentEnd(<u32>index)", false],
      ["assembly/verify/proof.ts", "candidateProve", "!tableIsSound(table)", true],
      [
        "assembly/verify/proof.ts",
        "recordProve",
        "inline && !bytesEqual(following + BLOCK_HEADER_SIZE, inline + seen, piece)",
        true,
      ],
      ["assembly/verify/records.ts", "candidateMatch", "!tableIsSound(table)", true],
      [
        "assembly/verify/records.ts",
        "headAgrees",
        "((flags & NodeFlags.EXPIRY) != 0) != ((recordFlags & RecordFlags.EXPIRY) != 0)",
        true,
      ],
      ["assembly/verify/records.ts", "headAgrees", "recordWordsSize(recordFlags) != wordsSize", true],
      ["assembly/verify/records.ts", "recordAgrees", "candidate.sequence == view.sequence", false],
      ["assembly/verify/sound.ts", "prefixIsSound", "node.count > 0", false],
      ["assembly/verify/sound.ts", "tableIsSound", "!(table & 7)", false],
      ["assembly/verify/sound.ts", "tableIsSound", "chunksHold(table, 8)", false],
    ],
  },
  {
    why: "Bytes under checks that hold and that no writer makes. Tests forge such blocks at random (test/store/forged, test/fuzz); these would have to pass everything that is asked before.",
    branches: [
      ["assembly/verify/checkpoints.ts", "entriesProve", "at > end", true],
      [
        "assembly/verify/log.ts",
        "segmentFinish",
        "state.recordRemaining && !state.lost && !isHalfCopied(state.segment)",
        true,
      ],
      ["assembly/verify/records.ts", "recordsScan", "used != at", true],
      ["assembly/verify/verify.ts", "superblockProve", "superblock.storeIdHigh == root.storeIdHigh", false],
    ],
  },
  {
    why: "A writer in another process must write to a block between two looks of a reader, or the device fail between them.",
    branches: [
      ["assembly/verify/checkpoints.ts", "blocksProve", "!segmentMovedOn(index, bufferBlock(BUFFER_BLOCKS))", false],
      [
        "assembly/verify/checkpoints.ts",
        "keptStart",
        "!segmentMovedOn(kept.segment, bufferBlock(BUFFER_BLOCKS))",
        false,
      ],
      ["assembly/verify/indexes.ts", "walk", "state.expired", true],
      ["assembly/verify/log.ts", "blockFromDevice", "again == Status.OK", true],
      ["assembly/verify/log.ts", "blocksScan", "segmentMovedOn(index, bufferBlock(BUFFER_BLOCKS))", true],
      ["assembly/verify/proof.ts", "missing", "segmentMovedOn(index, bufferBlock(BUFFER_BLOCKS))", true],
      ["assembly/verify/values.ts", "pieceProve", "status == Status.SNAPSHOT_EXPIRED", true],
      [
        "assembly/verify/values.ts",
        "pieceProve",
        "status == Status.SNAPSHOT_EXPIRED || segmentMovedOn(segmentOf(address), bufferBlock(BUFFER_BLOCKS))",
        true,
      ],
      ["assembly/verify/values.ts", "valuesProve", "hops <= root.versionCount", false],
    ],
  },
  {
    why: "It needs a batch of 1 GiB, or a store of 800 MiB in memory, in the component: more than one call can pass, and too much for a test.",
    branches: [
      ["assembly/component/buckets.ts", "bucketListKeys", "walk < 0", true],
      ["assembly/component/calls.ts", "afterWrite", "attention & Attention.VERSIONS_DUE", true],
      ["assembly/component/calls.ts", "retries", "status == Status.OUT_OF_MEMORY", true],
      ["assembly/component/calls.ts", "retries", "steps < FREE_STEPS_MAX", false],
      ["assembly/component/calls.ts", "retries", "steps < FREE_STEPS_MAX", true],
      [
        "assembly/component/calls.ts",
        "retries",
        "steps < FREE_STEPS_MAX && root.attention & Attention.VERSIONS_DUE",
        false,
      ],
      [
        "assembly/component/calls.ts",
        "retries",
        "steps < FREE_STEPS_MAX && root.attention & Attention.VERSIONS_DUE",
        true,
      ],
      ["assembly/component/calls.ts", "weigh", "weight.bytes > BATCH_SIZE_MAX", true],
      ["assembly/component/failure.ts", "messageOf", "status is Status.BATCH_SIZE", true],
      ["assembly/component/failure.ts", "messageOf", "status is Status.OUT_OF_MEMORY", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.BATCH_SIZE", true],
    ],
  },
  {
    why: "A compressed value of several pieces must be replaced or deleted between two steps of the verification that reads it.",
    branches: [["assembly/verify/indexes.ts", "valuesGoOn", "slot", false]],
  },
  {
    why: "The component's callers look at the size of a key before.",
    branches: [
      ["assembly/component/atomics.ts", "casNew", "node < 0", true],
      ["assembly/component/atomics.ts", "increment", "node < 0", true],
      ["assembly/component/buckets.ts", "bucketExists", "node < 0", true],
      ["assembly/component/buckets.ts", "bucketGet", "node < 0", true],
    ],
  },
  {
    why: "Room on the device is proven before the first write of a batch or of a large value (log/prove): the device must work until then and fail behind it.",
    branches: [
      ["assembly/component/calls.ts", "batchDone", "status < 0", true],
      ["assembly/component/calls.ts", "batchErase", "status < 0", true],
      ["assembly/component/calls.ts", "batchWrite", "status < 0", true],
      ["assembly/component/calls.ts", "writeOnce", "status < 0", true],
    ],
  },
  {
    why: "The component's memory has one size, which is enough.",
    branches: [["assembly/component/opening.ts", "mountFile", "sized < 0", true]],
  },
  {
    why: "A write, a checkpoint or a copy must come between two steps of a verification at just this place; random ones between all steps (test/store/verify-steps) have not hit it.",
    branches: [
      ["assembly/verify/checkpoints.ts", "checkpointsStep", "kept.generation != state.keptGeneration", true],
      [
        "assembly/verify/checkpoints.ts",
        "checkpointsStep",
        "kept.generation != state.keptGeneration || !checkpointChain(kept)",
        true,
      ],
      ["assembly/verify/checkpoints.ts", "keptSums", "state.keptMoved != root.bytesMoved", true],
      ["assembly/verify/indexes.ts", "isQuiet", "state.walkTreeVersion == root.treeVersion", false],
      ["assembly/verify/log.ts", "segmentFinish", "isCopies", true],
      ["assembly/verify/log.ts", "segmentFinish", "state.openBefore", false],
      [
        "assembly/verify/log.ts",
        "segmentFinish",
        "state.openBefore && (isCopies || root.bytesAppended != state.appendedBefore)",
        false,
      ],
      ["assembly/verify/log.ts", "segmentScan", "!state.started", false],
      ["assembly/verify/log.ts", "segmentScan", "segment.generation != state.generation", true],
    ],
  },
];
