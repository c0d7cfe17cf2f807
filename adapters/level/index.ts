/**
 * `cairn-kv/level`: Cairn as a database of Level. Needs the package `abstract-level` 3.
 *
 * @module cairn-kv/level
 */
export type { LevelData, LevelFormat } from "./keys.ts";
export {
  CairnLevel,
  type CairnLevelOpenOptions,
  type CairnLevelOptions,
  type CairnLevelWriteOptions,
  type LevelStore,
} from "./level.ts";
