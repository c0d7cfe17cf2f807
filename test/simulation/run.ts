/** A run from its plan: the session, then the oracle over everything that a crash could have left. */

import { restoredImage } from "./backups.ts";
import { Oracle } from "./check.ts";
import { drain } from "./clock.ts";
import { RUN_US_MAX } from "./expiry.ts";
import type { InstancePool } from "./host.ts";
import { ballast, ENDINGS, OPERATIONS } from "./operations.ts";
import { Random } from "./random.ts";
import { type Coverage, Session } from "./session.ts";
import { Trace } from "./trace.ts";
import type { Plan } from "./workload.ts";

/** How a run went. */
export interface RunResult {
  /** Hash of everything that happened. */
  hash: string;
  /** Distinct crash images that were mounted and held against the model. */
  scheduleCount: number;
  recoveryCrashCount: number;
  coverage: Coverage;
  /** What went wrong, if anything did. */
  failure: string | undefined;
  error: unknown;
}

/** How a run is made. */
export interface RunOptions {
  /** Looks at what a crash could leave after every change of the device, and not at a share of them. */
  dense?: boolean;
  /** Looks only at what the store does while it lives, and not at what its crashes leave. */
  live?: boolean;
  /** Called with each thing that happens. */
  listener?: (what: string, numbers: readonly number[]) => void;
}

/** Runs a plan, over instances of a pool that no other run uses meanwhile. Never throws what the store did wrong: that is in the result. */
export async function run(plan: Plan, pool: InstancePool, options: RunOptions = {}): Promise<RunResult> {
  pool.takeBack();
  const trace = new Trace();
  trace.listener = options.listener;
  const session = new Session(plan, trace, options.dense ?? false, pool);
  const oracle = new Oracle(plan, trace, pool);
  let error: unknown;
  try {
    await live(session);
    if (!options.live) {
      for (const point of session.points) await oracle.check(point);
      await checkBackups(session, oracle);
    }
  } catch (thrown) {
    error = thrown;
  }
  const failure =
    error === undefined ? undefined : error instanceof Error ? `${error.name}: ${error.message}` : `${error}`;
  return {
    hash: trace.digest(),
    scheduleCount: oracle.scheduleCount,
    recoveryCrashCount: oracle.recoveryCrashCount,
    coverage: session.coverage,
    failure,
    error,
  };
}

/** Whatever was backed up can be restored, and holds what it should, as any image does that a crash leaves. */
async function checkBackups(session: Session, oracle: Oracle): Promise<void> {
  const { isSilent, highestMs, clock, device } = session;
  if (isSilent) return;
  for (const [i, backup] of session.backups.entries()) {
    const { timeline, least, most, life } = backup;
    const image = await restoredImage(backup, device.growable ? 0 : device.size());
    const known = { timeline, acked: least, issued: most, isSilent, skewMs: clock.skewMs, highestMs, durableMs: 0 };
    await oracle.check({ image, ...known, life, serial: 100_000 + i, depth: 0, isRestored: true });
  }
}

async function live(session: Session): Promise<void> {
  await session.open();
  ballast(session);
  for (const { index, kind, label } of session.plan.operations) {
    if (session.lost || session.clock.nowUs > RUN_US_MAX) return;
    if (session.poisoned && !ENDINGS.includes(kind)) continue;
    session.trace.add(kind, index);
    const random = new Random(BigInt(label));
    const done = OPERATIONS[kind](session, random);
    if (done !== undefined) await done;
    session.rethrow();
    const pause = random.unit();
    // All that waits for promises alone runs, or nothing of it: how many turns an await takes differs between runtimes.
    if (pause < 0.5) await drain();
    else if (pause < 0.6) await session.clock.advance(random.below(session.plan.options.device.latencyUs));
    session.rethrow();
  }
}
