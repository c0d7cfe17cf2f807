/** What travels between client and server, as bytes: that it comes out as it went in, and that nothing else gets through. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CborReader, CborWriter, MalformedError } from "../../store/connection/cbor.ts";
import { CALLS, framesOf, readServerFrame, ServerFrames } from "../../store/connection/frames.ts";
import { ARGUMENT_COUNTS } from "../../store/connection/wire.ts";
import { runSeed } from "../store/harness.ts";

const seed = runSeed();
const settings = { seed, numRuns: 2000, endOnFailure: true };

function bytesOf(...values: unknown[]): Uint8Array {
  const writer = new CborWriter();
  for (const value of values) writer.value(value);
  return writer.take();
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const unhex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));

const scalar = fc.oneof(
  fc.constantFrom(
    undefined,
    null,
    true,
    false,
    0,
    -0,
    23,
    24,
    255,
    256,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    -1,
    -24,
    -25,
  ),
  fc.maxSafeInteger(),
  fc.double(),
  fc.bigInt({ min: -(2n ** 64n), max: 2n ** 64n }),
  fc.string({ unit: "grapheme", maxLength: 60 }),
  fc.uint8Array({ maxLength: 300 }),
);
const value = fc.letrec<{ any: unknown }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 6, withCrossShrink: true },
    scalar,
    fc.array(tie("any"), { maxLength: 5 }),
    fc.dictionary(
      fc.string({ maxLength: 6 }).filter((name) => name !== "__proto__"),
      tie("any"),
      { maxKeys: 4, noNullPrototype: true },
    ),
  ),
})).any;

/** As a reader gives it: members that are `undefined` are not there. */
function read(given: unknown): unknown {
  if (Array.isArray(given)) return given.map(read);
  if (typeof given !== "object" || given === null || given instanceof Uint8Array) return given;
  return Object.fromEntries(
    Object.entries(given)
      .filter(([, member]) => member !== undefined)
      .map(([name, member]) => [name, read(member)]),
  );
}

describe("CBOR", () => {
  // Appendix A of RFC 8949.
  test.each([
    [0, "00"],
    [23, "17"],
    [24, "1818"],
    [1000, "1903e8"],
    [1_000_000, "1a000f4240"],
    [1_000_000_000_000, "1b000000e8d4a51000"],
    [-1, "20"],
    [-100, "3863"],
    [18446744073709551616n, "c249010000000000000000"],
    [-18446744073709551617n, "c349010000000000000000"],
    [1.1, "fb3ff199999999999a"],
    [-4.1, "fbc010666666666666"],
    [false, "f4"],
    [null, "f6"],
    [undefined, "f7"],
    ["", "60"],
    ["IETF", "6449455446"],
    ["ü", "62c3bc"],
    ["𐅑", "64f0908591"],
    [Uint8Array.of(1, 2, 3, 4), "4401020304"],
    [[1, [2, 3], [4, 5]], "8301820203820405"],
    [{ a: 1, b: [2, 3] }, "a26161016162820203"],
  ] as [unknown, string][])("writes and reads as the standard does, %#", (given, wanted) => {
    expect(hex(bytesOf(given))).toBe(wanted);
    expect(new CborReader(unhex(wanted)).value()).toEqual(given);
  });

  test("gives back whatever was written", () => {
    fc.assert(
      fc.property(fc.array(value, { maxLength: 4 }), (given) => {
        const reader = new CborReader(bytesOf(...given));
        for (const one of given) expect(reader.value()).toEqual(read(one));
        expect(reader.isDone).toBe(true);
      }),
      settings,
    );
  });

  test("grows: text and bytes of every size around its own", () => {
    for (const size of [31, 32, 33, 16_000, 16_383, 16_384, 16_385, 70_000, 1_048_576, 1_048_577]) {
      for (const text of ["x".repeat(size), "é".repeat(size)]) {
        const reader = new CborReader(bytesOf(1, text, new Uint8Array(size), text));
        expect(reader.value()).toBe(1);
        expect(reader.value()).toBe(text);
        expect((reader.value() as Uint8Array).length).toBe(size);
        expect(reader.value()).toBe(text);
      }
    }
  });

  test.each([
    ["an array of indefinite length", "9f01ff"],
    ["text of indefinite length", "7f6161ff"],
    ["a reserved length", "1c"],
    ["an integer of 64 bits", "1bffffffffffffffff"],
    ["a negative one of 54 bits", "3b001fffffffffffff"],
    ["a tag that is no bigint's", "c100"],
    ["a bigint of text", "c26161"],
    ["a bigint of 33 bytes", `c25821${"00".repeat(33)}`],
    ["a half", "f93c00"],
    ["a simple value", "f0"],
    ["text that is no UTF-8", "61ff"],
    ["longer text that is no UTF-8", `7828${"61".repeat(39)}ff`],
    ["a surrogate", "63eda080"],
    ["a member that is no text", "a10101"],
    ["__proto__", `a1695f5f70726f746f5f5f00`],
    ["more items than there are bytes", "9affffffff00"],
    ["more members than there are bytes", "baffffffff6161"],
    ["more text than there are bytes", "7affffffff61"],
    ["bytes that are cut off", "430102"],
    ["a double that is cut off", "fb00"],
    ["nothing", ""],
    ["17 nested arrays", `${"81".repeat(17)}00`],
  ])("refuses %s", (_, text) => {
    expect(() => new CborReader(unhex(text)).value()).toThrow(MalformedError);
  });

  test("refuses to write what is no value of the wire, and nests no deeper than it reads", () => {
    for (const given of [() => 1, Symbol("a"), 2n ** 300n, [() => 1]]) expect(() => bytesOf(given)).toThrow(TypeError);
    let deep: unknown = 1;
    for (let i = 0; i < 16; i++) deep = [deep];
    expect(new CborReader(bytesOf(deep)).value()).toEqual(deep);
    expect(() => bytesOf([deep])).toThrow(TypeError);
  });

  test("of any bytes makes values or MalformedError, and nothing larger than they are", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.tuple(value, fc.nat(), fc.nat(255)).map(mutated)),
        (bytes) => {
          const reader = new CborReader(bytes);
          try {
            while (!reader.isDone) expect(weightOf(reader.value())).toBeLessThanOrEqual(bytes.length);
          } catch (error) {
            if (!(error instanceof MalformedError)) throw error;
          }
        },
      ),
      { ...settings, numRuns: 10_000 },
    );
  });
});

