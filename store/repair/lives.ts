/**
 * What lies in the segments: the first pass over a damaged device. A life is one filling of a segment; what is left of
 * earlier ones behind the end of the present one is found as well. Blocks are counted, notes and durable marks are collected.
 */
import { CairnError } from "../error.ts";
import {
  BLOCK_HEADER_SIZE,
  type Block,
  FIRST_BLOCK,
  FLAG_GROUP_END,
  FLAG_SEGMENT_END,
  FLAG_SEGMENT_HEADER,
  type SalvageImage,
} from "./image.ts";

export const LIFE_LOG = 1;
export const LIFE_COPIES = 2;
const TRAILER_OFFSET = 4064;
const NOTE_HEADER_SIZE = 32;
const SEGMENT_HEADER_SIZE = 64;
const RECORD_HEADER_SIZE = 16;
/** What a life, and a note, take of memory. */
const LIFE_BYTES = 256;
const NOTE_BYTES = 128;

/** One filling of a segment, as far as blocks of it are left. */
export interface Life {
  /** Its number, for tables. */
  index: number;
  segment: number;
  generation: bigint;
  /** As its header says: log, copies, or something else; 0 when the header is lost. */
  kind: number;
  /** Whether its header is whole. */
  hasHeader: boolean;
  /** Everything in it is newer than deletions of its keys up to here. */
  born: number;
  previousGeneration: bigint;
  previousSegment: number;
  headerBlocks: number;
  /** Lowest and highest commit group of its blocks. */
  groupFirst: bigint;
  groupLast: bigint;
  /** First and last block in the segment that is left of it. */
  blockFirst: number;
  blockLast: number;
  /** Whether its last block is left. */
  isEnded: boolean;
  /** Whether groups end in it, so that it is of the log. */
  endsGroups: boolean;
  /** What it is worth; see account.ts. */
  standing: "counted" | "later" | "apart";
  /** Blocks of it that stand, from its first on: none behind the end of the durable log. */
  limit: number;
  /** Whether the log ends in it: what lies behind its limit is not missing. */
  isOpenEnd: boolean;
}

/** Where a note lies. */
export interface NoteReference {
  life: Life;
  group: bigint;
  serial: bigint;
  segmentCount: number;
  generationSum: bigint;
  /** Its first block, and where in it the note begins. */
  block: number;
  offset: number;
  /** Whether it stands in the header of its segment. */
  inHeader: boolean;
  /** No sequence that was issued before it is higher. */
  sequence: number;
}

/** Blocks of a device by what they are. The superblock's copies are not among them. */
export interface BlockCounts {
  /** All that were looked at. */
  read: number;
  /** What was written there, and whole. */
  sound: number;
  /** Not what was written. */
  damaged: number;
  /** The device failed to read them. */
  unreadable: number;
  /** Sound, but they belong elsewhere on the device. */
  misplaced: number;
  /** Of another store. */
  foreign: number;
  /** Never written. */
  blank: number;
}

/** What the first pass found. */
export interface Survey {
  lives: Life[];
  /** Lives by their segment, the newest first. */
  bySegment: Map<number, Life[]>;
  notes: NoteReference[];
  /** The highest durable group that any end of a group names. */
  mark: bigint;
  /** The highest sequence and time that ends of groups name. */
  sequence: number;
  highestTimeMs: number;
  counts: BlockCounts;
}

/** Surveys the device. `charge` counts the memory that is kept, and throws when it is too much. */
export async function surveyLives(
  image: SalvageImage,
  charge: (bytes: number) => void,
  onProgress: (done: number) => void,
): Promise<Survey> {
  const survey: Survey = {
    lives: [],
    bySegment: new Map(),
    notes: [],
    mark: 0n,
    sequence: 0,
    highestTimeMs: 0,
    counts: { read: 0, sound: 0, damaged: 0, unreadable: 0, misplaced: 0, foreign: 0, blank: 0 },
  };
  await image.each(
    FIRST_BLOCK,
    image.blockCount,
    (block) => {
      survey.counts.read++;
      survey.counts[block.look]++;
      if (block.look === "sound") take(image, survey, block, charge);
    },
    onProgress,
  );
  for (const lives of survey.bySegment.values()) lives.sort((a, b) => (a.generation < b.generation ? 1 : -1));
  return survey;
}

function take(image: SalvageImage, survey: Survey, block: Block, charge: (bytes: number) => void): void {
  const segment = image.segmentOf(block.block);
  const within = (block.block - FIRST_BLOCK) % image.segmentBlocks;
  let lives = survey.bySegment.get(segment);
  if (lives === undefined) {
    lives = [];
    survey.bySegment.set(segment, lives);
  }
  let life = lives.find(({ generation }) => generation === block.generation);
  if (life === undefined) {
    charge(LIFE_BYTES);
    life = lifeOf(survey.lives.length, segment, within, block);
    lives.push(life);
    survey.lives.push(life);
  }
  if (block.group < life.groupFirst) life.groupFirst = block.group;
  if (block.group > life.groupLast) life.groupLast = block.group;
  life.blockLast = within;
  if ((block.flags & FLAG_SEGMENT_END) !== 0 || within + 1 === image.segmentBlocks) life.isEnded = true;
  if (block.isHeader && within === 0) takeHeader(image, survey, life, block, charge);
  if ((block.flags & FLAG_GROUP_END) !== 0) {
    life.endsGroups = true;
    takeTrailer(image, survey, block);
  }
  if ((block.flags & FLAG_SEGMENT_HEADER) !== 0) return;
  for (let from = 1; ; ) {
    const offset = image.noteIn(block, from);
    if (offset === 0) break;
    charge(NOTE_BYTES);
    survey.notes.push(noteOf(image, life, block, offset + RECORD_HEADER_SIZE, false));
    from = offset + 1;
  }
}

