/** What the console's page makes of JSON and of server-sent events, without a browser. */
import { expect, test } from "vitest";
import { eventsOf, type ServerEvent } from "../../adapters/server/console/page/events.ts";
import { faultOf, isDocument, laidOut } from "../../adapters/server/console/page/json-text.ts";

const SEED = Number(process.env["CAIRN_SEED"] ?? Date.now() % 2 ** 31);

function numbersFrom(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

test("JSON is laid out as JSON.stringify does it, whatever it holds, and no token is changed", () => {
  const roll = numbersFrom(SEED);
  const value = (depth: number): unknown => {
    const kind = roll(depth > 4 ? 4 : 6);
    if (kind === 0) return roll(100_000) / 16 - 2000;
    if (kind === 1) return ["", 'a"\\', "{[,:]}", "\n\u2028é😀", '\\"', "//"][roll(6)];
    if (kind === 2) return [true, false, null][roll(3)];
    if (kind === 3) return roll(1e9);
    if (kind === 4) return Array.from({ length: roll(4) }, () => value(depth + 1));
    return Object.fromEntries(Array.from({ length: roll(4) }, (_, i) => [`m "${i}:`, value(depth + 1)]));
  };
  for (let i = 0; i < 2000; i++) {
    const one = value(0);
    const expected = JSON.stringify(one, null, 2);
    for (const text of [JSON.stringify(one), expected, JSON.stringify(one, null, "\t \n")]) {
      expect(laidOut(text), `seed ${SEED}, ${text}`).toBe(expected);
    }
  }
  const exact = '{"n":12345678901234567890.10,"e":1E+400,"s":"\\u00e9\\/"}';
  expect(laidOut(exact)).toBe('{\n  "n": 12345678901234567890.10,\n  "e": 1E+400,\n  "s": "\\u00e9\\/"\n}');
  expect([
    isDocument(exact),
    isDocument(" [1]"),
    isDocument("1"),
    isDocument('"a"'),
    isDocument("{"),
    isDocument(""),
  ]).toEqual([true, true, false, false, false, false]);
  expect([faultOf("{"), faultOf("1")]).toEqual([expect.any(String), undefined]);
});

test("events are the same however their bytes are cut", async () => {
  const text =
    'retry: 2000\n: changes follow\n\nid: 7\nevent: set\ndata: {"key":"é😀"}\n\nid: 9\n: nothing new\n\nevent: error\ndata: one\ndata:two\n\nid: 10\ndata: unfinished';
  const bytes = new TextEncoder().encode(text);
  const expected: ServerEvent[] = [
    { id: "7", type: "set", data: '{"key":"é😀"}' },
    { id: "9", type: "error", data: "one\ntwo" },
  ];
  for (let size = 1; size <= bytes.length; size++) {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.subarray(at, at + size));
        controller.close();
      },
    });
    const ids: string[] = [];
    const events: ServerEvent[] = [];
    for await (const event of eventsOf(body, (id) => ids.push(id))) events.push(event);
    expect([size, ...events]).toEqual([size, ...expected]);
    expect(ids).toEqual(["7", "9", "9"]);
  }
});
