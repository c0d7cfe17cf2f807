/** The sandbox page by keyboard alone, in the dark and in the light, on a wide and on a narrow window, in Chromium. */
import { describe, expect, it } from "vitest";
import { SECOND_TRY } from "../browser/browsers.ts";
import { NO_CHROMIUM, page, shownKeys, useSandbox } from "./page.ts";

useSandbox();

const focusedId = (): Promise<string> => page.evaluate(() => document.activeElement?.id ?? "");
const type = (text: string): Promise<void> => page.keyboard.type(text);
const press = async (...keys: string[]): Promise<void> => {
  for (const key of keys) await page.keyboard.press(key);
};

async function createByKeyboard(name: string): Promise<void> {
  await press("s");
  expect(await focusedId()).toBe("store-name");
  await type(name);
  await press("Enter");
  await page.getByText(`${name} is open.`).waitFor();
  await page.evaluate(() => (document.activeElement as HTMLElement).blur());
}

describe.skipIf(NO_CHROMIUM)("keyboard", SECOND_TRY, () => {
  it("does everything that is done with records", async () => {
    await createByKeyboard("keys.cairn");
    for (const key of ["ant", "bee", "bear"]) {
      await press("n");
      expect(await focusedId()).toBe("record-key");
      await type(key);
      await press("Tab", "Tab");
      expect(await focusedId()).toBe("record-value");
      await type(`value of ${key}`);
      await press("Control+Enter");
      await page.getByText(/^Saved .* durably\.$/).waitFor();
      await press("Escape");
      expect(await focusedId()).toBe("keys");
      await expect.poll(() => shownKeys(page)).toContain(key);
    }
    await press("/");
    await type("be");
    await page.getByText("2 keys").waitFor();
    await press("Enter");
    await expect.poll(() => page.locator("#record-key").inputValue()).toBe("bear");
    await press("ArrowDown");
    await expect.poll(() => page.locator("#record-key").inputValue()).toBe("bee");
    await expect.poll(() => page.locator("#record-value").inputValue()).toBe("value of bee");
    expect(await page.locator("#keys").getAttribute("aria-activedescendant")).toBe("keys-1");
    await press("Enter");
    await expect.poll(focusedId).toBe("record-value");
    await press("Control+End");
    await type("!");
    await press("Control+Enter");
    await page.getByText("Saved 13 bytes, durably.").waitFor();
    await press("Escape", "Home");
    await expect.poll(() => page.locator("#record-key").inputValue()).toBe("bear");
    await press("Delete");
    await page.getByText("Delete the record bear?").waitFor();
    await press("Shift+Tab", "Enter");
    await page.getByText("Deleted bear, durably.").waitFor();
    await expect.poll(() => shownKeys(page)).toEqual(["bee"]);
    expect(await focusedId()).toBe("keys");
  });

  it("shows what is chosen while the list is being read again after a record was saved", async () => {
    await createByKeyboard("keys.cairn");
    for (const key of ["bear", "bee"]) {
      await press("n");
      await type(key);
      await press("Control+Enter");
      await page.getByText("Saved 0 bytes, durably.").waitFor();
      await press("Escape");
      await expect.poll(() => shownKeys(page)).toContain(key);
    }
    await press("Home", "ArrowDown", "Enter");
    await expect.poll(focusedId).toBe("record-value");
    await type("!");
    // Home comes when the keys have been counted anew, and none of them is there yet.
    await page.evaluate(() => {
      const keys = document.getElementById("keys");
      if (keys === null) throw new Error("the page has no list");
      const observer = new MutationObserver(() => {
        if (!keys.querySelector(".loading")) return;
        observer.disconnect();
        keys.dispatchEvent(new KeyboardEvent("keydown", { key: "Home", bubbles: true }));
      });
      observer.observe(keys, { childList: true, subtree: true });
    });
    await press("Control+Enter");
    await expect.poll(() => page.locator("#record-key").inputValue()).toBe("bear");
    expect(await page.locator("#keys").getAttribute("aria-activedescendant")).toBe("keys-0");
  });

  it("reaches every panel, the stores and the list of keys", async () => {
    await createByKeyboard("keys.cairn");
    for (const [key, tab] of [
      ["2", "benchmark"],
      ["3", "stats"],
      ["4", "crash"],
      ["5", "verify"],
      ["1", "records"],
    ] as const) {
      await press(key);
      expect(await focusedId()).toBe(`tab-${tab}`);
      expect(await page.getByRole("tabpanel").getAttribute("id")).toBe(`panel-${tab}`);
    }
    await press("v");
    expect(await page.getByRole("tabpanel").getAttribute("id")).toBe("panel-verify");
    expect(await focusedId()).toBe("verify-run");
    await page.getByRole("status").getByText("No fault found.").waitFor();
    expect(await focusedId()).toBe("verify-run");
    await press("1", "ArrowLeft");
    expect(await focusedId()).toBe("tab-verify");
    await press("ArrowLeft");
    expect(await focusedId()).toBe("tab-crash");
    await press("Tab", "Enter");
    await page.locator("#crash-kill:focus").waitFor();
    await press("Enter");
    await page.getByText("Nothing that had been acknowledged was lost.").waitFor();
    await press("?");
    expect(await page.getByRole("dialog", { name: "Keys" }).isVisible()).toBe(true);
    await press("Escape");
    expect(await page.getByRole("dialog", { name: "Keys" }).isVisible()).toBe(false);
    await press("s");
    expect(await page.evaluate(() => (document.activeElement as HTMLElement).dataset["name"])).toBe("keys.cairn");
  });

  it("shows where the focus is, and has a name for whatever takes it", async () => {
    await createByKeyboard("keys.cairn");
    const seen = new Set<string>();
    for (const tab of ["1", "2", "3", "4", "5"]) {
      await press(tab);
      // Once around, from the panel's tab to the end of the page, and from its top.
      for (let ends = 0, steps = 0; ends < 2 && steps < 60; steps++) {
        await press("Tab");
        const focused = await page.evaluate(() => {
          const found = document.activeElement as HTMLElement;
          const labels = (found as HTMLInputElement).labels;
          const name = found.ariaLabel || (labels?.length ? labels[0]?.textContent : found.textContent);
          const { outlineStyle, outlineWidth } = getComputedStyle(found);
          return {
            id: found.id || found.dataset["name"] || found.tagName,
            name,
            outline: `${outlineStyle} ${outlineWidth}`,
          };
        });
        if (focused.id === "BODY") {
          ends++;
          continue;
        }
        seen.add(focused.id);
        expect(focused.outline, focused.id).toBe("solid 2px");
        expect(focused.name?.trim(), focused.id).toMatch(/\w/);
      }
    }
    const able = await page
      .locator("button:enabled, input:enabled, select:enabled, textarea:enabled, [role=listbox]")
      .evaluateAll((all) =>
        all
          .filter((found) => !found.closest("dialog") && (found as HTMLElement).tabIndex >= 0)
          .map((found) => found.id || (found as HTMLElement).dataset["name"]),
      );
    expect([...seen].sort()).toEqual(expect.arrayContaining(able.filter((id) => !/^tab-/.test(id ?? ""))));
  });
});

