/**
 * `cairn load`: NDJSON or CSV into a store, line after line in bounded memory.
 *
 * 1. The input is opened before the store: a missing file leaves no new store behind.
 * 2. Lines are stored in their order. Where the load ends early, all lines before that place are stored and stay.
 * 3. It reports success only after a flush.
 */
import { type FileHandle, open as openFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { type Command, Option } from "commander";
import type { ByteStore } from "../byte-store.ts";
import { addExamples } from "../command.ts";
import { CommandFailure, EXIT_BAD_USE, messageOf } from "../failure.ts";
import type { FieldNames, Row } from "../rows.ts";
import { formatBytes, formatCount, formatSeconds } from "../text.ts";

/** A batch is committed when it has so many records or bytes. */
const BATCH_COUNT_MAX = 1000;
const BATCH_SIZE_MAX = 1024 * 1024;

/** Batches that may wait for their group commit while more lines are read. */
const BATCHES_IN_FLIGHT_MAX = 4;

/** How many skipped lines are shown one by one. */
const SKIPPED_SHOWN_MAX = 5;

const READ_SIZE = 256 * 1024;

interface LoadOptions {
  key: string;
  value?: string;
  csv?: true;
  ndjson?: true;
  delimiter?: string;
  skipBad?: true;
  compression: "none" | "lz4";
}

/** What is loaded from. */
interface Input {
  name: string;
  stream: Readable;
  /** `undefined` for standard input and for what is no regular file. */
  size: number | undefined;
}

/** The load so far. */
interface Tally {
  bytesRead: number;
  /** Records handed to the store. */
  lineCount: number;
  /** Records of batches that are durable. */
  durableCount: number;
  skipped: { line: number; fault: string }[];
  skippedCount: number;
}

export function define(command: Command): void {
  command
    .argument("<store>", "file or block device of the store; created when missing")
    .argument("[file]", "what to load; - or nothing for standard input")
    .requiredOption("--key <field>", "the field that is the key; a.b for a field inside a field")
    .option("--value <field>", "the field that is the value, instead of the whole line or row")
    .addOption(
      new Option("--csv", "the input is CSV with a header row (default for .csv and .tsv)").conflicts("ndjson"),
    )
    .option("--ndjson", "the input is NDJSON, one JSON object a line (default otherwise)")
    .option("--delimiter <text>", "what separates CSV cells (default a comma; a tab for .tsv)")
    .addOption(
      new Option("--compression <kind>", "how values are stored; what is there already stays as it is")
        .choices(["none", "lz4"])
        .default("none"),
    )
    .option("--skip-bad", "skip and count bad lines instead of stopping at the first");
  addExamples(command, [
    "cairn load app.cairn users.ndjson --key id",
    "cairn load app.cairn cities.csv --key name --value population",
    "zcat events.ndjson.gz | cairn load app.cairn --key event.id --skip-bad",
  ]);
  command.action(load);
}

async function load(target: string, file: string | undefined, options: LoadOptions): Promise<void> {
  const input = await openInput(file);
  const fields: FieldNames = options.value === undefined ? { key: options.key } : options;
  const readRows = await rowReader(input, fields, options);

  const { withStore } = await import("../byte-store.ts");
  await withStore(target, { create: true, compression: options.compression }, (store) =>
    loadInto(store, readRows, input, options),
  );
}

async function openInput(file: string | undefined): Promise<Input> {
  if (file === undefined || file === "-") {
    if (process.stdin.isTTY) console.error("reading lines from the terminal; Ctrl-D ends them");
    return { name: "standard input", stream: process.stdin, size: undefined };
  }
  let handle: FileHandle;
  try {
    handle = await openFile(file);
  } catch (error) {
    throw new CommandFailure(`${file} cannot be read: ${messageOf(error)}`);
  }
  const stat = await handle.stat();
  if (stat.isDirectory()) {
    await handle.close();
    throw new CommandFailure(`${file} is a directory; name a file`);
  }
  const stream = handle.createReadStream({ highWaterMark: READ_SIZE });
  return { name: file, stream, size: stat.isFile() ? stat.size : undefined };
}

/** How the input's rows are read; called with the chunks, so that they can be counted on their way. */
type ReadRows = (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Row[]>;

async function rowReader(input: Input, fields: FieldNames, options: LoadOptions): Promise<ReadRows> {
  const isCsv = options.csv || (!options.ndjson && /\.[ct]sv$/i.test(input.name));
  if (!isCsv) {
    if (options.delimiter !== undefined) throw new CommandFailure("--delimiter is for CSV only", EXIT_BAD_USE);
    const { readNdjson } = await import("../ndjson.ts");
    return (chunks) => readNdjson(chunks, fields);
  }
  const delimiter = options.delimiter ?? (/\.tsv$/i.test(input.name) ? "\t" : ",");
  if (delimiter === "") throw new CommandFailure("--delimiter is empty", EXIT_BAD_USE);
  const { readCsv } = await import("../csv.ts");
  return (chunks) => readCsv(chunks, fields, delimiter);
}

async function loadInto(store: ByteStore, readRows: ReadRows, input: Input, options: LoadOptions): Promise<void> {
  const { startProgress } = await import("../progress.ts");
  const startMs = performance.now();
  const tally: Tally = { bytesRead: 0, lineCount: 0, durableCount: 0, skipped: [], skippedCount: 0 };
  const interrupt = (): void => void input.stream.destroy(new CommandFailure("interrupted"));
  process.once("SIGINT", interrupt);
  const progress = startProgress(input.size);
  const batches = new Batches(store, tally);

  let failure: unknown;
  try {
    for await (const rows of readRows(counted(input.stream, tally))) {
      await storeRows(rows, batches, tally, options);
      progress.update(tally.bytesRead, tally.lineCount);
    }
  } catch (error) {
    failure = error;
  }
  try {
    await batches.end();
  } catch (error) {
    failure ??= error;
  }
  progress.stop();
  process.off("SIGINT", interrupt);

  reportSkipped(tally);
  if (failure !== undefined) {
    throw new CommandFailure(`${input.name}: ${messageOf(failure)}; ${linesStay(tally.durableCount)}`);
  }
  console.error(summaryOf(tally, performance.now() - startMs));
}

async function storeRows(rows: Row[], batches: Batches, tally: Tally, options: LoadOptions): Promise<void> {
  for (const row of rows) {
    if (!("fault" in row)) {
      if (batches.add(row.key, row.value)) await batches.turn();
      continue;
    }
    if (!options.skipBad) {
      throw new CommandFailure(`line ${formatCount(row.line)}: ${row.fault}; --skip-bad goes on without such lines`);
    }
    tally.skippedCount += 1;
    if (tally.skipped.length < SKIPPED_SHOWN_MAX) tally.skipped.push(row);
  }
}

async function* counted(chunks: AsyncIterable<Uint8Array>, tally: Tally): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    tally.bytesRead += chunk.length;
    yield chunk;
  }
}

