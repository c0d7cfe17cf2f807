/**
 * The relay: one image goes from Node to Bun, to Deno, as a backup to Node, through the sandbox page into Chromium's OPFS, as
 * the page's backup to Node, as a backup to the page again, which restores it, and from there as a backup and as a file to Node.
 * Every station checks every record, in order and by its key, before it changes some: new ones, others of an earlier
 * station overwritten, others deleted. Deno compacts the image as well. Every station verifies the store, as it came and as it leaves it.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright";
import { afterAll, describe, expect, test } from "vitest";
import { builtEntry, commandOf, type RuntimeName, runProgram } from "../runtime.ts";
import {
  createStore,
  downloadStore,
  dropFile,
  NO_CHROMIUM,
  openPage,
  saveRecord,
  startChromium,
  startSite,
} from "../sandbox/page.ts";

/** What lies in the image, in key order. */
type Records = Map<string, string>;

const COUNT = 2_000;
const folder = mkdtempSync(join(tmpdir(), "cairn-relay-"));
const image = join(folder, "relay.cairn");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a station writes: `null` deletes. Values are of every size up to some blocks, text of one byte and of more. */
function changesOf(station: string, before: Records): [string, string | null][] {
  const own = Array.from({ length: COUNT }, (_, i): [string, string] => {
    const text = i % 5 === 0 ? "Steinmännchen " : "cairn ";
    return [`${station}:${String(i).padStart(5, "0")}`, `${station} ${i} ${text.repeat(i % 97 === 0 ? 900 : i % 40)}`];
  });
  const earlier = [...before.keys()];
  const overwritten = earlier.filter((_, i) => i % 7 === 3).map((key): [string, string] => [key, `${station}: ${key}`]);
  const deleted = earlier.filter((_, i) => i % 11 === 5).map((key): [string, null] => [key, null]);
  return [...own, ...overwritten, ...deleted];
}

function after(before: Records, changes: [string, string | null][]): Records {
  const records = new Map(before);
  for (const [key, value] of changes) {
    if (value === null) records.delete(key);
    else records.set(key, value);
  }
  return new Map([...records].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** What is kept of the report on a store without faults. */
function sound(keys: number): object {
  return { ok: true, keys, faults: [], totalsCompared: true };
}

/** Opens the image on a runtime, verifies and reads all of it, makes the changes, and verifies again; Deno writes all of it anew before, and compacts it. */
function station(runtime: RuntimeName, path: string, expected: Records, changes: [string, string | null][]): void {
  const body = `
    const { Buffer } = await import("node:buffer");
    const { readFileSync, writeFileSync } = await import("node:fs");
    const { expected, changes } = JSON.parse(readFileSync(target + ".json", "utf8"));
    const store = await open(target, { memoryBytes });
    const verified = [await store.verify()];
    const found = [...store.entries()];
    const wrong = expected.filter(([key, value], i) =>
      found[i]?.[0] !== key || found[i][1] !== value || store.get(key) !== value);
    const count = store.count();
    for (const [key, value] of changes) {
      if (value === null) store.delete(key); else store.set(key, value);
    }
    await store.flush();
    // Garbage that is worth compacting: each record as it is, again and again.
    if ("Deno" in globalThis) {
      for (let i = 0; i < 3; i++) for (const [key, value] of [...store.entries()]) store.set(key, value);
      await store.flush();
    }
    const moved = "Deno" in globalThis ? await store.compact({ full: true }) : undefined;
    verified.push(await store.verify());
    const reports = verified.map(({ ok, keys, faults, totalsCompared }) => ({ ok, keys, faults, totalsCompared }));
    writeFileSync(target + ".backup", Buffer.from(await new Response(store.backup()).arrayBuffer()));
    const compacted = moved === undefined ? undefined : moved.done && moved.bytesWritten > 0 && moved.bytesFreed > 0;
    say({ found: found.length, count, wrong: wrong.length, reports, compacted });
    await store.close();
  `;
  writeFileSync(`${path}.json`, JSON.stringify({ expected: [...expected], changes }));
  const { said, failed } = runProgram(body, path, runtime);
  expect(failed).toBe("");
  const reports = [expected.size, after(expected, changes).size].map(sound);
  const compacted = runtime === "deno" ? true : undefined;
  expect(said).toEqual([{ found: expected.size, count: expected.size, wrong: 0, reports, compacted }]);
}

/** Node makes a store of a backup, at `path` instead of what is there. */
function restoreOnNode(path: string, backup: string): void {
  const restoring = `
    const { createReadStream } = await import("node:fs");
    const { restore } = await import(${JSON.stringify(builtEntry("node"))});
    say((await restore(target, createReadStream(${JSON.stringify(backup)}), { overwrite: true })).version > 0);
  `;
  expect(runProgram(restoring, path, "node")).toMatchObject({ said: [true], failed: "" });
}

/** Makes a backup on the page, as a program there does, and saves it. */
async function backupOfPage(page: Page, path: string): Promise<void> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.evaluate(async () => {
      const { cairn } = globalThis as unknown as { cairn: typeof import("../../hosts/browser.ts") };
      const store = await cairn.connect("relay.cairn");
      const href = URL.createObjectURL(await new Response(store.backup()).blob());
      await store.close();
      Object.assign(document.createElement("a"), { href, download: "relay.backup" }).click();
    }),
  ]);
  await download.saveAs(path);
}

