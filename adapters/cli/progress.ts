/**
 * Progress on standard error: a bar where the total is known, else a counter; nothing where standard error is no terminal.
 *
 * cli-progress, because it draws on standard error, redraws at most ten times a second and never touches standard input,
 * which may be the data.
 */
import cliProgress from "cli-progress";
import { formatBytes, formatCount } from "./text.ts";

export interface Progress {
  update(bytesDone: number, lineCount: number): void;
  stop(): void;
}

/** Starts the display. `bytesTotal` is `undefined` when nobody knows. */
export function startProgress(bytesTotal: number | undefined): Progress {
  const bar = new cliProgress.SingleBar({
    format: (_, { progress, eta }, { lineCount, bytesDone, startMs }: ProgressPayload) => {
      const seconds = Math.max(0.001, (performance.now() - startMs) / 1000);
      const counts = `${formatCount(lineCount)} lines, ${formatCount(Math.round(lineCount / seconds))} lines/s`;
      if (bytesTotal === undefined) return `${counts}, ${formatBytes(bytesDone)}`;
      const filled = Math.round(progress * BAR_WIDTH);
      const drawn = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
      const left = Number.isFinite(eta) ? `, ${Math.ceil(eta)} s left` : "";
      return `${drawn} ${Math.floor(progress * 100)}% ${counts}${left}`;
    },
    clearOnComplete: true,
  });
  const startMs = performance.now();
  bar.start(Math.max(1, bytesTotal ?? 1), 0, { lineCount: 0, bytesDone: 0, startMs } satisfies ProgressPayload);
  return {
    update(bytesDone, lineCount) {
      bar.update(bytesTotal === undefined ? 0 : bytesDone, { lineCount, bytesDone, startMs } satisfies ProgressPayload);
    },
    stop() {
      bar.stop();
    },
  };
}

/** Work whose steps change their name and total as it goes on. */
export interface Steps {
  update(what: string, done: number, total: number): void;
  stop(): void;
}

/** Starts the display of such work; it shows with the first update. */
export function startSteps(): Steps {
  const bar = new cliProgress.SingleBar({
    format: (_, { progress }, { what, done, total }: StepsPayload) => {
      const filled = Math.round(progress * BAR_WIDTH);
      const drawn = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
      return `${drawn} ${Math.floor(progress * 100)}% ${formatCount(done)} of ${formatCount(total)} ${what}`;
    },
    clearOnComplete: true,
  });
  let started = false;
  return {
    update(what, done, total) {
      const payload: StepsPayload = { what, done, total };
      if (!started) bar.start(Math.max(1, total), 0, payload);
      started = true;
      bar.setTotal(Math.max(1, total));
      bar.update(done, payload);
    },
    stop() {
      if (started) bar.stop();
    },
  };
}

type StepsPayload = { what: string; done: number; total: number };

type ProgressPayload = { lineCount: number; bytesDone: number; startMs: number };

const BAR_WIDTH = 30;
