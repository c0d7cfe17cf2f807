/**
 * `npm run test:planted`: shows for every planted bug which seed of the simulation catches it. `scripts/planted.mjs` starts it.
 *
 *   program ROOT [--bugs name,name] [--seed N] [--count N] [--seconds N] [--lanes N]
 *
 * Without `--bugs` all are hunted but those that are known not to be caught (`uncaught`). Without `--seed` each begins at
 * a seed of its own (`from`). Ends with `N caught, N missed`.
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { BUGS } from "./bugs.ts";
import { buildPlanted } from "./build.ts";
import { type Catch, hunt } from "./hunt.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bugs: { type: "string" },
    seed: { type: "string" },
    count: { type: "string", default: "600" },
    seconds: { type: "string", default: "240" },
    lanes: { type: "string", default: String(availableParallelism()) },
  },
});
const root = positionals[0] as string;
const hunted = BUGS.filter(({ uncaught }) => uncaught === undefined);
const wanted = values.bugs?.split(",") ?? hunted.map(({ name }) => name);
const built = await buildPlanted(root, join(root, "build/planted"));
const waiting = [...wanted];
const results: Catch[] = [];
await Promise.all(Array.from({ length: Number(values.lanes) }, lane));
const caught = results.filter(({ seed }) => seed !== undefined);
console.log(`${caught.length} caught, ${results.length - caught.length} missed`);
for (const { name, failure } of results)
  if (!caught.some((one) => one.name === name)) console.log(`MISSED ${name}: ${failure}`);
process.exitCode = caught.length === results.length ? 0 : 1;

async function lane(): Promise<void> {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    const first = Number(values.seed ?? BUGS.find((bug) => bug.name === name)?.from ?? 1);
    const result = await hunt(built, name, first, Number(values.count), Number(values.seconds));
    results.push(result);
    const { seed, seconds, failure } = result;
    const by = seed === undefined ? "MISSED" : `caught by seed ${seed}`;
    console.log(`${name}: ${by} in ${seconds.toFixed(1)} s: ${failure.slice(0, 160)}`);
  }
}
