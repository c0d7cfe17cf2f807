/** Signing in, rights, and the panels beside the records, in Chromium against a served store. */
import { createReadStream, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { newApiKey } from "../../adapters/server/access/api-keys.ts";
import type { KeysFile } from "../../adapters/server/config.ts";
import { open, restore } from "../../hosts/node.ts";
import { SECOND_TRY } from "../browser/browsers.ts";
import {
  FILE,
  folder,
  KEYS,
  keysPath,
  NO_CHROMIUM,
  others,
  page,
  records,
  shownKeys,
  signIn,
  store,
  url,
  useConsole,
  valueShown,
} from "./site.ts";

useConsole();

const post = (key: string, value: string) =>
  fetch(`${url}/record`, {
    method: "POST",
    headers: { "x-api-key": KEYS.admin.text },
    body: JSON.stringify({ key, value }),
  }).then((response) => response.text());

describe.skipIf(NO_CHROMIUM)("the console", SECOND_TRY, () => {
  test("refuses a key that does not count, forgets one on signing out, keeps one until the tab is closed when asked", async () => {
    await records.put("secret", "value");
    const field = page.getByLabel("API key", { exact: true });
    for (const wrong of ["nonsense", `${KEYS.admin.text.slice(0, -1)}x`, "pässwörd"]) {
      await field.fill(wrong);
      await field.press("Enter");
      await page.getByText("This API key does not count").waitFor();
      expect(await page.locator("#work").isVisible()).toBe(false);
    }
    await signIn("admin");
    expect(await page.content()).not.toContain(KEYS.admin.text);
    await expect.poll(shownKeys).toEqual(["secret"]);
    await page.getByRole("option", { name: "secret" }).click();
    await expect.poll(valueShown).toBe("value");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out.").waitFor();
    expect(await page.locator("#work").isVisible()).toBe(false);
    expect(await page.locator("#record-value").inputValue()).toBe("");
    expect(await shownKeys()).toEqual([]);

    await signIn("admin");
    expect(await page.evaluate(() => JSON.stringify([{ ...sessionStorage }, { ...localStorage }]))).not.toContain(
      KEYS.admin.text,
    );
    await page.reload();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    await page.getByText("keep it until this tab is closed").click();
    await signIn("admin");
    await page.reload();
    await page.getByText("1 key", { exact: true }).waitFor();
    expect(await page.evaluate(() => JSON.stringify({ ...localStorage }))).not.toContain(KEYS.admin.text);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.reload();
    await page.getByRole("button", { name: "Sign in" }).waitFor();
    expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
  });

  test("signs out whoever has a key that is revoked, also in the midst of a watch", async () => {
    const { second, ...rest } = { second: newApiKey(), ...FILE };
    const keys = { ...rest.keys, [second.id]: { tenant: "main", role: "admin", sha256: second.sha256 } };
    const write = (file: KeysFile): void => {
      writeFileSync(`${keysPath}.new`, JSON.stringify(file));
      renameSync(`${keysPath}.new`, keysPath);
    };
    write({ ...rest, keys });
    await expect
      .poll(async () => (await fetch(`${url}/rights`, { headers: { "x-api-key": second.text } })).status)
      .toBe(200);
    await page.getByLabel("API key", { exact: true }).fill(second.text);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("tab", { name: "Watch" }).click();
    await page.getByRole("button", { name: "Watch", exact: true }).click();
    await page.getByText("Waiting for changes").waitFor();
    write(rest);
    await page.getByText("You are signed out.").waitFor();
    expect(await page.locator("#work").isVisible()).toBe(false);
  });

  test("shows a reader what it may read, and no more", async () => {
    await records.put("a", "1");
    await signIn("reader");
    for (const tab of ["Activity", "Segments", "Slow operations", "Backup"]) {
      expect(await page.getByRole("tab", { name: tab }).isVisible()).toBe(false);
    }
    await page.getByRole("option", { name: "a", exact: true }).click();
    await page.getByText("this API key may only read it").waitFor();
    expect(await valueShown()).toBe("1");
    expect(await page.getByLabel("Value", { exact: true }).isEditable()).toBe(false);
    expect(await page.getByRole("button", { name: "Save" }).isDisabled()).toBe(true);
    expect(await page.locator("#record-delete").isDisabled()).toBe(true);
    // What the page does not offer the server refuses as well.
    await page.getByRole("button", { name: "New" }).click();
    await page.getByLabel("Key", { exact: true }).fill("b");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Permission denied").waitFor();
    expect(records.count()).toBe(1);
  });

  test("shows a key for some prefix the keys of that prefix alone", async () => {
    await records.batch([
      { type: "set", key: "order:1", value: "book" },
      { type: "set", key: "secret", value: "hidden" },
    ]);
    await signIn("orders");
    await page.getByText("This API key may not list these keys.").waitFor();
    expect(await shownKeys()).toEqual([]);
    await page.locator("#prefix").fill("order:");
    await page.getByText("1 key", { exact: true }).waitFor();
    await page.getByRole("option", { name: "order:1" }).click();
    await expect.poll(valueShown).toBe("book");
    await page.getByLabel("Value", { exact: true }).fill("two books");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved 9 bytes, durably.").waitFor();
    expect(await page.locator("#record-delete").isDisabled()).toBe(true);
    expect(records.get("order:1")).toBe("two books");
    // The list of another search is no answer to one that is refused.
    await page.locator("#prefix").fill("secret");
    await page.getByText("This API key may not list these keys.").waitFor();
    expect(await shownKeys()).toEqual([]);
    await page.getByRole("tab", { name: "Watch" }).click();
    await page.locator("#watch-prefix").fill("sec");
    await page.getByRole("button", { name: "Watch", exact: true }).click();
    await page.getByText("This API key may not watch these keys.").waitFor();
  });

  test("watches a prefix while another client writes, and stops", async () => {
    await signIn("admin");
    await page.keyboard.press("Escape");
    await page.keyboard.press("2");
    await page.locator("#watch-prefix").fill("job:");
    await page.keyboard.press("Enter");
    await page.getByText("Waiting for changes").waitFor();
    await post("job:1", "queued");
    await post("other", "unseen");
    await post("job:1", "done <b>bold</b>");
    await fetch(`${url}/record/job%3A1`, { method: "DELETE", headers: { "x-api-key": KEYS.admin.text } });
    await page.getByText("3 changes", { exact: true }).waitFor();
    const rows = await page
      .locator("#watch-table tbody tr")
      .evaluateAll((all) =>
        all.map((row) => [...row.querySelectorAll("td")].slice(1, 4).map((cell) => cell.textContent)),
      );
    expect(rows).toEqual([
      ["delete", "job:1", ""],
      ["set", "job:1", "done <b>bold</b>"],
      ["set", "job:1", "queued"],
    ]);
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText("Stopped after 3 changes.").waitFor();
    await post("job:2", "unseen");
    await page.getByText("Stopped after 3 changes.").waitFor();
    expect(await page.locator("#watch-table tbody tr").count()).toBe(3);
  });

  test("shows plots that move, the map of segments, and slow operations", async () => {
    await signIn("admin");
    await page.getByRole("tab", { name: "Activity" }).click();
    const points = () => page.locator("#throughput-plot polyline").getAttribute("points");
    await expect.poll(points).toMatch(/\d/);
    const before = await points();
    for (let i = 0; i < 50; i++) await post(`k${i}`, "v".repeat(1000));
    await expect.poll(points).not.toBe(before);
    await expect
      .poll(async () =>
        Number((await page.locator("#throughput-plot .plot-legend b").textContent())?.replace("/s", "")),
      )
      .toBeGreaterThan(0);
    await expect.poll(() => page.locator("#latency-plot polyline").count()).toBe(3);
    await expect.poll(() => page.locator("#activity-keys").textContent()).toBe("50");
    await expect.poll(() => page.locator("#stats-tables td[data-name=keyCount]").textContent()).toMatch(/^\d/);

    await page.getByRole("tab", { name: "Segments" }).click();
    const { segmentCount } = store.stats();
    await expect.poll(() => page.locator("#segment-map rect").count()).toBe(segmentCount);
    await page.locator("#segment-map").focus();
    await page.keyboard.press("ArrowRight");
    await page.getByText(/^Segment 0: /).waitFor();
    await page.keyboard.press("End");
    await page.getByText(`Segment ${segmentCount - 1}: `).waitFor();

    await page.getByRole("tab", { name: "Slow operations" }).click();
    await page.getByText(/No operation took 100 ms|The newest operations/).waitFor();
    // A body that takes its time.
    const body = new ReadableStream<Uint8Array>({
      async start(controller) {
        controller.enqueue(Uint8Array.of(120));
        await new Promise((resolve) => setTimeout(resolve, 300));
        controller.enqueue(Uint8Array.of(120));
        controller.close();
      },
    });
    const init = { method: "PUT", body, duplex: "half", headers: { "x-api-key": KEYS.admin.text } };
    await (await fetch(`${url}/record/slowly`, init as RequestInit)).text();
    const row = page.getByRole("row").filter({ hasText: "PUT /record/{key}" });
    await expect.poll(() => row.first().textContent()).toMatch(/PUT \/record\/\{key\}\d[\d.]* m?smain/);
  });

  test("hands out a backup that restore takes", async () => {
    await records.put("kept", "in the backup");
    await others.put("kept", "of the other tenant");
    await signIn("admin");
    await page.getByRole("tab", { name: "Backup" }).click();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Download" }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/^cairn-\d+\.backup$/);
    const path = join(folder, "console.backup");
    await download.saveAs(path);
    await page.getByText("as a download.").waitFor();
    const target = join(folder, "restored.cairn");
    await restore(target, Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array>);
    const restored = await open(target, { memoryBytes: 67_108_864 });
    expect([restored.sub("main").get("kept"), restored.sub("second").get("kept")]).toEqual([
      "in the backup",
      "of the other tenant",
    ]);
    await restored.close();
  });

  test("takes its theme from the system or the toggle, and lists its keys", async () => {
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: "light" });
    const light = await ground();
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await ground();
    expect(dark).not.toBe(light);
    await signIn("admin");
    await page.getByRole("button", { name: "New" }).focus();
    await page.keyboard.press("t");
    await page.keyboard.press("t");
    expect(await page.getByRole("button", { name: "Theme: light" }).isVisible()).toBe(true);
    expect(await ground()).toBe(light);
    await page.keyboard.press("?");
    await page.getByRole("dialog", { name: "Keys" }).waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("3");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("tab-activity");
    await page.keyboard.press("ArrowRight");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("tab-segments");
  });
});
