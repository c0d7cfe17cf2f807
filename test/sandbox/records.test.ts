/** Browsing and editing on the sandbox page, in Chromium. */
import type { Locator, Page } from "playwright";
import { describe, expect, it } from "vitest";
import { SECOND_TRY } from "../browser/browsers.ts";
import { addSamples, createStore, NO_CHROMIUM, page, saveRecord, shownKeys, useSandbox } from "./page.ts";

useSandbox();

describe.skipIf(NO_CHROMIUM)("records", SECOND_TRY, () => {
  it("keeps what was saved, changed and deleted, also after the page was loaded again", async () => {
    await createStore(page, "app.cairn");
    await saveRecord(page, "user:1", "Ada");
    await saveRecord(page, "user:2", "Grace\nHopper\t½ 😀");
    await saveRecord(page, "user:3", "Barbara");
    expect(await shownKeys(page)).toEqual(["user:1", "user:2", "user:3"]);

    await page.getByRole("option", { name: "user:1" }).click();
    await page.getByLabel("Value", { exact: true }).fill("Ada Lovelace");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved 12 bytes, durably.").waitFor();
    await page.getByRole("option", { name: "user:3" }).click();
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("Barbara");
    await page.locator("#record-delete").click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("Deleted user:3, durably.").waitFor();

    await page.reload();
    await page.getByRole("button", { name: "app.cairn" }).click();
    await page.getByText("2 keys").waitFor();
    await expect.poll(() => shownKeys(page)).toEqual(["user:1", "user:2"]);
    for (const [key, value] of [
      ["user:1", "Ada Lovelace"],
      ["user:2", "Grace\nHopper\t½ 😀"],
    ] as const) {
      await page.getByRole("option", { name: key }).click();
      await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe(value);
    }
  });

  it("shows bytes that are no text as hex, and stores them unchanged", async () => {
    await createStore(page, "bytes.cairn");
    await page.getByRole("button", { name: "New" }).click();
    await page.getByLabel("Form of the key").selectOption("hex");
    await page.getByLabel("Key", { exact: true }).fill("00ff 10");
    await page.getByLabel("Form of the value").selectOption("hex");
    await page.getByLabel("Value", { exact: true }).fill("fe 00 0d0a");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved 4 bytes, durably.").waitFor();
    expect(await shownKeys(page)).toEqual(["00ff10"]);

    await page.reload();
    await page.getByRole("button", { name: "bytes.cairn" }).click();
    await page.getByLabel("hex", { exact: true }).check();
    await page.getByLabel("Prefix").fill("00ff");
    await page.getByRole("option", { name: "00ff10" }).click();
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("fe000d0a");

    await page.getByLabel("Value", { exact: true }).fill("fe0");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Hex takes pairs").waitFor();
    await page.getByLabel("Prefix").fill("01");
    await page.getByText("0 keys").waitFor();
  });

  it("refuses what the store refuses, and asks before it replaces", async () => {
    await createStore(page, "app.cairn");
    await saveRecord(page, "key", "before");
    await page.getByRole("button", { name: "New" }).click();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("(KEY_SIZE)").waitFor();
    await page.getByLabel("Key", { exact: true }).fill("key");
    await page.getByLabel("Value", { exact: true }).fill("after");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("There is a record key already.").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("option", { name: "key" }).click();
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("before");
  });

  it("shows the newest choice alone, and takes no typing before its value is there", async () => {
    await createStore(page, "quick.cairn");
    // A value that takes the worker a while.
    await page.evaluate(async () => {
      const { cairn } = globalThis as unknown as { cairn: typeof import("../../hosts/browser.ts") };
      const store = await cairn.connect("quick.cairn");
      await store.put("long", "long ".repeat(8_000_000));
      await store.put("short", "brief");
      await store.close();
    });
    await expect.poll(() => shownKeys(page)).toEqual(["long", "short"]);

    for (const isShownFirst of [true, false]) {
      const before = await page.evaluate(async (isShownFirst) => {
        const find = <T extends HTMLElement>(selector: string): T => document.querySelector(selector) as T;
        find("#keys-0").click();
        // The choice reaches the form within this turn of the event loop, its value cannot.
        if (isShownFirst) for (let i = 0; i < 100; i++) await Promise.resolve();
        const field = find<HTMLTextAreaElement>("#record-value");
        const seen = [find<HTMLInputElement>("#record-key").value, field.value, field.readOnly];
        find("#record-new").click();
        find<HTMLInputElement>("#record-key").value = "typed";
        field.value = "typed at once";
        return seen;
      }, isShownFirst);
      if (isShownFirst) expect(before).toEqual(["long", "", true]);
      // Calls are answered in their order: when these keys are listed, the value has arrived.
      await page.getByLabel("Prefix").fill(isShownFirst ? "s" : "");
      await page.getByText(isShownFirst ? "1 key" : "2 keys", { exact: true }).waitFor();
      expect(await page.getByLabel("Key", { exact: true }).inputValue()).toBe("typed");
      expect(await page.getByLabel("Value", { exact: true }).inputValue()).toBe("typed at once");
      await page.getByLabel("Prefix").fill("");
      await page.getByText("2 keys", { exact: true }).waitFor();
    }

    await page.evaluate(() => {
      for (const row of ["#keys-0", "#keys-1"]) document.querySelector<HTMLElement>(row)?.click();
    });
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("brief");
    expect(await page.getByLabel("Value", { exact: true }).isEditable()).toBe(true);
  });

  it("does not save the beginning of a long value over the whole of it", async () => {
    await createStore(page, "long.cairn");
    await saveRecord(page, "long", "x".repeat(300_000));
    await page.getByRole("button", { name: "New" }).click();
    await page.getByRole("option", { name: "long" }).click();
    await page.getByText("too long to edit here").waitFor();
    await page.getByLabel("Value", { exact: true }).press("Control+Enter");
    await saveRecord(page, "another", "1");
    await page.getByRole("option", { name: "long" }).click();
    await page.getByText("too long to edit here").waitFor();
  });

  it("finds prefixes among 100,000 keys, and goes anywhere without loading them all", async () => {
    // Counts what comes out of the worker, in keys and values.
    await page.addInitScript(() => {
      const seen = { count: 0 };
      Object.assign(globalThis, { seen });
      const count = (value: unknown): number => {
        if (typeof value === "string" || value instanceof Uint8Array) return 1;
        if (Array.isArray(value)) return value.reduce((sum: number, part) => sum + count(part), 0);
        return typeof value === "object" && value !== null ? count(Object.values(value)) : 0;
      };
      globalThis.Worker = class extends Worker {
        constructor(url: string | URL, options?: WorkerOptions) {
          super(url, options);
          this.addEventListener("message", ({ data }) => {
            seen.count += count(data);
          });
        }
      };
    });
    await page.reload();
    const seenCount = (): Promise<number> =>
      page.evaluate(() => (globalThis as unknown as { seen: { count: number } }).seen.count);
    await createStore(page, "large.cairn");
    await addSamples(page, 100_000);
    await page.getByText("100,000 keys").waitFor();
    await expect.poll(async () => (await shownKeys(page))[0]).toBe("user:0000000");
    const before = await seenCount();

    // Each of these places lies far from every one that was seen.
    const list = page.getByRole("listbox", { name: "Keys" });
    await list.focus();
    await page.keyboard.press("End");
    await expect.poll(async () => (await shownKeys(page)).at(-1)).toBe("user:0099999");
    for (const share of [0.5, 0.25, 0.777]) {
      await list.evaluate((box, share) => {
        box.scrollTop = share * (box.scrollHeight - box.clientHeight);
      }, share);
      await expect
        .poll(async () => {
          const [first = ""] = await shownKeys(page);
          return Math.abs(Number(first.slice(5)) - share * 100_000);
        })
        .toBeLessThan(100);
      // What is seen may lie in two pages, of which one is there before the other.
      await expect.poll(() => page.locator("#keys .loading").count()).toBe(0);
      const keys = await shownKeys(page);
      const numbers = keys.map((key) => Number(key.slice(5)));
      expect(keys.length).toBeGreaterThan(8);
      expect(numbers).toEqual(numbers.map((_, index) => (numbers[0] as number) + index));
    }
    await page.keyboard.press("Home");
    await expect.poll(async () => (await shownKeys(page))[0]).toBe("user:0000000");

    await page.getByLabel("Prefix").fill("user:00512");
    await page.getByText("100 keys", { exact: true }).waitFor();
    await expect.poll(async () => (await shownKeys(page))[0]).toBe("user:0051200");
    await page.getByLabel("Prefix").press("Enter");
    await page.keyboard.press("ArrowDown");
    await expect.poll(() => page.getByLabel("Key", { exact: true }).inputValue()).toBe("user:0051201");
    await expect
      .poll(() => page.getByLabel("Value", { exact: true }).inputValue())
      .toBe(JSON.stringify({ name: "Grace", age: 41, visits: 51201 }));
    await page.getByLabel("Prefix").fill("nobody");
    await page.getByText("0 keys", { exact: true }).waitFor();

    expect(await page.locator("#keys [role=option]").count()).toBeLessThan(60);
    expect((await seenCount()) - before).toBeLessThan(15_000);
  });

  it("takes keys that are pressed while another list is read for that list", async () => {
    await createStore(page, "pressed.cairn");
    for (const key of ["bee", "bear", "ant"]) await saveRecord(page, key, `value of ${key}`);
    // All in one turn of the event loop: no answer of the store comes between.
    await page.evaluate(() => {
      const press = (key: string) =>
        document.activeElement?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      const prefix = document.querySelector("#prefix") as HTMLInputElement;
      prefix.focus();
      prefix.value = "be";
      prefix.dispatchEvent(new InputEvent("input", { bubbles: true }));
      press("Enter");
      press("ArrowDown");
    });
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("value of bee");
    expect(await shownKeys(page)).toEqual(["bear", "bee"]);
    expect(await page.locator("#keys").getAttribute("aria-activedescendant")).toBe("keys-1");

    // A new record that is begun meanwhile stays.
    await page.evaluate(() => {
      const prefix = document.querySelector("#prefix") as HTMLInputElement;
      prefix.value = "";
      prefix.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
      document.querySelector<HTMLElement>("#record-new")?.click();
    });
    await page.keyboard.type("new");
    await page.getByText("3 keys", { exact: true }).waitFor();
    await expect.poll(() => shownKeys(page)).toEqual(["ant", "bear", "bee"]);
    expect(await page.getByLabel("Key", { exact: true }).inputValue()).toBe("new");

    // So does what is chosen by the pointer.
    await page.evaluate(() => {
      const prefix = document.querySelector("#prefix") as HTMLInputElement;
      prefix.value = "be";
      prefix.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
      document.querySelector<HTMLElement>("#keys-0")?.click();
    });
    await page.getByText("2 keys", { exact: true }).waitFor();
    await expect.poll(() => shownKeys(page)).toEqual(["bear", "bee"]);
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("value of ant");

    // A search that fails brings no list: keys are for the one that is there. At once, or "be" is searched as hex, too.
    await page.evaluate(() => {
      const prefix = document.querySelector("#prefix") as HTMLInputElement;
      (document.querySelector("#prefix-hex") as HTMLInputElement).checked = true;
      prefix.value = "odd";
      prefix.dispatchEvent(new Event("input", { bubbles: true }));
    });
    await page.getByText("Hex takes pairs").waitFor();
    await page.locator("#keys").focus();
    await page.keyboard.press("End");
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("value of bee");
  });

  it("goes on to another list although somebody writes while it is read", async () => {
    // Lets what comes out of the worker wait, and counts what goes in.
    await page.addInitScript(() => {
      const gate = { opened: Promise.resolve(), open: () => {}, asked: 0 };
      Object.assign(globalThis, { gate });
      globalThis.Worker = class extends Worker {
        constructor(url: string | URL, options?: WorkerOptions) {
          super(url, options);
          Object.defineProperty(this, "onmessage", {
            set: (hear: (event: MessageEvent) => void) =>
              this.addEventListener("message", (event) => void gate.opened.then(() => hear(event))),
          });
        }
        override postMessage(message: unknown, transfer?: unknown): void {
          gate.asked++;
          super.postMessage(message, transfer as Transferable[]);
        }
      };
    });
    await page.reload();
    type World = { gate: { opened: Promise<void>; open(): void; asked: number } };
    const asked = (): Promise<number> => page.evaluate(() => (globalThis as unknown as World).gate.asked);
    await createStore(page, "written.cairn");
    for (const key of ["bee", "bear", "ant"]) await saveRecord(page, key, `value of ${key}`);
    const other = await page.context().newPage();
    await other.goto(page.url());
    await other.getByRole("button", { name: "written.cairn" }).click();
    await other.getByText("written.cairn is open.").waitFor();
    await page.bringToFront();

    await page.evaluate(() => {
      const { gate } = globalThis as unknown as World;
      gate.opened = new Promise((resolve) => {
        gate.open = resolve;
      });
    });
    await page.getByLabel("Prefix").fill("be");
    await page.keyboard.press("Enter");
    await page.keyboard.press("ArrowDown");
    await saveRecord(other, "beak", "");
    await page.bringToFront();
    // The panel asks whether somebody has written, and hears so before it has the keys that it searches.
    const before = await asked();
    await expect.poll(asked).toBeGreaterThan(before);
    await page.evaluate(() => (globalThis as unknown as World).gate.open());
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("value of bear");
    expect(await shownKeys(page)).toEqual(["beak", "bear", "bee"]);
    expect(await page.locator("#keys").getAttribute("aria-activedescendant")).toBe("keys-1");
  });

  it("goes where it is scrolled to in the moment an earlier scroll comes to rest", async () => {
    await createStore(page, "scrolled.cairn");
    await addSamples(page, 20_000);
    await page.getByText("20,000 keys").waitFor();
    const list = page.getByRole("listbox", { name: "Keys" });
    await list.evaluate(async (box) => {
      const height = box.scrollHeight - box.clientHeight;
      const { setTimeout } = globalThis;
      const rests: (() => void)[] = [];
      Object.assign(globalThis, { setTimeout: (rest: () => void) => rests.push(rest) });
      const isScrolled = new Promise((resolve) => box.addEventListener("scroll", resolve, { once: true }));
      box.scrollTop = 0.5 * height;
      await isScrolled;
      Object.assign(globalThis, { setTimeout });
      box.scrollTop = 0.25 * height;
      // The list hears that the first scroll rests before it hears of the second.
      for (const rest of rests) rest();
    });
    await expect
      .poll(async () => Math.abs(Number((await shownKeys(page))[0]?.slice(5)) - 5_000), { timeout: 10_000 })
      .toBeLessThan(100);
  });

  // A list that made all its rows anew lost the click of a button that was down meanwhile.
  it("takes a click on a row or a store whose list is drawn anew while the button is down", async () => {
    await createStore(page, "other.cairn");
    await createStore(page, "pressed.cairn");
    await saveRecord(page, "second", "2");
    await page.getByRole("button", { name: "New" }).click();

    await press(page.getByRole("option", { name: "second" }));
    await write(page, "third", "3");
    await expect.poll(() => shownKeys(page)).toEqual(["second", "third"]);
    await page.mouse.up();
    await expect.poll(() => page.getByLabel("Value", { exact: true }).inputValue()).toBe("2");

    const other = page.getByRole("button", { name: "other.cairn" });
    const sizeOf = (): Promise<string | null> => page.getByRole("button", { name: "pressed.cairn" }).textContent();
    const size = await sizeOf();
    await press(other);
    await write(page, "large", "x".repeat(8_000_000));
    await expect.poll(sizeOf).not.toBe(size);
    await page.mouse.up();
    await page.getByText("other.cairn is open.").waitFor();
  });

  it("lists what another tab writes, and keeps what was chosen", async () => {
    await createStore(page, "shared.cairn");
    await saveRecord(page, "first", "1");
    await page.getByRole("option", { name: "first" }).click();
    const other = await page.context().newPage();
    await other.goto(page.url());
    await other.getByRole("button", { name: "shared.cairn" }).click();
    await other.getByText("shared.cairn is open.").waitFor();
    await saveRecord(other, "before", "0");
    await saveRecord(other, "second", "2");
    await page.bringToFront();
    await expect.poll(() => shownKeys(page)).toEqual(["before", "first", "second"]);
    expect(await page.locator("[role=option][aria-selected=true]").textContent()).toBe("first");
    await page.getByRole("button", { name: "Download" }).click();
    await page.getByRole("alert").getByText("shared.cairn is open in another tab.").waitFor();
    await page.getByRole("tab", { name: "Crash" }).click();
    await page.getByRole("button", { name: "Start writing" }).click();
    await page.locator("#crash-note").getByText("shared.cairn is open in another tab.").waitFor();
    await page.locator("#remove").click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByRole("alert").getByText("shared.cairn is open in another tab.").waitFor();
    await page.getByRole("tab", { name: "Records" }).click();
    await saveRecord(page, "third", "3");
    await expect.poll(() => page.locator("#opened-name").textContent()).toBe("shared.cairn");

    await other.close();
    await page.waitForFunction(async () => {
      const { held = [] } = await navigator.locks.query();
      return held.filter(({ name }) => name?.startsWith("cairn-sandbox:")).length === 1;
    });
    await page.getByRole("button", { name: "Download" }).click();
    await page.getByText("shared.cairn was handed to the browser as a download.").waitFor();
  });
});

/** Presses the button of the mouse over something, and keeps it down. */
async function press(locator: Locator): Promise<void> {
  await locator.hover();
  await page.mouse.down();
}

/** Writes a record into the store that is open, through a connection of its own, as another tab does. */
function write(page: Page, key: string, value: string): Promise<void> {
  return page.evaluate(
    async ([key, value]) => {
      const { cairn } = globalThis as unknown as { cairn: typeof import("../../hosts/browser.ts") };
      const store = await cairn.connect(document.querySelector("#opened-name")?.textContent as string);
      await store.put(key, value);
      await store.close();
    },
    [key, value] as const,
  );
}
