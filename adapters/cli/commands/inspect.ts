/**
 * `cairn inspect`: what lies on a device, as it is. It takes no lock and writes nothing, and a damaged store is shown as
 * far as its bytes allow.
 */
import type { Command } from "commander";
import {
  type BlockView,
  type Inspector,
  inspect,
  type RecordView,
  type SegmentView,
  type SuperblockCopy,
} from "../../../hosts/node.ts";
import { BLOCK_SIZE, type LAYOUT } from "../../../store/layout.ts";
import { existsOrFail } from "../byte-store.ts";
import { type Painter, painterFor } from "../colors.ts";
import { addExamples } from "../command.ts";
import { CommandFailure, EXIT_BAD_USE, EXIT_NOT_FOUND, EXIT_OK } from "../failure.ts";
import { fieldLines, fieldObject } from "../inspect-fields.ts";
import { Output } from "../output.ts";
import { startSteps } from "../progress.ts";
import { addKeyFormOptions, type KeyFormOptions, keyOf } from "../range-options.ts";
import { type MapSegment, mapOf, shareOf } from "../segment-map.ts";
import { base64Of, formatBytes, formatCount, textOf } from "../text.ts";

interface InspectOptions extends KeyFormOptions {
  json?: true;
  key?: true;
}

/** What a view needs to print itself. */
interface Page {
  target: string;
  inspector: Inspector;
  output: Output;
  painter: Painter;
  width: number;
  options: InspectOptions;
}

const VIEWS = ["superblock", "segments", "block", "record"];
const BLOCK_HEADER_SIZE = 56;
const PREVIEW_SIZE = 48;
const WIDTH = 100;

export function define(command: Command): void {
  command
    .argument("<store>", "file or block device of the store")
    .argument("[view]", VIEWS.join(", "))
    .argument("[which]", "number of a block on the device; address or key of a record")
    .option("--json", "one JSON object")
    .option("--key", "<which> is a key, although it looks like an address");
  addKeyFormOptions(command);
  addExamples(command, [
    "cairn inspect app.cairn",
    "cairn inspect app.cairn segments",
    "cairn inspect app.cairn block 257",
    "cairn inspect app.cairn record 1052728",
    "cairn inspect app.cairn record user:1 --json",
  ]);
  command.action(async (target: string, view?: string, which?: string) => {
    if (view !== undefined && !VIEWS.includes(view)) {
      throw new CommandFailure(`there is no view ${view}; there are ${VIEWS.join(", ")}`, EXIT_BAD_USE);
    }
    if ((view === "block" || view === "record") !== (which !== undefined)) {
      const what = view === "block" ? "a number" : view === "record" ? "an address or a key" : "nothing behind it";
      throw new CommandFailure(`${view ?? "inspect"} takes ${what}`, EXIT_BAD_USE);
    }
    existsOrFail(target);
    const inspector = await inspect(target);
    const output = new Output(process.stdout);
    const page: Page = {
      target,
      inspector,
      output,
      painter: painterFor(output.isTerminal),
      width: process.stdout.columns ?? WIDTH,
      options: command.opts<InspectOptions>(),
    };
    try {
      process.exitCode = await show(page, view, which ?? "");
      await output.flush();
    } finally {
      inspector.close();
    }
  });
}

async function show(page: Page, view: string | undefined, which: string): Promise<number> {
  if (view === "block") return showBlock(page, which);
  if (view === "record") return showRecord(page, which);
  const { inspector, options, output } = page;
  const copies = view === "segments" ? [] : inspector.superblocks();
  const segments = view === "superblock" ? undefined : segmentsOf(inspector);
  if (options.json) {
    const json = {
      store: page.target,
      ...(copies.length > 0 ? { superblocks: copies.map(superblockObject) } : {}),
      ...(segments === undefined ? {} : { refusal: refusalOf(inspector), segments: segments.map(segmentObject) }),
    };
    output.write(`${JSON.stringify(json)}\n`);
    return EXIT_OK;
  }
  if (copies.length > 0) superblockLines(page, copies);
  if (copies.length > 0 && segments !== undefined) output.write("\n");
  if (segments !== undefined) segmentLines(page, segments);
  return EXIT_OK;
}

