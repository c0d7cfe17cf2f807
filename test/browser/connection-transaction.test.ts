/** Transactions of connections whose function writes the key that it is making a value for. */
import { describe, expect, test } from "vitest";
import { browsersOfRun } from "./browsers.ts";
import { Pages, type PageWorld } from "./pages.ts";

declare const cairn: PageWorld["cairn"];
declare const outcome: PageWorld["outcome"];

describe.each(browsersOfRun())("connect in %s", (browser) => {
  const pages = new Pages(browser);

  test("update of a transaction is REENTRANT when its key is written meanwhile, as in a store", async () => {
    const page = await pages.newPage();
    const seen = await page.evaluate(async (name) => {
      const store = await cairn.connect(name);
      const users = store.sub("users");
      await store.put("a", "1");
      await users.put("a", "in users");
      type Tx = Parameters<Parameters<typeof store.transact>[0]>[0];
      const run = async (during: (tx: Tx) => Promise<unknown>): Promise<unknown> => {
        const { code, message } = await outcome(
          store.transact(async (tx) => {
            const writes: Promise<unknown>[] = [];
            const done = tx.update("a", (value) => {
              writes.push(during(tx));
              return `${value}!`;
            });
            await Promise.all([done, ...writes]);
          }),
        );
        return code === undefined ? await store.get("a") : `${code} ${message?.startsWith("update:")}`;
      };
      const seen: unknown[] = [
        await run((tx) => tx.set("a", "mine")),
        await run((tx) => tx.delete("a")),
        await run((tx) => tx.append("a", "mine")),
        await run((tx) => tx.clear()),
        await run((tx) => tx.clear({ gte: "a", lt: "b" })),
        await store.get("a"),
        await run((tx) => tx.set("b", "other")),
        await run((tx) => tx.clear({ gt: "a" })),
        await run((tx) => tx.in(users).set("a", "other")),
        await run((tx) => tx.in(users).clear()),
        await run((tx) => tx.get("a")),
      ];
      // Calls one after the other, and of two that were not awaited the later one.
      await store.transact(async (tx) => {
        await tx.set("a", "2");
        await tx.update("a", (value) => `${value}?`);
        await Promise.all([tx.update("a", (value) => `${value}1`), tx.update("a", (value) => `${value}2`)]);
      });
      seen.push(await store.get("a"));
      await store.close();
      return seen;
    }, pages.newName());
    expect(seen).toEqual([...Array(5).fill("REENTRANT true"), "1", "1!", "1!!", "1!!!", "1!!!!", "1!!!!!", "2?12"]);
  });
});
