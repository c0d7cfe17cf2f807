/**
 * `repair`: rebuilds a store from what is left of a damaged one, in three passes over its device: what lies where
 * (`lives.ts`, `account.ts`), which records there are (`collect.ts`), and copying those that are taken. Nothing is written to
 * the damaged device.
 */
import type { CoreHost } from "../core.ts";
import type { BlockDevice } from "../device.ts";
import { CairnError } from "../error.ts";
import { BLOCK_SIZE } from "../layout.ts";
import { placeOf, turn } from "../verify.ts";
import { type Gap, takeAccount } from "./account.ts";
import { type Collected, Collector, isLog, SEQUENCE_MAX } from "./collect.ts";
import { findGeometry, type Geometry } from "./geometry.ts";
import { BLOCK_HEADER_SIZE, FIRST_BLOCK, SalvageImage } from "./image.ts";
import { Judge } from "./judge.ts";
import { KeyTable } from "./key-table.ts";
import { type Life, type Survey, surveyLives } from "./lives.ts";
import { Rebuilder } from "./rebuild.ts";
import type { RepairGap, RepairKey, RepairProgress, RepairReport } from "./report.ts";

const LISTED_MAX = 1000;
/** Sequences that may have been used beyond those that were seen, when no superblock says their ceiling. */
const SEQUENCE_STRIDE = 2 ** 24;
const STEP_MS = 8;
const TAKEN_BYTES = 16;

/** What a repair needs of a host. */
export interface RepairSetting {
  host: CoreHost;
  /** Makes the device for the repaired store, and, when there is something to put there, that for unproven values. */
  output(): Promise<BlockDevice>;
  unproven(): Promise<BlockDevice>;
  /** Memory for what is found, and then for opening what was written, in bytes. */
  memoryBytes: number;
  keepExposed: boolean;
  onProgress?: ((progress: RepairProgress) => void) | undefined;
}

/** A record to be copied: its address, and in the lowest bit whether it goes to the unproven output. */
type Takings = Float64Array;

/** Repairs; the paths in the report are the host's to fill in. */
export async function repairDevice(device: BlockDevice, setting: RepairSetting): Promise<RepairReport> {
  const start = performance.now();
  const image = await SalvageImage.create(device, setting.host);
  const geometry = await findGeometry(image);
  image.use(geometry.seed, geometry.segmentBlocks);
  const total = Math.max(0, image.blockCount - FIRST_BLOCK);
  const tell = (step: RepairProgress["step"], done: number): void => {
    try {
      setting.onProgress?.({ phase: "repair", step, done: Math.min(done, total), total });
    } catch {
      // A listener's failure is not the repair's.
    }
  };
  const ranks: number[] = [];
  let table: KeyTable | undefined = new KeyTable(setting.memoryBytes, (life) => ranks[life] as number);
  const survey = await surveyLives(
    image,
    (bytes) => table?.charge(bytes),
    (done) => tell("survey", done),
  );
  rankLives(survey.lives, ranks);
  const account = await takeAccount(image, survey, geometry);
  const collected = await new Collector(image, table, account, survey).run((done) => tell("collect", done));
  const segmentBytes = image.segmentBlocks * BLOCK_SIZE;
  const report = reportOf(image, survey, geometry, collected);
  const takings = judge(table, survey, collected, ranks, { keepExposed: setting.keepExposed, segmentBytes }, report);
  // Opening what is written takes as much memory.
  table = undefined;
  const { superblock } = geometry;
  const ceiling = superblock?.sequenceCeiling ?? 0;
  const seen = Math.max(survey.sequence, collected.sequenceMax, ceiling - 1);
  const sequence = Math.min(SEQUENCE_MAX, geometry.superblocksIntact === 4 ? seen : seen + SEQUENCE_STRIDE);
  const highestTimeMs = Math.max(survey.highestTimeMs, superblock?.highestTimeMs ?? 0);
  const stores = await write(image, setting, takings, report, (done) => tell("copy", done));
  for (const store of stores) {
    store.finish(sequence, highestTimeMs);
    tell("verify", 0);
    await store.prove(setting.memoryBytes);
  }
  tell("verify", total);
  report.ms = performance.now() - start;
  return report;
}

/** Copies stand before the log, and what was begun later before what was begun earlier. */
function rankLives(lives: readonly Life[], ranks: number[]): void {
  const sorted = [...lives].sort((a, b) => {
    if (isLog(a) !== isLog(b)) return isLog(a) ? -1 : 1;
    return a.generation < b.generation ? -1 : 1;
  });
  for (const [rank, { index }] of sorted.entries()) ranks[index] = rank;
}

function reportOf(image: SalvageImage, survey: Survey, geometry: Geometry, collected: Collected): RepairReport {
  const bounds = collected.gaps.map(({ bound }) => bound);
  const horizon = bounds.reduce((highest, bound) => Math.max(highest, bound), -1);
  return {
    complete: collected.gaps.length === 0,
    output: undefined,
    unproven: undefined,
    damaged: undefined,
    superblocksIntact: geometry.superblocksIntact,
    superblockRebuilt: geometry.superblock === undefined,
    blocks: survey.counts,
    recordsRead: collected.recordsRead,
    keysRepaired: 0,
    keysUnproven: 0,
    doubts: { exposed: 0, batch: 0, older: 0, apart: 0 },
    keysLost: 0,
    versionFirst: 0,
    versionLast: 0,
    horizon: horizon < 0 || horizon === Number.POSITIVE_INFINITY ? undefined : horizon,
    gaps: collected.gaps.slice(0, LISTED_MAX).map((gap) => gapOf(image, gap)),
    gapCount: collected.gaps.length,
    lost: [],
    unprovenKeys: [],
    ms: 0,
  };
}