function segmentsOf(inspector: Inspector): SegmentView[] {
  inspector.mount();
  return Array.from({ length: inspector.segmentCount }, (_, index) => inspector.segment(index));
}

function refusalOf(inspector: Inspector): object | null {
  const { refusal } = inspector;
  return refusal === undefined ? null : { code: refusal.code, message: refusal.message };
}

function superblockLines({ output, painter, width }: Page, copies: readonly SuperblockCopy[]): void {
  output.write(`${painter.bold("superblock")}\n`);
  for (const { copy, offset, state, counts, fields } of copies) {
    const generation = fields.find(({ name }) => name === "generation")?.value;
    const told = generation === undefined || state !== "intact" ? "" : `  generation ${formatCount(generation)}`;
    const painted = state === "intact" ? painter.good(state.padEnd(10)) : painter.bad(state.padEnd(10));
    const mark = counts ? painter.bold("  counts") : "";
    output.write(`  copy ${copy}  at ${formatBytes(offset).padEnd(9)}  ${painted}${told}${mark}\n`);
  }
  const shown = copies.find(({ counts }) => counts) ?? copies.find(({ fields }) => fields.length > 0);
  if (shown === undefined) return;
  output.write(
    `\n${painter.bold(`copy ${shown.copy}`)}${shown.counts ? "" : painter.bad(" is damaged: it may say anything")}\n`,
  );
  for (const line of fieldLines("Superblock", shown.fields, painter, width)) output.write(`${line}\n`);
}

function segmentLines({ target, inspector, output, painter, width }: Page, segments: readonly SegmentView[]): void {
  const { refusal, segmentBlocks } = inspector;
  const map = segments.map((segment) => mapSegmentOf(segment, segments));
  const used = map.filter(({ state }) => state === "used");
  const free = map.filter(({ state }) => state === "free").length;
  const unknown = map.filter(({ state }) => state === "unknown").length;
  const damaged = map.filter(({ state }) => state === "damaged").length;
  const checkpoints = map.filter(({ state }) => state === "checkpoint").length;
  output.write(
    `${painter.bold("segments")}  ${formatCount(segments.length)} of ${formatBytes(segmentBlocks * BLOCK_SIZE)}: ` +
      `${refusal === undefined ? `${formatCount(used.length)} in use` : `${formatCount(unknown)} unknown`}, ` +
      `${checkpoints > 0 ? `${formatCount(checkpoints)} of checkpoints, ` : ""}${formatCount(free)} free` +
      `${damaged > 0 ? `, ${painter.bad(`${formatCount(damaged)} damaged`)}` : ""}\n\n`,
  );
  for (const line of mapOf(map, painter, width)) output.write(`${line}\n`);
  if (refusal !== undefined) {
    output.write(`\n${painter.bad(`${target} cannot be opened`)} (${refusal.code}), so what is live is not known.\n`);
    output.write(`  ${refusal.message}\n`);
    return;
  }
  const live = used.reduce((sum, { liveBytes }) => sum + liveBytes, 0);
  const written = used.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  const share = Math.round(shareOf(used) * 100);
  output.write(`\n  ${formatBytes(live)} live of ${formatBytes(written)} written (${share} %)\n`);
}

function mapSegmentOf(segment: SegmentView, all: readonly SegmentView[]): MapSegment {
  const { header, kind, blocks = 0, liveBytes = 0 } = segment;
  const isDamaged = header === "damaged" || header === "unreadable" || header === "misplaced";
  const state =
    kind === undefined
      ? isDamaged
        ? "damaged"
        : header === "blank"
          ? "free"
          : "unknown"
      : kind === "free"
        ? "free"
        : isDamaged
          ? "damaged"
          : kind === "checkpoint"
            ? "checkpoint"
            : "used";
  const usedBytes = Math.max(0, blocks - 1) * (BLOCK_SIZE - BLOCK_HEADER_SIZE);
  return { state, liveBytes, usedBytes, isEnd: state === "used" && isNewest(segment, all) };
}

