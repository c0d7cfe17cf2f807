/** Images that were forged in one known way: what an enemy wrote, whose checks are right, is refused or served, never made up. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CairnError } from "../../store/error.ts";
import { pageOf } from "../simulation/pages.ts";
import { Random } from "../simulation/random.ts";
import { runSeed } from "../store/harness.ts";
import {
  BLOCK_HEADER_SIZE,
  checkpointBlocks,
  FIRST_BLOCK,
  recordAt,
  recordsOf,
  rootsOf,
  SUPERBLOCKS,
  sealBlock,
  sealCheckpoints,
  sealSuperblock,
  viewOf,
} from "./blocks.ts";
import { Canvas, type Subject, subjectOf } from "./canvas.ts";
import { Checker } from "./check.ts";
import { FuzzDevice } from "./device.ts";
import { fuzzHost, Memories, openOver } from "./host.ts";
import { path } from "./lines.ts";
import { Vouchers } from "./oracle.ts";
import { makeReference } from "./reference.ts";

const seed = runSeed();
const module = new WebAssembly.Module(readFileSync(path("build/cairn.wasm")));
const random = new Random(BigInt(seed));

const KIND_EXTENT = 3;
const KIND_VOID = 4;

async function subject(kind: string): Promise<Subject> {
  return subjectOf(await makeReference(kind, module, random.fork(1)));
}

test(`a value whose further part is missing is CORRUPT, and not what memory held, seed ${seed}`, async () => {
  const canvas = new Canvas(await subject("extents"));
  let parts = 0;
  for (const number of canvas.subject.written) {
    if (number < FIRST_BLOCK) {
      // Without checkpoints all records are replayed.
      const superblock = canvas.own(number);
      superblock.fill(0, 176, 432);
      sealSuperblock(superblock);
      continue;
    }
    for (const at of recordsOf(canvas.page(number))) {
      if (recordAt(canvas.page(number), at).kind !== KIND_EXTENT) continue;
      parts++;
      const page = canvas.own(number);
      page[at + 6] = KIND_VOID;
      sealBlock(page, canvas.subject.seed);
    }
  }
  expect(parts).toBeGreaterThan(0);
  const store = await openOver(new FuzzDevice(canvas.image()), fuzzHost(module, random));
  let code: unknown;
  try {
    store.get("huge");
  } catch (error) {
    code = error instanceof CairnError ? error.code : error;
  }
  expect(code).toBe("CORRUPT");
  const { states } = canvas.subject.reference;
  for (const [key, { value }] of states.at(-1) ?? []) if (key !== "huge") expect(store.get(key)).toBe(value);
  expect((await store.verify()).ok).toBe(false);
  await store.close();
});

test(`a record of version 0 is CORRUPT, and repair leaves it out, seed ${seed}`, async () => {
  const canvas = new Canvas(await subject("killed"));
  const number = canvas.subject.written.find((one) => one >= FIRST_BLOCK && recordsOf(canvas.page(one)).length > 0);
  const page = canvas.own(number as number);
  viewOf(page).setBigUint64((recordsOf(page)[0] as number) + 8, 0n, true);
  sealBlock(page, canvas.subject.seed);
  canvas.isSealed = true;
  let code: unknown;
  try {
    await openOver(new FuzzDevice(canvas.image()), fuzzHost(module, random));
  } catch (error) {
    code = error instanceof CairnError ? error.code : error;
  }
  expect(code).toBe("CORRUPT");
  const checker = new Checker(module, new Memories());
  const steps = { reads: false, writes: false, repairs: true };
  expect(await checker.check(canvas, new Vouchers(canvas.subject), steps, random)).toMatchObject({ repaired: true });
});

test(`entries of a checkpoint with every byte changed are refused or served, seed ${seed}`, async () => {
  const checkpoint = await subject("two checkpoints");
  const vouchers = new Vouchers(checkpoint);
  const checker = new Checker(module, new Memories());
  const { pages } = checkpoint.reference.image;
  const roots = SUPERBLOCKS.flatMap((copy) => rootsOf(pageOf(pages, copy)));
  const numbers = new Set(roots.flatMap((root) => checkpointBlocks(pages, root)));
  let count = 0;
  let opened = 0;
  for (const number of numbers) {
    const used = viewOf(pageOf(pages, number)).getUint16(40, true);
    for (let at = BLOCK_HEADER_SIZE; at < BLOCK_HEADER_SIZE + used; at++) {
      const canvas = new Canvas(checkpoint);
      const page = canvas.own(number);
      page[at] = at % 2 === 0 ? 255 : (page[at] as number) ^ 1;
      sealBlock(page, checkpoint.seed);
      sealCheckpoints(canvas.pages, (block) => canvas.own(block), checkpoint.seed);
      canvas.isSealed = true;
      const steps = { reads: at % 2 === 0, writes: at % 2 === 1, repairs: false };
      const outcome = await checker.check(canvas, vouchers, steps, random);
      count++;
      if (outcome.opened) opened++;
    }
  }
  expect(count).toBeGreaterThan(200);
  expect(opened).toBeGreaterThan(0);
});