function gapOf(image: SalvageImage, { kind, segment, block = 0, count, bound }: Gap): RepairGap {
  const gap: RepairGap = { kind };
  const segmentBytes = image.segmentBlocks * BLOCK_SIZE;
  if (segment !== undefined) {
    gap.place = placeOf(FIRST_BLOCK * BLOCK_SIZE + segment * segmentBytes + block * BLOCK_SIZE, segmentBytes);
  }
  if (count !== undefined) gap.blocks = count;
  if (bound !== Number.POSITIVE_INFINITY) gap.version = bound;
  return gap;
}

/** Decides on every key: what is to be copied, in the order of the device. Enters it in the report. */
function judge(
  table: KeyTable,
  survey: Survey,
  collected: Collected,
  ranks: readonly number[],
  setting: { keepExposed: boolean; segmentBytes: number },
  report: RepairReport,
): Takings {
  const { keepExposed, segmentBytes } = setting;
  const judge = new Judge(table, survey.lives, collected, (life) => ranks[life] as number, keepExposed);
  const isWhole = collected.gaps.length === 0;
  let takings = new Float64Array(1024);
  let count = 0;
  const take = (addresses: readonly number[], bit: number): void => {
    for (const address of addresses) {
      if (count === takings.length) {
        table.charge(TAKEN_BYTES * count);
        const grown = new Float64Array(count * 2);
        grown.set(takings);
        takings = grown;
      }
      takings[count++] = address + bit;
    }
  };
  const keyOf = (entry: number, version: number, address: number): RepairKey => ({
    key: table.keyOf(entry),
    version,
    place: placeOf(address, segmentBytes),
  });
  for (let entry = 0; entry < table.count; entry++) {
    const { repaired, unproven, lost } = judge.verdict(entry);
    if (lost !== undefined) {
      report.complete = false;
      report.keysLost++;
      if (report.lost.length < LISTED_MAX) report.lost.push(keyOf(entry, lost.sequence, lost.address));
    }
    if (repaired !== undefined) {
      report.keysRepaired++;
      const { sequence } = repaired;
      report.versionFirst = report.versionFirst === 0 ? sequence : Math.min(report.versionFirst, sequence);
      report.versionLast = Math.max(report.versionLast, sequence);
      take(repaired.addresses, 0);
    }
    // When nothing is missing, what does not count is known to be garbage.
    if (unproven === undefined || (isWhole && unproven.reason === "apart" && lost === undefined)) continue;
    report.keysUnproven++;
    report.doubts[unproven.reason]++;
    if (unproven.reason === "exposed" || unproven.reason === "batch") report.complete = false;
    if (report.unprovenKeys.length < LISTED_MAX) {
      const key = keyOf(entry, unproven.sequence, unproven.addresses[0] as number);
      report.unprovenKeys.push({ ...key, reason: unproven.reason });
    }
    take(unproven.addresses, 1);
  }
  return takings.subarray(0, count).sort();
}

/** Copies what is taken. A record that reads no longer as it did when it was found ends the repair. */
async function write(
  image: SalvageImage,
  setting: RepairSetting,
  takings: Takings,
  report: RepairReport,
  onProgress: (done: number) => void,
): Promise<Rebuilder[]> {
  const make = async (device: Promise<BlockDevice>): Promise<Rebuilder> =>
    Rebuilder.create(await device, setting.host, image.segmentBlocks);
  const repaired = await make(setting.output());
  const unproven = report.keysUnproven > 0 ? await make(setting.unproven()) : undefined;
  repaired.keys = report.keysRepaired;
  if (unproven !== undefined) unproven.keys = report.keysUnproven;
  let since = performance.now();
  for (const taking of takings) {
    const bit = taking % 2;
    const address = taking - bit;
    const store = bit === 1 ? unproven : repaired;
    const { head, value } = readRecord(image, address);
    store?.append(head, value);
    if (performance.now() - since < STEP_MS) continue;
    onProgress(Math.floor(address / BLOCK_SIZE) - FIRST_BLOCK);
    await turn();
    since = performance.now();
  }
  return unproven === undefined ? [repaired] : [repaired, unproven];
}

/** A record's bytes up to the end of its key, and those of its value; both are proven again. */
function readRecord(image: SalvageImage, address: number): { head: Uint8Array; value: Uint8Array } {
  const number = Math.floor(address / BLOCK_SIZE);
  let block = image.at(number);
  const record =
    block.look === "sound"
      ? image.records(block).records.find(({ offset }) => offset === address % BLOCK_SIZE)
      : undefined;
  if (record === undefined) throw changed(address);
  const { generation } = block;
  const valueAt = record.offset + record.keyOffset + record.keySize;
  const head = image.bytes(block, record.offset, valueAt).slice();
  const value = new Uint8Array(record.partSize);
  let from = valueAt;
  for (let done = 0; done < value.length; from = BLOCK_HEADER_SIZE) {
    const end = Math.min(BLOCK_SIZE, from + value.length - done);
    value.set(image.bytes(block, from, end), done);
    done += end - from;
    if (done === value.length) break;
    block = image.at(block.block + 1);
    if (block.look !== "sound" || block.generation !== generation) throw changed(address);
  }
  return { head, value };
}

function changed(address: number): CairnError {
  const message = `repair: the device reads otherwise than a moment ago. Copy it to a sound one first, and repair that. Device offset ${address}.`;
  return new CairnError("DEVICE_READ", "repair", message);
}
