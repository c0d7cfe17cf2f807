/**
 * What can be said of a store that cannot be opened: which of its blocks are not what was written, block by block. A
 * segment counts as far as its last block that is sound and of the life that its header names.
 */
import { type BlockView, fieldOf, type Inspector } from "./inspect.ts";
import { BLOCK_SIZE } from "./layout.ts";
import { type FaultPlace, faultOf, placeOf, type VerifyFault } from "./verify.ts";

const FAULTS_MAX = 1000;
/** Numbers of kinds of faults; see `assembly/verify/state.ts`. */
const DEVICE = 1;
const SUPERBLOCK_DAMAGED = 2;
const BLOCK_DAMAGED = 4;
const BLOCK_MISPLACED = 5;
const BLOCK_STALE = 6;
const SEGMENT_HEADER = 8;
const RECORD_MALFORMED = 9;
const STATUS_DEVICE_READ = -5;

/** What a scan found. */
export interface ScanReport {
  blocksRead: number;
  recordsRead: number;
  segmentsUsed: number;
  segmentsFree: number;
  faults: VerifyFault[];
  faultCount: number;
}

/** Scans the superblocks and every segment. */
export async function scanDevice(
  inspector: Inspector,
  onProgress?: (done: number, total: number) => void,
): Promise<ScanReport> {
  const report: ScanReport = {
    blocksRead: 0,
    recordsRead: 0,
    segmentsUsed: 0,
    segmentsFree: 0,
    faults: [],
    faultCount: 0,
  };
  for (const { copy, offset, state } of inspector.superblocks()) {
    if (state === "unreadable") tell(report, DEVICE, { offset }, STATUS_DEVICE_READ);
    else if (state !== "intact") tell(report, SUPERBLOCK_DAMAGED, { offset }, copy);
  }
  let segment: BlockView[] = [];
  await inspector.eachBlock((view) => {
    segment.push(view);
    if (segment.length < inspector.segmentBlocks) return;
    scanSegment(segment, inspector.segmentBlocks, report);
    segment = [];
  }, onProgress);
  if (segment.length > 0) scanSegment(segment, inspector.segmentBlocks, report);
  return report;
}

function scanSegment(blocks: readonly BlockView[], segmentBlocks: number, report: ScanReport): void {
  const header = blocks[0] as BlockView;
  const first = header.state === "sound" ? header : blocks.find(({ state }) => state === "sound");
  const generation = first === undefined ? 0n : fieldOf(first.fields, "generation");
  let end = blocks.length;
  while (end > 0 && !isOf(blocks[end - 1] as BlockView, generation)) end--;
  // A header that is damaged tells of a segment, though nothing behind it is whole.
  if (end === 0 && header.state !== "blank") end = 1;
  if (end === 0) {
    report.segmentsFree++;
    return;
  }
  report.segmentsUsed++;
  for (const view of blocks.slice(0, end)) {
    report.blocksRead++;
    const place = placeOf(view.offset, segmentBlocks * BLOCK_SIZE);
    if (view.state === "unreadable") tell(report, DEVICE, place, STATUS_DEVICE_READ);
    else if (view.state === "blank") tell(report, BLOCK_DAMAGED, place, 1);
    else if (view.state === "damaged") tell(report, BLOCK_DAMAGED, place, 0);
    else if (view.state === "misplaced") {
      tell(report, BLOCK_MISPLACED, place, Number(fieldOf(view.fields, "deviceBlock")));
    } else if (!isOf(view, generation)) {
      tell(report, BLOCK_STALE, place, Number(fieldOf(view.fields, "generation")), Number(generation));
    } else {
      if ((view.segmentHeader !== undefined) !== (view === header)) tell(report, SEGMENT_HEADER, place);
      report.recordsRead += view.records.filter(({ kind }) => kind !== "void" && kind !== "note").length;
      if (view.brokenOff) tell(report, RECORD_MALFORMED, place);
    }
  }
}

function isOf(view: BlockView, generation: bigint): boolean {
  return view.state === "sound" && fieldOf(view.fields, "generation") === generation;
}

function tell(report: ScanReport, kind: number, place: FaultPlace, a = 0, b = 0): void {
  report.faultCount++;
  if (report.faults.length < FAULTS_MAX) report.faults.push(faultOf(kind, { a, b }, place));
}
