/** Keys and ranges as arguments: text, or with `--hex` or `--base64` any bytes. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { CommandFailure, EXIT_BAD_USE } from "./failure.ts";
import { bytesOf } from "./text.ts";

/** How keys are written on the command line. */
export interface KeyFormOptions {
  hex?: true;
  base64?: true;
}

/** The options of a range. */
export interface RangeOptions extends KeyFormOptions {
  prefix?: string;
  gt?: string;
  gte?: string;
  lt?: string;
  lte?: string;
  reverse?: true;
  limit?: number;
}

/** A range whose keys are bytes. */
export interface ByteRange {
  prefix?: Uint8Array;
  gt?: Uint8Array;
  gte?: Uint8Array;
  lt?: Uint8Array;
  lte?: Uint8Array;
  reverse?: boolean;
  limit?: number;
}

/** Options of `addRangeOptions` that take a key. */
export const KEY_BOUNDS = ["prefix", "gt", "gte", "lt", "lte"] as const;

/** Adds `--hex` and `--base64`. */
export function addKeyFormOptions(command: Command): void {
  command.addOption(new Option("--hex", "keys on the command line are hexadecimal").conflicts("base64"));
  command.option("--base64", "keys on the command line are base64");
}

/** Adds the options of a range. */
export function addRangeOptions(command: Command): void {
  command
    .option("--prefix <key>", "only keys that begin with this")
    .option("--gt <key>", "only keys greater than this")
    .option("--gte <key>", "only keys greater than or equal to this")
    .option("--lt <key>", "only keys less than this")
    .option("--lte <key>", "only keys less than or equal to this")
    .option("--reverse", "from the last key to the first")
    .option("--limit <count>", "at most so many", countOf);
  addKeyFormOptions(command);
}

/** The key that `text` stands for. */
export function keyOf(text: string, form: KeyFormOptions): Uint8Array {
  if (form.hex) {
    if (!/^([0-9a-f]{2})+$/i.test(text)) throw badKey(text, "hexadecimal: two digits 0-9 a-f for each byte");
    return new Uint8Array(Buffer.from(text, "hex"));
  }
  if (form.base64) {
    if (text === "" || !/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) throw badKey(text, "base64");
    return new Uint8Array(Buffer.from(text, "base64"));
  }
  const bytes = bytesOf(text);
  if (!bytes) throw badKey(text, "well-formed Unicode");
  return bytes;
}

/** The range that `options` stand for. */
export function rangeOf(options: RangeOptions): ByteRange {
  const range: ByteRange = {};
  for (const bound of KEY_BOUNDS) {
    const text = options[bound];
    if (text !== undefined && text !== "") range[bound] = keyOf(text, options);
  }
  if (options.reverse) range.reverse = true;
  if (options.limit !== undefined) range.limit = options.limit;
  return range;
}

function badKey(text: string, wanted: string): CommandFailure {
  return new CommandFailure(`the key ${JSON.stringify(text)} is not ${wanted}`, EXIT_BAD_USE);
}

function countOf(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count)) throw new InvalidArgumentError("It must be a whole number.");
  return count;
}
