/** What each segment of a store's device holds: where the bytes of its log lie, and how many of them still count. */
import type { Core } from "./core.ts";
import { BLOCK_SIZE } from "./layout.ts";

/** Kinds of segments, by their numbers in the format. */
export const SEGMENT_KINDS = ["free", "log", "copies", "checkpoint", "sorted-run"] as const;

const KIND = 0;
const BLOCKS = 1;
const LIVE_BYTES = 2;

/** A segment of the device, as `Store.segments` tells of it. */
export interface SegmentUse {
  /** Its number, from 0. */
  segment: number;
  /** What it holds: nothing, records as they were written, records that compaction has copied, a checkpoint. */
  kind: (typeof SEGMENT_KINDS)[number];
  /** Bytes of its blocks that are in use. */
  usedBytes: number;
  /** Bytes of records in it that are live. */
  liveBytes: number;
}

/** The segments from `first` on, `count` of them at most. */
export function readSegments({ exports }: Core, first: number, count: number): SegmentUse[] {
  const segments: SegmentUse[] = [];
  for (let segment = first; segment < first + count; segment++) {
    const kind = exports.segmentFigure(segment, KIND);
    if (kind < 0) break;
    segments.push({
      segment,
      kind: SEGMENT_KINDS[kind] ?? "free",
      usedBytes: exports.segmentFigure(segment, BLOCKS) * BLOCK_SIZE,
      liveBytes: exports.segmentFigure(segment, LIVE_BYTES),
    });
  }
  return segments;
}
