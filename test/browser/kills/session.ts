/** One life of a writer on a page, as who drives it sees it: what was there when it began, and what was acknowledged since. */
import type { Page } from "puppeteer-core";
import type { Beginning, PageCalls, Report } from "./page.ts";
import type { Found } from "./writer.ts";

declare const kills: PageCalls;

/** After so long without an answer something hangs. */
const PATIENCE_MS = 60_000;

/** See above. */
export class Session {
  readonly page: Page;
  readonly beginning: Beginning;
  /** Settles when it has told what is there, with an error when it could not. Never rejects. */
  readonly opened: Promise<string | undefined>;
  /** Numbers of operations. */
  readonly acknowledged = new Set<number>();
  readonly failed: [index: number, code: string][] = [];
  issued = 0;
  private heardCount = 0;
  private heard: (() => void) | undefined;
  private readonly onFound: (found: Found) => void;
  private settle!: (error: string | undefined) => void;

  constructor(page: Page, beginning: Beginning, onFound: (found: Found) => void) {
    this.page = page;
    this.beginning = beginning;
    this.onFound = onFound;
    this.opened = new Promise((resolve) => {
      this.settle = resolve;
    });
  }

  /** Begins it. */
  begin(): Promise<void> {
    return this.page.evaluate((beginning) => kills.begin(beginning), this.beginning as never);
  }

  /** Takes what the page reports. */
  hear(report: Report): void {
    if ("progress" in report) {
      const { acknowledged, failed, issued, count } = report.progress;
      this.heardCount = count;
      for (const index of acknowledged) this.acknowledged.add(index);
      this.failed.push(...failed);
      this.issued = Math.max(this.issued, issued);
      this.heard?.();
      return;
    }
    if ("found" in report) this.onFound(report.found);
    this.settle("error" in report ? report.error : undefined);
  }

  /** Lets it write. */
  go(from: number): Promise<void> {
    return this.page.evaluate((from) => kills.go(from), from);
  }

  /** Stops it: what is there then. All that was acknowledged is known by then. */
  async stop(): Promise<Found> {
    const { found, toldCount } = await within(
      this.page.evaluate(() => kills.stop()),
      "a writer that stops",
    );
    const heard = async (): Promise<void> => {
      while (this.heardCount < toldCount) {
        await new Promise<void>((resolve) => {
          this.heard = resolve;
        });
      }
    };
    await within(heard(), "a report");
    return found;
  }

  /** Ends the worker that holds the store: the page's own, or that of its connection. */
  endWorker(): Promise<void> {
    if (this.beginning.holder === "worker") return this.page.evaluate(() => kills.terminate());
    return this.page.evaluate(() => kills.killWorker());
  }

  /** Waits until the worker of its page holds the store, and what was there without being durable is durable. */
  own(): Promise<void> {
    return within(
      this.page.evaluate(() => kills.own()),
      "a store that is taken over",
    );
  }

  /** Closes its connection in order. */
  leave(): Promise<void> {
    return within(
      this.page.evaluate(() => kills.leave()),
      "a connection that is closed",
    );
  }
}

/** A promise that rejects when it takes too long. */
export async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} has hung for ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
