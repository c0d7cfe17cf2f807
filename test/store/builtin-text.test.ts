/** Text by the JS string builtins: where the engine has them, and what passes through is what it was. */
import { beforeAll, describe, expect, test } from "vitest";
import { builtinText } from "../../hosts/builtin-text.ts";
import type { TextAccess } from "../../store/core.ts";
import { host } from "./harness.ts";

/** A module of nothing at all. */
const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
/** Behind 2 GiB, where pointers are negative to WebAssembly. */
const PAGES = 40_000;
const PLACES = [4096, 4097, 2_400_000_000];

/** Whether this engine must have the builtins. Chromium 130 and the V8 of Node 24 do, Node 20 must not. */
const isInBrowser = "WorkerGlobalScope" in globalThis;
const nodeVersion = isInBrowser ? 0 : Number(process.versions.node?.split(".")[0]);
const isOnNode = !isInBrowser && !("Bun" in globalThis) && !("Deno" in globalThis);
const text = await builtinText((await host()).module);

test("a binary without the section, and an engine without the builtins, keep the decoder", async () => {
  expect(await builtinText(new WebAssembly.Module(EMPTY))).toBeUndefined();
  if (isOnNode && nodeVersion < 22) expect(text).toBeUndefined();
});

test.runIf(isInBrowser || (isOnNode && nodeVersion >= 24))("this engine has them", () => {
  expect(text).toBeDefined();
});

test.runIf(isInBrowser)("stores in this browser use them", async () => {
  const { text: ofHost } = await host();
  expect(ofHost?.(new WebAssembly.Memory({ initial: 1, maximum: 1 })).writeAscii).toBeDefined();
});

describe.runIf(text !== undefined)("the builtins", () => {
  let memory: WebAssembly.Memory;
  let bytes: Uint8Array;
  let access: Required<Pick<TextAccess, "ascii" | "utf8" | "writeAscii">>;

  beforeAll(() => {
    memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
    bytes = new Uint8Array(memory.buffer);
    access = text?.(memory) as typeof access;
  });

  /** ASCII that says where a byte came from. */
  const ascii = (size: number): string => {
    let made = "";
    for (let i = 0; i < size; i++) made += String.fromCharCode((i * 31 + size) & 127);
    return made;
  };

  test("give back every ASCII text up to 1,024 characters, and touch nothing around it", () => {
    for (const at of PLACES) {
      for (let size = 0; size <= 1024; size++) {
        const given = ascii(size);
        bytes.fill(0xee, at - 8, at + size + 16);
        expect(access.writeAscii(given, at)).toBe(size);
        expect(access.ascii(at, at + size) === given, `${size} at ${at}`).toBe(true);
        expect(access.utf8(at, at + size) === given, `${size} at ${at}`).toBe(true);
        expect([bytes[at - 1], bytes[at + size]]).toEqual([0xee, 0xee]);
      }
    }
  });

  test("take strings whatever they are made of", () => {
    const joined = `${ascii(40)}${ascii(50)}`;
    const wide = `€${ascii(90)}`.slice(1);
    for (const given of [joined, wide, joined.slice(13, 77), "\0".repeat(100)]) {
      expect(access.writeAscii(given, 4096)).toBe(given.length);
      expect(access.ascii(4096, 4096 + given.length)).toBe(given);
    }
  });

  test("do not take longer text, nor any other character, wherever it stands", () => {
    expect(access.writeAscii(ascii(1025), 4096)).toBe(-1);
    expect(access.writeAscii(ascii(100_000), 4096)).toBe(-1);
    for (const other of ["\u0080", "ÿ", "\u0100", "\u4141", "€", "\ud83d", "🙂"]) {
      for (const before of [0, 1, 7, 8, 50, 1000]) {
        expect(access.writeAscii(`${ascii(before)}${other}${ascii(9)}`, 4096)).toBe(-1);
      }
    }
  });

  test("of two instances do not disturb each other", () => {
    const second = text?.(new WebAssembly.Memory({ initial: 1, maximum: 1 })) as typeof access;
    access.writeAscii("a".repeat(40), 4096);
    second.writeAscii("b".repeat(40), 4096);
    expect(access.ascii(4096, 4136)).toBe("a".repeat(40));
    expect(second.ascii(4096, 4136)).toBe("b".repeat(40));
  });
});
