/**
 * The on-device structures, byte for byte as the heads of assembly/format/ draw them: what the core writes is read here,
 * what is written here the core accepts, and one changed bit is never accepted.
 */
import { describe, expect, test } from "vitest";
import { MemoryDevice } from "../../hosts/memory-device.ts";
import {
  BLOCK_SIZE,
  EXCHANGE,
  type Instance,
  instantiate,
  OK,
  PAGE,
  POOL,
  Random,
  SEED,
  SUPERBLOCK_A,
  same,
} from "./units.ts";

const FRAME = EXCHANGE;
/** What a superblock takes from the root view: offset and size. The rest is fixed, or zero. */
const SUPERBLOCK_FIELDS: [string, number, 4 | 8][] = [
  ["engine", 20, 4],
  ["store id", 48, 8],
  ["store id, high half", 56, 8],
  ["hash seed", 64, 8],
  ["epoch", 80, 4],
  ["segment blocks", 84, 4],
  ["segment count", 88, 4],
  ["allotment end", 92, 4],
  ["allotment start", 96, 4],
  ["closed", 100, 4],
  ["sequence ceiling", 104, 8],
  ["durable group", 112, 8],
  ["log epoch", 120, 8],
  ["highest time", 128, 8],
  ["mount salt", 136, 8],
  ["mount salt, high half", 144, 8],
  ["dropped tombstones", 152, 8],
];
const EPOCH_OFFSET = 80;
const COPY = EXCHANGE + BLOCK_SIZE;

/** A sealed block of random bytes at FRAME; the seed of the store's checksums is set. */
function sealedBlock(random: Random, { units, bytes, view }: Instance, deviceBlock: bigint, storeSeed: bigint): void {
  random.fill(bytes.subarray(FRAME, FRAME + BLOCK_SIZE));
  view.setBigUint64(FRAME + 8, 0n, true);
  view.setBigUint64(FRAME + 24, deviceBlock, true);
  view.setUint16(FRAME + 40, random.below(4041), true);
  units.checkSeedSet(storeSeed);
  view.setBigUint64(FRAME, units.xxh64(FRAME + 16, BLOCK_SIZE - 16, storeSeed), true);
}

/** The bits of a block whose change `accepts` does not see. */
function unseenFlips({ bytes }: Instance, at: number, accepts: () => boolean): number[] {
  const unseen: number[] = [];
  for (let bit = 0; bit < 8 * BLOCK_SIZE; bit++) {
    bytes[at + (bit >>> 3)]! ^= 1 << (bit & 7);
    if (accepts()) unseen.push(bit);
    bytes[at + (bit >>> 3)]! ^= 1 << (bit & 7);
  }
  return unseen;
}

