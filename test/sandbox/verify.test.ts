/** Verify on the sandbox page, in Chromium: of sound images, of damaged ones, and of a store that is written meanwhile. */
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { open } from "../../hosts/node.ts";
import { SECOND_TRY } from "../browser/browsers.ts";
import { FIELD, SUPERBLOCK_COPIES, SUPERBLOCK_STRIDE } from "../store/superblock.ts";
import {
  addSamples,
  createStore,
  dropFile,
  NO_CHROMIUM,
  page,
  profileOfTests,
  saveRecord,
  site,
  useSandbox,
} from "./page.ts";

const BLOCK = 4096;
const SEGMENTS_OFFSET = 1024 * 1024;

useSandbox();

/** An image that Node wrote, of 300 records and one that takes several blocks. */
async function imageOfNode(name: string): Promise<string> {
  const path = join(site.folder, name);
  const store = await open(path);
  for (let i = 0; i < 300; i++) store.set(`key ${i}`, `${name} ${i} `.repeat(20));
  store.set("large", "large ".repeat(10_000));
  await store.close();
  return path;
}

async function importImage(path: string, name: string): Promise<void> {
  await dropFile(page, path);
  await page.getByText(`${name} was imported and is open.`).waitFor();
}

/** Presses the button and waits for the verdict. */
async function verify(): Promise<string | null> {
  await page.getByRole("tab", { name: "Verify" }).click();
  await page.getByRole("button", { name: "Verify" }).click();
  await page.locator("#verify-report").waitFor();
  return page.locator("#verify-verdict").textContent();
}

const figure = async (name: string): Promise<number> =>
  Number((await page.locator(`#verify-${name}`).textContent())?.replaceAll(",", ""));
const faults = (): Promise<string[]> => page.getByRole("list", { name: "Faults" }).locator("li").allTextContents();

/** The file on disk, in the browser's profile, that a store's records lie in. */
function fileOfBrowser(record: string): string {
  const found = readdirSync(profileOfTests(), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.parentPath.includes("File System"))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => readFileSync(path).includes(record));
  expect(found).toHaveLength(1);
  return found[0] as string;
}

