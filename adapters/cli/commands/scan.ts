/**
 * `cairn scan`: a range as NDJSON, in key order.
 *
 * A line has `key` and `value`, both text. What is not UTF-8 stands as base64 under `keyBase64` or `valueBase64` instead,
 * so that no text can be taken for it.
 */
import { setImmediate } from "node:timers/promises";
import { Option } from "commander";
import { addExamples, onStore, type StoreCommand } from "../command.ts";
import { EXIT_OK } from "../failure.ts";
import { addRangeOptions, type RangeOptions, rangeOf } from "../range-options.ts";
import { base64Of, textOf } from "../text.ts";

interface ScanOptions extends RangeOptions {
  keys?: true;
  values?: true;
  count?: true;
  json?: true;
  sub?: string[];
}

export const scan: StoreCommand<ScanOptions> = {
  access: "read",
  summary: "print a range of keys and values as NDJSON",

  define(command) {
    addRangeOptions(command);
    command
      .addOption(new Option("--keys", "keys only").conflicts(["values", "json"]))
      .option("--values", "values only")
      .option("--sub <name...>", "of a namespace; several names: one within the other")
      .option("--json", "values that are JSON appear as JSON, not as strings")
      .addOption(new Option("--count", "print only how many there are").conflicts(["keys", "values", "json"]));
    addExamples(command, [
      "cairn scan app.cairn --prefix user: --limit 10",
      "cairn scan app.cairn --gte 2024-01 --lt 2025-01 --reverse --json",
      "cairn scan app.cairn --keys | head",
      "cairn scan app.cairn --sub users --prefix a",
    ]);
  },

  async run({ store: whole, output, options, signal }) {
    let store = whole;
    for (const name of options.sub ?? []) {
      store = store.sub(name, { keyEncoding: "binary", valueEncoding: "binary" });
    }
    const range = rangeOf(options);
    if (options.count) {
      output.write(`${store.count(range)}\n`);
      return EXIT_OK;
    }

    const lines = options.keys
      ? mapped(store.keys(range), (key) => `{${keyMember(key)}}\n`)
      : options.values
        ? mapped(store.values(range), (value) => `{${valueMember(value, options.json)}}\n`)
        : mapped(store.entries(range), ([key, value]) => `{${keyMember(key)},${valueMember(value, options.json)}}\n`);
    for (const line of lines) {
      if (!output.write(line)) continue;
      await output.flush();
      // Without a turn of the event loop neither a closed pipe nor Ctrl-C would be noticed.
      await setImmediate();
      if (output.closed || signal.aborted) break;
    }
    return EXIT_OK;
  },
};

export const define = onStore(scan);

function* mapped<Item>(items: Iterable<Item>, lineOf: (item: Item) => string): Generator<string> {
  for (const item of items) yield lineOf(item);
}

function keyMember(key: Uint8Array): string {
  const text = textOf(key);
  return text === undefined ? `"keyBase64":"${base64Of(key)}"` : `"key":${JSON.stringify(text)}`;
}

function valueMember(value: Uint8Array, asJson: true | undefined): string {
  const text = textOf(value);
  if (text === undefined) return `"valueBase64":"${base64Of(value)}"`;
  return `"value":${(asJson && jsonOnOneLine(text)) || JSON.stringify(text)}`;
}

/** `text` on one line and otherwise as it is, so that no number loses digits; `undefined` when it is not JSON. */
function jsonOnOneLine(text: string): string | undefined {
  try {
    JSON.parse(text);
  } catch {
    return undefined;
  }
  // A line break never stands inside a JSON string, nor does the white space next to it.
  return text.trim().replace(/\s*[\r\n]\s*/g, "");
}
