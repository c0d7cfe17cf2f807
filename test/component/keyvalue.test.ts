/** `wasi:keyvalue` over the component, on each runtime, and what its buckets are to the plain Node host. */
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { open } from "../../hosts/node.ts";
import { bench, missing, RUNTIMES } from "./component.ts";

const { run, folder } = bench();
const FILE = join(folder, "keyvalue.cairn");

describe.skipIf(missing)("wasi:keyvalue", () => {
  test.each(RUNTIMES)("on %s: buckets, counters, compare-and-swap and batches", async (runtime) => {
    rmSync(FILE, { force: true });
    rmSync(`${FILE}.lock`, { force: true });
    const result = await run(runtime, "keyvalue");
    expect(result).toEqual({
      seen: "red",
      lost: "cas-failed",
      between: "green",
      absentSeen: null,
      color: "yellow",
      exists: [true, false, false],
      many: [["b", 400_000], null, ["color", 6]],
      counts: [
        "5",
        "-7",
        "9223372036854775800",
        "-9223372036854775807",
        "-9223372036854775808",
        "-9223372036854775800",
      ],
      outOfRange: { tag: "other", val: "OUT_OF_RANGE: the sum does not fit 64 bits." },
      notANumber: { tag: "other", val: expect.stringMatching(/^NOT_A_NUMBER: /) },
      keys: [
        ["color", "fresh", "n"],
        ["b", "color", "least"],
      ],
      pages: [512, 512, 176],
      badName: { tag: "no-such-store" },
      longKey: { tag: "other", val: expect.stringMatching(/^KEY_SIZE: /) },
    });

    // The process ended without closing the store: everything that a call acknowledged is there all the same.
    const store = await open(FILE, { readOnly: true });
    expect(store.get("one\0color")).toBe("yellow");
    expect(store.get("one\0n")).toBe("9223372036854775800");
    expect(store.get("two\0color")).toBe("violet");
    expect(store.has("two\0a")).toBe(false);
    expect(store.count({ prefix: "many\0" })).toBe(1200);
    await store.close();
  });

  test.each(RUNTIMES)("on %s: says why there is no bucket", async (runtime) => {
    rmSync(FILE, { force: true });
    rmSync(`${FILE}.lock`, { force: true });
    writeFileSync(FILE, "no store");
    const { tag, val } = await run(runtime, "bucket");
    expect(tag).toBe("other");
    expect(val).toMatch(/^NOT_A_STORE: /);
    rmSync(FILE);
    symlinkSync("elsewhere.cairn", FILE);
    expect((await run(runtime, "bucket")).val).toBe(
      "INVALID_ARGUMENT: the path ends in a symbolic link. Name the file that it leads to.",
    );
    rmSync(FILE);
  });

  // Nobody creates a file there, not even root.
  test.skipIf(process.platform !== "linux").each(RUNTIMES)("on %s: says when it may not", async (runtime) => {
    expect(await run(runtime, "paths", [{ preopens: { "/": "/sys" } }])).toEqual(["access-denied"]);
  });

  test("lists the keys that are text, and leaves out those that are not", async () => {
    rmSync(FILE, { force: true });
    rmSync(`${FILE}.lock`, { force: true });
    const store = await open(FILE, { keyEncoding: "binary" });
    const good = ["a", "é", "\u0800", "\u{10000}", "\u{10ffff}", "\ud7ff", "한"];
    for (const key of good) store.set(Buffer.from(`b\0${key}`), "");
    const bad = [
      "80",
      "c080",
      "c3",
      "eda080",
      "f4908080",
      "e28f",
      "f8808080",
      "61ff",
      "e09f80",
      "f08f8080",
      "e28241",
      "c341",
    ];
    for (const key of bad) store.set(Buffer.concat([Buffer.from("b\0"), Buffer.from(key, "hex")]), "");
    for (let i = 0; i < 600; i++) store.set(Buffer.from([0x63, 0, 255, i & 255, i >> 8]), "");
    store.set(Buffer.from("c\0behind"), "");
    await store.close();
    const [b, c] = await run("node", "list", ["b", "c"]);
    expect(b).toEqual(good.toSorted((left, right) => Buffer.compare(Buffer.from(left), Buffer.from(right))));
    expect(c).toEqual(["behind"]);
  });
});
