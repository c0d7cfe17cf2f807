/** `inspect`: superblocks, the map of segments, blocks and records, whole and damaged, for people and for programs. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CairnError, inspect, open } from "../../hosts/node.ts";
import { cairn, MAIN, scratchFolder } from "./tool.ts";

const BLOCK = 4096;
const SEGMENTS_OFFSET = 1024 * 1024;
const FIRST_RECORD = SEGMENTS_OFFSET + BLOCK + 56;
const scratch = scratchFolder();
const path = scratch("store.cairn");

{
  const store = await open(path, { keyEncoding: "binary", valueEncoding: "binary" });
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  store.set(bytes("first"), bytes("one"));
  store.set(bytes("12345"), bytes("a key of digits"));
  store.set(new Uint8Array([0xff, 0x00]), new Uint8Array([0x80, 0x81]));
  store.set(bytes("first"), bytes("two"));
  store.delete(bytes("first"));
  store.set(bytes("first"), bytes("three".repeat(2000)));
  // Three segments of which two are garbage.
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 300; i++) store.set(bytes(`key ${i}`), bytes(`${round}`.repeat(3200)));
  }
  store.set(bytes("parts"), bytes("p".repeat(2_500_000)));
  await store.close();
}

// biome-ignore lint/suspicious/noExplicitAny: what the tool prints is read as a program would read it
function json(...words: string[]): any {
  const run = cairn(["inspect", path, ...words, "--json"]);
  expect(run).toMatchObject({ status: 0, err: "" });
  return JSON.parse(run.out);
}

/** A copy of the store with a bit flipped at each place. */
function damaged(name: string, ...places: number[]): string {
  const bytes = readFileSync(path);
  for (const at of places) bytes[at] = (bytes[at] as number) ^ 2;
  writeFileSync(scratch(name), bytes);
  return scratch(name);
}

test("superblock: all copies, which one counts, fields with their units", () => {
  const { superblocks } = json("superblock");
  expect(superblocks).toHaveLength(4);
  const generations = superblocks.map((copy: { fields: { generation: number } }) => copy.fields.generation);
  const newest = Math.max(...generations);
  for (const [copy, superblock] of superblocks.entries()) {
    expect(superblock).toMatchObject({ copy, offset: copy * 262_144, state: "intact" });
    expect(superblock.counts).toBe(superblock.fields.generation === newest);
    expect(superblock.fields.generation % 2).toBe(copy >> 1);
    expect(superblock.fields).toMatchObject({
      magic: "CAIRNKV1",
      engine: "dual",
      segmentBlocks: 256,
    });
    expect(superblock.fields.storeId).toMatch(/^[0-9a-f]{32}$/);
    expect(superblock.fields.hashSeed).toBe("hidden");
  }
  const { out } = cairn(["inspect", path, "superblock"]);
  expect(out).toMatch(/copy 0 {2}at 0 B {8}intact {6}generation \d+/);
  expect(out).toContain("256 (1.0 MiB)");
  expect(out).toMatch(/closed +yes +1 when the last mount closed in order/);
});

test("segments: what is live in them, as numbers and as a map", () => {
  const { segments, refusal } = json("segments");
  expect(refusal).toBeNull();
  const used = segments.filter((segment: { kind: string }) => segment.kind === "log");
  expect(used.length).toBeGreaterThan(4);
  expect(used[0]).toMatchObject({ segment: 0, offset: SEGMENTS_OFFSET, header: "sound", blocks: 256 });
  expect(used[0].liveBytes).toBeLessThan(60_000);
  expect(used[0].fields).toMatchObject({ magic: "CSEG", kind: "log", previousGeneration: "none" });
  expect(used[2].liveBytes).toBeGreaterThan(700_000);
  const { out } = cairn(["inspect", path, "segments"]);
  const map = /^ +0 {2}(\S+)$/m.exec(out)?.[1] as string;
  expect(map).toHaveLength(segments.length);
  expect(map).toMatch(/^░░[▓█]+>=+·*$/);
  expect(map.indexOf(">")).toBe(used.length - 1);
  const kept = segments.filter((segment: { kind: string }) => segment.kind === "checkpoint");
  expect(map.split("=").length - 1).toBe(kept.length);
  const free = segments.length - used.length - kept.length;
  expect(out).toContain(
    `${segments.length} of 1.0 MiB: ${used.length} in use, ${kept.length} of checkpoints, ${free} free`,
  );
  expect(out).toMatch(/MiB live of .* written \(\d+ %\)/);
});

