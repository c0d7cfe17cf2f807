/** Browsing and editing in the console, in Chromium against a served store. */
import { describe, expect, test } from "vitest";
import { SECOND_TRY } from "../browser/browsers.ts";
import { asked, KEYS, NO_CHROMIUM, others, page, records, shownKeys, signIn, useConsole, valueShown } from "./site.ts";

useConsole();

describe.skipIf(NO_CHROMIUM)("records", SECOND_TRY, () => {
  test("are browsed among 100,000 by keyboard alone, without being loaded", async () => {
    for (let i = 0; i < 100_000; i++) records.set(`user:${String(i).padStart(7, "0")}`, `{"id": ${i}}`);
    await records.put("zebra", "stripes");
    await page.keyboard.type(KEYS.admin.text);
    await page.keyboard.press("Enter");
    await page.getByText("100,001 keys", { exact: true }).waitFor();
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("prefix");

    await page.keyboard.press("ArrowDown");
    await expect.poll(valueShown).toBe('{"id": 0}');
    await page.keyboard.press("End");
    await expect.poll(valueShown).toBe("stripes");
    await page.keyboard.press("PageUp");
    await page.keyboard.press("PageUp");
    await expect.poll(valueShown).toMatch(/^\{"id": 999\d\d\}$/);
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await expect.poll(valueShown).toBe('{"id": 2}');
    expect(await page.getByLabel("Form of the value").inputValue()).toBe("json");

    await page.keyboard.press("/");
    await page.keyboard.type("user:004");
    await page.getByText("10,000 keys", { exact: true }).waitFor();
    await page.keyboard.press("Enter");
    await expect.poll(valueShown).toBe('{"id": 40000}');
    // Anywhere, by the scroll bar.
    await page.locator("#keys").evaluate((box) => {
      box.scrollTop = box.scrollHeight / 2;
    });
    await expect.poll(async () => (await shownKeys())[0]).toMatch(/^user:00449\d\d$|^user:00450\d\d$/);
    expect(await page.locator("#keys [role=option]").count()).toBeLessThan(60);

    await page.keyboard.press("Enter");
    await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe("record-value");
    await page.keyboard.press("Control+a");
    await page.keyboard.type('{"id": 1e400, "n": 12345678901234567890}');
    await page.keyboard.press("Control+Enter");
    await page.getByText("Saved 40 bytes, durably.").waitFor();
    expect(records.get("user:0040000")).toBe('{"id": 1e400, "n": 12345678901234567890}');
    await page.keyboard.press("Escape");
    await page.keyboard.press("Delete");
    await page.getByText("Delete the record user:0040000?").waitFor();
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await page.getByText("9,999 keys", { exact: true }).waitFor();
    expect(records.get("user:0040000")).toBeUndefined();
    // 100,000 keys would be a hundred answers of a thousand.
    expect(asked.filter((address) => /\/records\?/.test(address)).length).toBeLessThan(80);
  });

  test("are those of the list that is read when keys are pressed", async () => {
    for (const key of ["ant", "bear", "bee"]) await records.put(key, `value of ${key}`);
    await signIn("admin");
    await page.getByText("3 keys", { exact: true }).waitFor();
    // All in one turn of the event loop: no answer of the server comes between.
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
    await expect.poll(valueShown).toBe("value of bee");
    expect(await shownKeys()).toEqual(["bear", "bee"]);

    // A search that fails ends the waiting: the next one is for the list that it brings.
    const prefix = page.locator("#prefix");
    await prefix.fill("odd");
    await page.locator("#prefix-hex").check();
    await page.getByText("Hex takes pairs").waitFor();
    await page.locator("#prefix-hex").uncheck();
    await prefix.fill("");
    await prefix.press("Enter");
    await page.keyboard.press("End");
    await page.keyboard.press("ArrowUp");
    await expect.poll(valueShown).toBe("value of bear");
  });

  test("are edited as text, as JSON that is checked, and as hex", async () => {
    await records.put("text", "one\ntwo ½ 😀");
    await signIn("admin");
    await page.locator("#keys-0").click();
    await expect.poll(valueShown).toBe("one\ntwo ½ 😀");
    expect(await page.getByLabel("Form of the value").inputValue()).toBe("text");
    await page.getByLabel("Value", { exact: true }).fill("three");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved 5 bytes, durably.").waitFor();
    expect(records.get("text")).toBe("three");

    await page.getByLabel("Form of the value").selectOption("json");
    await page.locator("#record-fault").waitFor();
    await page.getByLabel("Value", { exact: true }).fill('{"a":[1,2.50,{}],"b":"\\u00e9, {"');
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("This is no JSON, and was not saved").waitFor();
    expect(records.get("text")).toBe("three");
    await page.getByLabel("Value", { exact: true }).fill('{"a":[1,2.50,{}],"b":"\\u00e9, {"}');
    await page.getByRole("button", { name: "Lay out" }).click();
    expect(await valueShown()).toBe('{\n  "a": [\n    1,\n    2.50,\n    {}\n  ],\n  "b": "\\u00e9, {"\n}');
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText(`Saved ${(await valueShown()).length} bytes, durably.`).waitFor();
    expect(records.get("text")).toBe(await valueShown());

    await page.getByLabel("Form of the value").selectOption("hex");
    expect(await valueShown()).toMatch(/^7b0a20202261223a 205b0a20/);
    await page.getByLabel("Value", { exact: true }).fill("ff 00 0d 0g");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Hex takes pairs").waitFor();
    await page.getByLabel("Value", { exact: true }).fill("ff 00 0d 0a");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved 4 bytes, durably.").waitFor();
    const bytes = records.withEncodings({ keyEncoding: "utf8", valueEncoding: "binary" });
    expect(bytes.get("text")).toEqual(Uint8Array.of(0xff, 0, 13, 10));
    await page.getByLabel("Form of the value").selectOption("text");
    await page.getByText("no text that a field can hold").waitFor();
    expect(await page.getByLabel("Form of the value").inputValue()).toBe("hex");
  });

  test("that are saved as hex stay hex, though they are text as well", async () => {
    await records.put("letters", "before");
    await signIn("admin");
    await page.getByRole("option", { name: "letters" }).click();
    await expect.poll(valueShown).toBe("before");
    await page.getByLabel("Form of the value").selectOption("hex");
    await page.getByLabel("Value", { exact: true }).fill("61 62");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved 2 bytes, durably.").waitFor();
    expect(records.get("letters")).toBe("ab");
    expect(await page.getByLabel("Form of the value").inputValue()).toBe("hex");
    // Another save writes what this field holds.
    expect(await valueShown()).toBe("6162");
  });

  test("of bytes as keys are created, found by hex, and deleted", async () => {
    await signIn("admin");
    await page.getByRole("button", { name: "New" }).click();
    await page.getByLabel("Form of the key").selectOption("hex");
    await page.getByLabel("Key", { exact: true }).fill("00ff 10");
    await page.getByLabel("Value", { exact: true }).fill("value");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("1 key", { exact: true }).waitFor();
    await expect.poll(shownKeys).toEqual(["00ff10"]);
    await page.getByLabel("hex", { exact: true }).first().check();
    await page.locator("#prefix").fill("00fe");
    await page.getByText("0 keys", { exact: true }).waitFor();
    await page.locator("#prefix").fill("00ff");
    await page.getByRole("option", { name: "00ff10" }).click();
    await expect.poll(valueShown).toBe("value");
    await page.locator("#record-delete").click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByText("Deleted 0x00ff10, durably.").waitFor();
    expect(records.count()).toBe(0);
  });

  test("show when they expire, keep that when they are saved, and get and lose it", async () => {
    const expiresAt = Date.now() + 3_600_000;
    await records.put("lease", "a", { expiresAt });
    await signIn("admin");
    await page.getByRole("option", { name: "lease" }).click();
    await expect.poll(valueShown).toBe("a");
    expect(Number(await page.getByLabel("Expires in").inputValue())).toBeGreaterThan(3500);
    await page.getByText(/^until /).waitFor();
    await page.getByLabel("Value", { exact: true }).fill("b");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved 1 bytes, durably.").waitFor();
    expect(Math.abs((records.getEntry("lease")?.expiresAt ?? 0) - expiresAt)).toBeLessThan(20_000);
    await page.getByLabel("Expires in").fill("60");
    await page.getByRole("button", { name: "Save" }).click();
    await expect.poll(() => (records.getEntry("lease")?.expiresAt ?? 0) - Date.now()).toBeLessThan(61_000);
    await page.getByText(/^until /).waitFor();
    await page.getByLabel("Expires in").fill("-1");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("The time to live is a number of seconds").waitFor();
    await page.getByLabel("Expires in").fill("");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("for good", { exact: true }).waitFor();
    expect(records.getEntry("lease")?.expiresAt).toBeUndefined();
    expect(records.get("lease")).toBe("b");
  });

  test("are not written over what others wrote meanwhile, unless that is confirmed", async () => {
    await records.put("shared", "first");
    await signIn("admin");
    await page.getByRole("option", { name: "shared" }).click();
    await expect.poll(valueShown).toBe("first");
    await records.put("shared", "of somebody else");
    await page.getByLabel("Value", { exact: true }).fill("mine");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Somebody else has changed or deleted shared").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    expect(records.get("shared")).toBe("of somebody else");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("button", { name: "Replace" }).click();
    await page.getByText("Saved 4 bytes, durably.").waitFor();
    expect(records.get("shared")).toBe("mine");

    await page.getByRole("button", { name: "New" }).click();
    await page.getByLabel("Key", { exact: true }).fill("shared");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("There is a record shared already.").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    expect(records.get("shared")).toBe("mine");
  });

  test("that others add and remove come and go, and long values are shown in part", async () => {
    await records.put("long", "long ".repeat(200_000));
    await signIn("admin");
    await page.getByRole("option", { name: "long" }).click();
    await page.getByText("977 KiB: too long to edit here").waitFor();
    expect(await page.getByRole("button", { name: "Save" }).isDisabled()).toBe(true);
    await records.put("added", "later");
    await expect.poll(shownKeys).toEqual(["added", "long"]);
    await records.del("long");
    await expect.poll(shownKeys).toEqual(["added"]);
    await others.put("of another tenant", "hidden");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "New" }).focus();
    await page.keyboard.press("r");
    await page.getByText("1 key", { exact: true }).waitFor();
    await expect.poll(shownKeys).toEqual(["added"]);
  });
});