describe(`format, seed ${SEED}`, () => {
  test("a block is valid only with every bit as it was sealed", () => {
    const random = new Random(SEED);
    const instance = instantiate(1);
    const { units } = instance;
    for (const deviceBlock of [256n, (1n << 36n) - 1n, random.long()]) {
      sealedBlock(random, instance, deviceBlock, random.long());
      expect(units.blockCheck(FRAME)).toBe(instance.view.getBigInt64(FRAME, true));
      const valid = () => units.blockValid(FRAME, deviceBlock) !== 0;
      expect(valid()).toBe(true);
      expect(unseenFlips(instance, FRAME, valid)).toEqual([]);
      expect(valid()).toBe(true);
    }
  });

  test("a block is valid only at its place, in its store", () => {
    const random = new Random(SEED);
    const instance = instantiate(1);
    const { units, bytes, view } = instance;
    const storeSeed = random.long();
    sealedBlock(random, instance, 300n, storeSeed);
    for (const elsewhere of [0n, 299n, 301n, 300n + (1n << 32n), 300n | (1n << 63n)]) {
      expect(units.blockValid(FRAME, elsewhere)).toBe(0);
    }
    for (const stranger of [0n, storeSeed ^ 1n, storeSeed ^ (1n << 63n)]) {
      units.checkSeedSet(stranger);
      expect(units.blockValid(FRAME, 300n)).toBe(0);
    }
    units.checkSeedSet(storeSeed);
    expect(units.blockValid(FRAME, 300n)).toBe(1);
    // A payload that claims more than a block holds, under a right checksum.
    for (const [used, valid] of [
      [0, 1],
      [4040, 1],
      [4041, 0],
      [0xffff, 0],
    ] as const) {
      view.setUint16(FRAME + 40, used, true);
      view.setBigUint64(FRAME, units.xxh64(FRAME + 16, BLOCK_SIZE - 16, storeSeed), true);
      expect(units.blockValid(FRAME, 300n), `${used} used`).toBe(valid);
    }
    // Bytes 8 to 15 are room for a longer tag: no check covers them, so they must be zero.
    view.setUint16(FRAME + 40, 8, true);
    view.setBigUint64(FRAME, units.xxh64(FRAME + 16, BLOCK_SIZE - 16, storeSeed), true);
    view.setBigUint64(FRAME + 8, 1n, true);
    expect(units.blockValid(FRAME, 300n)).toBe(0);
    bytes.fill(0, FRAME, FRAME + BLOCK_SIZE);
    for (const deviceBlock of [0n, 300n]) expect(units.blockValid(FRAME, deviceBlock)).toBe(0);
  });

  test("a superblock is intact only with every bit as it was sealed", () => {
    const random = new Random(SEED);
    const instance = instantiate(1);
    const { units, bytes, view } = instance;
    const intact = () => units.superblockIntact(FRAME) !== 0;
    for (let round = 0; round < 2; round++) {
      random.fill(bytes.subarray(FRAME, FRAME + BLOCK_SIZE));
      bytes.set(new TextEncoder().encode("CAIRNKV1"), FRAME);
      expect(intact()).toBe(false);
      bytes.copyWithin(COPY, FRAME, FRAME + BLOCK_SIZE);
      units.superblockSeal(FRAME);
      expect(intact()).toBe(true);
      const check = BigInt.asUintN(64, units.xxh64(FRAME + 16, BLOCK_SIZE - 16, 0x636169726e2d7362n));
      expect(view.getBigUint64(FRAME + 8, true)).toBe(check);
      // Sealing changes the checksum and nothing else.
      view.setBigUint64(COPY + 8, check, true);
      expect(Buffer.compare(bytes.subarray(FRAME, FRAME + BLOCK_SIZE), bytes.subarray(COPY, COPY + BLOCK_SIZE))).toBe(
        0,
      );
      expect(unseenFlips(instance, FRAME, intact)).toEqual([]);
    }
    bytes.fill(0, FRAME, FRAME + BLOCK_SIZE);
    expect(intact()).toBe(false);
    units.superblockSeal(FRAME);
    expect(intact()).toBe(false);
  });

  test("superblocks go to alternate pairs of copies, with every field in its place", () => {
    const random = new Random(SEED);
    const device = new MemoryDevice(1 << 20);
    const writes: number[] = [];
    let synced = 0;
    const instance = instantiate(20, {
      size: () => device.size(),
      read: (offset, target) => device.read(offset, target),
      write: (offset, source) => {
        expect(source.length).toBe(BLOCK_SIZE);
        expect(synced).toBe(writes.length);
        writes.push(offset);
        return device.write(offset, source);
      },
      writeAsync: (pieces) => device.writeAsync(pieces),
      sync: () => {
        synced++;
      },
      syncAsync: async () => {},
      close: () => {},
    });
    const { units, view } = instance;
    expect(units.logSetUp(instance.device, POOL + 20 * PAGE, 16, 16)).toBe(1);
    for (let generation = 1; generation <= 6; generation++) {
      // Every field that a superblock takes from the root view, by its offset in the block.
      const wanted = new Map<number, bigint>();
      for (const [, offset, size] of SUPERBLOCK_FIELDS) {
        const drawn = size === 4 ? BigInt(random.word()) : random.long();
        // An older epoch must not write over a newer one.
        const value = offset === EPOCH_OFFSET ? BigInt(generation << 16) + (drawn & 0xffffn) : drawn;
        units.rootSetAt(offset, value);
        wanted.set(offset, value);
      }
      writes.length = 0;
      synced = 0;
      expect(units.superblockCommit()).toBe(OK);
      const first = generation % 2 ? 2 : 0;
      expect(writes).toEqual([first * 262_144, (first + 1) * 262_144]);
      expect(synced).toBe(2);
      const copies = [0, 1].map((copy) => {
        const bytes = Buffer.alloc(BLOCK_SIZE);
        device.read((first + copy) * 262_144, bytes);
        return bytes;
      });
      const block = copies[0]!;
      expect(Buffer.compare(block, copies[1]!)).toBe(0);
      instance.bytes.set(block, FRAME);
      expect(units.superblockIntact(FRAME)).toBe(1);
      expect(block.toString("latin1", 0, 8)).toBe("CAIRNKV1");
      expect(block.readUInt32LE(16)).toBe(3);
      expect(block.readBigUInt64LE(72)).toBe(BigInt(generation));
      for (const [name, offset, size] of SUPERBLOCK_FIELDS) {
        const held = size === 4 ? BigInt(block.readUInt32LE(offset)) : block.readBigUInt64LE(offset);
        expect(held, name).toBe(wanted.get(offset));
      }
      // Two roots and the points of backups, which a bit each that may be ignored tells of; no other feature bits, no names.
      expect(block.readBigUInt64LE(40)).toBe(3n);
      for (const [from, to] of [
        [24, 40],
        [160, BLOCK_SIZE],
      ] as const) {
        expect(block.subarray(from, to).every((byte) => byte === 0)).toBe(true);
      }
      expect(view.getUint32(SUPERBLOCK_A + 16, true)).toBe(3);
    }
  });

  test("record headers", () => {
    const random = new Random(SEED);
    const { units, view } = instantiate(1);
    const sequences = [0n, 1n, (1n << 32n) - 1n, 1n << 32n, (1n << 48n) - 1n];
    for (let i = 0; i < 3000; i++) {
      const kind = 1 + random.below(6);
      const flags = random.below(256);
      const sequence = random.pick(sequences);
      const keySize = random.pick([0, 1, 2048, 65_535]);
      const valueSize = random.pick([0, 1, 255, 65_536, 64 << 20, 0x8000_0000, 0xffff_ffff]);
      const at = FRAME + 8 * random.below(500);
      units.recordHeaderStore(at, kind, flags, sequence, keySize, valueSize);
      same(view.getUint32(at, true), valueSize, "value size");
      same(view.getUint16(at + 4, true), keySize, "key size");
      same(view.getUint8(at + 6), kind, "kind");
      same(view.getUint8(at + 7), flags, "flags");
      same(view.getBigUint64(at + 8, true), sequence, "sequence");
      same(units.recordSequence(at), sequence, "sequence as read");
      // The two bytes above the sequence are reserved.
      view.setUint16(at + 14, 0xffff, true);
      same(units.recordSequence(at), sequence, "sequence below reserved bytes");
      const fields = (flags & 1 ? 8 : 0) + (flags & 2 ? 8 : 0) + (flags & 16 ? 8 : 0) + (flags & 32 ? 4 : 0);
      same(units.recordKeyOffset(flags), 16 + fields, "offset of the key");
    }
  });

  test("segment headers", () => {
    const random = new Random(SEED);
    const { units, bytes, view } = instantiate(1);
    const payload = FRAME + 56;
    const write = () => {
      random.fill(bytes.subarray(FRAME, FRAME + BLOCK_SIZE));
      view.setUint16(FRAME + 40, 64, true);
      view.setUint16(FRAME + 42, 2, true);
      bytes.set(new TextEncoder().encode("CSEG"), payload);
      view.setUint32(payload + 4, 1 + random.below(4), true);
      view.setUint32(payload + 28, 1 + random.below(1000), true);
    };
    const faults: [string, () => void][] = [
      ["no flag", () => view.setUint16(FRAME + 42, 0, true)],
      ["another flag", () => view.setUint16(FRAME + 42, 0xfffd, true)],
      ["too short", () => view.setUint16(FRAME + 40, 63, true)],
      ["empty", () => view.setUint16(FRAME + 40, 0, true)],
      ["magic", () => view.setUint8(payload + random.below(4), 0)],
      ["kind 0", () => view.setUint32(payload + 4, 0, true)],
      ["kind 5", () => view.setUint32(payload + 4, 5, true)],
      ["kind beyond a byte", () => view.setUint32(payload + 4, 0x101, true)],
      ["kind that is negative", () => view.setUint32(payload + 4, 0xffff_ffff, true)],
      ["no header block", () => view.setUint32(payload + 28, 0, true)],
    ];
    for (const [what, change] of faults) {
      for (let i = 0; i < 20; i++) {
        write();
        expect(units.segmentHeaderValid(FRAME)).toBe(1);
        change();
        expect(units.segmentHeaderValid(FRAME), what).toBe(0);
      }
    }
    write();
    view.setUint16(FRAME + 40, 4040, true);
    view.setUint16(FRAME + 42, 3, true);
    view.setUint32(payload + 28, 0xffff_ffff, true);
    expect(units.segmentHeaderValid(FRAME)).toBe(1);
  });
});
