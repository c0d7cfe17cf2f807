/** `cairn stats`: the store's counters and gauges, as a table for people and as JSON for programs. */
import { addExamples, onStore, type StoreCommand } from "../command.ts";
import { EXIT_OK } from "../failure.ts";
import { formatBytes, formatCount } from "../text.ts";

export const stats: StoreCommand<{ json?: true }> = {
  access: "read",
  summary: "print the store's counters and gauges",

  define(command) {
    command.option("--json", "one JSON object, also on a terminal");
    addExamples(command, ["cairn stats app.cairn", "cairn stats app.cairn --json"]);
  },

  async run({ store, output, options }) {
    const measures = store.stats();
    if (options.json || !output.isTerminal) {
      output.write(`${JSON.stringify(measures, (_, value) => (typeof value === "bigint" ? Number(value) : value))}\n`);
      return EXIT_OK;
    }
    const rows = rowsOf(measures, "");
    const width = Math.max(...rows.map(([name]) => name.length));
    for (const [name, text] of rows) output.write(`${name.padEnd(width)}  ${text}\n`);
    return EXIT_OK;
  },
};

export const define = onStore(stats);

/** Names and values, members of inner objects under `outer.inner`. */
function rowsOf(measures: object, path: string): [name: string, text: string][] {
  return Object.entries(measures).flatMap(([key, value]): [string, string][] => {
    const name = `${path}${key}`;
    if (typeof value === "object" && value !== null) return rowsOf(value, `${name}.`);
    return [[name, textOfMeasure(name, value)]];
  });
}

function textOfMeasure(name: string, value: unknown): string {
  if (typeof value !== "number" && typeof value !== "bigint") return String(value);
  const isBytes = /bytes$/i.test(name) && value >= 1024;
  return isBytes ? `${formatCount(value)} (${formatBytes(Number(value))})` : formatCount(value);
}
