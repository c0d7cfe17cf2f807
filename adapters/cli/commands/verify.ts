/**
 * `cairn verify`: proves that a store is sound, or says what is not and where.
 *
 * The store is opened without a lock and without a write. One that cannot be opened is looked at block by block.
 */
import type { Command } from "commander";
import { CairnError, inspect, type VerifyFault, type VerifyReport } from "../../../hosts/node.ts";
import { BLOCK_SIZE } from "../../../store/layout.ts";
import { scanDevice } from "../../../store/scan.ts";
import { withStore } from "../byte-store.ts";
import { type Painter, painterFor } from "../colors.ts";
import { addExamples } from "../command.ts";
import { EXIT_FAILED, EXIT_OK } from "../failure.ts";
import { Output } from "../output.ts";
import { type Steps, startSteps } from "../progress.ts";
import { base64Of, formatBytes, formatCount, formatSeconds, textOf } from "../text.ts";

/** Codes of an opening that damage can be the reason of. */
const DAMAGE = ["CORRUPT", "DEVICE_READ", "DEVICE_SHRUNK"];
/** How often a store that is written to meanwhile is begun with. */
const ATTEMPTS = 5;

/** What is known after a verification; `reason` says why the store could not be opened. */
interface Verdict extends Partial<VerifyReport> {
  ok: boolean;
  opened: boolean;
  reason?: { code: string; message: string };
  blocksRead: number;
  recordsRead: number;
  segmentsUsed: number;
  segmentsFree: number;
  faults: VerifyFault[];
  faultCount: number;
  ms: number;
}

export function define(command: Command): void {
  command.argument("<store>", "file or block device of the store").option("--json", "one JSON object with every fault");
  addExamples(command, ["cairn verify app.cairn", "cairn verify /dev/sdb --json | jq .faults"]);
  command.addHelpText("after", "\nExit status: 0 sound, 1 faults, or not to be opened.");
  command.action(async (target: string) => {
    const { json } = command.opts<{ json?: true }>();
    const output = new Output(process.stdout);
    const verdict = await verdictOn(target);
    if (json) output.write(`${JSON.stringify({ store: target, ...verdict, faults: verdict.faults.map(plain) })}\n`);
    else for (const line of linesOf(target, verdict, painterFor(output.isTerminal))) output.write(`${line}\n`);
    await output.flush();
    process.exitCode = verdict.ok ? EXIT_OK : EXIT_FAILED;
  });
}

async function verdictOn(target: string): Promise<Verdict> {
  const progress = startSteps();
  const start = performance.now();
  try {
    return { opened: true, ...(await verifyOpened(target, progress)) };
  } catch (error) {
    if (!(error instanceof CairnError) || !DAMAGE.includes(error.code)) throw error;
    const inspector = await inspect(target);
    try {
      const report = await scanDevice(inspector, (done, total) => progress.update("blocks", done, total));
      const reason = { code: error.code, message: error.message };
      return { ok: false, opened: false, reason, ...report, ms: performance.now() - start };
    } finally {
      inspector.close();
    }
  } finally {
    progress.stop();
  }
}

/** Opens and verifies; anew where a process that has the store open went on over what was seen. */
async function verifyOpened(target: string, progress: Steps): Promise<VerifyReport> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await withStore(target, { create: false, readOnly: true }, (store) =>
        store.verify({
          onProgress: ({ phase, done, total }) => progress.update(phase === "log" ? "blocks" : "keys", done, total),
        }),
      );
    } catch (error) {
      const isLast = attempt === ATTEMPTS || !(error instanceof CairnError) || error.code !== "SNAPSHOT_EXPIRED";
      if (isLast) throw error;
    }
  }
}

function linesOf(target: string, verdict: Verdict, painter: Painter): string[] {
  const lines: string[] = [];
  if (verdict.reason !== undefined) {
    lines.push(`${painter.bad(`${target} cannot be opened`)} (${verdict.reason.code}): ${verdict.reason.message}`, "");
  } else if (verdict.ok) {
    lines.push(`${painter.bold(target)} is ${painter.good("sound")}.`, "");
  }
  const { faultCount, faults } = verdict;
  if (faultCount > 0) {
    lines.push(
      `${painter.bold(target)} has ${painter.bad(`${formatCount(faultCount)} ${faultCount === 1 ? "fault" : "faults"}`)}:`,
      "",
    );
    for (const fault of faults) lines.push(...faultLines(fault, painter));
    if (faultCount > faults.length) lines.push(`  … and ${formatCount(faultCount - faults.length)} more`);
    lines.push("");
  } else if (verdict.reason !== undefined) {
    lines.push("No block of it is damaged by itself: what is missing is not there at all.", "");
  }
  lines.push(`  blocks    ${formatCount(verdict.blocksRead)} (${formatBytes(verdict.blocksRead * BLOCK_SIZE)})`);
  lines.push(`  records   ${formatCount(verdict.recordsRead)}`);
  if (verdict.keys !== undefined) lines.push(`  keys      ${formatCount(verdict.keys)}`);
  lines.push(`  segments  ${formatCount(verdict.segmentsUsed)} used, ${formatCount(verdict.segmentsFree)} free`);
  lines.push(`  time      ${formatSeconds(verdict.ms)}`);
  return lines;
}

function faultLines({ kind, place, key, message }: VerifyFault, painter: Painter): string[] {
  const where =
    place === undefined
      ? "in memory"
      : place.segment === undefined
        ? `offset ${formatCount(place.offset)}`
        : `segment ${formatCount(place.segment)}, block ${place.block}, offset ${formatCount(place.offset)}`;
  const of =
    key === undefined
      ? ""
      : `, key ${textOf(key) === undefined ? `base64 ${base64Of(key)}` : JSON.stringify(textOf(key))}`;
  return [`  ${painter.bad(kind)}  ${where}${of}`, `    ${message}`];
}

/** A fault for programs: its key as text, or as base64 under a name of its own. */
function plain({ key, ...fault }: VerifyFault): object {
  if (key === undefined) return fault;
  const text = textOf(key);
  return text === undefined ? { ...fault, keyBase64: base64Of(key) } : { ...fault, key: text };
}
