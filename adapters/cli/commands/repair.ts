/**
 * `cairn repair`: rebuilds a store from what is left of a damaged one, into a new file beside it.
 *
 * People read what came of it on standard error; programs get one object on standard output.
 */
import type { Command } from "commander";
import { type RepairDoubt, type RepairKey, type RepairReport, repair } from "../../../hosts/node.ts";
import { existsOrFail } from "../byte-store.ts";
import { type Painter, painterFor } from "../colors.ts";
import { addExamples } from "../command.ts";
import { EXIT_FAILED, EXIT_OK } from "../failure.ts";
import { Output } from "../output.ts";
import { startSteps } from "../progress.ts";
import { base64Of, formatCount, formatSeconds, textOf } from "../text.ts";

interface Options {
  output?: string;
  unproven?: string;
  inPlace?: true;
  keepDamaged: boolean;
  keepExposed?: true;
  json?: true;
}

/** Lines of each list that people are shown. */
const LINES_MAX = 20;

/** What each doubt means. */
const DOUBTS: Record<RepairDoubt, string> = {
  exposed: "whole, but what is missing may hold a later write or a deletion of them",
  batch: "of a batch of which a part is missing",
  older: "an older value: the newest one is lost",
  apart: "found where nothing counts: maybe overwritten or deleted long ago, or never acknowledged",
};

export function define(command: Command): void {
  command
    .argument("<store>", "file or block device of the damaged store; it is not changed")
    .option("-o, --output <file>", "where the repaired store goes; default: <store>.repaired")
    .option("--unproven <file>", "where values go that cannot be proven; default: <store>.unproven")
    .option("--in-place", "put the repaired store in the damaged one's place; that one stays as <store>.damaged")
    .option("--no-keep-damaged", "with --in-place: do not keep the damaged store")
    .option("--keep-exposed", "take values as well that something missing may have overwritten or deleted")
    .option("--json", "one JSON object with everything that was found");
  addExamples(command, [
    "cairn repair app.cairn",
    "cairn repair app.cairn --in-place",
    "cairn repair /dev/sdb --output rescued.cairn --json",
  ]);
  command.addHelpText("after", "\nExit status: 0 nothing is lost, 1 something is, or the repair failed.");
  command.action(async (target: string) => {
    const { output: to, unproven, inPlace, keepDamaged, keepExposed, json } = command.opts<Options>();
    existsOrFail(target);
    const progress = startSteps();
    let report: RepairReport;
    try {
      report = await repair(target, {
        ...(to === undefined ? {} : { output: to }),
        ...(unproven === undefined ? {} : { unproven }),
        inPlace: inPlace === true,
        keepDamaged,
        keepExposed: keepExposed === true,
        onProgress: ({ step, done, total }) => progress.update(`blocks, ${step}`, done, total),
      });
    } finally {
      progress.stop();
    }
    const output = new Output(process.stdout);
    if (json) output.write(`${JSON.stringify(objectOf(target, report))}\n`);
    for (const line of linesOf(target, report, painterFor(process.stderr.isTTY === true))) {
      process.stderr.write(`${line}\n`);
    }
    await output.flush();
    process.exitCode = report.complete ? EXIT_OK : EXIT_FAILED;
  });
}

function linesOf(target: string, report: RepairReport, painter: Painter): string[] {
  const { keysRepaired, keysUnproven, keysLost, gapCount } = report;
  const where = painter.bold(report.output ?? "");
  const lines = report.complete
    ? [`${painter.good("Nothing is lost")}: all ${formatCount(keysRepaired)} keys of ${target} are in ${where}.`]
    : [`${painter.bad("Something is lost")}: ${formatCount(keysRepaired)} keys of ${target} are in ${where}.`];
  if (report.damaged !== undefined) lines.push(`The damaged store is ${report.damaged} now.`);
  if (keysUnproven > 0) {
    lines.push(
      "",
      `${formatCount(keysUnproven)} values that cannot be proven are in ${painter.bold(report.unproven ?? "")}:`,
    );
    for (const [doubt, meaning] of Object.entries(DOUBTS)) {
      const count = report.doubts[doubt as RepairDoubt];
      if (count > 0) lines.push(`  ${formatCount(count)}  ${meaning}`);
    }
    if (report.doubts.exposed > 0) lines.push("  To take those that were exposed as they are: --keep-exposed");
  }
  if (gapCount > 0) {
    lines.push(
      "",
      `${formatCount(gapCount)} ${gapCount === 1 ? "place" : "places"} of the log that counted ${gapCount === 1 ? "is" : "are"} missing:`,
    );
    for (const { kind, place, blocks, version } of report.gaps.slice(0, LINES_MAX)) {
      const at =
        place?.segment === undefined
          ? ""
          : ` at segment ${formatCount(place.segment)}, block ${place.block}, offset ${formatCount(place.offset)}`;
      const many = blocks === undefined ? "" : `, ${formatCount(blocks)} ${blocks === 1 ? "block" : "blocks"}`;
      const until = version === undefined ? "" : `, nothing newer than version ${formatCount(version)}`;
      lines.push(`  ${painter.bad(kind)}${at}${many}${until}`);
    }
    lines.push(...more(report.gapCount));
  }
  if (keysLost > 0) {
    lines.push("", `${formatCount(keysLost)} ${keysLost === 1 ? "key has" : "keys have"} lost the newest value:`);
    for (const key of report.lost.slice(0, LINES_MAX))
      lines.push(`  ${nameOf(key)}  version ${formatCount(key.version)}`);
    lines.push(...more(keysLost));
  }
  const { sound, damaged, unreadable, misplaced, foreign, blank } = report.blocks;
  lines.push(
    "",
    `  blocks    ${formatCount(sound)} sound, ${formatCount(damaged)} damaged, ${formatCount(unreadable)} unreadable, ` +
      `${formatCount(misplaced)} misplaced, ${formatCount(foreign)} foreign, ${formatCount(blank)} blank`,
    `  superblock ${report.superblockRebuilt ? painter.bad("rebuilt") : `${report.superblocksIntact} of 4 copies intact`}`,
    `  records   ${formatCount(report.recordsRead)} read`,
    `  versions  ${formatCount(report.versionFirst)} to ${formatCount(report.versionLast)}`,
    `  time      ${formatSeconds(report.ms)}`,
  );
  return lines;
}

function more(count: number): string[] {
  return count > LINES_MAX ? [`  … and ${formatCount(count - LINES_MAX)} more (--json lists 1,000)`] : [];
}

function nameOf({ key }: RepairKey): string {
  const text = textOf(key);
  return text === undefined ? `base64 ${base64Of(key)}` : JSON.stringify(text);
}

/** The report for programs: keys as text, or as base64 under a name of its own. */
function objectOf(target: string, report: RepairReport): object {
  const plain = ({ key, ...rest }: RepairKey): object => {
    const text = textOf(key);
    return text === undefined ? { keyBase64: base64Of(key), ...rest } : { key: text, ...rest };
  };
  return { store: target, ...report, lost: report.lost.map(plain), unprovenKeys: report.unprovenKeys.map(plain) };
}
