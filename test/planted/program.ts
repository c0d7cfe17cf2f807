/**
 * `npm run test:planted`: shows for every planted bug what catches it, a seed of the simulation or a test, and for every check
 * of the oracle which bugs turn it red. `scripts/planted.mjs` starts it.
 *
 *   program ROOT [--bugs name,name] [--seed N] [--count N] [--seconds N] [--lanes N] [--anew] [--save]
 *
 * Known seeds (seeds.json) are tried first; a bug that they no longer catch is hunted with new ones, from `--seed` on. `--anew`
 * forgets the known ones, `--save` writes down those that caught something. Ends with `N of N caught`; the status is 1 when a
 * bug was missed, and, when all were hunted, when a check was shown red by none.
 */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { BUGS } from "./bugs.ts";
import { buildPlanted } from "./build.ts";
import { checksOf } from "./checks.ts";
import { hunt } from "./hunt.ts";
import { type KnownSeeds, readSeeds, writeSeeds } from "./seeds.ts";
import { huntAll, shownBy } from "./whole-hunt.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bugs: { type: "string" },
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "3000" },
    seconds: { type: "string", default: "300" },
    lanes: { type: "string", default: String(availableParallelism()) },
    anew: { type: "boolean", default: false },
    save: { type: "boolean", default: false },
  },
});
const root = positionals[0] as string;
const planted = await buildPlanted(root, join(root, "build/planted"));
const limits = { first: values.seed, count: Number(values.count), seconds: Number(values.seconds) };
if (values.bugs === "none") {
  const { by, failure } = await hunt(planted, "none", limits);
  console.log(by === undefined ? failure : `${by}: ${failure}`);
  process.exitCode = failure.startsWith("not caught by") ? 0 : 1;
} else {
  await huntWanted(values.bugs?.split(",") ?? BUGS.map(({ name }) => name));
}

async function huntWanted(names: readonly string[]): Promise<void> {
  const seeds = readSeeds(root);
  const catches = await huntAll({
    root,
    planted,
    names,
    seeds: values.anew ? {} : seeds,
    lanes: Number(values.lanes),
    ...limits,
    report: ({ name, by, check, failure, seconds }) => {
      const what = by === undefined ? "MISSED" : `caught by ${by}`;
      console.log(`${name}: ${what} in ${seconds.toFixed(1)} s: ${check ?? ""} | ${failure.slice(0, 160)}`);
    },
  });
  if (values.save) writeSeeds(root, newSeeds(seeds, names, catches));
  const missed = catches.filter(({ by }) => by === undefined);
  const uncaught = names.filter((name) => !catches.some((one) => one.name === name && one.by !== undefined));
  const shown = shownBy(catches);
  const checks = checksOf(root);
  console.log("");
  for (const check of checks) console.log(`${check}: ${shown.get(check)?.join(", ") ?? "NO BUG SHOWS IT"}`);
  const bare = names.length < BUGS.length ? [] : checks.filter((check) => !shown.has(check));
  console.log("");
  for (const { name, failure } of missed) console.log(`MISSED ${name}: ${failure}`);
  for (const check of bare) console.log(`NEVER RED ${check}`);
  console.log(
    `${checks.filter((check) => shown.has(check)).length} of ${checks.length} checks of the oracle shown red`,
  );
  console.log(`${names.length - uncaught.length} of ${names.length} caught`);
  process.exitCode = missed.length + uncaught.length + bare.length > 0 ? 1 : 0;
}

/** The known seeds with what was caught now; of the bugs that were hunted only that. */
function newSeeds(
  known: KnownSeeds,
  names: readonly string[],
  catches: Awaited<ReturnType<typeof huntAll>>,
): KnownSeeds {
  const seeds: KnownSeeds = {};
  for (const { name } of BUGS) {
    const found = catches.filter((one) => one.name === name && one.seed !== undefined);
    if (found.length > 0) seeds[name] = Object.fromEntries(found.map(({ seed, check }) => [seed, check]));
    else if (!names.includes(name) && known[name] !== undefined) seeds[name] = known[name];
  }
  return seeds;
}
