/** Why branches of the engine are not taken by the tests. What stands here and is taken by now is named by the report. */

/**
 * @typedef {object} Reason
 * @property {string} file
 * @property {string} inside the function
 * @property {string} text the condition, or the case, as the report has it
 * @property {boolean} [outcome] one way only
 * @property {string} why
 */

/** @type {readonly { why: string, branches: readonly (readonly [file: string, inside: string, text: string, outcome: boolean])[] }[]} */
const GROUPS = [
  {
    why: "A guard: every caller has made sure of it before, and no run of the tests has met it.",
    branches: [
      ["assembly/cache/block-cache.ts", "frameAdd", "!chunk", true],
      ["assembly/cache/block-cache.ts", "remove", "!entry", true],
      ["assembly/engine/compact.ts", "moveStep", "!(header.flags & BlockFlags.SEGMENT_HEADER)", false],
      ["assembly/engine/dual.ts", "nodeTake", "!node", true],
      ["assembly/engine/dual.ts", "streamApply", "!version", true],
      ["assembly/engine/dual.ts", "streamApply", "!taken", true],
      ["assembly/engine/promote.ts", "valueKeep", "node.flags & (NodeFlags.INLINE | NodeFlags.EXTENTS)", true],
      [
        "assembly/engine/promote.ts",
        "valueKeep",
        "node.flags & (NodeFlags.INLINE | NodeFlags.EXTENTS) || !inlineAllowed()",
        true,
      ],
      ["assembly/engine/source.ts", "isResident", "block >= end", true],
      ["assembly/index/hash-index.ts", "hashCollect", "hops <= root.hashOverflowCount", false],
      ["assembly/index/hash-index.ts", "hashCollect", "count < capacity", false],
      ["assembly/index/ordered-index.ts", "treeReplace", "!(index & FOUND)", true],
      ["assembly/log/append.ts", "surveyWhenDue", "root.surveyDue", false],
      ["assembly/log/append.ts", "surveyWhenDue", "root.surveyDue && !root.streamActive", false],
      ["assembly/log/segments.ts", "segmentNextFree", "i < limit", false],
      ["assembly/log/side.ts", "sideWrite", "flying || root.sideHanded < to", false],
      ["assembly/log/space.ts", "noteForgets", "!(load<u8>(at) & bit)", true],
    ],
  },
  {
    why: "The size of the whole key was looked at when it was put together.",
    branches: [
      ["assembly/component/atomics.ts", "increment", "node < 0", true],
      ["assembly/component/atomics.ts", "casNew", "node < 0", true],
      ["assembly/component/buckets.ts", "bucketGet", "node < 0", true],
      ["assembly/component/buckets.ts", "bucketExists", "node < 0", true],
    ],
  },
  {
    why: "It needs the results of one call to fill 190 MiB, or as many handles as there are.",
    branches: [
      ["assembly/component/atomics.ts", "increment", "!text", true],
      ["assembly/component/atomics.ts", "casNew", "!slot", true],
      ["assembly/component/atomics.ts", "swap", "fresh", false],
      ["assembly/component/atomics.ts", "swap", "!fresh", true],
      ["assembly/component/batch.ts", "getMany", "!list", true],
      ["assembly/component/batch.ts", "getMany", "!whole", true],
      ["assembly/component/batch.ts", "change", "!place", true],
      ["assembly/component/batch.ts", "change", "!place || !whole", true],
      ["assembly/component/buckets.ts", "bucketOpen", "!slot", true],
      ["assembly/component/buckets.ts", "bucketListKeys", "list", false],
      ["assembly/component/buckets.ts", "bucketListKeys", "!list", true],
      ["assembly/component/buckets.ts", "bucketKey", "!whole", true],
      ["assembly/component/calls.ts", "valueFind", "opened == ValueAt.PIECES", true],
      ["assembly/component/calls.ts", "weigh", "weight.bytes > BATCH_SIZE_MAX", true],
      ["assembly/component/calls.ts", "retries", "status == Status.OUT_OF_MEMORY", true],
      ["assembly/component/failure.ts", "messageOf", "status is Status.OUT_OF_MEMORY", true],
      ["assembly/component/failure.ts", "messageOf", "status is Status.BATCH_SIZE", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.OUT_OF_MEMORY", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.BATCH_SIZE", true],
      ["assembly/component/state.ts", "cabi_realloc", "old", true],
      ["assembly/component/state.ts", "cabi_realloc", "old && old + oldSize == <usize>state.arenaTop", true],
      ["assembly/component/state.ts", "cabi_realloc", "size > MEMORY_END - old", true],
      ["assembly/component/state.ts", "cabi_realloc", "size > MEMORY_END - old", false],
      ["assembly/component/state.ts", "cabi_realloc", "!taken", true],
      ["assembly/component/state.ts", "arenaTake", "<usize>size > MEMORY_END - start", true],
      ["assembly/component/state.ts", "slotTake", "i < count", false],
      ["assembly/component/store.ts", "storeScan", "!slot", true],
      ["assembly/component/store.ts", "cursorEntries", "!list", true],
      ["assembly/component/store.ts", "walk", "!place", true],
      ["assembly/component/store.ts", "piecesFetch", "!target", true],
    ],
  },
  {
    why: "What a status is called in the component: the statuses are made by the engine, where tests of the store see them.",
    branches: [
      ["assembly/component/failure.ts", "fail", "text", false],
      ["assembly/component/failure.ts", "failKeyvalue", "text", false],
      ["assembly/component/failure.ts", "messageOf", "status is Status.UNSUPPORTED_FORMAT", true],
      ["assembly/component/failure.ts", "messageOf", "status is Status.ENGINE_MISMATCH", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.UNSUPPORTED_FORMAT", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.ENGINE_MISMATCH", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.CORRUPT", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.DEVICE_READ", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.DEVICE_SHRUNK", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.NO_SPACE", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.FENCED", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.POISONED", true],
      ["assembly/component/failure.ts", "nameOf", "status is Status.READ_ONLY", true],
      ["assembly/component/failure.ts", "nameOf", "status is Refusal.LOCKED", true],
      ["assembly/component/failure.ts", "nameOf", "status is Refusal.CLOSED", true],
    ],
  },
  {
    why: "Another opener must change the lock file between two calls of the component, within microseconds.",
    branches: [
      ["assembly/component/lock.ts", "lockTake", "attempt < ATTEMPT_COUNT_MAX", false],
      ["assembly/component/lock.ts", "lockTake", "!dead", true],
      ["assembly/component/lock.ts", "lockTake", "taken < 0", true],
      ["assembly/component/lock.ts", "lockTake", "taken", false],
      ["assembly/component/lock.ts", "lockMake", "code == FileError.INSUFFICIENT_SPACE", false],
      ["assembly/component/lock.ts", "holderWatch", "kind == Seen.GONE", true],
      ["assembly/component/lock.ts", "holderWatch", "now > beat", false],
      ["assembly/component/lock.ts", "holderWatch", "again == Seen.GONE", true],
      ["assembly/component/lock.ts", "holderWatch", "again == Seen.STRANGE", true],
      ["assembly/component/lock.ts", "holderWatch", "!tokenIsKept()", true],
      ["assembly/component/lock.ts", "lockReplace", "claimed < 0", true],
      ["assembly/component/lock.ts", "lockReplace", "!claimed", true],
      ["assembly/component/lock.ts", "lockReplace", "lockLook(LOCK_PATH, state.lockPathSize) == Seen.LOCK", false],
      [
        "assembly/component/lock.ts",
        "lockReplace",
        "lockLook(LOCK_PATH, state.lockPathSize) == Seen.LOCK && tokenIsKept()",
        false,
      ],
      ["assembly/component/lock.ts", "lockReplace", "!load<u8>(WASI_RESULT)", false],
      ["assembly/component/lock.ts", "lockLook", "root.wasiErrorCode == FileError.NO_ENTRY", true],
      ["assembly/component/lock.ts", "lockLook", "statIsFile()", false],
      ["assembly/component/lock.ts", "seenToken", "!isHex", true],
    ],
  },
  {
    why: "Only another host's WASI answers so: ours, and the component's in the tests, do not.",
    branches: [
      ["assembly/device/device.ts", "isNoSpace", "errorCode == ERROR_QUOTA", true],
      ["assembly/device/device.ts", "readThrough", "landed != target", true],
      ["assembly/device/device.ts", "writeThrough", "!count", true],
      ["assembly/device/device.ts", "writeThrough", "!count || count > <u64>size", true],
    ],
  },
  {
    why: "It needs a device above 32 GiB, or four billion commits between two keys of one block.",
    branches: [
      ["assembly/engine/checkpoint-entries.ts", "entryWrite", "address >> 32 == 0", false],
      ["assembly/engine/checkpoint-entries.ts", "entryWrite", "address >> 40 == 0", true],
      ["assembly/engine/checkpoint-entries.ts", "entryWrite", "address >> 40 == 0", false],
      ["assembly/engine/checkpoint-entries.ts", "entryWrite", "distance >> 32 == 0", false],
      ["assembly/engine/checkpoint-entries.ts", "entryWrite", "sequenceBits == 3", true],
      ["assembly/format/checkpoint.ts", "sequenceWidth", "bits == 3", true],
    ],
  },
  {
    why: "It needs more than twelve million commits in one life of a store, and for the refusals a device that fails then.",
    branches: [
      ["assembly/engine/dual.ts", "removeAt", "raised < 0", true],
      ["assembly/engine/dual.ts", "batchBegin", "raised < 0", true],
      ["assembly/log/append.ts", "blockNext", "root.hostFlies && ceilingIsLow()", true],
      ["assembly/log/superblock-flight.ts", "superblockLanded", "root.superblockCeiling > root.sequenceCeiling", true],
      ["assembly/log/superblock-flight.ts", "copiesBegin", "ceilingIsLow()", true],
      ["assembly/log/superblock-store.ts", "sequencesReserve", "committed < 0", true],
    ],
  },
  {
    why: "It needs more keys than 4 GiB of address space hold.",
    branches: [
      ["assembly/index/hash-index.ts", "split", "target >>> BUCKETS_PER_CHUNK_LOG2 >= DIRECTORY_CAPACITY", true],
    ],
  },
  {
    why: "A value in pieces is given up in a group whose own note emptied segments: it needs a value that outgrows the buffer just then.",
    branches: [
      ["assembly/log/space.ts", "noteTakeBack", "!root.notedCount", false],
      ["assembly/log/space.ts", "noteTakeBack", "i < root.segmentCount", true],
      ["assembly/log/space.ts", "noteTakeBack", "i < root.segmentCount", false],
      ["assembly/log/space.ts", "noteTakeBack", "state.space != Space.NOTED", true],
      ["assembly/log/space.ts", "noteTakeBack", "state.space != Space.NOTED", false],
      ["assembly/log/space.ts", "noteTakeBack", "state.space != Space.NOTED || state.noteGroup != group", true],
      ["assembly/log/space.ts", "noteTakeBack", "state.space != Space.NOTED || state.noteGroup != group", false],
      ["assembly/log/stream.ts", "streamBegin", "ended < 0", true],
      ["assembly/log/stream.ts", "streamBegin", "!root.streamTable", true],
      ["assembly/log/stream.ts", "streamBegin", "!first", true],
    ],
  },
];

/** @type {Reason[]} */
export const REASONS = GROUPS.flatMap(({ why, branches }) =>
  branches.map(([file, inside, text, outcome]) => ({ file, inside, text, outcome, why })),
);