/** Records on their way into the store, a few batches at a time. */
class Batches {
  readonly #store: ByteStore;
  readonly #tally: Tally;
  #operations: { type: "set"; key: Uint8Array; value: Uint8Array }[] = [];
  #size = 0;
  #inFlight: Promise<void>[] = [];

  constructor(store: ByteStore, tally: Tally) {
    this.#store = store;
    this.#tally = tally;
  }

  /** Adds a record. Returns whether the batch is full, so that the caller should await `turn`. */
  add(key: Uint8Array, value: Uint8Array): boolean {
    this.#operations.push({ type: "set", key, value });
    this.#size += key.length + value.length;
    return this.#operations.length >= BATCH_COUNT_MAX || this.#size >= BATCH_SIZE_MAX;
  }

  /** Hands the batch to the store, and waits while too many are on their way. */
  async turn(): Promise<void> {
    const count = this.#operations.length;
    if (count > 0) {
      const commit = this.#store.batch(this.#operations).then(() => {
        this.#tally.durableCount += count;
      });
      // It is awaited later; a rejection until then is not unhandled.
      commit.catch(() => {});
      this.#inFlight.push(commit);
      this.#tally.lineCount += count;
      this.#operations = [];
      this.#size = 0;
    }
    if (this.#inFlight.length >= BATCHES_IN_FLIGHT_MAX) await this.#inFlight.shift();
  }

  /** Resolves once all of it is durable. */
  async end(): Promise<void> {
    await this.turn();
    await Promise.all(this.#inFlight);
    await this.#store.flush();
  }
}

function reportSkipped(tally: Tally): void {
  for (const { line, fault } of tally.skipped) console.error(`skipped line ${formatCount(line)}: ${fault}`);
  const hiddenCount = tally.skippedCount - tally.skipped.length;
  if (hiddenCount > 0) console.error(`skipped ${formatCount(hiddenCount)} more`);
}

function linesStay(count: number): string {
  if (count === 0) return "nothing was loaded";
  return count === 1 ? "the one line loaded before stays" : `the ${formatCount(count)} lines loaded before stay`;
}

function summaryOf(tally: Tally, ms: number): string {
  const perSecond = (amount: number): number => Math.round(amount / Math.max(0.001, ms / 1000));
  const lines = `loaded ${formatCount(tally.lineCount)} ${tally.lineCount === 1 ? "line" : "lines"}`;
  const rate = `${formatCount(perSecond(tally.lineCount))} lines/s, ${formatBytes(perSecond(tally.bytesRead))}/s`;
  const skipped = tally.skippedCount > 0 ? `; skipped ${formatCount(tally.skippedCount)}` : "";
  return `${lines} in ${formatSeconds(ms)} (${rate})${skipped}`;
}
