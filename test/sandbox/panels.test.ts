/** Benchmark, stats and crash on the sandbox page, in Chromium. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { open } from "../../hosts/node.ts";
import { SECOND_TRY } from "../browser/browsers.ts";
import { createStore, downloadStore, INSECURE_HOST, NO_CHROMIUM, page, saveRecord, site, useSandbox } from "./page.ts";

useSandbox();

const numberOf = (text: string | null): number => Number(text?.replaceAll(",", ""));
const figure = async (name: string): Promise<number> => numberOf(await page.locator(`#crash-${name}`).textContent());

describe.skipIf(NO_CHROMIUM)("panels", SECOND_TRY, () => {
  it("says why there can be no stores on a page from an insecure origin", async () => {
    await page.goto(page.url().replace(/\w+\.localhost/, INSECURE_HOST));
    await page.getByRole("alert").getByText("not loaded from a secure origin").waitFor();
    expect(await page.locator("#stores").evaluate((stores) => (stores as HTMLElement).inert)).toBe(true);
  });

  it("runs a benchmark with a plot and figures, and leaves nothing behind", async () => {
    await page.getByRole("tab", { name: "Benchmark" }).click();
    await page.locator("#benchmark-count").selectOption("10,000");
    await page.getByRole("button", { name: "Run" }).click();
    await page.locator("#benchmark-note").getByText("Done.").waitFor({ timeout: 60_000 });

    const rows = await page
      .locator("#benchmark-figures tbody tr")
      .evaluateAll((found) => found.map((row) => [...row.children].map((cell) => cell.textContent ?? "")));
    expect(rows.map(([work, where]) => `${work} ${where}`)).toEqual([
      "set worker",
      "flush worker",
      "get worker",
      "entries worker",
      "put, one by one worker",
      "put, 64 at once worker",
      "get, one by one page",
      "get, 100 at once page",
    ]);
    for (const [work, , count, perSecond, each] of rows) {
      if (work === "flush") continue;
      expect(numberOf(count as string), work).toBeGreaterThan(0);
      expect(perSecond, work).toMatch(/^[\d.]+[KM]?$/);
      expect(numberOf(each as string), work).toBeGreaterThan(0);
    }
    const lines = await page
      .locator(".plot polyline")
      .evaluateAll((found) => found.map((line) => (line.getAttribute("points") ?? "").split(" ").length));
    expect(lines).toHaveLength(4);
    expect(Math.max(...lines)).toBeGreaterThan(5);
    expect(await page.locator(".plot-legend li").allTextContents()).toEqual([
      expect.stringMatching(/^set [\d.]+[KM]?\/s$/),
      expect.stringMatching(/^get [\d.]+[KM]?\/s$/),
      expect.stringMatching(/^entries [\d.]+[KM]?\/s$/),
      expect.stringMatching(/^put, 64 at once [\d.]+[KM]?\/s$/),
    ]);
    const left = await page.evaluate(async () => {
      const names: string[] = [];
      for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
      return names;
    });
    expect(left).toEqual([]);
  });

  it("shows stats as they change", async () => {
    await createStore(page, "live.cairn");
    await saveRecord(page, "a", "1");
    await page.getByRole("tab", { name: "Stats" }).click();
    const keyCount = page.locator('[data-name="keyCount"]');
    await expect.poll(() => keyCount.textContent()).toBe("1");
    const other = await page.context().newPage();
    await other.goto(page.url());
    await other.getByRole("button", { name: "live.cairn" }).click();
    await other.getByText("live.cairn is open.").waitFor();
    await saveRecord(other, "b", "2");
    await page.bringToFront();
    await expect.poll(() => keyCount.textContent()).toMatch(/^2/);
    expect(await page.locator("#stats-tables td").count()).toBeGreaterThan(30);
  });

  it("loses nothing that was acknowledged when the worker is killed", async () => {
    await createStore(page, "crash.cairn");
    await saveRecord(page, "before", "the crash");
    await page.getByRole("tab", { name: "Crash" }).click();
    const kill = page.getByRole("button", { name: "Kill the worker" });
    let inStore = 1;
    for (const acknowledgedAtLeast of [1, 200, 800]) {
      expect(await kill.isDisabled()).toBe(true);
      await page.getByRole("button", { name: "Start writing" }).click();
      await expect
        .poll(() => figure("acknowledged"), { interval: 5, timeout: 30_000 })
        .toBeGreaterThanOrEqual(acknowledgedAtLeast);
      await kill.click();
      await page.getByText("Nothing that had been acknowledged was lost.").waitFor();
      expect(await figure("acknowledged")).toBeGreaterThanOrEqual(acknowledgedAtLeast);
      expect(await figure("found")).toBe(await figure("acknowledged"));
      expect(await figure("lost")).toBe(0);
      expect(await page.locator("#crash-ms").textContent()).toMatch(/s$/);
      inStore += (await figure("found")) + (await figure("kept"));
    }

    // The page's own word is not all there is: Node counts too.
    const store = await open(await downloadStore(page, join(site.folder, "crash.cairn")));
    try {
      expect(store.count()).toBe(inStore);
      expect(store.get("before")).toBe("the crash");
      for (const [key, value] of store.entries({ prefix: "crash:" }))
        expect(value.startsWith(`${key} written`)).toBe(true);
    } finally {
      await store.close();
    }
  });

  it("deletes the records of crash runs, and those alone", async () => {
    await createStore(page, "crash.cairn");
    await saveRecord(page, "before", "the crash");
    await page.getByRole("tab", { name: "Crash" }).click();
    await page.getByRole("button", { name: "Start writing" }).click();
    await page.getByRole("button", { name: "Kill the worker" }).click();
    await page.getByRole("button", { name: "Delete the records of these runs" }).click();
    await page.getByText(/^Deleted [\d,]+ records of crash runs\.$/).waitFor();
    await page.getByRole("tab", { name: "Records" }).click();
    await page.getByText("1 key", { exact: true }).waitFor();
  });
});