test("colours on a terminal, none where NO_COLOR asks for none", () => {
  const onTerminal = (environment: Record<string, string>): string => {
    const command = `${process.execPath} ${MAIN} inspect ${path} segments`;
    const { NO_COLOR: _, ...inherited } = process.env;
    const env = { ...inherited, TERM: "xterm-256color", ...environment };
    return spawnSync("script", ["-qec", command, "/dev/null"], { env }).stdout.toString();
  };
  const colored = onTerminal({});
  expect(colored).toContain("\u001b[48;5;124");
  expect(colored).toContain("\u001b[48;5;28");
  expect(colored).not.toContain("█");
  const plain = onTerminal({ NO_COLOR: "1" });
  expect(plain).not.toContain("\u001b[");
  expect(plain).toContain("░░");
});

test("without a view: superblock and segments", () => {
  const { out } = cairn(["inspect", path]);
  expect(out).toContain("superblock\n");
  expect(out).toMatch(/^segments {2}\d+ of/m);
  expect(Object.keys(json())).toEqual(["store", "superblocks", "refusal", "segments"]);
});

test("block: header, segment header, records", () => {
  expect(json("block", "256")).toMatchObject({
    block: 256,
    segment: 0,
    blockOfSegment: 0,
    state: "sound",
    fields: { generation: "1.1", deviceBlock: 256, flags: "segment header", first: "none" },
    segmentHeader: { magic: "CSEG", kind: "log" },
    records: [],
  });
  const block = json("block", "257");
  expect(block).toMatchObject({ state: "sound", fields: { first: 0 }, brokenOff: false });
  expect(block.records.slice(0, 6)).toMatchObject([
    { address: FIRST_RECORD, kind: "set", sequence: 1, key: "first", value: "one", valueSize: 3, sound: true },
    { kind: "set", sequence: 2, key: "12345", value: "a key of digits" },
    { kind: "set", sequence: 3, keyBase64: "/wA=", valueBase64: "gIE=" },
    { kind: "set", sequence: 4, key: "first", value: "two" },
    { kind: "delete", sequence: 5, key: "first" },
    { kind: "set", sequence: 6, key: "first", valueSize: 10_000, value: "three".repeat(2000) },
  ]);
  const { out } = cairn(["inspect", path, "block", "257"]);
  expect(out).toContain("block 257  offset 1,052,672  segment 0, block 1 of it  sound");
  expect(out).toContain("6 records start here");
  expect(out).toMatch(/1052728 {2}set +1 {2}"first" +3 B +"one"/);
  expect(json("block", "0")).toMatchObject({ state: "damaged", offset: 0 });
  // A sound superblock is no damaged block to whoever reads that.
  const first = cairn(["inspect", path, "block", "0"]).out;
  expect(first).toContain("copies of the superblock");
  expect(first).not.toContain("damaged");
});

