/** `npm run test:tabs -- --count 500`: kills workers, pages and browsers, and says what it came to. */
import { parseArgs } from "node:util";
import { runKills } from "./run.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "500" },
    seed: { type: "string", default: String(1 + Math.floor(Math.random() * 0x7fff_fffe)) },
    minutes: { type: "string" },
    lanes: { type: "string", default: "3" },
  },
});
const [seed, count, laneCount, minutes] = [values.seed, values.count, values.lanes, values.minutes ?? "1e6"].map(
  Number,
);
if (![seed, count, laneCount, minutes].every((value) => (value as number) > 0)) {
  console.error("test:tabs: --count, --seed, --minutes and --lanes are numbers above 0.");
  process.exit(2);
}
const start = performance.now();
// Who ends the run gets the counts so far.
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());
const seconds = (): string => `${((performance.now() - start) / 1000).toFixed(0)} s`;
console.log(`seed ${seed}`);
const { violations, kills, killCount, ...counts } = await runKills({
  seed: seed as number,
  count: count as number,
  budgetMs: (minutes as number) * 60_000,
  laneCount: laneCount as number,
  signal: stop.signal,
  onProgress: (done) => console.log(`${done} kills, ${seconds()}`),
});
for (const violation of violations) console.log(`VIOLATION ${violation}`);
console.log(JSON.stringify({ seed, killCount, ...kills, ...counts }));
if (violations.length > 0)
  console.log(`again: npm run test:tabs -- --seed ${seed} --count ${count} --lanes ${laneCount}`);
console.log(`${killCount} kills in ${seconds()}, ${violations.length} violations`);
process.exitCode = violations.length > 0 ? 1 : 0;