/** Restores a backup on the page, in the place of what is there. */
async function restoreOnPage(page: Page, path: string): Promise<void> {
  const field = await page.evaluateHandle(() => Object.assign(document.createElement("input"), { type: "file" }));
  await field.setInputFiles(path);
  const version = await field.evaluate(async (input) => {
    const { cairn } = globalThis as unknown as { cairn: typeof import("../../hosts/browser.ts") };
    const [file] = input.files ?? [];
    return (await cairn.restore("relay.cairn", (file as File).stream(), { overwrite: true })).version;
  });
  expect(version).toBeGreaterThan(0);
}

/** Reads all of the store on the page, in order and by its keys, and verifies it. */
async function expectOnPage(page: Page, records: Records): Promise<void> {
  const seen = await page.evaluate(async () => {
    const { cairn } = globalThis as unknown as { cairn: typeof import("../../hosts/browser.ts") };
    const store = await cairn.connect("relay.cairn");
    const walked: [string, string][] = [];
    for await (const entry of store.entries()) walked.push(entry);
    const got = await store.getMany(walked.map(([key]) => key));
    const { ok, keys, faults, totalsCompared } = await store.verify();
    await store.close();
    const differ = walked.filter(([, value], i) => got[i] !== value).length;
    return { walked, differ, report: { ok, keys, faults, totalsCompared } };
  });
  expect(seen.differ).toBe(0);
  expect(seen.walked).toEqual([...records]);
  expect(seen.report).toEqual(sound(records.size));
}

describe.skipIf(NO_CHROMIUM || commandOf("bun") === undefined || commandOf("deno") === undefined)("the relay", () => {
  test("one image goes through Node, Bun, Deno and Chromium, and every record is right at every station", async () => {
    let records: Records = new Map();
    for (const runtime of ["node", "bun", "deno"] as const) {
      const changes = changesOf(runtime, records);
      station(runtime, image, records, changes);
      records = after(records, changes);
    }

    // What goes on is not the image that Deno left, but what Node restores from Deno's backup of it.
    restoreOnNode(image, `${image}.backup`);

    const [site, browser] = await Promise.all([startSite(), startChromium()]);
    const returned = join(folder, "returned.cairn");
    const between = join(folder, "between.cairn");
    try {
      const page = await openPage(browser, site);
      await dropFile(page, image);
      await page.getByText("relay.cairn was imported and is open.").waitFor();
      await expectOnPage(page, records);

      const [edited, removed] = [...records.keys()] as [string, string];
      await page.getByRole("option", { name: edited, exact: true }).click();
      const value = page.getByLabel("Value", { exact: true });
      await expect.poll(() => value.inputValue()).toBe(records.get(edited));
      await value.fill("edited on the page");
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("Saved 18 bytes, durably.").waitFor();
      await page.getByRole("option", { name: removed, exact: true }).click();
      await expect.poll(() => value.inputValue()).toBe(records.get(removed));
      await page.locator("#record-delete").click();
      await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
      await page.getByText(`Deleted ${removed}, durably.`).waitFor();
      await saveRecord(page, "chromium:new", "of the page");
      records = after(records, [
        ["chromium:new", "of the page"],
        [edited, "edited on the page"],
        [removed, null],
      ]);
      await page.getByRole("tab", { name: "Verify" }).click();
      await page.getByRole("button", { name: "Verify" }).click();
      await page.getByRole("status").getByText("No fault found.").waitFor();
      expect(await page.locator("#verify-keys").textContent()).toBe(records.size.toLocaleString("en"));

      // Node goes on with what it restores from the page's backup, and the page with what it restores from Node's.
      await backupOfPage(page, `${between}.page`);
      restoreOnNode(between, `${between}.page`);
      const changes = changesOf("between", records);
      station("node", between, records, changes);
      records = after(records, changes);
      await page.locator("#close").click();
      await page.getByText("relay.cairn is closed.").waitFor();
      await restoreOnPage(page, `${between}.backup`);
      await expectOnPage(page, records);
      await backupOfPage(page, `${image}.page`);
      await createStore(page, "relay.cairn");
      await downloadStore(page, returned);
    } finally {
      await browser.close();
      await site.close();
    }
    station("node", returned, records, []);
    station("node", returned, records, []);
    restoreOnNode(image, `${image}.page`);
    station("node", image, records, []);
  });
});