function isNewest(segment: SegmentView, all: readonly SegmentView[]): boolean {
  const { generation = 0n } = segment;
  return all.every((other) => other.kind !== segment.kind || (other.generation ?? 0n) <= generation);
}

function showBlock({ inspector, output, painter, width, options }: Page, which: string): number {
  if (!/^\d+$/.test(which)) throw new CommandFailure(`${which} is not the number of a block`, EXIT_BAD_USE);
  const view = inspector.block(Number(which));
  if (options.json) {
    output.write(`${JSON.stringify(blockObject(view, inspector))}\n`);
    return EXIT_OK;
  }
  const place =
    view.segment === undefined ? "" : `  segment ${formatCount(view.segment)}, block ${view.blockOfSegment} of it`;
  const title = `${painter.bold(`block ${formatCount(view.block)}`)}  offset ${formatCount(view.offset)}${place}`;
  // Before the first segment there are no blocks of the log, and so none that could be sound.
  const state = view.state === "sound" ? painter.good("sound") : painter.bad(view.state);
  output.write(view.segment === undefined ? `${title}\n` : `${title}  ${state}\n`);
  if (view.segment === undefined) {
    output.write('  The first MiB holds the copies of the superblock: "cairn inspect <store> superblock".\n');
    return EXIT_OK;
  }
  const section = (name: string, structure: keyof typeof LAYOUT, fields = view.fields): void => {
    output.write(`\n${painter.bold(name)}\n`);
    for (const line of fieldLines(structure, fields, painter, width)) output.write(`${line}\n`);
  };
  if (view.fields.length > 0) section("header", "BlockHeader");
  if (view.segmentHeader !== undefined) section("segment header", "SegmentHeader", view.segmentHeader);
  if (view.groupTrailer !== undefined) section("end of its commit group", "GroupTrailer", view.groupTrailer);
  if (view.records.length > 0) {
    output.write(
      `\n${painter.bold(`${formatCount(view.records.length)} ${view.records.length === 1 ? "record starts" : "records start"} here`)}\n`,
    );
    for (const line of recordLines(view.records, inspector, painter, width)) output.write(`${line}\n`);
  }
  if (view.brokenOff) output.write(`  ${painter.bad("What follows is no record.")}\n`);
  return EXIT_OK;
}

async function showRecord(page: Page, which: string): Promise<number> {
  const { inspector, output, painter, width, options } = page;
  const isAddress = /^\d+$/.test(which) && !options.key && !options.hex && !options.base64;
  const records = isAddress ? [recordAt(inspector, Number(which))] : await find(page, keyOf(which, options));
  const found = records.filter((record) => record !== undefined);
  if (found.length === 0) {
    console.error(isAddress ? `no record starts at ${which}` : `not found: ${JSON.stringify(which)}`);
    return EXIT_NOT_FOUND;
  }
  if (options.json) {
    output.write(`${JSON.stringify({ records: found.map((record) => recordObject(record, inspector)) })}\n`);
    return EXIT_OK;
  }
  if (!isAddress) {
    const count = `${formatCount(found.length)} ${found.length === 1 ? "record" : "records"} of this key`;
    output.write(`${painter.bold(count)}, by version; the last version counts, what is older is garbage\n`);
  }
  for (const line of recordLines(found, inspector, painter, width)) output.write(`${line}\n`);
  return EXIT_OK;
}

function recordAt(inspector: Inspector, address: number): RecordView | undefined {
  return address < inspector.device.size() ? inspector.record(address) : undefined;
}

