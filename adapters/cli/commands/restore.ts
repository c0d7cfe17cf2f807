/** `cairn restore`: a store from a backup, or from a full one and those that add to it. */
import { createReadStream, existsSync } from "node:fs";
import type { Command } from "commander";
import { type RestoreReport, restore } from "../../../hosts/node.ts";
import { addExamples } from "../command.ts";
import { CommandFailure, EXIT_BAD_USE, EXIT_OK } from "../failure.ts";
import { Output } from "../output.ts";
import { startSteps } from "../progress.ts";
import { formatBytes, formatCount, formatSeconds } from "../text.ts";

interface Options {
  overwrite?: true;
  json?: true;
}

export function define(command: Command): void {
  command
    .argument("<store>", "file or block device that the store is restored to")
    .argument("<backups...>", 'files of "cairn backup", the full one first; - is standard input')
    .option("--overwrite", "give up what the store holds now")
    .option("--json", "one JSON object, also on a terminal");
  addExamples(command, [
    "cairn restore app.cairn monday.backup",
    "cairn restore app.cairn monday.backup tuesday.backup --overwrite",
    "zstd -dc monday.backup.zst | cairn restore app.cairn -",
  ]);
  command.action(async (target: string, backups: string[]) => {
    const options = command.opts<Options>();
    if (backups.filter((backup) => backup === "-").length > 1) {
      throw new CommandFailure("standard input can be one backup only", EXIT_BAD_USE);
    }
    for (const backup of backups) {
      if (backup !== "-" && !existsSync(backup)) throw new CommandFailure(`${backup} does not exist`);
    }
    const start = performance.now();
    const progress = startSteps();
    let report: RestoreReport;
    try {
      report = await restore(target, backups.map(sourceOf), {
        overwrite: options.overwrite === true,
        onProgress: ({ done, total }) =>
          progress.update("MiB", Math.round(done / 1_048_576), Math.round(total / 1_048_576)),
      });
    } finally {
      progress.stop();
    }
    const output = new Output(process.stdout);
    const ms = performance.now() - start;
    output.write(
      options.json || !output.isTerminal
        ? `${JSON.stringify({ ...report, ms })}\n`
        : `${target} is at version ${formatCount(report.version)}: ${formatBytes(report.bytes)}, ${formatSeconds(ms)}\n`,
    );
    await output.flush();
    process.exitCode = EXIT_OK;
  });
}

/** A file's bytes; it is opened when they are asked for. */
async function* sourceOf(path: string): AsyncGenerator<Uint8Array> {
  const stream = path === "-" ? process.stdin : createReadStream(path, { highWaterMark: 1_048_576 });
  yield* stream as AsyncIterable<Uint8Array>;
}
