/** What docs/guide/browsers.md shows for a page, on a page, with what it says about each line compared. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { checkedProgram, countOfClaims } from "../docs/program.ts";
import { browsersOfRun } from "./browsers.ts";
import { Pages } from "./pages.ts";

const guide = readFileSync(new URL("../../docs/guide/browsers.md", import.meta.url), "utf8");

/** The package is on the page already, under the name `cairn`. */
const program = checkedProgram(guide, "js page")
  .replace('import { refuses, same } from "./claims.mjs";', "")
  .replace(/^import (\{.*\}) from "cairn-kv";$/m, "const $1 = cairn;");

describe.each(browsersOfRun())("the guide in %s", (browser) => {
  const pages = new Pages(browser);

  test("says what happens", async () => {
    const page = await pages.newPage();
    const claims = await page.evaluate(`(async () => {
      const plain = (value) => JSON.stringify(value, (_, item) => (typeof item === "bigint" ? item + "n" : item));
      let count = 0;
      const same = (found, claimed, line) => {
        count += 1;
        if (plain(found) !== plain(claimed)) throw new Error("line " + line + ": " + plain(found));
      };
      ${program}
      return count;
    })()`);
    expect(claims).toBe(countOfClaims(guide, "js page"));
    expect(claims).toBeGreaterThan(0);
  });
});
