/**
 * The second pass: every record of every sound block, in the order of the device, into the table of keys; and what is
 * missing from lives that stand, with its bound.
 *
 * A record counts as whole when all blocks of its value are. A missing block that lies within one value costs that value and
 * nothing else; any other may have held records of any key.
 */
import { BLOCK_SIZE } from "../layout.ts";
import type { Account, Gap } from "./account.ts";
import {
  BLOCK_HEADER_SIZE,
  BLOCK_PAYLOAD_SIZE,
  type Block,
  FIRST_BLOCK,
  FLAG_EXTENTS,
  FLAG_GROUP_END,
  FLAG_SEGMENT_HEADER,
  KIND_DELETE,
  KIND_EXTENT,
  KIND_SET,
  NO_RECORD,
  type RecordHere,
  type SalvageImage,
} from "./image.ts";
import { type KeyTable, VERSION_BROKEN, VERSION_DELETE, VERSION_PARTS, VERSION_STANDS } from "./key-table.ts";
import { LIFE_COPIES, LIFE_LOG, type Life, type Survey } from "./lives.ts";

const TRAILER_SEQUENCE_OFFSET = 4088;
const KIND_NOTE = 7;
/** Records beyond are not of a store: opening refuses such a superblock. */
export const SEQUENCE_MAX = 0xffff_fe00_0000;

/** A value that runs on over the blocks that follow. */
interface Run {
  record: RecordHere;
  entry: number;
  address: number;
  /** Bytes that are still to come. */
  left: number;
  isBroken: boolean;
}

/** How far the reading of one life is. */
interface Flow {
  life: Life;
  /** The block of the segment that comes next. */
  next: number;
  run: Run | undefined;
  /** Gaps whose bound is the next sequence that is seen. */
  open: Gap[];
  /** Header blocks that were there. */
  headers: number;
}

/** What was collected. */
export interface Collected {
  gaps: Gap[];
  recordsRead: number;
  /** Sequences between whose records a block is missing: batches that are not whole. */
  brokenBatches: Set<number>;
  sequenceMax: number;
}

/** See the head of this file. */
export class Collector {
  private readonly image: SalvageImage;
  private readonly table: KeyTable;
  private readonly account: Account;
  private readonly survey: Survey;
  private flows = new Map<bigint, Flow>();
  private segment = -1;
  /** The first sequence of each life of the log that stands, and the last one before each gap. */
  private readonly firstOf = new Map<Life, number>();
  private readonly before = new Map<Gap, number>();
  private readonly lastOf = new Map<Life, number>();
  private readonly found: Collected = { gaps: [], recordsRead: 0, brokenBatches: new Set(), sequenceMax: 0 };

  constructor(image: SalvageImage, table: KeyTable, account: Account, survey: Survey) {
    this.image = image;
    this.table = table;
    this.account = account;
    this.survey = survey;
  }

  /** Runs the pass. */
  async run(onProgress: (done: number) => void): Promise<Collected> {
    const { image } = this;
    await image.each(FIRST_BLOCK, image.blockCount, (block) => this.take(block), onProgress);
    this.leave();
    this.found.gaps.push(...this.account.gaps);
    this.bound();
    return this.found;
  }

  private take(block: Block): void {
    const segment = this.image.segmentOf(block.block);
    if (segment !== this.segment) {
      this.leave();
      this.segment = segment;
    }
    if (block.look !== "sound") return;
    let flow = this.flows.get(block.generation);
    if (flow === undefined) {
      const life = this.survey.bySegment.get(segment)?.find(({ generation }) => generation === block.generation);
      if (life === undefined) return;
      flow = { life, next: life.hasHeader ? life.headerBlocks : 1, run: undefined, open: [], headers: 0 };
      this.flows.set(block.generation, flow);
    }
    // A kind that is not known here holds no records that would be.
    if (flow.life.hasHeader && flow.life.kind !== LIFE_LOG && flow.life.kind !== LIFE_COPIES) return;
    const within = block.block - FIRST_BLOCK - segment * this.image.segmentBlocks;
    if ((block.flags & FLAG_SEGMENT_HEADER) !== 0) {
      flow.headers++;
      flow.next = Math.max(flow.next, within + 1);
      return;
    }
    this.takeBlock(flow, block, within);
  }

