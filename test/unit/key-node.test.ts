/** Key nodes and extent tables: every field keeps what was packed into it, at its extremes and beside any other. */
import { describe, expect, test } from "vitest";
import { instantiate, KEY_A, PAGE, POOL, Random, SEED, same, writeKey } from "./units.ts";

const LARGEST_48 = (1n << 48n) - 1n;
const ADDRESSES = [0n, 1n, 8n, 1n << 20n, (1n << 32n) - 1n, 1n << 32n, 1n << 47n, LARGEST_48 - 7n, LARGEST_48];

describe(`key nodes and extents, seed ${SEED}`, () => {
  test("address, size class, flags, sequence and key size keep apart", () => {
    const random = new Random(SEED);
    const { units, bytes, view } = instantiate(40);
    units.memoryInitialize(POOL, POOL + 40 * PAGE);
    const classes = [0, 1, 79, 127, 128, 255];
    const flagSets = [0, 1, 2, 4, 8, 16, 31, 127, 128, 255];
    const keySizes = [1, 7, 8, 9, 24, 255, 256, 2047, 2048];
    const sequences = [...ADDRESSES, random.long() & LARGEST_48];
    for (let i = 0; i < 3000; i++) {
      const address = random.pick([...ADDRESSES, random.long() & LARGEST_48]);
      const sizeClass = random.pick(classes);
      const flags = random.pick(flagSets);
      const sequence = random.pick(sequences);
      const key = random.bytes(random.pick(keySizes), 256);
      const bodySize = random.pick([0, 1, 8, 127, 128]);
      writeKey(bytes, KEY_A, key);
      const node = units.keyNodePack(address, sizeClass, flags, sequence, key.length, bodySize) >>> 0;
      same(BigInt.asUintN(64, units.keyNodeAddress(node)), address, "address");
      same(units.keyNodeSizeClass(node), sizeClass, "size class");
      same(units.keyNodeFlags(node), flags, "flags");
      same(BigInt.asUintN(64, units.keyNodeSequence(node)), sequence, "sequence");
      same(units.keyNodeKeySize(node), key.length, "key size");
      // As the head of key-node.ts draws it.
      const place = address | (BigInt(sizeClass) << 48n) | (BigInt(flags) << 56n);
      same(view.getBigUint64(node, true), place, "first word");
      same(view.getBigUint64(node + 8, true), sequence | (BigInt(key.length) << 48n), "second word");
      const padded = (key.length + 7) & ~7;
      same(units.keyNodeKey(node) >>> 0, node + 24, "place of the key");
      same(units.keyNodeBody(node) >>> 0, node + 24 + padded, "place of the body");
      same(units.nodeSizeOf(key.length, bodySize), 24 + padded + ((bodySize + 7) & ~7), "size of the node");
      const held = Buffer.from(bytes.subarray(node + 24, node + 24 + padded)).toString("latin1");
      same(held, key.padEnd(padded, "\0"), "key and padding");
      units.keyNodeGive(node);
    }
    expect(units.chunksUsed()).toBe(0);
  });

  test("every part of an extent table keeps its address and size", () => {
    const random = new Random(SEED);
    const { units, bytes, view } = instantiate(60);
    units.memoryInitialize(POOL, POOL + 60 * PAGE);
    const partsMax = Math.floor((units.slabItemSizeMax() - 8) / 16);
    const sizes = [0, 1, 4040, 64 << 20, 0x7fff_ffff, 0xffff_ffff];
    const live: { table: number; parts: { address: bigint; size: number }[] }[] = [];
    const check = () => {
      for (const { table, parts } of live) {
        same(units.extentCount(table), parts.length, "count");
        for (const [part, { address, size }] of parts.entries()) {
          same(BigInt.asUintN(64, units.extentAddress(table, part)), address, `address of part ${part}`);
          same(units.extentSize(table, part) >>> 0, size, `size of part ${part}`);
          same(view.getBigUint64(table + 8 + 16 * part, true), address, "address in memory");
        }
      }
    };
    for (let round = 0; round < 60; round++) {
      // What was there before must not show.
      const dirty = units.chunkTake();
      if (dirty) {
        bytes.fill(0xee, dirty, dirty + PAGE);
        units.chunkGive(dirty);
      }
      const count = random.pick([1, 2, 3, 17, 1150, partsMax, 1 + random.below(partsMax)]);
      const table = units.extentTableTake(count) >>> 0;
      if (!table) {
        expect(units.chunksAvailable()).toBe(0);
      } else {
        const parts = Array.from({ length: count }, () => ({ address: 0n, size: 0 }));
        live.push({ table, parts });
        check();
        const order = [...parts.keys(), 0, count - 1];
        for (const part of random.below(2) ? order : order.reverse()) {
          parts[part] = { address: random.pick(ADDRESSES), size: random.pick(sizes) };
          units.extentSet(table, part, parts[part].address, parts[part].size);
        }
        check();
      }
      if (live.length > 20 || random.below(3) === 0) {
        const [gone] = live.splice(random.below(live.length), 1);
        if (gone) units.extentTableGive(gone.table);
      }
    }
    for (const { table } of live) units.extentTableGive(table);
    expect(units.chunksUsed()).toBe(0);
  });

  test("a table has room for the largest value in the smallest segments, and no more parts than a slab item", () => {
    const { units } = instantiate(8);
    units.memoryInitialize(POOL, POOL + 4 * PAGE);
    const partsMax = Math.floor((units.slabItemSizeMax() - 8) / 16);
    // A part gets at least 12 of the 15 blocks behind a segment's header.
    expect(partsMax).toBeGreaterThan((64 << 20) / (12 * 4040));
    for (const parts of [partsMax + 1, 65_536, 0x1000_0000, 0xffff_ffff]) expect(units.extentTableTake(parts)).toBe(0);
    expect(units.chunksUsed()).toBe(0);
    for (let i = 0; i < 4; i++) expect(units.extentTableTake(partsMax)).not.toBe(0);
    expect(units.extentTableTake(partsMax)).toBe(0);
  });
});
