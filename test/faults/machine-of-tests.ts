/** The machine of a file of tests. */
import { afterAll, beforeEach } from "vitest";
import { Machine } from "./machine.ts";

/** A machine that is taken down after the last test of the file. Where `missing` says why it is of no use here, they are skipped. */
export function machineOfTests(missing?: string): Machine {
  const machine = new Machine();
  beforeEach(({ skip }) => {
    if (missing !== undefined) skip(missing);
  });
  afterAll(() => machine.end());
  return machine;
}