describe.skipIf(NO_CHROMIUM)("verify", SECOND_TRY, () => {
  it("finds no fault in a sound image, and counts as Node does", async () => {
    const path = await imageOfNode("sound.cairn");
    const store = await open(path, { readOnly: true });
    const report = await store.verify();
    await store.close();
    await importImage(path, "sound.cairn");
    expect(await verify()).toBe("No fault found.");
    expect(await figure("blocks")).toBe(report.blocksRead);
    expect(await figure("records")).toBe(301);
    expect(await figure("keys")).toBe(301);
    expect(await figure("fault-count")).toBe(0);
    expect(await faults()).toEqual([]);
    expect(await page.locator("#verify-progress").isVisible()).toBe(false);
    expect(await page.locator("#verify-totals").isVisible()).toBe(false);
  });

  it("shows the fault of an image that opens in spite of it, with its place", async () => {
    const path = await imageOfNode("scratched.cairn");
    const image = readFileSync(path);
    // One of the two copies of the newest superblock: the store opens from the other one, and writes beside both.
    const generations = Array.from({ length: SUPERBLOCK_COPIES }, (_, copy) =>
      Number(image.readBigUInt64LE(copy * SUPERBLOCK_STRIDE + FIELD.generation)),
    );
    const copy = generations.indexOf(Math.max(...generations));
    const at = copy * SUPERBLOCK_STRIDE + 2000;
    image[at] = (image[at] as number) ^ 0x10;
    writeFileSync(path, image);
    await importImage(path, "scratched.cairn");
    expect(await verify()).toBe("1 fault found.");
    expect(await faults()).toEqual([
      expect.stringContaining(
        `superblock offset ${(copy * SUPERBLOCK_STRIDE).toLocaleString("en")}copy ${copy} of the superblock is damaged`,
      ),
    ]);
    expect(await figure("fault-count")).toBe(1);
  });

  it("shows what is damaged on the disk beneath an open store: places, and the keys that are lost", async () => {
    await importImage(await imageOfNode("beneath.cairn"), "beneath.cairn");
    expect(await verify()).toBe("No fault found.");
    const path = fileOfBrowser("beneath.cairn 123 beneath.cairn");
    const image = readFileSync(path);
    const at = image.indexOf("beneath.cairn 123 ") + 20;
    const file = openSync(path, "r+");
    writeSync(file, Buffer.of((image[at] as number) ^ 0x10), 0, 1, at);
    closeSync(file);
    const block = Math.floor((at - SEGMENTS_OFFSET) / BLOCK);
    const offset = (SEGMENTS_OFFSET + block * BLOCK).toLocaleString("en");

    expect(await verify()).toMatch(/^\d+ faults found\.$/);
    const [first, ...others] = await faults();
    expect(first).toBe(`block segment 0, block ${block}, offset ${offset}the block is damaged: its check fails.`);
    expect(others.every((text) => text.startsWith("record-missing segment 0, block "))).toBe(true);
    expect(others.filter((text) => /, key key 123the key's record cannot be read/.test(text))).toHaveLength(1);
    expect(await figure("fault-count")).toBe(1 + others.length);
    await page.setViewportSize({ width: 420, height: 800 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(420);
  });

  it("shows how far it is, and finds no fault in a store that is written meanwhile", async () => {
    await createStore(page, "busy.cairn");
    await addSamples(page, 100_000);
    await page.evaluate(async () => {
      const { cairn } = globalThis as unknown as { cairn: typeof import("../../hosts/browser.ts") };
      const store = await cairn.connect("busy.cairn");
      const verdict = document.querySelector("#verify-verdict") as HTMLElement;
      const seen = { count: 0, steps: [] as string[] };
      Object.assign(globalThis, { seen });
      const steps = document.querySelector("#verify-steps") as HTMLElement;
      const note = document.querySelector("#verify-note") as HTMLElement;
      new MutationObserver(() => seen.steps.push(`${note.textContent} ${steps.textContent}`)).observe(steps, {
        childList: true,
      });
      (async () => {
        for (; verdict.textContent === ""; seen.count++) await store.set(`busy ${seen.count % 1000}`, "b".repeat(100));
        await store.close();
      })();
    });
    expect(await verify()).toBe("No fault found.");
    const { count, steps } = await page.evaluate(
      () => (globalThis as unknown as { seen: { count: number; steps: string[] } }).seen,
    );
    expect(count).toBeGreaterThan(10);
    expect(steps.some((text) => /^Reading blocks … [\d,]+ of [\d,]+$/.test(text))).toBe(true);
    expect(steps.some((text) => /^Walking the indexes … [\d,]+ of [\d,]+$/.test(text))).toBe(true);
    expect(await figure("keys")).toBeGreaterThan(100_000);
    expect(await page.locator("#verify-totals").isVisible()).toBe(true);
  });

  it("says that it did not finish when the store is closed, and forgets a report with its store", async () => {
    await createStore(page, "large.cairn");
    await addSamples(page, 100_000);
    await page.getByRole("tab", { name: "Verify" }).click();
    await page.evaluate(() => {
      for (const id of ["verify-run", "close"]) document.getElementById(id)?.click();
    });
    await page.getByText("large.cairn is closed.").waitFor();
    expect(await page.locator("#verify-note").textContent()).toBe("Not finished: the store was closed meanwhile.");
    await createStore(page, "small.cairn");
    expect(await page.locator("#verify-note").textContent()).toBe("");
    await page.getByRole("tab", { name: "Records" }).click();
    await saveRecord(page, "a", "1");
    expect(await verify()).toBe("No fault found.");
    expect(await figure("keys")).toBe(1);
    await page.getByRole("button", { name: "large.cairn" }).click();
    await page.getByText("large.cairn is open.").waitFor();
    expect(await page.locator("#verify-verdict").textContent()).toBe("");
    expect(await page.locator("#verify-report").isVisible()).toBe(false);
  });
});
