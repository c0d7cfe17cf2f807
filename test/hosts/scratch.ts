/** Folders that end with their test file, and what real devices need. */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import { runtimeOf } from "../../hosts/opening.ts";
import type { Target, TargetOptions } from "../../hosts/target.ts";
import { openOfRuntime } from "../runtime.ts";

export { codeOf, errorOf } from "../thrown.ts";

const runtime = runtimeOf(await openOfRuntime());

/** A target, as the runtime that this is opens it. */
export async function openTarget(target: string | URL, options: TargetOptions): Promise<Target> {
  return runtime.openTarget(target, options);
}

/** A new folder under the system's temporary one, removed after the test file's last test. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cairn-hosts-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Files below `folder` that this process has open, each as often as it is open; none where the system does not tell (Linux
 * does). All descriptors of a process are not to be counted: Deno opens sockets of its own at any time.
 */
export function openBelow(folder: string): string[] {
  if (process.platform !== "linux") return [];
  const start = `${realpathSync(folder)}/`;
  return readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      const file = readlinkSync(`/proc/self/fd/${descriptor}`);
      return file.startsWith(start) ? [file] : [];
    } catch {
      // The one that the list was read through is closed again.
      return [];
    }
  });
}

/** Why loop devices and mounts cannot be used here; `undefined` when they may be tried. */
export function privilegeMissing(): string | undefined {
  if (process.platform !== "linux") return "needs Linux";
  if (process.getuid?.() !== 0) return "needs root";
  return undefined;
}

/** Runs a system tool. Returns what it printed, or why it failed. */
export function run(tool: string, args: string[]): { output: string } | { failure: string } {
  const { status, stdout, stderr, error } = spawnSync(tool, args, { encoding: "utf8" });
  if (status === 0) return { output: stdout.trim() };
  return { failure: `${tool} ${args.join(" ")}: ${error?.message ?? stderr.trim()}` };
}

/** Why a file in `folder` cannot be written past the page cache; `undefined` when it can. */
export function directMissing(folder: string): string | undefined {
  const { O_CREAT, O_DIRECT, O_RDWR } = constants;
  if (process.platform !== "linux" || O_DIRECT === undefined) return "the platform has no O_DIRECT";
  const path = join(folder, "direct-probe");
  try {
    const descriptor = openSync(path, O_RDWR | O_CREAT | O_DIRECT, 0o666);
    try {
      writeSync(descriptor, pageAligned(new Uint8Array(4096)), 0, 4096, 0);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return `the file system of ${folder} has no O_DIRECT (${error})`;
  } finally {
    rmSync(path, { force: true });
  }
  return undefined;
}

const ARENA_SIZE = 32 * 1024 * 1024;
let arena: Uint8Array | undefined;
let arenaEnd = 0;

/** A copy of `bytes` that starts at a page, in memory of WebAssembly. It is overwritten after 32 MiB of other copies. */
export function pageAligned(bytes: Uint8Array): Uint8Array {
  arena ??= new Uint8Array(new WebAssembly.Memory({ initial: ARENA_SIZE / 65536 }).buffer);
  if (arenaEnd + bytes.length > ARENA_SIZE) arenaEnd = 0;
  const copy = arena.subarray(arenaEnd, arenaEnd + bytes.length);
  arenaEnd += Math.ceil(bytes.length / 4096) * 4096;
  copy.set(bytes);
  return copy;
}

/** `size` bytes that no other call with another `seed` gives. */
export function bytesOf(seed: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let index = 0; index < size; index += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[index] = state >>> 24 || 1;
  }
  return bytes;
}
