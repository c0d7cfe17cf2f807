/**
 * Keys of Level as keys of a store, and back.
 *
 * Level allows an empty key and a store does not, so each key gets one byte of the adapter's own before it. What else a
 * program may put into the same store lies outside of that byte's range, and no walk or `clear` of Level touches it.
 */
// The runtime's own, or, in a browser, the package that abstract-level brings.
import { Buffer } from "buffer";
import { behind, compareKeys } from "../key-bytes.ts";
import { textOf } from "../text-or-bytes.ts";

/** A key or value in one of the formats that the adapter takes from Level without a detour. */
export type LevelData = string | Uint8Array;
/** What Level calls these formats. */
export type LevelFormat = "utf8" | "buffer" | "view";

/** The byte before each key: "L". */
const MARK = 0x4c;
const MARK_TEXT = "L";

const encoder = new TextEncoder();

/** A key of Level as the store's. */
export function markedKey(key: LevelData): LevelData {
  if (typeof key === "string") return MARK_TEXT + key;
  const marked = new Uint8Array(key.length + 1);
  marked[0] = MARK;
  marked.set(key, 1);
  return marked;
}

/** A key of the store as Level's, in the format that was asked for. */
export function plainKey(key: LevelData, format: LevelFormat): LevelData {
  return formatted((key as Uint8Array).subarray(1), format);
}

/** Bytes of the store in the format that was asked for. */
export function formatted(bytes: LevelData, format: LevelFormat): LevelData {
  if (typeof bytes === "string" || format === "view") return bytes;
  if (format === "utf8") return textOf(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The bounds of a range of Level, encoded. */
export interface LevelBounds {
  gt?: LevelData;
  gte?: LevelData;
  lt?: LevelData;
  lte?: LevelData;
}

/** The half-open span of a range: bytes of the store. */
export interface LevelSpan {
  gte: Uint8Array;
  lt: Uint8Array;
}

/** The span of a range. */
export function spanOf({ gt, gte, lt, lte }: LevelBounds): LevelSpan {
  const span: LevelSpan = { gte: Uint8Array.of(MARK), lt: Uint8Array.of(MARK + 1) };
  // Level lets gte win over gt, and lte over lt.
  if (gte !== undefined) span.gte = markedBytes(gte);
  else if (gt !== undefined) span.gte = behind(markedBytes(gt));
  if (lte !== undefined) span.lt = behind(markedBytes(lte));
  else if (lt !== undefined) span.lt = markedBytes(lt);
  return span;
}

/** Whether a target of `seek` lies outside of a span; its marked bytes otherwise. Level's walk ends there. */
export function targetIn(target: LevelData, { gte, lt }: LevelSpan): Uint8Array | undefined {
  const marked = markedBytes(target);
  return compareKeys(marked, gte) < 0 || compareKeys(marked, lt) >= 0 ? undefined : marked;
}

function markedBytes(key: LevelData): Uint8Array {
  return markedKey(typeof key === "string" ? encoder.encode(key) : key) as Uint8Array;
}
