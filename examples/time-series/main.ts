/**
 * Measurements on the command line; times are ISO 8601, steps are seconds.
 *
 *   node examples/time-series/main.ts record series.cairn < points.csv     lines METRIC,TIME,VALUE
 *   node examples/time-series/main.ts query series.cairn METRIC FROM UNTIL STEP
 *   node examples/time-series/main.ts metrics series.cairn
 *
 * KEEP_DAYS (30) is how long points are kept.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { type Point, Series } from "./series.ts";

const [command, path = "series.cairn", metric = "", from = "", until = "", step = "60"] = process.argv.slice(2);
const series = await Series.open(path, Number(process.env["KEEP_DAYS"] ?? 30) * 86_400_000);
const BATCH_COUNT = 1000;

if (command === "record") {
  let points: Point[] = [];
  let count = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    const [name = "", time = "", value = ""] = line.split(",");
    points.push({ metric: name, time: Date.parse(time), value: Number(value) });
    if (points.length === BATCH_COUNT) {
      await series.record(points);
      count += points.length;
      points = [];
    }
  }
  await series.record(points);
  console.log(`recorded ${count + points.length} points`);
} else if (command === "query") {
  for await (const summary of series.summaries(metric, Date.parse(from), Date.parse(until), Number(step) * 1000)) {
    console.log(JSON.stringify({ ...summary, from: new Date(summary.from).toISOString() }));
  }
} else if (command === "metrics") {
  for (const name of series.metrics()) console.log(`${name} ${series.last(name)?.value}`);
} else {
  console.error("use: record STORE | query STORE METRIC FROM UNTIL STEP | metrics STORE");
  process.exitCode = 2;
}
await series.close();
