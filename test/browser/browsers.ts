/** Real browsers for tests, each with a new profile, which is removed with it. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, launch } from "puppeteer-core";

/** The browsers that tests run in. */
export type BrowserName = "chromium" | "firefox";

/** Where the browsers lie, unless `CAIRN_CHROMIUM` or `CAIRN_FIREFOX` says otherwise. */
export function executableOf(name: BrowserName): string {
  const { CAIRN_CHROMIUM = "/usr/bin/chromium", CAIRN_FIREFOX = "/usr/bin/firefox-esr" } = process.env;
  return name === "chromium" ? CAIRN_CHROMIUM : CAIRN_FIREFOX;
}

/** Flags under which Chromium runs without a display, and asks nobody anything. */
export const CHROMIUM_FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * What a test that drives a browser from outside gets: one more try where it only ran out of time, and was not told of
 * anything wrong. `scripts/test.mjs` names each test that took it.
 */
export const SECOND_TRY = { retry: { count: 1, condition: /timed out in \d+ms|Timeout \d+ms exceeded/ } };

/** A host of this machine that is no secure context, as every host is that is reached over http but the loopback's names. */
export const INSECURE_HOST = "insecure.test";

/** The browsers that a run is for: `CAIRN_BROWSERS`, or those that are installed. */
export function browsersOfRun(): BrowserName[] {
  const { CAIRN_BROWSERS } = process.env;
  const all: BrowserName[] = ["chromium", "firefox"];
  if (CAIRN_BROWSERS !== undefined) return all.filter((name) => CAIRN_BROWSERS.split(",").includes(name));
  return all.filter((name) => existsSync(executableOf(name)));
}

/** A running browser, and how to end it. */
export interface RunningBrowser {
  browser: Browser;
  close(): Promise<void>;
}

/** Starts a browser over a profile, which may have been used before. `endsIt`: whether a signal to this process ends both. */
export function launchBrowser(name: BrowserName, profile: string, endsIt = true): Promise<Browser> {
  return launch({
    handleSIGINT: endsIt,
    handleSIGTERM: endsIt,
    browser: name === "chromium" ? "chrome" : "firefox",
    executablePath: executableOf(name),
    headless: true,
    userDataDir: profile,
    args: name === "chromium" ? [...CHROMIUM_FLAGS, `--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1`] : [],
    extraPrefsFirefox: { "network.dns.localDomains": INSECURE_HOST },
  });
}

/** Starts a browser with a new profile. */
export async function startBrowser(name: BrowserName): Promise<RunningBrowser> {
  const profile = mkdtempSync(join(tmpdir(), `cairn-${name}-`));
  const browser = await launchBrowser(name, profile);
  return {
    browser,
    async close() {
      await browser.close();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
