/** The states of segments, without an engine: from open to free, and what holds a segment back on its way. */
import { expect, test } from "vitest";
import { MemoryDevice } from "../../hosts/memory-device.ts";
import { BLOCK_SIZE, EXCHANGE, instantiate, KEY_A, OK, PAGE, POOL, type Units, writeKey } from "./units.ts";

const SEGMENTS_OFFSET = 1 << 20;
const SEGMENT_BLOCKS = 16;
const SEGMENT_SIZE = SEGMENT_BLOCKS * BLOCK_SIZE;
const [FREE, OPEN, , LIVE, EMPTIED, NOTED] = [0, 1, 2, 3, 4, 5] as const;
const SET = 1;
const DELETE = 2;

function log(): { units: Units; append(kind: number, size: number): number; space(): number[] } {
  const device = new MemoryDevice(SEGMENTS_OFFSET + 2 * SEGMENT_SIZE);
  const { units, bytes, device: handle } = instantiate(60, device);
  expect(units.logSetUp(handle, POOL + 60 * PAGE, SEGMENT_BLOCKS, 64)).toBe(1);
  let sequence = 0n;
  return {
    units,
    /** Appends a record: the segment that it went to. */
    append: (kind, size) => {
      sequence += 1n;
      units.logSequenceSet(sequence);
      expect(units.logReserve(16 + 3 + size, 0)).toBe(OK);
      const address = units.logAppend(kind, 0, sequence, KEY_A, writeKey(bytes, KEY_A, "key"), EXCHANGE, size);
      const segment = (Number(address) - SEGMENTS_OFFSET) / SEGMENT_SIZE;
      if (kind === SET) units.liveAdd(address, size);
      else units.tombstoneAdd(address, 24, sequence);
      return Math.floor(segment);
    },
    space: () => Array.from({ length: units.segmentCount() }, (_, index) => units.segmentSpace(index)),
  };
}

test("a segment is free when a durable mark proves the note that no longer counts it", () => {
  const { units, append, space } = log();
  // Each record takes a segment for itself.
  expect(append(SET, 40_000)).toBe(0);
  expect(append(SET, 40_000)).toBe(1);
  expect(space().slice(0, 2)).toEqual([LIVE, OPEN]);
  expect([units.noteHas(0), units.noteHas(1)]).toEqual([1, 1]);
  units.spaceSurvey();
  expect(units.segmentSpace(0)).toBe(LIVE);
  units.segmentLiveBytesSet(0, 0n);
  units.spaceSurvey();
  expect(units.segmentSpace(0)).toBe(EMPTIED);
  expect(units.noteHas(0)).toBe(1);
  expect(append(SET, 40_000)).toBe(2);
  // The third segment's header holds a note.
  expect(units.segmentSpace(0)).toBe(NOTED);
  expect(units.noteHas(0)).toBe(0);
  expect(units.flushSync()).toBe(OK);
  expect(units.segmentSpace(0)).toBe(NOTED);
  append(SET, 100);
  expect(units.flushSync()).toBe(OK);
  expect(units.segmentSpace(0)).toBe(FREE);
  const taken = new Set([append(SET, 40_000), append(SET, 40_000), append(SET, 40_000)]);
  expect(taken.has(0) || units.segmentCount() > 5).toBe(true);
});

test("a segment whose blocks are in a flight that was not reported stays, durable or not", () => {
  const { units, append } = log();
  append(SET, 40_000);
  append(SET, 40_000);
  expect(units.groupBegin()).toBeGreaterThan(0);
  units.segmentLiveBytesSet(0, 0n);
  units.spaceSurvey();
  expect(append(SET, 40_000)).toBe(2);
  for (let i = 0; i < 3; i++) {
    append(SET, 100);
    // It writes the flight's bytes again; the host may be writing them still.
    expect(units.flushSync()).toBe(OK);
  }
  expect(units.segmentSpace(0)).toBe(NOTED);
  expect(units.groupFinish(0)).toBe(OK);
  expect(units.segmentSpace(0)).toBe(FREE);
});

test("deletions hold a segment as long as one that was born before them may be read", () => {
  const { units, append } = log();
  expect(append(SET, 40_000)).toBe(0);
  expect(append(DELETE, 0)).toBe(0);
  expect(append(SET, 40_000)).toBe(1);
  expect(append(DELETE, 0)).toBe(1);
  expect(append(SET, 40_000)).toBe(2);
  units.segmentLiveBytesSet(1, 0n);
  units.spaceSurvey();
  // Segment 0 may hold what the deletion in segment 1 is about.
  expect(units.segmentSpace(1)).toBe(LIVE);
  units.segmentLiveBytesSet(0, 0n);
  units.spaceSurvey();
  // The deletion in segment 0 is about nothing older than its own segment.
  expect([units.segmentSpace(0), units.segmentSpace(1)]).toEqual([EMPTIED, LIVE]);
  expect(append(SET, 40_000)).toBe(3);
  expect(units.segmentSpace(0)).toBe(NOTED);
  for (let i = 0; i < 2; i++) {
    append(SET, 100);
    expect(units.flushSync()).toBe(OK);
  }
  expect(units.segmentSpace(0)).toBe(FREE);
  units.spaceSurvey();
  expect(units.segmentSpace(1)).toBe(EMPTIED);
});
