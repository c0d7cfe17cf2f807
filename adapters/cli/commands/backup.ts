/** `cairn backup`: a consistent image of a store, to a file or to standard output, also while another process reads it. */
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import type { BackupStream } from "../../../hosts/node.ts";
import { withStore } from "../byte-store.ts";
import { addExamples } from "../command.ts";
import { CommandFailure, EXIT_BAD_USE, EXIT_OK } from "../failure.ts";
import { Output } from "../output.ts";
import { startSteps } from "../progress.ts";
import { formatBytes, formatCount, formatSeconds } from "../text.ts";

interface Options {
  output?: string;
  since?: number;
  readOnly?: true;
  json?: true;
}

export function define(command: Command): void {
  command
    .argument("<store>", "file or block device of the store")
    .option("-o, --output <file>", "where the backup goes, a file that does not exist; default: standard output")
    .option("--since <version>", "leave out what the backup of that version holds", version)
    .option("--read-only", "take no lock: the last durable state, also while another process has the store open")
    .option("--json", "with --output: one JSON object on standard output");
  addExamples(command, [
    "cairn backup app.cairn -o monday.backup",
    "cairn backup app.cairn -o tuesday.backup --since 4711",
    "cairn backup app.cairn | zstd > monday.backup.zst",
  ]);
  command.addHelpText("after", "\nThe version that --since takes is what the earlier backup said.");
  command.action(async (target: string) => {
    const options = command.opts<Options>();
    const { output: path, since, readOnly = false } = options;
    const output = new Output(process.stdout);
    if (path === undefined && output.isTerminal) {
      throw new CommandFailure("a backup is no text for a terminal: name a file with --output", EXIT_BAD_USE);
    }
    const start = performance.now();
    const progress = startSteps();
    const mib = (bytes: number): number => Math.round(bytes / 1_048_576);
    const onProgress = ({ phase, done, total }: { phase: string; done: number; total: number }): void => {
      if (phase === "backup") progress.update("MiB", mib(done), mib(total));
    };
    let said = { version: 0, bytes: 0 };
    try {
      said = await withStore(target, { create: false, readOnly, onProgress }, async (store) => {
        const stream = store.backup(since === undefined ? {} : { since });
        const bytes = path === undefined ? await toOutput(stream, output) : await toFile(stream, path);
        return { version: await stream.version, bytes };
      });
    } finally {
      progress.stop();
    }
    const ms = performance.now() - start;
    if (path !== undefined && (options.json || !output.isTerminal)) {
      output.write(`${JSON.stringify({ ...said, ms })}\n`);
    } else {
      process.stderr.write(
        `${formatBytes(said.bytes)} of version ${formatCount(said.version)}, ${formatSeconds(ms)}; the next one: --since ${said.version}\n`,
      );
    }
    await output.flush();
    process.exitCode = EXIT_OK;
  });
}

async function toOutput(stream: BackupStream, output: Output): Promise<number> {
  let bytes = 0;
  for await (const chunk of stream) {
    await output.writeBytes(chunk);
    if (output.closed) throw new CommandFailure("standard output was closed before the end of the backup");
    bytes += chunk.length;
  }
  return bytes;
}

/** To a file that did not exist, and is gone again where the backup does not come to its end. */
async function toFile(stream: BackupStream, path: string): Promise<number> {
  const file = createWriteStream(path, { flags: "wx", flush: true });
  try {
    await once(file, "open");
  } catch (error) {
    await stream.cancel();
    throw error;
  }
  let bytes = 0;
  try {
    for await (const chunk of stream) {
      if (!file.write(chunk)) await once(file, "drain");
      bytes += chunk.length;
    }
    file.end();
    await once(file, "close");
    if (file.errored) throw file.errored;
  } catch (error) {
    file.destroy();
    await rm(path, { force: true });
    throw error;
  }
  return bytes;
}

function version(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 0) throw new InvalidArgumentError("It must be a version.");
  return number;
}
