/** Errors that the kernel really gives to positioned input and output, and the codes that they come to. */
import * as fs from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FileDevice } from "../../hosts/file-device.ts";
import { type Command, commandOf, programFile, RUNTIME, runCommand } from "../runtime.ts";
import { bytesOf, errorOf, scratchFolder } from "./scratch.ts";

const folder = scratchFolder();
const BLOCK = 4096;

/** Memory of this process as a file: nothing lies at its first pages, and reading them is EIO. */
class Memory extends FileDevice {
  constructor() {
    super("/proc/self/mem", fs.openSync("/proc/self/mem", "r"), { readOnly: true });
    this.measure();
  }

  override measure(): void {
    this.sizeBytes = 16 * BLOCK;
  }
}

function errnoOf(error: Error): unknown {
  return (error.cause as NodeJS.ErrnoException).code;
}

test("EIO of a read is DEVICE_READ, one way and the other", async (context) => {
  if (process.platform !== "linux") context.skip("it needs /proc");
  const device = new Memory();
  const target = new Uint8Array(2 * BLOCK);
  for (const read of [
    () => device.read(0, target),
    () => device.readInto(0, target, 0, BLOCK),
    () => device.readAsync([{ offset: 0, target }]),
    () => device.readAsync([0, BLOCK].map((at) => ({ offset: at, target: target.subarray(at, at + BLOCK) }))),
  ]) {
    const error = await errorOf(read);
    expect([error.code, errnoOf(error)]).toEqual(["DEVICE_READ", "EIO"]);
    expect(error.message).toContain("offset 0");
  }
  device.close();
});

test("a descriptor that somebody else has closed is DEVICE_READ and DEVICE_WRITE", async () => {
  const path = join(folder, "closed");
  const descriptor = fs.openSync(path, "wx+");
  const device = new FileDevice(path, descriptor, { readOnly: false });
  device.resize(64 * BLOCK);
  device.write(0, bytesOf(1, BLOCK));
  fs.closeSync(descriptor);
  const piece = { offset: 0, source: bytesOf(1, BLOCK) };
  const calls: [string, () => unknown][] = [
    ["DEVICE_READ", () => device.read(0, new Uint8Array(BLOCK))],
    ["DEVICE_READ", () => device.readAsync([{ offset: 0, target: new Uint8Array(BLOCK) }])],
    ["DEVICE_WRITE", () => device.write(0, piece.source)],
    ["DEVICE_WRITE", () => device.writeAsync([piece])],
    ["DEVICE_WRITE", () => device.resize(128 * BLOCK)],
  ];
  for (const [code, call] of calls) {
    const error = await errorOf(call);
    expect(error.code, `${call}`).toBe(code);
    expect(error.cause, `${call}`).toBeInstanceOf(Error);
  }
  device.close();
});

test("EFBIG, of a limit on the size of files, is NO_SPACE: the store reads on, deletes, and is not poisoned", (context) => {
  if (process.platform !== "linux") context.skip("it needs ulimit");
  const body = `
    const codes = new Set();
    const store = await open(target, { memoryBytes, durability: "manual" });
    await store.put("first", "1");
    for (let i = 0; i < 60; i++) {
      try {
        await store.put("key " + i, "v".repeat(300_000));
      } catch (error) {
        codes.add(error.code);
      }
    }
    store.delete("key 0");
    const isThere = store.get("first") === "1";
    const count = store.count();
    await store.close().catch((error) => codes.add(error.code));
    say({ codes: [...codes], isThere, hasSome: count > 1 });
  `;
  // A process that ignores the signal gets the error.
  const { command, args } = commandOf(RUNTIME) as Command;
  const limited = {
    command: "/bin/sh",
    args: ["-c", `trap '' XFSZ; ulimit -f 12000; exec "$0" "$@"`, command, ...args],
  };
  const { said, failed } = runCommand(limited, programFile(body), join(folder, "limited"));
  expect(said, failed).toEqual([{ codes: ["NO_SPACE"], isThere: true, hasSome: true }]);
});