function mutated([given, place, byte]: [unknown, number, number]): Uint8Array {
  const bytes = bytesOf(given);
  bytes[place % bytes.length] = byte;
  return bytes;
}

/** Items, characters and bytes in a value. */
function weightOf(given: unknown): number {
  if (typeof given === "string" || given instanceof Uint8Array) return 1 + given.length;
  if (typeof given !== "object" || given === null) return 1;
  return Object.entries(given).reduce((sum, [, member]) => sum + weightOf(member), 1);
}

describe("frames", () => {
  test("every call has a number of its own, which stays", () => {
    expect([...CALLS].slice(1).sort()).toEqual(Object.keys(ARGUMENT_COUNTS).sort());
    // A client and a server of different versions meet: to change this list is to change the protocol.
    expect(CALLS.join()).toBe(
      "use,get,getEntry,has,delete,del,getMany,set,put,append,patch,increment,batch,batchDurable,count,clear,flush,stats,compact," +
        "verify,walk,next,end,snapshot,release,begin,commit,rollback,watch,changes,unwatch,backup,backupPart,backupEnd,serve",
    );
  });

  test("calls are cut into frames under the limit, each with the id and the face that it begins with", () => {
    const face = { path: ["a"], keysAreText: true, valuesAreText: true, view: 3, owner: "o" };
    const calls: unknown[] = ["get", "k", "use", face];
    for (let i = 0; i < 5; i++) calls.push("set", `k${i}`, new Uint8Array(300), undefined);
    calls.push("set", "huge", new Uint8Array(2000), undefined, "use", undefined, "has", () => 1, "get", "z");
    const { frames, refused } = framesOf({ type: "calls", owner: "o", id: 7, calls }, 800);
    expect(refused.map(({ id, call }) => [id, call])).toEqual([
      [13, "set"],
      [14, "has"],
    ]);
    const seen: [number, string, unknown][] = [];
    for (const frame of frames) {
      expect(frame.length).toBeLessThanOrEqual(800);
      const reader = new CborReader(frame);
      expect(reader.uint()).toBe(1);
      let id = reader.uint();
      let said: unknown;
      while (!reader.isDone) {
        const call = CALLS[reader.uint()] as keyof typeof ARGUMENT_COUNTS | "use";
        if (call === "use") {
          said = reader.value();
          continue;
        }
        for (let i = 0; i < ARGUMENT_COUNTS[call]; i++) reader.value();
        seen.push([id++, call, said]);
      }
    }
    const sets = [8, 9, 10, 11, 12].map((id) => [id, "set", ["a", 3]]);
    expect(seen).toEqual([[7, "get", undefined], ...sets, [15, "get", undefined]]);
  });

  test("a call that cannot be sent leaves nothing before the next ones", () => {
    const writer = new CborWriter();
    const none = framesOf({ type: "calls", owner: "", id: 1, calls: ["get", () => 1] }, 800, writer);
    expect([none.frames, none.refused.length]).toEqual([[], 1]);
    const { frames } = framesOf({ type: "calls", owner: "", id: 2, calls: ["get", "k"] }, 800, writer);
    expect(frames.map(hex)).toEqual([["01", "02", "01", "616b"].join("")]);
  });

  test("answers come out as they went in, and any bytes are a frame or MalformedError", () => {
    const frames = new ServerFrames();
    frames.answer(1, "one", 0, 5);
    frames.answer(300, { deep: [1n] }, 9, 5);
    expect(() => frames.answer(301, () => 1, 0, 5)).toThrow(TypeError);
    frames.fail(302, { code: "CONFLICT", operation: "set", message: "m", cause: "c" }, 5);
    expect(readServerFrame(frames.take() as Uint8Array, "me")).toEqual({
      type: "answers",
      owner: "me",
      ids: [1, 300],
      values: ["one", { deep: [1n] }],
      versions: [undefined, 9],
      failures: [[302, { code: "CONFLICT", operation: "set", message: "m", cause: "c" }]],
      durableVersion: 5,
    });
    expect(
      readServerFrame(
        frames.watched([
          [1, 2],
          [3, 4],
        ]),
        "me",
      ),
    ).toEqual({
      type: "watched",
      owner: "me",
      watches: [
        [1, 2],
        [3, 4],
      ],
    });
    expect(() => readServerFrame(new Uint8Array(0), "me")).toThrow(MalformedError);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.nat(7), (bytes, type) => {
        bytes[0] = type;
        try {
          readServerFrame(bytes, "me");
        } catch (error) {
          if (!(error instanceof MalformedError)) throw error;
        }
      }),
      settings,
    );
  });
});