test("record: by address and by key", () => {
  expect(json("record", String(FIRST_RECORD)).records).toMatchObject([{ key: "first", value: "one" }]);
  expect(cairn(["inspect", path, "record", String(FIRST_RECORD + 8)])).toMatchObject({ status: 3, out: "" });
  expect(cairn(["inspect", path, "record", "99999999999"])).toMatchObject({ status: 3, out: "" });
  const all = json("record", "first").records;
  expect(all.map(({ kind, sequence }: { kind: string; sequence: number }) => `${kind} ${sequence}`)).toEqual([
    "set 1",
    "set 4",
    "delete 5",
    "set 6",
  ]);
  expect(json("record", "12345", "--key").records).toMatchObject([{ value: "a key of digits" }]);
  expect(json("record", "ff00", "--hex").records).toMatchObject([{ keyBase64: "/wA=" }]);
  const parts = json("record", "parts").records;
  expect(parts.length).toBeGreaterThan(2);
  expect(parts[0]).toMatchObject({ kind: "set", part: parts.length, valueSize: 2_500_000, valueCut: true });
  expect(parts[1]).toMatchObject({ kind: "extent", part: 1, sequence: parts[0].sequence });
  const sizes = parts.map(({ partSize }: { partSize: number }) => partSize);
  expect(sizes.reduce((sum: number, size: number) => sum + size, 0)).toBe(2_500_000);
  expect(cairn(["inspect", path, "record", "none"])).toMatchObject({ status: 3, out: "", err: 'not found: "none"\n' });
});

test("a damaged image, as far as its bytes allow", () => {
  const target = damaged("damaged.cairn", 100, SEGMENTS_OFFSET + BLOCK + 3000, SEGMENTS_OFFSET + 256 * BLOCK + 60);
  const before = readFileSync(target);
  const look = (...words: string[]) => JSON.parse(cairn(["inspect", target, ...words, "--json"]).out);
  const { superblocks, segments, refusal } = look();
  expect(superblocks[0]).toMatchObject({ state: "damaged", counts: false });
  expect(superblocks[1]).toMatchObject({ state: "intact" });
  expect(refusal).toMatchObject({ code: "CORRUPT" });
  expect(segments[1]).toMatchObject({ segment: 1, header: "damaged" });
  expect(segments[1].kind).toBeUndefined();
  const block = look("block", "257");
  expect(block).toMatchObject({ state: "damaged", fields: { deviceBlock: 257 } });
  expect(block.records[0]).toMatchObject({ key: "first", sequence: 1, sound: false });
  // What a damaged block holds does not count as a record of the key.
  expect(cairn(["inspect", target, "record", "first"]).status).toBe(3);
  expect(look("record", String(FIRST_RECORD)).records).toMatchObject([{ key: "first", sound: false }]);
  const { out } = cairn(["inspect", target, "segments"]);
  expect(out).toMatch(/^ +0 {2}\?!\?+·*$/m);
  expect(out).toContain("cannot be opened (CORRUPT)");
  expect(Buffer.compare(readFileSync(target), before)).toBe(0);
});

test("without a whole superblock it goes by one that is damaged", () => {
  const target = damaged("headless.cairn", 120, 262_264, 524_408, 786_552);
  const block = JSON.parse(cairn(["inspect", target, "block", "257", "--json"]).out);
  expect(block).toMatchObject({ state: "sound", segment: 0, blockOfSegment: 1 });
  expect(cairn(["inspect", target]).out).toContain("is damaged: it may say anything");
});

test("bad use, and what is no store", async () => {
  expect(cairn(["inspect", path, "blocks"]).status).toBe(2);
  expect(cairn(["inspect", path, "block"]).status).toBe(2);
  expect(cairn(["inspect", path, "block", "first"]).status).toBe(2);
  expect(cairn(["inspect", path, "segments", "1"]).status).toBe(2);
  expect(cairn(["inspect", path, "block", "9999999"]).err).toContain("OUT_OF_RANGE");
  expect(cairn(["inspect", scratch("missing.cairn")])).toMatchObject({ status: 1, out: "" });
  const text = scratch("text.txt");
  writeFileSync(text, "hello".repeat(2000));
  expect(cairn(["inspect", text]).err).toContain("NOT_A_STORE");
  await expect(inspect(text)).rejects.toThrow(CairnError);
});
