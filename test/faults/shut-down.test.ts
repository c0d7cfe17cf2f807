/**
 * File systems that are shut down under a store that is written, as a power cut would: what they had not written is gone.
 * They are mounted again, with what their log brings back, and the next process goes on with the same store.
 */
import * as fs from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { RuntimeName } from "../runtime.ts";
import { path as fileOf } from "../simulation/lanes.ts";
import { Random } from "../simulation/random.ts";
import { bundleChild, Child, commandIn, says } from "./children.ts";
import { MIB, privilegeMissing, refusalOf, shutDown } from "./machine.ts";
import { machineOfTests } from "./machine-of-tests.ts";
import { Oracle } from "./oracle.ts";

const ROOT = fileOf("");
const { CAIRN_SEED = "20261130" } = process.env;
const SEED = Number(CAIRN_SEED) % 2 ** 32;
const ROUNDS = 4;
const SIZES = { ext4: 96 * MIB, xfs: 300 * MIB };

const machine = machineOfTests(privilegeMissing());

const RUNTIMES: RuntimeName[] = ["node", "bun", "deno"];
const CASES = (["ext4", "xfs"] as const).flatMap((kind) => RUNTIMES.map((runtime) => ({ kind, runtime })));

describe("a file system that is shut down", () => {
  test.for(CASES)(
    `of $kind under $runtime keeps what was acknowledged, seed ${SEED}`,
    async ({ kind, runtime }, { skip }) => {
      const found = commandIn(ROOT, runtime) ?? skip(`${runtime} is not installed`);
      let place = { point: "", loop: "" };
      const missing = refusalOf(() => {
        place = machine.newMount(kind, SIZES[kind]);
      });
      if (missing !== undefined) skip(missing);
      const command = { command: found.command, args: [...found.args, await bundleChild(ROOT, "child", runtime)] };
      const random = new Random(BigInt(SEED)).fork(kind.length + runtime.length * 8);
      const path = join(place.point, "store");
      const oracle = new Oracle(SEED);
      for (let life = 1; life <= ROUNDS; life++) {
        const child = new Child(command);
        try {
          child.send({ life, stores: [{ path, seed: SEED }], verifies: true, looksOnly: life === ROUNDS });
          const open = await child.heardOf(says("open"));
          const fault = oracle.judge(life, open);
          expect(fault, fault).toBeUndefined();
          if (life === ROUNDS) {
            await child.heardOf(says("closed"));
            break;
          }
          // As soon as enough was acknowledged: what was acknowledged last is then not on the disk by chance.
          const enough = random.between(20, 120);
          await new Promise<void>((resolve) => {
            child.onSaying((saying) => {
              if (saying.type === "durable") oracle.acknowledged(saying);
              if (saying.type === "durable" && saying.commit >= enough) resolve();
            });
            void child.ended.then(() => resolve());
          });
          const refusal = refusalOf(() => shutDown(place.point));
          if (refusal !== undefined) skip(refusal);
          const failed = await child.heardOf(says("failed"));
          // One that was just closing its store to open it again cannot remove its lock.
          expect(["DEVICE_WRITE", "DEVICE_READ", "POISONED", "LOCKED"]).toContain(failed.code);
          // A flush acknowledges nothing more.
          expect(["DEVICE_WRITE", "DEVICE_READ", "POISONED", "CLOSED"]).toContain(failed.afterwards[2]);
        } finally {
          child.kill();
          await child.ended;
        }
        machine.remove(place.point);
        machine.mount(place.point, "-t", kind, place.loop);
        // One that says nothing would be waited for.
        if (fs.existsSync(`${path}.lock`)) expect(fs.readFileSync(`${path}.lock`, "utf8")).toContain("cairnLock");
      }
      expect(oracle.judgedCount).toBe(ROUNDS);
      expect(oracle.durableCount).toBeGreaterThan(0);
      expect(fs.readdirSync(place.point)).toContain("store");
    },
  );
});
