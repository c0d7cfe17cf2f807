/** Images into the sandbox page and out of it, between Node and Chromium. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { open } from "../../hosts/node.ts";
import { SECOND_TRY } from "../browser/browsers.ts";
import { changeSuperblocks, FIELD, putText } from "../store/superblock.ts";
import { createStore, downloadStore, dropFile, NO_CHROMIUM, page, saveRecord, site, useSandbox } from "./page.ts";

const BINARY = { keyEncoding: "binary", valueEncoding: "binary" } as const;
const RECORD_COUNT = 1_000;

useSandbox();

/** Key and value of a record: bytes of every kind, values from nothing to several blocks. */
function record(index: number): [Uint8Array, Uint8Array] {
  const key = Buffer.from(`record:${index}`);
  const value = new Uint8Array((index * 37) % 3_000).map((_, at) => (at * 31 + index) & 255);
  return [index % 2 === 0 ? key : Buffer.concat([Buffer.of(0xff, index & 255), key]), value];
}

async function imageOfNode(): Promise<string> {
  const path = join(site.folder, "node.cairn");
  const store = await open(path, BINARY);
  for (let index = 0; index < RECORD_COUNT; index++) store.set(...record(index));
  await store.close();
  return path;
}

describe.skipIf(NO_CHROMIUM)("images", SECOND_TRY, () => {
  it("takes Node's image, changes it, and gives it back to Node with every byte", async () => {
    // What lies in the file while nobody has the store open: the page asks for the file only then.
    await page.addInitScript(() => {
      const read = FileSystemFileHandle.prototype.getFile;
      FileSystemFileHandle.prototype.getFile = async function (this: FileSystemFileHandle) {
        const file = await read.call(this);
        const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
        const hex = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        const known = globalThis as unknown as { digests?: string[] };
        known.digests ??= [];
        known.digests.push(hex);
        return file;
      };
    });
    await page.reload();
    await dropFile(page, await imageOfNode());
    await page.getByText("node.cairn was imported and is open.").waitFor();
    await page.getByText("1,000 keys").waitFor();
    await saveRecord(page, "of the page", "hello from Chromium");

    const path = await downloadStore(page, join(site.folder, "page.cairn"));
    const digests = await page.evaluate(() => (globalThis as unknown as { digests: string[] }).digests);
    expect(digests).toContain(createHash("sha256").update(readFileSync(path)).digest("hex"));

    const store = await open(path, BINARY);
    try {
      expect(store.count()).toBe(RECORD_COUNT + 1);
      for (let index = 0; index < RECORD_COUNT; index++) {
        const [key, value] = record(index);
        expect(Buffer.compare(store.get(key) ?? Buffer.from("absent"), value)).toBe(0);
      }
      expect(Buffer.from(store.get(Buffer.from("of the page")) ?? []).toString()).toBe("hello from Chromium");
    } finally {
      await store.close();
    }
    // It is open again, and goes on.
    await saveRecord(page, "after the download", "1");
  });

  it("takes a file that was chosen, under a free name, and shows the beginning of a long value", async () => {
    const path = await imageOfNode();
    const store = await open(path, BINARY);
    store.set(Buffer.from("long"), Buffer.alloc(300_000, "long "));
    await store.close();
    await createStore(page, "node.cairn");
    await page.getByLabel("Import an image file").setInputFiles(path);
    await page.getByText("node.cairn was imported as node-2.cairn and is open.").waitFor();
    await page.getByText("1,001 keys").waitFor();
    await page.getByLabel("Prefix").fill("long");
    await page.getByRole("option", { name: "long" }).click();
    await page.getByText("too long to edit here").waitFor();
    expect(await page.getByLabel("Value", { exact: true }).inputValue()).toMatch(/^(long ){819}l$/);
    expect(await page.getByRole("button", { name: "Save" }).isDisabled()).toBe(true);
    await page.getByLabel("Prefix").fill("");
    await page.getByRole("list", { name: "Stores" }).getByRole("button", { name: "node.cairn" }).click();
    await page.getByText("0 keys").waitFor();
  });

  it("refuses what is no image, or of a newer format, and keeps the open store open", async () => {
    await createStore(page, "mine.cairn");
    await saveRecord(page, "key", "value");
    const notes = join(site.folder, "notes.txt");
    writeFileSync(notes, "not a store");
    await dropFile(page, notes);
    await page.getByText("notes.txt is not an image of a store").waitFor();

    const image = readFileSync(await imageOfNode());
    changeSuperblocks(image, (superblock) => {
      superblock.setBigUint64(FIELD.incompatible, 1n << 63n, true);
      putText(superblock, FIELD.featureName, "teleport");
      putText(superblock, FIELD.versionNeeded, "9.0.0");
    });
    const future = join(site.folder, "future.cairn");
    writeFileSync(future, image);
    await dropFile(page, future);
    await page
      .getByRole("alert")
      .getByText(/teleport.*9\.0\.0.*\(UNSUPPORTED_FORMAT\)$/)
      .waitFor();
    await expect
      .poll(() => page.getByRole("list", { name: "Stores" }).getByRole("button").allTextContents())
      .toEqual([expect.stringContaining("mine.cairn")]);
    await page.getByText("1 key", { exact: true }).waitFor();
    await saveRecord(page, "key 2", "value");
  });

  it("says when the browser's quota is used up, keeps nothing of an import, and goes on reading", async () => {
    await createStore(page, "full.cairn");
    await saveRecord(page, "before", "it was full");
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Storage.overrideQuotaForOrigin", {
      origin: new URL(page.url()).origin,
      quotaSize: 4 * 1_048_576,
    });
    const large = join(site.folder, "large.cairn");
    writeFileSync(large, Buffer.concat([readFileSync(await imageOfNode()), Buffer.alloc(8 * 1_048_576)]));
    await dropFile(page, large);
    await page.getByRole("alert").getByText("large.cairn could not be imported").waitFor();

    await page.getByLabel("Sample records").fill("200000");
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await page.getByRole("alert").getByText("(NO_SPACE)").waitFor();
    await page.getByRole("option", { name: "before" }).click();
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("it was full");
    expect(await page.locator("#store-list button").count()).toBe(1);
  });

  it("deletes a store after a question", async () => {
    await createStore(page, "gone.cairn");
    await page.locator("#remove").click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    await expect.poll(() => page.locator("#store-list button").count()).toBe(1);
    await page.locator("#remove").click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("gone.cairn was deleted.").waitFor();
    expect(await page.locator("#store-list button").count()).toBe(0);
    const left = await page.evaluate(async () => {
      const names: string[] = [];
      for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
      return names;
    });
    expect(left).toEqual([]);
  });
});
