/** `cairn compact`: moves what is live out of segments with garbage, so that their space can be used again. */
import { InvalidArgumentError } from "commander";
import { addExamples, onStore, type StoreCommand } from "../command.ts";
import { EXIT_FAILED, EXIT_OK } from "../failure.ts";
import { formatBytes, formatCount, formatSeconds } from "../text.ts";

export const compact: StoreCommand<{ maxMs?: number; json?: true }> = {
  access: "change",
  summary: "give the space of overwritten and deleted records back",

  define(command) {
    command
      .option("--max-ms <ms>", "stop after about so many milliseconds", milliseconds)
      .option("--json", "one JSON object, also on a terminal");
    addExamples(command, ["cairn compact app.cairn", "cairn compact app.cairn --max-ms 500 --json"]);
    command.addHelpText("after", "\nExit status: 0 done, 1 time or room ran out before the end.");
  },

  async run({ store, output, options }) {
    const { maxMs } = options;
    const report = await store.compact(maxMs === undefined ? { full: true } : { full: true, maxMs });
    const { garbageRatio, segmentUsedCount } = store.stats();
    if (options.json || !output.isTerminal) {
      output.write(`${JSON.stringify({ ...report, garbageRatio, segmentUsedCount })}\n`);
    } else {
      output.write(
        `${formatBytes(report.bytesFreed)} freed in ${formatCount(report.segmentsFreed)} segments, ` +
          `${formatBytes(report.bytesWritten)} moved, ${formatSeconds(report.ms)}\n` +
          `${formatCount(segmentUsedCount)} segments in use, ${Math.round(garbageRatio * 100)} % of them garbage\n` +
          (report.done ? "" : "Not all is done: time, or room for copies, ran out.\n"),
      );
    }
    return report.done ? EXIT_OK : EXIT_FAILED;
  },
};

export const define = onStore(compact);

function milliseconds(text: string): number {
  const ms = Number(text);
  if (!(ms > 0) || !Number.isFinite(ms)) throw new InvalidArgumentError("It must be a number above 0.");
  return ms;
}