function lifeOf(index: number, segment: number, within: number, block: Block): Life {
  return {
    index,
    segment,
    generation: block.generation,
    kind: 0,
    hasHeader: false,
    born: 0,
    previousGeneration: 0n,
    previousSegment: 0,
    headerBlocks: 1,
    groupFirst: block.group,
    groupLast: block.group,
    blockFirst: within,
    blockLast: within,
    isEnded: false,
    endsGroups: false,
    standing: "apart",
    limit: 0,
    isOpenEnd: false,
  };
}

function takeHeader(
  image: SalvageImage,
  survey: Survey,
  life: Life,
  block: Block,
  charge: (bytes: number) => void,
): void {
  const view = image.view(block);
  const at = BLOCK_HEADER_SIZE;
  life.hasHeader = true;
  life.kind = view.getUint32(at + 4, true);
  life.born = Number(view.getBigUint64(at + 8, true));
  life.previousGeneration = view.getBigUint64(at + 16, true);
  life.previousSegment = view.getUint32(at + 24, true);
  life.headerBlocks = Math.min(view.getUint32(at + 28, true), image.segmentBlocks);
  if (life.kind !== LIFE_LOG) return;
  charge(NOTE_BYTES);
  survey.notes.push(noteOf(image, life, block, at + SEGMENT_HEADER_SIZE, true));
}

function takeTrailer(image: SalvageImage, survey: Survey, block: Block): void {
  const view = image.view(block);
  const mark = view.getBigUint64(TRAILER_OFFSET, true);
  if (mark > survey.mark) survey.mark = mark;
  survey.highestTimeMs = Math.max(survey.highestTimeMs, Number(view.getBigUint64(TRAILER_OFFSET + 16, true)));
  survey.sequence = Math.max(survey.sequence, Number(view.getBigUint64(TRAILER_OFFSET + 24, true)));
}

/** A note whose fixed part runs on to the next block says its serial later: it is read whole then. */
function noteOf(image: SalvageImage, life: Life, block: Block, offset: number, inHeader: boolean): NoteReference {
  const fits = offset + NOTE_HEADER_SIZE <= BLOCK_HEADER_SIZE + block.used;
  const view = image.view(block);
  return {
    life,
    group: block.group,
    serial: fits ? view.getBigUint64(offset, true) : -1n,
    generationSum: fits ? view.getBigUint64(offset + 8, true) : 0n,
    segmentCount: fits ? view.getUint32(offset + 16, true) : 0,
    block: block.block,
    offset,
    inHeader,
    sequence: inHeader ? life.born + 1 : Number(view.getBigUint64(offset - 8, true) & 0xffff_ffff_ffffn),
  };
}

/** A note as it was read whole. */
export interface Note {
  life: Life;
  group: bigint;
  serial: bigint;
  generationSum: bigint;
  segmentCount: number;
  map: Uint8Array;
  sequence: number;
}

/**
 * Reads a note whole; `undefined` when a block of it is not there. It is as long as its count of segments says, which must
 * fit the device.
 */
export function readNote(image: SalvageImage, reference: NoteReference): Note | undefined {
  const { life, group, inHeader } = reference;
  const most = NOTE_HEADER_SIZE + (Math.ceil(image.blockCount / image.segmentBlocks / 64) + 1) * 8;
  const bytes = new Uint8Array(most);
  let size = NOTE_HEADER_SIZE;
  let have = 0;
  let from = reference.offset;
  for (let number = reference.block; have < size; number++, from = BLOCK_HEADER_SIZE) {
    if (number >= image.blockCount || image.segmentOf(number) !== life.segment) return undefined;
    const block = image.one(number);
    if (block.look !== "sound" || block.generation !== life.generation) return undefined;
    if (inHeader && (block.flags & FLAG_SEGMENT_HEADER) === 0) return undefined;
    const end = Math.min(BLOCK_HEADER_SIZE + block.used, from + most - have);
    if (end <= from) return undefined;
    bytes.set(image.bytes(block, from, end), have);
    have += end - from;
    if (have < NOTE_HEADER_SIZE) continue;
    const count = new DataView(bytes.buffer).getUint32(16, true);
    size = NOTE_HEADER_SIZE + Math.ceil(count / 64) * 8;
    if (size > most) return undefined;
  }
  const view = new DataView(bytes.buffer);
  return {
    life,
    group,
    serial: view.getBigUint64(0, true),
    generationSum: view.getBigUint64(8, true),
    segmentCount: view.getUint32(16, true),
    map: bytes.subarray(NOTE_HEADER_SIZE, size),
    sequence: reference.sequence,
  };
}

/** Whether a note counts a segment. */
export function noteCounts(note: Note, segment: number): boolean {
  return segment < note.segmentCount && (((note.map[segment >> 3] as number) >> (segment & 7)) & 1) === 1;
}

/** Refuses what would take more memory than is allowed. */
export function outOfMemory(limit: number): CairnError {
  const message = `repair: what was found does not fit into memoryBytes, ${limit}. Nothing was changed; give it more.`;
  return new CairnError("OUT_OF_MEMORY", "repair", message);
}
