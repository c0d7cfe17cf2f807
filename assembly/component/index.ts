/**
 * The component's exports. Their names here become the canonical ABI's when the component is wrapped; which becomes which
 * says scripts/component.mjs. The engine beneath is the one of assembly/index.ts, file for file.
 */
export { casCurrent, casDropped, casNew, increment, swap } from "./atomics";
export { deleteMany, getMany, setMany } from "./batch";
export { bucketDelete, bucketDrop, bucketExists, bucketGet, bucketListKeys, bucketOpen, bucketSet } from "./buckets";
export { cabi_realloc } from "./state";
export {
  cursorDrop,
  cursorEntries,
  storeClose,
  storeCount,
  storeDelete,
  storeDeleteDurable,
  storeDrop,
  storeFlush,
  storeGet,
  storeHas,
  storeOpen,
  storePutDurable,
  storeScan,
  storeSet,
  storeStats,
} from "./store";
