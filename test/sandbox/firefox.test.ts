/** The sandbox page in Firefox: a store is made, filled, crashed and found whole; an image goes out, and one comes in. */
import { join } from "node:path";
import type { ElementHandle } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { open } from "../../hosts/node.ts";
import { browsersOfRun, type RunningBrowser, SECOND_TRY, startBrowser } from "../browser/browsers.ts";
import { type Site, startSite } from "./page.ts";

let site: Site;
let running: RunningBrowser;

beforeAll(async () => {
  [site, running] = await Promise.all([startSite(), startBrowser("firefox")]);
});
afterAll(async () => {
  await running?.close();
  await site?.close();
});

describe.skipIf(!browsersOfRun().includes("firefox"))("in Firefox", SECOND_TRY, () => {
  it("edits records and loses nothing to a killed worker", async () => {
    const page = await running.browser.newPage();
    page.setDefaultTimeout(20_000);
    await page.goto(site.url);
    const textOf = (selector: string): Promise<string> => page.$eval(selector, (found) => found.textContent ?? "");
    const shows = (selector: string, text: string): Promise<unknown> =>
      page.waitForFunction(
        (selector, text) => document.querySelector(selector)?.textContent?.includes(text),
        { polling: 50 },
        selector,
        text,
      );

    await page.type("#store-name", "fox.cairn");
    await page.click("#store-form button");
    await shows("#message", "fox.cairn is open.");
    await page.click("#record-new");
    await page.type("#record-key", "zebra");
    await page.type("#record-value", "striped");
    await page.click("#record-save");
    await shows("#record-note", "durably");
    await page.$eval("#sample-count", (field) => {
      (field as HTMLInputElement).value = "20000";
    });
    await page.click("#sample-add");
    await shows("#key-count", "20,001 keys");
    await page.focus("#keys");
    await page.keyboard.press("End");
    await page.waitForFunction(() => document.querySelector("#keys [aria-selected=true]")?.textContent === "zebra");

    await page.click("#tab-crash");
    await page.click("#crash-start");
    await page.waitForSelector("#crash-kill:enabled");
    await page.click("#crash-kill");
    await shows("#crash-verdict", "Nothing that had been acknowledged was lost.");
    expect(await textOf("#crash-lost")).toBe("0");
    expect(await textOf("#crash-found")).toBe(await textOf("#crash-acknowledged"));

    await page.click("#tab-verify");
    await page.click("#verify-run");
    await shows("#verify-verdict", "No fault found.");

    await page.reload();
    await page.waitForSelector("#store-list button");
    await page.click("#store-list button");
    await shows("#key-count", "keys");
    await page.type("#prefix", "zeb");
    await page.waitForFunction(() => {
      const options = [...document.querySelectorAll("#keys [role=option]")];
      return options.length === 1 && options[0]?.textContent === "zebra";
    });
    await page.click("#keys [role=option]");
    await page.waitForFunction(() => document.querySelector<HTMLTextAreaElement>("#record-value")?.value === "striped");
    await page.click("#download");
    await shows("#message", "fox.cairn was handed to the browser as a download.");

    const path = join(site.folder, "node.cairn");
    const store = await open(path);
    for (let index = 0; index < 500; index++) store.set(`zebra ${index}`, `${index}`);
    await store.close();
    const field = await page.$("#store-file");
    await (field as ElementHandle<HTMLInputElement>).uploadFile(path);
    await shows("#message", "node.cairn was imported and is open.");
    await shows("#key-count", "500 keys");
  });
});