async function find({ inspector }: Page, key: Uint8Array): Promise<RecordView[]> {
  const progress = startSteps();
  try {
    return await inspector.find(key, (done, total) => progress.update("blocks", done, total));
  } finally {
    progress.stop();
  }
}

function recordLines(records: readonly RecordView[], inspector: Inspector, painter: Painter, width: number): string[] {
  const rows = records.map((record) => {
    const { address, kind, sequence, key, valueSize, part } = record;
    const parts = part === undefined ? "" : kind === "set" ? ` in ${part} parts` : ` part ${part}`;
    const raw = record.rawSize === undefined ? "" : ` of ${formatBytes(record.rawSize)}`;
    const size = kind === "delete" ? "" : `${formatBytes(valueSize)}${raw}${parts}`;
    return { record, cells: [String(address), kind, formatCount(sequence), shortOf(key, 40), size] };
  });
  const head = ["address", "kind", "version", "key", "value"];
  const widths = head.map((name, at) =>
    Math.max(name.length, ...rows.map(({ cells }) => (cells[at] as string).length)),
  );
  const line = (cells: readonly string[]): string =>
    `  ${cells.map((cell, at) => (at === 2 ? cell.padStart(widths[at] as number) : cell.padEnd(widths[at] as number))).join("  ")}`;
  return [
    painter.dim(line(head).trimEnd()),
    ...rows.map(({ record, cells }) => {
      const left = line(cells);
      const room = width - left.length - 2;
      const mark = record.sound ? "" : painter.bad("  damaged block");
      if (room < 12 || record.partSize === 0 || record.kind === "delete") return left.trimEnd() + mark;
      return `${left}  ${painter.dim(shortOf(inspector.value(record, PREVIEW_SIZE), Math.min(room, PREVIEW_SIZE), record.partSize))}${mark}`;
    }),
  ];
}

/** Bytes in so many columns: text where they are text, else hexadecimal. `size` is how many there really are. */
function shortOf(bytes: Uint8Array, columns: number, size = bytes.length): string {
  // A character may have been cut at the end.
  const text = [0, 1, 2, 3].map((cut) => textOf(bytes.subarray(0, bytes.length - cut))).find((t) => t !== undefined);
  const whole = text === undefined ? `0x${Buffer.from(bytes).toString("hex")}` : JSON.stringify(text);
  if (whole.length <= columns && size <= bytes.length) return whole;
  return `${whole.slice(0, columns - 1).replace(/"$/, "")}…`;
}

function superblockObject({ copy, offset, state, counts, fields }: SuperblockCopy): object {
  return { copy, offset, state, counts, fields: fieldObject("Superblock", fields) };
}

function segmentObject({ fields, generation, ...segment }: SegmentView): object {
  return { ...segment, fields: fieldObject("SegmentHeader", fields) };
}

function blockObject(view: BlockView, inspector: Inspector): object {
  const { fields, segmentHeader, groupTrailer, records, ...rest } = view;
  return {
    ...rest,
    fields: fieldObject("BlockHeader", fields),
    ...(segmentHeader === undefined ? {} : { segmentHeader: fieldObject("SegmentHeader", segmentHeader) }),
    ...(groupTrailer === undefined ? {} : { groupTrailer: fieldObject("GroupTrailer", groupTrailer) }),
    records: records.map((record) => recordObject(record, inspector)),
  };
}

/** A record for programs. Its value is given as far as it can be read, up to 64 KiB. */
function recordObject({ key, ...record }: RecordView, inspector: Inspector): object {
  const value = inspector.value({ key, ...record }, 65_536);
  return {
    ...record,
    ...member("key", key),
    ...(record.kind === "delete" ? {} : member("value", value)),
    ...(value.length < record.partSize ? { valueCut: true } : {}),
  };
}

function member(name: "key" | "value", bytes: Uint8Array): object {
  const text = textOf(bytes);
  return text === undefined ? { [`${name}Base64`]: base64Of(bytes) } : { [name]: text };
}
