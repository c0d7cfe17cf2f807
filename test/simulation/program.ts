import { readFileSync } from "node:fs";
import { run } from "./run.ts";
import { planOf } from "./workload.ts";

const module = new WebAssembly.Module(readFileSync(process.argv[2] as string));
const from = BigInt(process.argv[3] ?? 1);
const count = Number(process.argv[4] ?? 1);
const hr = process.hrtime.bigint;
const start = hr();
let schedules = 0,
  failed = 0,
  rec = 0;
const total: Record<string, number> = {};
for (let i = 0; i < count; i++) {
  const plan = planOf(from + BigInt(i));
  const t = hr();
  const r = await run(plan, module, process.env.TRACE ? { listener: (w, n) => console.log(w, ...n) } : {});
  schedules += r.scheduleCount;
  rec += r.recoveryCrashCount;
  for (const [k, v] of Object.entries(r.coverage)) total[k] = (total[k] ?? 0) + v;
  if (r.failure) {
    failed++;
    console.log(String(plan.seed), r.failure.slice(0, 300));
    if (process.env.STACK) console.log(r.error, JSON.stringify(plan.options), JSON.stringify(plan.faults));
  }
  if (process.env.V) console.log(String(plan.seed), r.hash, r.scheduleCount, Number(hr() - t) / 1e6);
}
const s = Number(hr() - start) / 1e9;
console.log({ count, failed, schedules, rec, perS: schedules / s, s, ...total });