  private takeBlock(flow: Flow, block: Block, within: number): void {
    const stands = isStanding(flow.life) && within < flow.life.limit;
    if (within > flow.next) this.miss(flow, flow.next, within - flow.next);
    flow.next = within + 1;
    let at = 0;
    if (flow.run !== undefined) {
      const piece = Math.min(flow.run.left, BLOCK_PAYLOAD_SIZE);
      flow.run.left -= piece;
      // A block that does not go on with the value is none that was written behind it.
      if (piece > block.used) flow.run.isBroken = true;
      if (flow.run.left > 0 && !(flow.run.isBroken && block.first !== NO_RECORD)) {
        this.tellGroup(flow, block, stands);
        return;
      }
      this.end(flow, stands);
      at = (piece + 7) & ~7;
      if (at < block.used && block.first !== at) this.gap(flow, within, 1, stands);
    }
    const { records, brokenOff } = this.image.records(block);
    for (const record of records) this.takeRecord(flow, block, record, stands);
    if (brokenOff) this.gap(flow, within, 1, stands);
    this.tellGroup(flow, block, stands);
  }

  /** The end of a group says the highest sequence so far. */
  private tellGroup(flow: Flow, block: Block, stands: boolean): void {
    if (!stands || flow.life.kind === LIFE_COPIES || (block.flags & FLAG_GROUP_END) === 0) return;
    const sequence = Number(this.image.view(block).getBigUint64(TRAILER_SEQUENCE_OFFSET, true));
    if (sequence > 0) this.close(flow, sequence);
  }

  private takeRecord(flow: Flow, block: Block, record: RecordHere, stands: boolean): void {
    const { kind, sequence } = record;
    const counts = kind === KIND_SET || kind === KIND_DELETE || kind === KIND_EXTENT;
    if (stands && isLog(flow.life) && (counts || kind === KIND_NOTE)) {
      this.close(flow, sequence);
      if (counts) this.lastOf.set(flow.life, sequence);
    }
    const head = record.keyOffset + record.keySize;
    const left = record.partSize - Math.min(record.partSize, block.used - (record.offset - BLOCK_HEADER_SIZE) - head);
    const isRead = counts && sequence <= SEQUENCE_MAX;
    let entry = -1;
    if (isRead) {
      this.found.recordsRead++;
      this.found.sequenceMax = Math.max(this.found.sequenceMax, sequence);
      const keyAt = record.offset + record.keyOffset;
      entry = this.table.entryOf(this.image.bytes(block, keyAt, keyAt + record.keySize));
    }
    flow.run = { record, entry, address: block.block * BLOCK_SIZE + record.offset, left, isBroken: false };
    if (left === 0) this.end(flow, stands);
  }

  /** The value that was under way is over: whole, or not. */
  private end(flow: Flow, stands: boolean): void {
    const { run, life } = flow;
    flow.run = undefined;
    if (run === undefined || run.entry < 0) return;
    const { record, entry, address } = run;
    const { sequence, kind } = record;
    let bits = stands ? VERSION_STANDS : 0;
    if (run.isBroken) {
      // What never counted and is not whole is nothing.
      if (stands) this.table.add(entry, { sequence, address, life: life.index, bits: bits | VERSION_BROKEN });
      return;
    }
    const isFirst = kind !== KIND_EXTENT;
    if ((record.flags & FLAG_EXTENTS) !== 0) {
      this.table.addPart(entry, {
        sequence,
        part: isFirst ? 0 : record.part,
        count: isFirst ? record.part : 0,
        size: record.partSize,
        valueSize: isFirst ? record.valueSize : 0,
        address,
        life: life.index,
        stands,
      });
      bits |= VERSION_PARTS;
    }
    if (!isFirst) return;
    if (kind === KIND_DELETE) bits |= VERSION_DELETE;
    this.table.add(entry, { sequence, address, life: life.index, bits });
  }