describe.skipIf(NO_CHROMIUM)("look", SECOND_TRY, () => {
  const ground = (): Promise<string> => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

  it("follows the system, and the toggle, which lasts", async () => {
    await page.emulateMedia({ colorScheme: "light" });
    const light = await ground();
    await page.emulateMedia({ colorScheme: "dark" });
    const dark = await ground();
    expect(dark).not.toBe(light);
    const toggle = page.getByRole("button", { name: "Theme" });
    expect(await toggle.textContent()).toBe("Theme: system");
    await page.emulateMedia({ colorScheme: "light" });
    await press("t");
    expect(await toggle.textContent()).toBe("Theme: dark");
    expect(await ground()).toBe(dark);
    await page.reload();
    expect(await ground()).toBe(dark);
    await press("t");
    await page.emulateMedia({ colorScheme: "dark" });
    expect(await ground()).toBe(light);
  });

  it("can be read in both: text stands out from what is behind it", async () => {
    await createByKeyboard("contrast.cairn");
    await press("v");
    await page.getByText("No fault found.").waitFor();
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      for (const tab of ["records", "benchmark", "stats", "crash", "verify"]) {
        await page.locator(`#tab-${tab}`).click();
        const faint = await page.evaluate(() => {
          const luminance = (color: string): number => {
            const [r = 0, g = 0, b = 0] = (color.match(/[\d.]+/g) ?? []).map((part) => {
              const value = Number(part) / 255;
              return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const behind = (element: Element): string => {
            for (let at: Element | null = element; at; at = at.parentElement) {
              const { backgroundColor } = getComputedStyle(at);
              if (!/, 0\)$/.test(backgroundColor)) return backgroundColor;
            }
            return "rgb(255, 255, 255)";
          };
          return [...document.querySelectorAll<HTMLElement>("body *")].flatMap((element) => {
            const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent?.trim());
            if (!hasText || element.offsetParent === null || element.closest(":disabled")) return [];
            const [a = 0, b = 0] = [luminance(getComputedStyle(element).color), luminance(behind(element))]
              .sort()
              .reverse();
            const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            return contrast < 4.5 ? [`${element.textContent}: ${contrast.toFixed(2)}`] : [];
          });
        });
        expect(faint, `${colorScheme} ${tab}`).toEqual([]);
      }
    }
  });

  it("fits a narrow window", async () => {
    await createByKeyboard("narrow.cairn");
    await press("v");
    await page.getByText("No fault found.").waitFor();
    await page.setViewportSize({ width: 420, height: 800 });
    for (const tab of ["records", "benchmark", "stats", "crash", "verify"]) {
      await page.locator(`#tab-${tab}`).click();
      expect(await page.evaluate(() => document.documentElement.scrollWidth), tab).toBeLessThanOrEqual(420);
    }
  });
});