  /** Blocks of a life are not there. Those that lie within one value cost no other record. */
  private miss(flow: Flow, from: number, count: number): void {
    const stands = isStanding(flow.life) && from < flow.life.limit;
    const { run } = flow;
    if (run !== undefined) {
      run.isBroken = true;
      const covered = Math.floor(run.left / BLOCK_PAYLOAD_SIZE);
      if (covered >= count && run.left > count * BLOCK_PAYLOAD_SIZE) {
        run.left -= count * BLOCK_PAYLOAD_SIZE;
        return;
      }
      this.end(flow, stands);
    }
    this.gap(flow, from, count, stands);
  }

  private gap(flow: Flow, block: number, count: number, stands: boolean): void {
    // What is missing from copies that no note counts yet still stands where it came from.
    if (!stands || (flow.life.standing === "later" && !isLog(flow.life))) return;
    const { life } = flow;
    const gap: Gap = { kind: "blocks", segment: life.segment, block, count, life, bound: Number.POSITIVE_INFINITY };
    this.found.gaps.push(gap);
    if (!isLog(life)) return;
    flow.open.push(gap);
    this.before.set(gap, this.lastOf.get(life) ?? -1);
  }

  /** A sequence of the log bounds what is missing before it. */
  private close(flow: Flow, sequence: number): void {
    if (!this.firstOf.has(flow.life)) this.firstOf.set(flow.life, sequence);
    for (const gap of flow.open) {
      gap.bound = sequence;
      if (this.before.get(gap) === sequence) this.found.brokenBatches.add(sequence);
    }
    flow.open = [];
  }

  /** A segment is over. */
  private leave(): void {
    for (const flow of this.flows.values()) {
      const { life } = flow;
      if (!isStanding(life)) continue;
      const end = life.isOpenEnd ? life.limit : life.isEnded ? life.blockLast + 1 : this.image.segmentBlocks;
      if (flow.next < end) this.miss(flow, flow.next, end - flow.next);
      else if (flow.run !== undefined) {
        flow.run.isBroken = true;
        this.end(flow, life.limit > flow.next - 1);
      }
      // The header of a life that began behind the note held a newer note, which is lost where it is not whole.
      if (life.standing === "later" && isLog(life) && (!life.hasHeader || flow.headers < life.headerBlocks)) {
        const first = this.firstOf.get(life);
        const bound = first === undefined ? Number.POSITIVE_INFINITY : Math.max(0, first - 1);
        this.found.gaps.push({ kind: "header", segment: life.segment, life, bound });
      }
    }
    this.flows.clear();
  }

  /** Bounds the gaps that nothing in their own life bounds. */
  private bound(): void {
    const log = this.survey.lives.filter((life) => isStanding(life) && isLog(life));
    log.sort((a, b) => (a.generation < b.generation ? -1 : 1));
    const copies = this.survey.lives.filter((life) => life.hasHeader && life.kind === LIFE_COPIES);
    copies.sort((a, b) => (a.generation < b.generation ? -1 : 1));
    const noted = this.account.note?.sequence ?? Number.POSITIVE_INFINITY;
    for (const gap of this.found.gaps) {
      const { life } = gap;
      if (life === undefined || gap.bound !== Number.POSITIVE_INFINITY) continue;
      const later = (other: Life): boolean => other.generation > life.generation;
      const next = isLog(life)
        ? log.filter(later).map((other) => this.firstOf.get(other))
        : copies.filter(later).map(({ born }) => born + 1);
      gap.bound = next.find((sequence) => sequence !== undefined) ?? Number.POSITIVE_INFINITY;
      // What a note counts was written before it, but for the segment that it was written to.
      const isBefore = life.standing === "counted" && life !== this.account.note?.life;
      if (isBefore) gap.bound = Math.min(gap.bound, noted);
      if (this.before.get(gap) === gap.bound) this.found.brokenBatches.add(gap.bound);
    }
  }
}

function isStanding(life: Life): boolean {
  return life.standing !== "apart";
}

/** Whether a life is of the log, as far as can be told. */
export function isLog(life: Life): boolean {
  return life.hasHeader ? life.kind === LIFE_LOG : life.endsGroups;
}
